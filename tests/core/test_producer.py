"""What no broker could be sent is refused at once, where the caller can see it."""

import pytest

from workqueue import Producer


def sends():
    """Both ways to send, of a producer that nobody will answer: it must not come to that."""
    producer = Producer("amqp://nobody.invalid")
    return producer.send, producer.send_async


@pytest.mark.parametrize("message_id", ["x" * 256, "é" * 128])
def test_a_message_id_that_no_frame_can_hold_is_refused_before_anything_is_sent(message_id):
    for send in sends():
        with pytest.raises(ValueError, match="a message id has at most 255 bytes: '"):
            send("task_queue", b"", message_id=message_id)


@pytest.mark.parametrize("queue", ["", "x" * 256, "é" * 128, "\ud800"], ids=ascii)
def test_a_queues_name_that_no_frame_can_hold_is_refused_in_the_thread_that_sends(queue):
    """In the I/O thread, it would end the connection, and with it the messages of others."""
    for send in sends():
        with pytest.raises(ValueError, match=r"255 bytes|surrogates not allowed"):
            send(queue, b"")


@pytest.mark.parametrize("body", ["text", None, 7, bytearray(b"changes"), [b"a"]], ids=repr)
def test_a_body_that_is_not_bytes_is_refused_in_the_thread_that_sends(body):
    for send in sends():
        with pytest.raises(TypeError, match=f"a body is bytes, not {type(body).__name__}"):
            send("task_queue", body)
