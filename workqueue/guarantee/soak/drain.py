"""The end of a soak: the queue is emptied to the last message, else nothing can be said of what is missing."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError

from workqueue.guarantee.soak.crew import Crew, Member
from workqueue.guarantee.soak.hand import now
from workqueue.guarantee.soak.journal import Journal, What
from workqueue.guarantee.verdict import Unknown
from workqueue.guarantee.waiting import PATIENCE, barrier

_FENCE = b"fence"
_EMPTY = 120.0  # seconds that the workers have to work off what is in the queue
_LEAVE = 15.0  # seconds that a member has to finish what it has in hand
_ROUNDS = 20


class Drain:
    """Takes out of the queue whatever is left, past all relays. Made by `draining`."""

    def __init__(self, channel: BlockingChannel, queue: str, journal: Journal, who: int) -> None:
        self._channel = channel
        self._queue = queue
        self._journal = journal
        self._who = who
        channel.confirm_delivery()
        channel.basic_qos(prefetch_count=1000)

    def ready(self) -> int:
        """How many messages are ready, as the queue counts them."""
        return int(self._channel.queue_declare(self._queue, passive=True).method.message_count)

    def empty(self) -> int:
        """Take out everything; returns how many tasks that were.

        A queue's counters can lag, so a last message is published, and all that comes before it taken out, until
        nothing does: what a dead client held may return in between.

        :raises Unknown: if the last message does not come.
        """
        taken = 0
        for _ in range(_ROUNDS):
            last = self._round()
            taken += last
            if not last:
                return taken
        raise Unknown(f"after {_ROUNDS} rounds there are still tasks in the queue")

    def _round(self) -> int:
        self._channel.basic_publish("", self._queue, _FENCE, pika.BasicProperties(delivery_mode=2), mandatory=True)
        began, taken = now(), 0
        for method, _, body in self._channel.consume(self._queue, inactivity_timeout=PATIENCE):
            if method is None or body is None:
                raise Unknown(f"the last message did not come out of the queue within {PATIENCE:g} s")
            if body == _FENCE:
                self._channel.basic_ack(method.delivery_tag or 0)
                break
            number = body.split(b" ", 1)[0]
            task = [int(number) if number.isdigit() else -1]
            self._journal.add(What.DELIVERED, self._who, now(), task, [int(method.redelivered)], [began])
            self._journal.add(What.ACKED, self._who, now(), task)
            self._channel.basic_ack(method.delivery_tag or 0)
            taken += 1
        self._channel.cancel()
        return taken


@contextlib.contextmanager
def draining(url: str, queue: str, journal: Journal, who: int) -> Iterator[Drain]:
    """A connection straight to the broker, to drain a queue; what goes wrong with it is *unknown*.

    :param who: index under which it enters the journal.
    """
    try:
        with contextlib.closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
            yield Drain(connection.channel(), queue, journal, who)
    except AMQPError as error:
        raise Unknown(f"the queue could not be drained: {error!r}") from error


def stop_producers(crew: Crew, tell: Callable[[], None]) -> None:
    """Have the producers finish; who does not is killed, and what it had not confirmed is in doubt."""
    _stop(crew.producers, tell)


def stop_workers(crew: Crew, journal: Journal, drain: Drain, tell: Callable[[], None]) -> None:
    """Let the workers work off the queue, and have them finish."""
    deadline = time.monotonic() + _EMPTY
    before = -1
    while time.monotonic() < deadline and not all(each.stopped() for each in crew.workers):
        quiet = len(journal) == before and not drain.ready() and not any(each.seen.held for each in crew.workers)
        if quiet:
            break
        before = len(journal)
        tell()
        time.sleep(0.3)  # a look at the queue costs it something
    _stop(crew.workers, tell)


def _stop(members: Sequence[Member], tell: Callable[[], None]) -> None:
    for each in members:
        each.tell_to_stop()

    def left() -> bool:
        tell()
        return all(each.stopped() for each in members)

    with contextlib.suppress(Unknown):
        barrier("everybody leaves", left, within=_LEAVE)
    for each in members:
        each.dispose()  # its relay as well, so that the broker sees the end of a connection that is not closed
