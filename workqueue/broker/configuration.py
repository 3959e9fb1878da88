"""What a broker is configured like: what it was asked to be, and what it says of itself."""

import dataclasses
import re
from collections.abc import Iterable

from workqueue.broker.errors import BrokerError, SpecError
from workqueue.broker.handle import Broker, Capability

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
_ANSWER = re.compile(r"\{'?([\w.]+)'?,\s*([\w.]+)\}")


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
    """Ask a broker that has rabbitmqctl what it is configured like, and add that to its `about`.

    Deprecated features are told as `permit.NAME`, whoever decided it: a setting, the packager, the version. One that
    cannot be asked, or does not answer, keeps what is known of it.
    """
    if Capability.CTL not in broker.capabilities:
        return
    try:
        answer = broker.ctl("eval", _QUESTION)
    except BrokerError:
        return
    facts = {**broker.about.configuration, **parse_answer(answer)}
    broker.about = dataclasses.replace(broker.about, configuration=facts)
