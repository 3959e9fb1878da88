"""The one that tells no lies: it hears everything, and passes it on as it came."""

from collections.abc import Iterable

import pika.spec

from workqueue.wire.frames import Command
from workqueue.wire.liar import Liar, from_broker, from_client
from workqueue.wire.session import Channel

_ALL = tuple(pika.spec.methods.values())


class Honest(Liar):
    name = "honest"
    does = "breaks nothing"

    @from_client(*_ALL)
    def asked(self, channel: Channel, command: Command) -> Iterable[Command]:
        return [command]

    @from_broker(*_ALL)
    def answered(self, channel: Channel, command: Command) -> Iterable[Command]:
        return [command]
