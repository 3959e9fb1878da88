"""What a broker URL may look like, and how to show one without its password."""

import contextlib
import re
from urllib.parse import unquote, urlsplit

from workqueue.errors import InvalidURL

# An unescaped / ? # or @ in a password moves the rest of it out of its place, so none is taken where it has no meaning.
_URL = re.compile(
    r"(?P<scheme>(?i:amqps?)://)"
    r"((?P<user>[^:/?#@]*):[^/?#@]*@)?"
    r"(?P<address>(\[[^]/?#@]+]|[^][:/?#@]+)(:[0-9]*)?(/[^/?#@]*)?)"
    r"(\?[^#@]*)?"
)


def safe_url(url: str) -> str:
    """The URL as it may be shown: no password, no query (which may carry TLS secrets)."""
    if (found := _URL.fullmatch(url)) is None:
        return "<unreadable URL>"
    user = "" if found["user"] is None else f"{found['user']}:***@"
    return found["scheme"] + user + found["address"]


def check_url(url: str) -> None:
    """Raise InvalidURL, without repeating a secret, if this is no broker URL."""
    # What urllib says may quote from the password, so no traceback may show it, nor any variable but the URL itself.
    with contextlib.suppress(ValueError):
        if _URL.fullmatch(url) and urlsplit(url).port != 0 and len(unquote(urlsplit(url).path[1:]).encode()) < 256:
            return
    raise InvalidURL("not a broker URL like amqp://user:password@host:5672/%2F, special characters percent-encoded")
