"""What the broker and pika say about an end, told as the core's own errors. Pure."""

from workqueue import errors


def explain_refusal(code: int, text: str) -> errors.ChannelClosed:
    """Why the broker closed a channel."""
    if code == 404 and not text.startswith("NOT_FOUND - no queue "):  # but that it does not answer, say
        return errors.QueueUnavailable(code, text)
    if text.startswith("PRECONDITION_FAILED - inequivalent arg"):
        return errors.TopologyMismatch(code, text)
    return errors.ChannelClosed(code, text)


def explain_closed(reason: BaseException, url: str, *, opened: bool) -> errors.WorkqueueError:
    """Why a connection to ``url`` (shown as it is) ended, or never began."""
    said = _root_cause(reason)
    if opened:
        return errors.ConnectionLost(f"the connection to {url} was lost: {said}")
    # pika guesses a refusal from the stage at which the connection ended. Only the broker's own words tell
    # one, which is final, from a broker that went away during the handshake, which is not.
    # A limit is no matter of who asks: there is room when others are gone, or what was lost here is found out there.
    if ("ACCESS_REFUSED" in said or "NOT_ALLOWED" in said) and "connection limit (" not in said:
        return errors.AccessRefused(f"the broker refused access to {url}: {said}")
    return errors.ConnectionFailed(f"cannot connect to {url}: {said}")


def _root_cause(error: BaseException) -> str:
    """pika wraps a reason up to three times, in attributes and arguments rather than in ``__cause__``."""
    inner = getattr(error, "exception", None) or (getattr(error, "exceptions", None) or error.args or [None])[-1]
    if isinstance(inner, BaseException):
        return _root_cause(inner)
    return getattr(error, "strerror", None) or " ".join(map(str, error.args)) or type(error).__name__
