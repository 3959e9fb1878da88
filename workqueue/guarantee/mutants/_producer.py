"""Mistakes of a producer."""

import contextlib
import threading
import uuid
from typing import Any

from pika.channel import Channel

from workqueue import _frames
from workqueue._session import Session
from workqueue.errors import Closed, WorkqueueError
from workqueue.guarantee.mutants._mutant import Made, Method, Mutant, replace
from workqueue.producer import Producer
from workqueue.queue import Queue

_CLOSED_BY_THEN = 5.0  # seconds
_SENT_BY_THEN = 0.5  # seconds


def _transient(made: Made) -> None:
    def around(original: Method) -> Method:
        def plain_properties(message_id: str, **_: bool) -> Any:
            made()
            return original(message_id, persistent=False)

        return plain_properties

    replace(_frames, "plain_properties", around)


def _no_confirm(made: Made) -> None:
    def confirm_delivery(_: Channel, __: Method, callback: Method) -> None:
        callback(None)  # as if the broker had been asked

    def around_flush(original: Method) -> Method:
        def flush(session: Session) -> None:
            made()
            with session.link.writing:  # so that the broker is not heard before
                original(session)
                session.on_confirm(True, 0, True)  # what is written counts as done

        return flush

    replace(Channel, "confirm_delivery", lambda _: confirm_delivery)
    replace(Session, "_flush", around_flush)


def _nack_taken_for_ack(made: Made) -> None:
    def around(original: Method) -> Method:
        def on_confirm(session: Session, is_ack: bool, tag: int, multiple: bool) -> None:
            if not is_ack:
                made()
            original(session, True, tag, multiple)

        return on_confirm

    replace(Session, "on_confirm", around)


def _send_without_waiting(made: Made) -> None:
    def send(producer: Producer, *message: Any, retry: int, **described: Any) -> None:  # noqa: ARG001
        made()
        # Later, so that it does not depend on whether the broker is faster than who looks into the queue.
        later = threading.Timer(_SENT_BY_THEN, _send_late, [producer, message, described])
        later.daemon = True
        later.start()

    replace(Producer, "send", lambda _: send)


def _send_late(producer: Producer, message: tuple[Any, ...], described: dict[str, Any]) -> None:
    with contextlib.suppress(WorkqueueError):  # it is closed by then, or its queue is gone
        producer.send_async(*message, **described)


def _mandatory_off(made: Made) -> None:
    def around(original: Method) -> Method:
        def publish(*message: Any) -> Any:
            made()
            return original(*message)

        return publish

    _frames._MANDATORY = 0
    replace(_frames, "publish", around)


def _returns_ignored(made: Made) -> None:
    replace(Session, "on_return", lambda _: lambda *_: made())


def _producer_declares_nothing(made: Made) -> None:
    replace(Session, "declare", lambda _: lambda *_: made())


def _text_as_ascii(made: Made) -> None:
    def around(original: Method) -> Method:
        def send(producer: Producer, queue: Queue | str, body: bytes, **described: Any) -> None:
            made()
            original(producer, queue, body.decode().encode("ascii", "replace"), **described)

        return send

    replace(Producer, "send", around)


def _send_twice(made: Made) -> None:
    def around(original: Method) -> Method:
        def send(producer: Producer, *message: Any, **described: Any) -> None:
            made()
            original(producer, *message, **described)
            original(producer, *message, **described)

        return send

    replace(Producer, "send", around)


def _retry_under_a_new_id(made: Made) -> None:
    def around(original: Method) -> Method:
        def publish(
            producer: Producer, queue: Queue | str, body: bytes, _: str, __: bytes, *more: Any, **how: bool
        ) -> Any:
            made()
            message_id = uuid.uuid4().hex
            properties = _frames.plain_properties(message_id, persistent=True)
            return original(producer, queue, body, message_id, properties, *more, **how)

        return publish

    replace(Producer, "_publish", around)


def _no_message_id(made: Made) -> None:
    def plain_properties(_: str, *, persistent: bool) -> bytes:
        made()
        return b"\x10\x00\x02" if persistent else b"\x10\x00\x01"  # the delivery mode, and nothing else

    replace(_frames, "plain_properties", lambda _: plain_properties)


def _same_message_id(made: Made) -> None:
    def around(original: Method) -> Method:
        def plain_properties(_: str, **how: bool) -> Any:
            made()
            return original("1", **how)

        return plain_properties

    replace(_frames, "plain_properties", around)


def _never_retried(made: Made) -> None:
    def around(original: Method) -> Method:
        def deliver(producer: Producer, *message: Any) -> None:
            made()
            original(producer, *message[:-1], 0)

        return deliver

    replace(Producer, "_deliver", around)


def _close_without_waiting(made: Made) -> None:
    closed = threading.Event()

    def around_confirm(original: Method) -> Method:
        def on_confirm(session: Session, *answer: Any) -> None:
            closed.wait(_CLOSED_BY_THEN)  # so that it does not depend on whether the broker is faster than who closes
            original(session, *answer)

        return on_confirm

    def close(session: Session, _: float) -> None:
        made()
        session._on_lost(Closed("closed without waiting"))
        closed.set()
        session.link.close()

    replace(Session, "on_confirm", around_confirm)
    replace(Session, "close", lambda _: close)


PRODUCERS = (
    Mutant("transient-message", "Messages are published with delivery mode 1.", _transient),
    Mutant("no-confirm", "Messages are published without confirms; what is written counts as taken.", _no_confirm),
    Mutant("nack-taken-for-ack", "Any answer of the broker counts as a confirmation.", _nack_taken_for_ack),
    Mutant("send-without-waiting", "send returns without waiting for the confirmation.", _send_without_waiting),
    Mutant("mandatory-off", "Messages are published without the mandatory flag.", _mandatory_off),
    Mutant("returns-ignored", "Messages that the broker returns are not looked at.", _returns_ignored),
    Mutant(
        "producer-declares-nothing",
        "A producer does not declare its queue, but takes it to be as it should be.",
        _producer_declares_nothing,
    ),
    Mutant("text-as-ascii", "Letters beyond ASCII become question marks.", _text_as_ascii),
    Mutant("send-twice", "To be safe, each message is sent twice.", _send_twice),
    Mutant("retry-under-a-new-id", "Whatever is sent again gets a new message id.", _retry_under_a_new_id),
    Mutant("no-message-id", "Messages have no message id.", _no_message_id),
    Mutant("same-message-id", "All messages have the same message id.", _same_message_id),
    Mutant("never-retried", "A message is tried to be sent once, whatever retry says.", _never_retried),
    Mutant("close-without-waiting", "close does not wait for outstanding confirmations.", _close_without_waiting),
)
"""Every mistake of a producer."""
