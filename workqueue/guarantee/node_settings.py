"""Settings of a node's application ``rabbit``, read and changed while it runs."""

import contextlib
from collections.abc import Iterator

from workqueue.broker import Broker


def setting(broker: Broker, key: str) -> str | None:
    """A setting as an Erlang term; None if it is not set."""
    return _value(broker.ctl("eval", f"application:get_env(rabbit, {key})."))


@contextlib.contextmanager
def configured(broker: Broker, key: str, value: str) -> Iterator[None]:
    """Change a setting, and change it back.

    :param value: an Erlang term. When a running broker heeds it depends on the setting.
    """
    # One call of rabbitmqctl costs most of a second, so this asks and changes at once.
    change = f"Before = application:get_env(rabbit, {key}), application:set_env(rabbit, {key}, {value}), Before."
    before = _value(broker.ctl("eval", change))
    try:
        yield
    finally:
        undo = f"unset_env(rabbit, {key})" if before is None else f"set_env(rabbit, {key}, {before})"
        broker.ctl("eval", f"application:{undo}.")


def _value(answer: str) -> str | None:
    term = answer.strip()
    return None if term == "undefined" else term.removeprefix("{ok,").removesuffix("}")
