"""A producer's connection, and what becomes of each message that it was given."""

import threading
import time
from collections.abc import Callable

from workqueue import _frames, errors
from workqueue._confirms import ConfirmWindow, Publish, Settled
from workqueue._io import PUBLISH_CHANNEL, Link
from workqueue.events import Blocked, Connected, Disconnected, Published, PublishFailed, Teller
from workqueue.queue import Queue


class Session:
    """One connection of a producer, from its opening to its loss, with every message that was given to it."""

    def __init__(self, url: str, window: int, timeout: float, tell: Teller, abandoned: Callable[[], bool]) -> None:
        self._timeout = timeout
        self._tell = tell
        self._window = ConfirmWindow(window)
        self._declared: set[Queue] = set()
        self._declaring = threading.Lock()
        # Guards the window and all below. Futures are resolved outside it, since their callbacks may publish. Taken by
        # itself and not by the condition, which a signal handler that raises can keep from releasing it.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._open = False
        self._timing = False
        self._retired = False
        self.stuck = False
        """Whether a message was not answered in time, and no alarm is the reason. Then none may ever be again: RabbitMQ
        4.3.6 forgets what it owes a channel that has published to a quorum queue without a majority."""
        self.link = Link(url, "workqueue producer", self._on_lost, self._on_blocked, abandoned)
        try:
            self.link.open()
            self.link.publisher(self._on_return, self._on_confirm, self._on_open, self._on_refused)
        except BaseException:
            self.link.close()
            raise
        tell(Connected(self.link.safe_url, "producer"))

    @property
    def state(self) -> str:
        """What there is to say of it in an error or a repr."""
        if self.link.failure is not None:
            return "disconnected"
        connected = "connected" if self.link.blocked is None else f"blocked ({self.link.blocked})"
        return f"{connected}, {len(self._window)} of {self._window.limit} unconfirmed"

    def declare(self, queue: Queue) -> None:
        """Declare the queue, the first time. Raises as ``Producer.declare``."""
        if queue not in self._declared:
            self.link.forbid_waiting_for_itself()
            # Once, and not by every thread that comes first: RabbitMQ 4.0 may nack what is published meanwhile.
            with self._declaring:
                if queue not in self._declared:
                    self.link.declare(queue, self._timeout)
                    self._declared.add(queue)

    def publish(self, publish: Publish, *, now: bool) -> None:
        """Send a message, at once or with others; wait for room in the window first. Raises NotSent, ValueError."""
        if (room := self.link.frame_max - _frames.HEADER_OVERHEAD) < len(publish.properties):
            raise ValueError(f"its properties have {len(publish.properties)} bytes, and there is room for {room}")
        try:
            first = self._reserve(publish)
            if now:  # whoever waits for the answer should not wait for the I/O thread, too
                self._flush()
            elif first:  # one wake-up of the I/O thread for a burst of messages
                self.link.call_soon(self._flush)
        except (errors.NotSent, RuntimeError):
            raise
        except BaseException:  # such as KeyboardInterrupt: how far it came, and so what the broker counts, is not known
            self.link.give_up(errors.ConnectionLost("interrupted while a message was being sent"))
            raise

    def _reserve(self, publish: Publish) -> bool:
        size = len(publish.body)
        with self._lock:
            if not self._window.has_room(size):
                self.link.forbid_waiting_for_itself()
                self._changed.wait_for(lambda: self.link.failure or self._window.has_room(size), self._timeout)
            # Noted before what is in the window is settled: what is reserved now will be.
            lost = self.link.failure
            if not lost and self._window.has_room(size):
                publish.started = time.monotonic()
                publish.deadline = publish.started + self._timeout
                return self._window.reserve(publish)
            hopeless = self.link.blocked is None and self._window.next_deadline() is None  # all of it is given up
        problem = str(lost) if lost else f"no room in the window for {self._timeout:g} s; {self.state}"
        if hopeless and not lost:
            self._stick()
        raise errors.NotSent(f"not sent: {problem}", message_id=publish.message_id) from lost

    def retire(self) -> None:
        """Close it once all that it has is settled or given up. Whatever replaces it begins with an empty window."""
        self._retired = True
        self.link.call_soon(lambda: self._settle(list))

    def close(self, until: float) -> None:
        """Wait so long, on the monotonic clock, for what is not settled; disconnect."""
        if not self.link.in_io_thread:
            with self._lock:
                self._changed.wait_for(
                    lambda: self.link.failure or self._window.next_deadline() is None, until - time.monotonic()
                )
        self.link.close()

    def _flush(self) -> None:
        with self.link.writing:  # what is taken first has to be sent first: the broker counts
            with self._lock:
                # What a broker in alarm does not read stays here: when its time is over, it was certainly not sent.
                taken = self._window.take() if self._open and self.link.blocked is None else []
            frames: list[bytes] = []
            for each in taken:
                frames += _frames.publish(PUBLISH_CHANNEL, each.queue, each.properties, each.body, self.link.frame_max)
            self.link.write(frames)
        if not self._timing:
            self.link.call_soon(self._watch_deadlines)

    def _stick(self) -> None:
        if not self.stuck:
            self.stuck = True
            lost = f"no answer within {self._timeout:g} s: what is sent next, is sent by another connection"
            self._tell(Disconnected(errors.ConnectionLost(lost), "producer"))

    # In the I/O thread:

    def _watch_deadlines(self) -> None:
        with self._lock:
            deadline = None if self._timing else self._window.next_deadline()
        if deadline is not None:
            self._timing = True
            self.link.call_later(max(0.0, deadline - time.monotonic()), self._on_deadline)

    def _on_deadline(self) -> None:
        self._timing = False
        with self._lock:
            late = self._window.expired(time.monotonic(), f"within {self._timeout:g} s; {self.state}")
        if late and self.link.blocked is None:
            self._stick()  # before anybody hears of it, who may try again
        self._settle(lambda: late)
        self._watch_deadlines()

    def _on_open(self) -> None:
        self._open = True
        self._flush()

    def _on_refused(self, code: int, text: str) -> None:
        self._open = False
        # Later: nothing may be sent now, and the callback of a future may wait for a thread that is about to.
        self.link.call_soon(lambda: self._settle(lambda: self._window.channel_closed(code, text)))

    def _on_blocked(self, reason: str | None) -> None:
        self._tell(Blocked(reason, "producer"))
        self._flush()

    def _on_return(self, message_id: str | None, reason: str) -> None:
        with self._lock:
            self._window.returned(message_id, reason)

    def _on_confirm(self, is_ack: bool, tag: int, multiple: bool) -> None:
        self._settle(lambda: self._window.confirmed(tag, multiple=multiple, is_ack=is_ack))

    def _on_lost(self, reason: errors.WorkqueueError) -> None:
        self._settle(lambda: self._window.lost(str(reason)))
        if not self.stuck and not isinstance(reason, errors.Closed):
            self._tell(Disconnected(reason, "producer"))

    def _settle(self, settle: Callable[[], list[Settled]]) -> None:
        with self._lock:
            settled = settle()
            self._changed.notify_all()
            if self._retired and self._window.next_deadline() is None:
                self.link.close()
        for publish, error in settled:
            if error is None:
                publish.future.set_result(None)
                if self._tell:
                    self._tell(Published(publish.queue, publish.message_id, time.monotonic() - publish.started))
            else:
                publish.future.set_exception(error)
                self._tell(PublishFailed(publish.queue, publish.message_id, error))
