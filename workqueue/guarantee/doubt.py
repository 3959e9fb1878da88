"""What else than a broken promise can have made a spec fail: a broker that is gone, or a user that may not.

A spec whose broker is gone fails in every way that there is, by deadlines that pass and values that are missing, and
what it then says of the guarantee would accuse the broker of something that it never had the chance to do. A user who
lacks a permission sees the same: a channel that is closed, and nothing that comes.
"""

import contextlib
import re
import secrets

import pika

from workqueue.broker import Broker
from workqueue.guarantee.deadline import answered_in_time
from workqueue.guarantee.evidence import Evidence
from workqueue.guarantee.verdict import NotApplicable, Unknown, judge

# What all versions say of a missing permission, and of nothing else: a 403 for a reserved name, say, names no user. It
# may have come through Python's repr.
_DENIED = re.compile(r"ACCESS_REFUSED - [^\n]*? refused for user \\?'.*?'")


class Doubted(Unknown):
    """A spec failed for a reason that says nothing of its guarantee. The message has that reason, and what it said."""


def doubted(error: BaseException, broker: Broker, evidence: Evidence) -> BaseException:
    """What a spec's end says: the error that it ended with, or `Doubted` if that has another cause.

    Ask at once: by the next spec, the broker may be another one.

    :param error: what the spec or its set-up raised.
    :param broker: the one that it ran on. It is asked itself, whatever liar stands before it.
    :param evidence: what was seen meanwhile: who is refused something may only wait in vain for what follows from it.
    """
    if not isinstance(error, Exception) or isinstance(error, NotApplicable | Doubted):
        return error
    _, said = judge(error, in_call=True)
    if (silent := broker.does_not_answer()) is not None:
        why = f"the broker does not answer any more: {silent}"
    elif (denied := _denied(said, *(note.what for note in evidence.notes)) or _denied_now(broker)) is not None:
        why = f"a permission is missing, which CI.md has with all that are needed: {denied}"
    else:
        return error
    doubt = Doubted(f"{why}. So nothing is known; the spec ended with: {said}")
    doubt.__cause__ = error
    return doubt


def _denied(*told: str) -> str | None:
    """What the broker said when it refused a permission."""
    found = next(filter(None, map(_DENIED.search, told)), None)
    return None if found is None else found[0].replace("\\'", "'")


def _denied_now(broker: Broker) -> str | None:
    """The same of what every spec does: a spec whose answers are lost, or are another program's, does not hear it."""
    if broker.about.provider != "external":
        return None  # the user is ours, and may do everything
    name = f"wq-{secrets.token_hex(6)}"
    try:
        with answered_in_time(broker.url):
            parameters = pika.URLParameters(broker.url)
            with contextlib.closing(pika.BlockingConnection(parameters)) as connection:
                channel = connection.channel()
                channel.queue_declare(name, exclusive=True)  # goes with the connection
                channel.basic_publish("", name, b"")
                channel.basic_get(name, auto_ack=True)
    except Exception as error:  # noqa: BLE001 - whatever it is, only that one answer says something
        return _denied(str(error))
    return None
