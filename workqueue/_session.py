"""A producer's connection, and what becomes of each message that it was given."""

import threading
import time
from collections.abc import Callable

from workqueue import _frames, errors
from workqueue._confirms import ConfirmWindow, Publish, Settled
from workqueue._io import PUBLISH_CHANNEL, Link
from workqueue.events import Blocked, Connected, Disconnected, PublishEnded, Teller
from workqueue.queue import Queue

_GLANCE = 0.1
"""Seconds for which the socket is left to a thread that receives, at most, whatever its signal handlers do."""


class Session:
    """One connection of a producer, from its opening to its loss, with every message that was given to it."""

    def __init__(self, url: str, window: int, timeout: float, tell: Teller, abandoned: Callable[[], bool]) -> None:
        self._timeout = timeout
        self._tell = tell
        self._window = ConfirmWindow(window)
        self._declared: dict[str, Queue] = {}
        self._declaring = threading.Lock()
        # Guards the window and all below. Who waits is told outside it, since their callbacks may publish. Taken by
        # itself and not by the condition, which a signal handler that raises can keep from releasing it.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._open = False
        self._flushing = False
        self._calm_since = 0.0  # when an alarm has begun or ended last: what was given before may have had no time
        self.link = Link(url, "workqueue producer", self._on_lost, abandoned)
        try:
            self.link.open()
            self.link.publisher(self)
            self.link.call_soon(self._watch_deadlines)
            tell(Connected(self.link.safe_url, "producer"))
        except BaseException:
            self.link.close()
            raise

    @property
    def state(self) -> str:
        """What there is to say of it in an error or a repr."""
        connected = f"blocked ({self.link.blocked})" if self.link.blocked else "connected"
        state = "disconnected" if self.link.failure else connected
        return f"{state}, {len(self._window)} of {self._window.limit} unconfirmed"

    def declare(self, queue: Queue) -> None:
        """Declare the queue, the first time. Raises as ``Producer.declare``."""
        if self._declared.get(queue.name) != queue:
            self.link.forbid_waiting_for_itself()
            # Once, and not by every thread that comes first: RabbitMQ 4.0 may nack what is published meanwhile.
            with self._declaring:
                if self._declared.get(queue.name) != queue:
                    self.link.declare(queue, self._timeout)
                self._declared[queue.name] = queue

    def publish(self, publish: Publish, *, now: bool) -> None:
        """Send a message, at once or with others; wait for room in the window first. Raises NotSent, ValueError."""
        if (room := self.link.frame_max - _frames.HEADER_OVERHEAD) < len(publish.properties):
            raise ValueError(f"its properties have {len(publish.properties)} bytes, and there is room for {room}")
        try:
            with self._lock:
                self._await_room(publish)
                publish.started = time.monotonic()
                publish.deadline = publish.started + self._timeout
                first = self._window.reserve(publish)
            if now:  # whoever waits for the answer should not wait for the I/O thread, too
                self._flush()
            elif first:  # one wake-up of the I/O thread for a burst of messages
                self.link.call_soon(self._flush)
        except BaseException:  # such as KeyboardInterrupt
            if publish.started:
                self.link.usable = False  # here, since the next call may be interrupted, too
                self.link.give_up(errors.ConnectionLost("interrupted while a message was being sent"))
            raise
        # Not with an observer, which may need what its caller holds.
        if now and not self._tell and (tag := self._window.only(publish)):
            ack = _frames.settle(PUBLISH_CHANNEL, _frames.ACK, tag, 0)
            self.link.receive(ack, lambda: self._window.only(publish) == tag)

    def _await_room(self, publish: Publish) -> None:
        size = len(publish.body)
        if not self._window.has_room(size):
            self.link.forbid_waiting_for_itself()
            if not self._changed.wait_for(lambda: self.link.failure or self._window.has_room(size), self._timeout):
                problem = f"not sent: no room in the window for {self._timeout:g} s; {self.state}"
                if self.link.blocked is None and self._window.next_deadline() is None:
                    # All was given up, during an alarm that is over: there will never be room again.
                    self.link.give_up(errors.ConnectionLost(problem))
                raise errors.NotSent(problem, message_id=publish.message_id)
        # A loss is noted before what is in the window is settled: what is reserved now will be.
        if lost := self.link.failure:
            raise errors.NotSent(f"not sent: {lost}", message_id=publish.message_id) from lost

    def close(self, timeout: float) -> None:
        """Wait so many seconds for what is not settled; disconnect."""
        self.link.forbid_waiting_for_itself()
        with self._lock:
            self._changed.wait_for(lambda: self.link.failure or self._window.next_deadline() is None, timeout)
        self.link.close()

    def _flush(self) -> None:
        with self.link.writing:  # what is taken first has to be sent first: the broker counts
            if self._flushing:
                raise RuntimeError("a signal handler cannot send in the middle of the sending that it has interrupted")
            self._flushing = True
            try:
                with self._lock:
                    # What a broker in alarm does not read stays here: when its time is over, it was certainly not sent.
                    taken = self._window.take() if self._open and self.link.blocked is None else []
                frames: list[bytes] = []
                frame_max = self.link.frame_max
                for each in taken:
                    frames += _frames.publish(PUBLISH_CHANNEL, each.queue, each.properties, each.body, frame_max)
                self.link.write(frames)
            except BaseException:  # how far it came, and so what the broker counts, is not known
                self._open = False
                raise
            finally:
                self._flushing = False

    # In the I/O thread:

    def _watch_deadlines(self) -> None:
        now = time.monotonic()
        with self._lock:
            late = self._window.expired(now, f"within {self._timeout:g} s; {self.state}")
            following = self._window.next_deadline() or now + self._timeout  # whatever is sent later has so long
        self.link.call_later(min(max(0.0, following - now), _GLANCE), self._watch_deadlines)
        self.link.watch()
        if self.link.blocked is None and any(publish.started >= self._calm_since for publish, _ in late):
            # There may never be an answer again: RabbitMQ 4.3.6 forgets what it owes a channel that has published to a
            # quorum queue without a majority. At once, before anybody hears of it, who may try again.
            self.link.shut(errors.ConnectionLost(f"no answer within {self._timeout:g} s"))
        self._settle(lambda: late)

    def on_open(self) -> None:
        self._open = True
        self._flush()

    def on_refused(self, error: errors.ChannelClosed) -> None:
        self._open = False
        # Later: nothing may be sent now, and the callback of a future may wait for a thread that is about to.
        self.link.call_soon(lambda: self._settle(lambda: self._window.channel_closed(error.code, error.text)))

    def on_blocked(self, reason: str | None) -> None:
        self._tell(Blocked(reason, "producer"))
        self._calm_since = time.monotonic()
        self._flush()

    def on_return(self, queue: str | None, message_id: str | None, reason: str) -> None:
        """The broker could not route the message."""
        with self._lock:
            self._window.returned(queue, message_id, reason)

    def on_confirm(self, is_ack: bool, tag: int, multiple: bool) -> None:
        if self._open:  # else what it counts is not known
            self._settle(lambda: self._window.confirmed(tag, multiple=multiple, is_ack=is_ack))

    def _on_lost(self, reason: errors.WorkqueueError) -> None:
        if not isinstance(reason, errors.Closed):
            self._tell(Disconnected(reason, "producer"))
        self._settle(lambda: self._window.lost(str(reason)))

    def _settle(self, settle: Callable[[], list[Settled]]) -> None:
        with self._lock:
            settled = settle()
            self._changed.notify_all()
        for publish, error in settled:
            if isinstance(error, errors.Unroutable):  # it was deleted: declare it again before the next message
                self._declared.pop(publish.queue, None)
            try:  # noqa: SIM105 - suppress takes half a microsecond
                publish.settled(error)
            except SystemExit:  # of a future's callback: the others are to end, too
                pass
            if self._tell:
                self._tell(PublishEnded(publish.queue, publish.message_id, time.monotonic() - publish.started, error))
