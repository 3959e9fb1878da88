"""What a broker is configured like: what it was asked to be, and what it says of itself."""

import dataclasses
import re
import secrets
from collections.abc import Iterable

import pika
from pika.exceptions import AMQPError, ConnectionClosedByBroker

from workqueue.broker.errors import BrokerError, SpecError
from workqueue.broker.handle import Broker, Capability
from workqueue.warden import get_warden

_TRANSIENT = "transient_nonexcl_queues"
_SETTING = re.compile(r"([A-Za-z0-9_.-]+)\s*=\s*(\S.*)")

# Values of the application `rabbit` that decide what a work queue is promised.
_ASKED = (
    "channel_max",
    "classic_queue_default_version",
    "consumer_timeout",
    "default_queue_type",
    "heartbeat",
    "max_message_size",
)
# In one call, since each costs the start of an Erlang machine. Deprecated features came with 3.13; a feature is
# permitted as long as the feature flag behind it is not enabled.
_QUESTION = f"""\
[{{Key, application:get_env(rabbit, Key, undefined)}} || Key <- [{", ".join(_ASKED)}]] ++
try [{{list_to_atom("permit." ++ atom_to_list(Name)), not rabbit_feature_flags:is_enabled(Name)}}
     || Name <- maps:keys(rabbit_deprecated_features:list(all))]
catch error:undef -> [] end."""
_ANSWER = re.compile(r"""\{'?([\w.]+)'?,\s*(?:<<")?([\w.]+)(?:">>)?\}""")


def parse_settings(lines: Iterable[str]) -> dict[str, str]:
    """Read `KEY=VALUE` settings, as rabbitmq.conf has them. Raises `SpecError` for what is none."""
    settings = {}
    for line in lines:
        found = _SETTING.fullmatch(line.strip())
        if found is None:
            raise SpecError(
                f"{line!r} is no setting of a broker: use KEY=VALUE as in rabbitmq.conf, such as "
                "deprecated_features.permit.transient_nonexcl_queues=false."
            )
        settings[found[1]] = found[2]
    return settings


def parse_answer(answer: str) -> dict[str, str]:
    """Read what a node answered to the question about its configuration; what is not set is left out."""
    return {key: value for key, value in _ANSWER.findall(answer) if value != "undefined"}


def observe(broker: Broker) -> None:
    """Find out what a broker is configured like, and add that to its `about`.

    Deprecated features are told as `permit.NAME`, whoever decided it: a setting, the packager, the version. Somebody's
    broker, that has no rabbitmqctl for us, is tried for what can be seen from outside.
    """
    try:
        if Capability.CTL in broker.capabilities:
            facts = parse_answer(broker.ctl("eval", _QUESTION))
        elif broker.about.provider == "external":
            facts = _try(broker.url)
        else:
            return
    except (BrokerError, AMQPError):
        return  # what is known of it is all there is
    configuration = {**broker.about.configuration, **facts}
    broker.about = dataclasses.replace(broker.about, configuration=configuration)


def _try(url: str) -> dict[str, str]:
    """Declare a transient queue, which is deleted at once; a broker that denies them closes the connection."""
    name, permitted = f"wq-{secrets.token_hex(6)}", "true"
    get_warden().own_queue(url, name)
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        channel = connection.channel()
        channel.queue_declare(name, arguments={"x-queue-type": "classic"})
        channel.queue_delete(name)
    except ConnectionClosedByBroker as error:
        if _TRANSIENT not in error.reply_text:
            raise
        permitted = "false"
    finally:
        if connection.is_open:
            connection.close()
        get_warden().disown_queue(url, name)
    return {f"permit.{_TRANSIENT}": permitted}
