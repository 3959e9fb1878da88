"""What a broker URL may look like, and how to show one without its password."""

from urllib.parse import unquote, urlsplit

from workqueue.errors import InvalidURL


def safe_url(url: str) -> str:
    """The URL as it may be shown: no password, no query (which may carry TLS secrets)."""
    if _problem(url):
        # An unescaped / ? or # in a password moves the rest of it out of its place: nothing is safe to show.
        return "<unreadable URL>"
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname
    user = "" if parts.username is None else parts.username + (":***" if parts.password else "") + "@"
    return f"{parts.scheme}://{user}{host}{'' if parts.port is None else f':{parts.port}'}{parts.path}"


def check_url(url: str) -> None:
    """Raise InvalidURL, without repeating a secret, if this is no broker URL."""
    # Outside any except clause, so that no traceback shows what urllib said: it may quote from the password.
    if problem := _problem(url):
        raise InvalidURL(f"not a broker URL: {problem}")


def _problem(url: str) -> str | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "the port is no number up to 65535, or user, password or host has an unescaped character"
    if parts.scheme not in ("amqp", "amqps"):
        return "it does not start with amqp:// or amqps://"
    if not parts.hostname:
        return "it names no host"
    if port == 0:
        return "the port is 0"
    if parts.username is not None and parts.password is None:
        return "it has a user name and no password"
    if "@" in parts.path + parts.query + parts.fragment or parts.fragment:
        return "user, password or virtual host has an unescaped character"
    if "/" in parts.path[1:]:
        return "the virtual host has an unescaped /"
    if len(unquote(parts.path[1:]).encode()) > 255:
        return "the virtual host is longer than 255 bytes"
    return None
