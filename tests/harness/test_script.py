"""Scripts for the reference model: what is one, and how one is told."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workqueue.guarantee.exploration import scripts
from workqueue.guarantee.model import View
from workqueue.guarantee.rules import Rules
from workqueue.guarantee.script import dump_script, parse_script, tell, tell_view


@settings(max_examples=50)
@given(st.sampled_from(["classic", "quorum"]).flatmap(lambda each: scripts(Rules.of(each, "4.3.6"))))
def test_a_generated_script_can_be_written_down_and_read_again(script):
    assert parse_script(dump_script(script)) == script


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "this is no JSON"),
        ("{}", "a script is a list"),
        ("[1]", 'operation 1, 1: it needs a "do"'),
        ('[{"do": "dance"}]', 'it needs a "do" that is one of declare, publish'),
        ('[{"do": "publish"}]', "it needs count"),
        ('[{"do": "publish", "count": 0}]', "count cannot be 0"),
        ('[{"do": "publish", "count": true}]', "count cannot be True"),
        ('[{"do": "publish", "count": "1"}]', "count cannot be '1'"),
        ('[{"do": "get", "channel": 4}]', "channel cannot be 4"),
        ('[{"do": "get", "channel": 0, "no_ack": true}]', "it has no no_ack"),
        ('[{"do": "reject", "channel": 0, "index": 0, "requeue": 1}]', "requeue cannot be 1"),
        ('[{"do": "get", "channel": 0}, {"do": "declare", "delivery_limit": 1}]', "operation 2.*only the first"),
    ],
)
def test_what_is_no_script_is_refused_with_the_reason(text, message):
    with pytest.raises(ValueError, match=message):
        parse_script(text)


def test_what_need_not_be_said_can_be_left_out():
    text = '[{"do": "nack", "channel": 0, "index": -1}, {"do": "disconnect", "connection": 1}]'
    assert parse_script(text) == json.loads(text)


def test_an_operation_is_told_without_what_is_not_done():
    operation = {"do": "nack", "channel": 0, "index": 2, "multiple": False, "requeue": True}
    assert tell(operation) == "nack, channel 0, index 2, requeue"


def test_a_view_is_told_with_a_star_for_each_task_that_is_marked():
    view = View({1: ((2, True), (3, False))}, ready=4, consumers=1)
    assert tell_view(view) == "channel 1 holds 2*, 3; 4 ready; 1 consumers"
