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

import re
from typing import Self

__all__ = [
    "AccessRefused",
    "ChannelClosed",
    "Closed",
    "ConnectionFailed",
    "ConnectionLost",
    "ConsumerCancelled",
    "InvalidURL",
    "Nacked",
    "NotSent",
    "OutcomeUnknown",
    "PublishError",
    "QueueUnavailable",
    "Refused",
    "Reject",
    "ShutdownTimeout",
    "TopologyMismatch",
    "Unroutable",
    "WorkqueueError",
]


class WorkqueueError(Exception):
    """Something went wrong between this process and the broker."""

    hint: str | None = None
    """What the reader of the message can do about it."""


class InvalidURL(WorkqueueError, ValueError):
    """The broker's URL cannot be used. The message never repeats a password."""

    hint = (
        "A broker URL looks like amqp://user:password@host:5672/%2F (or amqps:// for TLS). "
        "Percent-encode special characters in user, password and virtual host: %2F for /, %40 for @."
    )


class ConnectionFailed(WorkqueueError):
    """No connection to the broker could be made."""

    hint = "Is a broker running and listening there? Check host, port and, for amqps, the certificate."


class AccessRefused(ConnectionFailed):
    """The broker refused the user name, the password, or the virtual host. Trying again won't help."""

    hint = "Check user name, password and virtual host in the URL, and the user's permissions."


class ConnectionLost(WorkqueueError):
    """An open connection went away: the broker closed it, it stopped answering, or the network failed."""

    hint = "A worker's tasks that were not acknowledged go to another worker; what was published may be there or not."


class ChannelClosed(WorkqueueError):
    """The broker refused an operation and closed the channel.

    ``code`` is the AMQP reply code (403 access refused, 404 not found, 406 precondition failed …), ``text``
    the broker's explanation.
    """

    hint = (
        "404? Pass a Queue rather than a name to have it declared. "
        "403? The user needs the permission that is named; a queue that is given by its name is not configured."
    )

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"the broker refused: {code} {text}")
        self.code = code
        self.text = text


class QueueUnavailable(ChannelClosed):
    """There is such a queue in the cluster, but the node that has it is down, or about to be. Trying again helps."""

    hint = "Start the node, or use a quorum queue, which other nodes have, too."


class TopologyMismatch(ChannelClosed):
    """A queue exists with other properties than those asked for. Neither it nor its messages were touched.

    ``queue`` is its name, ``argument`` what differs, ``asked`` what this process asked for, ``actual`` what
    the broker has; None in either means that it is not set there.
    """

    hint = "Declare the queue as the broker has it, use another name, or delete the queue once it is drained."

    _VALUE = r"(?:none|(?:the value )?'(?P<{}>.*?)'(?: of type '\w+')?)"
    _TEXT = re.compile(
        r"inequivalent arg '(?P<argument>[^']+)' for queue '(?P<queue>.*)' in vhost '.*': "
        rf"received {_VALUE.format('asked')} but current is {_VALUE.format('actual')}$",
        re.DOTALL,
    )

    def __init__(self, text: str, *, queue: str, argument: str, asked: str | None, actual: str | None) -> None:
        super().__init__(406, text)
        self.queue = queue
        self.argument = argument
        self.asked = asked
        self.actual = actual

    def __str__(self) -> str:
        asked, actual = ("not set" if each is None else repr(each) for each in (self.asked, self.actual))
        problem = f"queue {self.queue!r} exists with another {self.argument!r}"
        return f"{problem}: asked for {asked}, the broker has {actual}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read the broker's explanation of a refused declaration; ``None`` if it speaks of something else."""
        found = cls._TEXT.search(text)
        return cls(text, **found.groupdict()) if found else None


class ConsumerCancelled(WorkqueueError):
    """The broker ended the subscription, as it does when the queue is deleted or its node goes away."""

    hint = "Was the queue deleted, or did a task take longer than the broker's consumer_timeout?"


class Closed(WorkqueueError):
    """The object was closed before, or while, it was used."""


class ShutdownTimeout(WorkqueueError):
    """A worker that was stopped gave up waiting for its handlers. Their tasks go to another worker."""

    hint = "Give it more time (shutdown_timeout), or make tasks shorter."


class PublishError(WorkqueueError):
    """A message was not published, or not provably. ``message_id`` says which."""

    def __init__(self, message: str, *, message_id: str) -> None:
        super().__init__(message)
        self.message_id = message_id


class Unroutable(PublishError):
    """No queue took the message: the broker returned it, and has not kept it."""

    hint = "Does the queue exist? Pass a Queue rather than a name to have it declared, also if it was deleted since."


class Nacked(PublishError):
    """The broker declined the message, as a full queue with overflow="reject-publish" does."""

    hint = "Try again later: the queue may be full, or may have lost its leader."


class Refused(PublishError):
    """The broker closed the channel because of this message: it is too large, say. It has not kept it.

    ``code`` and ``text`` are as in ChannelClosed.
    """

    hint = "Too large? Send it in parts, or raise the broker's max_message_size. 403? The user may not write here."

    def __init__(self, code: int, text: str, *, message_id: str) -> None:
        super().__init__(f"the broker refused the message: {code} {text}", message_id=message_id)
        self.code = code
        self.text = text


class NotSent(PublishError):
    """The message never left this process, so it is safe to send again."""

    hint = "It is safe to send it again. Is the broker slow, or does it block publishers (memory, disk)?"


class OutcomeUnknown(PublishError):
    """The message may or may not be in the queue. To send it again may duplicate it, not to may lose it."""

    hint = "Send it again with the same message id if the work may be done twice."


class Reject(Exception):
    """A handler raises it: this task can never succeed. Dead-letter it if the queue says so, else drop it."""
