"""The liars: men in the middle that speak correct AMQP and break one promise each."""

from collections.abc import Iterator, Mapping

from workqueue.wire.liar import Liar
from workqueue.wire.liars import (
    answering,
    confirming,
    connecting,
    consuming,
    declaring,
    delivering,
    publishing,
    queues,
    rewriting,
    settling,
)
from workqueue.wire.liars.honest import Honest

_MODULES = (
    publishing,
    confirming,
    rewriting,
    declaring,
    queues,
    consuming,
    delivering,
    settling,
    answering,
    connecting,
)


def _found() -> Iterator[type[Liar]]:
    for module in _MODULES:
        for value in vars(module).values():
            if (
                isinstance(value, type)
                and issubclass(value, Liar)
                and value.name
                and value.__module__ == module.__name__
            ):
                yield value


#: Every liar by its name.
LIARS: Mapping[str, type[Liar]] = {liar.name: liar for liar in _found()}

#: What one can ask for by name: the liars, and the one that is honest.
KNOWN: Mapping[str, type[Liar]] = {Honest.name: Honest, **LIARS}

__all__ = ["KNOWN", "LIARS", "Honest", "Liar"]
