"""What the broker and pika say about an end, told as the core's own errors. Pure."""

import re

from workqueue import errors


def explain_refusal(code: int, text: str) -> errors.ChannelClosed:
    """Why the broker closed a channel."""
    if code == 404 and not text.startswith("NOT_FOUND - no queue "):  # but that it does not answer, say
        return errors.QueueUnavailable(code, text)
    return (errors.TopologyMismatch.parse(text) if code == 406 else None) or errors.ChannelClosed(code, text)


def explain_closed(reason: BaseException, url: str, *, opened: bool) -> errors.WorkqueueError:
    """Why a connection to ``url`` (shown as it is) ended, or never began."""
    said = _root_cause(reason)
    if opened:
        return errors.ConnectionLost(f"the connection to {url} was lost: {said}")
    if "Timeout while setting up AMQP" in said:
        said = "something takes connections there, but does not speak AMQP in time"
    if "WRONG_VERSION_NUMBER" in said or "RECORD_LAYER_FAILURE" in said:  # what OpenSSL says, and newer ones
        said = "what listens there seems not to speak TLS; use amqp://, or the port for amqps://, as a rule 5671"
    # pika guesses a refusal from the stage at which the connection ended. Only the broker's own words tell
    # one, which is final, from a broker that went away during the handshake, which is not.
    if "ACCESS_REFUSED - Login" in said:
        return errors.AccessRefused(f"the broker refused the user name or password of {url}")
    # A limit is no matter of who asks: there is room when others are gone, or what was lost here is found out there.
    if ("ACCESS_REFUSED" in said or "NOT_ALLOWED" in said) and "connection limit (" not in said:
        return errors.AccessRefused(f"the broker refused access to the virtual host of {url}: {said}")
    return errors.ConnectionFailed(f"cannot connect to {url}: {said}")


def _root_cause(error: BaseException) -> str:
    """pika wraps a reason up to three times, in attributes and arguments rather than in ``__cause__``."""
    while True:
        inner = getattr(error, "exception", None) or (getattr(error, "exceptions", None) or error.args or [None])[-1]
        if not isinstance(inner, BaseException):
            break
        error = inner
    if (text := getattr(error, "reply_text", None)) is not None:
        return f"the broker closed it: {getattr(error, 'reply_code', '')} {text}"
    said = str(error.args[0]) if len(error.args) == 1 else str(error) or type(error).__name__
    return re.sub(r"""^\w+: \((['"])(.*)\1,\)$""", r"\2", said)  # an exception that was passed on as its repr
