"""Everything that the core raises, and :class:`Reject`, which a handler raises.

::

    WorkqueueError
    ├── InvalidURL
    ├── ConnectionFailed            no connection could be made
    │   └── AccessRefused           … because of the credentials or the virtual host
    ├── ConnectionLost              an open connection went away
    ├── ChannelClosed               the broker refused an operation
    │   ├── QueueUnavailable        … because the node that has the queue is down
    │   └── TopologyMismatch        … because a queue exists with other properties
    ├── ConsumerCancelled           the broker ended the subscription
    ├── Closed                      used after close()
    ├── ShutdownTimeout             a worker left tasks that were not finished
    └── PublishError
        ├── Unroutable              no queue took the message
        ├── Nacked                  the broker declined responsibility for it
        ├── Refused                 the broker will not have a message like that
        ├── NotSent                 it never left this process
        └── OutcomeUnknown          it may or may not have arrived
"""
# ruff: noqa: N818  (named after what happened, as AMQP and its users say it; the roots end in Error)


class WorkqueueError(Exception):
    """Something went wrong between this process and the broker."""


class InvalidURL(WorkqueueError, ValueError):
    """The broker's URL cannot be used. The message never repeats a password."""


class ConnectionFailed(WorkqueueError):
    """No connection to the broker could be made."""


class AccessRefused(ConnectionFailed):
    """The broker refused the user name, the password, or the virtual host. Trying again won't help."""


class ConnectionLost(WorkqueueError):
    """An open connection went away: the broker closed it, it stopped answering, or the network failed."""


class ChannelClosed(WorkqueueError):
    """The broker refused an operation and closed the channel.

    ``code`` is the AMQP reply code (403 access refused, 404 not found, 406 precondition failed …), ``text``
    the broker's explanation.
    """

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"the broker refused: {code} {text}")
        self.code, self.text = code, text


class QueueUnavailable(ChannelClosed):
    """There is such a queue in the cluster, but the node that has it is down, or about to be. Trying again helps."""


class TopologyMismatch(ChannelClosed):
    """A queue exists with other properties than those asked for. Neither it nor its messages were touched.

    ``text`` names the queue, what differs, what this process asked for ("received") and what the broker has.
    """


class ConsumerCancelled(WorkqueueError):
    """The broker ended the subscription, as it does when the queue is deleted or its node goes away."""


class Closed(WorkqueueError):
    """The object was closed before, or while, it was used."""


class ShutdownTimeout(WorkqueueError):
    """A worker that was stopped gave up waiting for its handlers. Their tasks go to another worker."""


class PublishError(WorkqueueError):
    """A message was not published, or not provably. ``message_id`` says which."""

    def __init__(self, message: str, *, message_id: str) -> None:
        super().__init__(message)
        self.message_id = message_id


class Unroutable(PublishError):
    """No queue took the message: the broker returned it, and has not kept it."""


class Nacked(PublishError):
    """The broker declined the message, as a full queue with overflow="reject-publish" does."""


class Refused(PublishError):
    """The broker closed the channel because of this message: it is too large, say. It has not kept it.

    ``code`` and ``text`` are as in ChannelClosed.
    """

    def __init__(self, code: int, text: str, *, message_id: str) -> None:
        super().__init__(f"the broker refused the message: {code} {text}", message_id=message_id)
        self.code, self.text = code, text


class NotSent(PublishError):
    """The message never left this process, so it is safe to send again."""


class OutcomeUnknown(PublishError):
    """The message may or may not be in the queue. To send it again may duplicate it, not to may lose it."""


class Reject(Exception):
    """A handler raises it: this task can never succeed. Dead-letter it if the queue says so, else drop it."""
