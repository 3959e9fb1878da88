"""A URL whose password a traceback does not show."""

from workqueue._url import safe_url


class HiddenURL(str):
    """A broker URL that is shown without its password by ``repr``, and is all that it is by ``str``.

    Whoever shows the variables of a function that failed, as pytest does, shows them so.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(safe_url(self))


def hidden(spec: str) -> str:
    """A broker spec as it is, its ``repr`` without a password if it is a URL or meant to be one."""
    return HiddenURL(spec) if "://" in spec or spec.startswith("amqp") else spec


def shown(spec: str) -> str:
    """A broker spec as it may be shown."""
    return safe_url(spec) if isinstance(hidden(spec), HiddenURL) else spec
