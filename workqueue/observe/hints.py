"""What whoever reads an error of the core can do about it."""

from workqueue import errors

HINTS: dict[type[errors.WorkqueueError], str] = {
    errors.InvalidURL: "A broker URL looks like amqp://user:password@host:5672/%2F (or amqps:// for TLS). "
    "Percent-encode special characters in user, password and virtual host: %2F for /, %40 for @.",
    errors.ConnectionFailed: "Is a broker running and listening there? Check host, port (as a rule 5672 for amqp://, "
    "and 5671 for amqps://, which is TLS) and, for amqps://, the certificate.",
    errors.AccessRefused: "Check user name, password and virtual host in the URL, and the user's permissions.",
    errors.ConnectionLost: "A worker's tasks that were not acknowledged go to another worker; "
    "what was published may be there or not.",
    errors.ChannelClosed: "404? Pass a Queue rather than a name to have it declared. "
    "403? The user needs the permission that is named; a queue that is given by its name is not configured.",
    errors.QueueUnavailable: "Start the node, or use a quorum queue, which other nodes have, too.",
    errors.TopologyMismatch: "Declare the queue as the broker has it, use another name, or delete the queue once it is "
    "drained.",
    errors.ConsumerCancelled: "Was the queue deleted, or did a task take longer than the broker's consumer_timeout?",
    errors.ShutdownTimeout: "Give it more time (shutdown_timeout), or make tasks shorter.",
    errors.Unroutable: "Does the queue exist? Pass a Queue rather than a name to have it declared, also if it was "
    "deleted since.",
    errors.Nacked: "Try again later: the queue may be full, or may have lost its leader.",
    errors.Refused: "Too large? Send it in parts, or raise the broker's max_message_size. "
    "403? The user may not write here.",
    errors.NotSent: "It is safe to send it again. Is the broker slow, or does it block publishers (memory, disk)?",
    errors.OutcomeUnknown: "Send it again with the same message id if the work may be done twice.",
}
"""By class; what has none of its own has that of the class that it is derived from."""


def hint_for(error: BaseException) -> str | None:
    """What to do about it, if there is anything to say."""
    return next((HINTS[kind] for kind in type(error).__mro__ if kind in HINTS), None)
