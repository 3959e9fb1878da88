"""How long to wait for what does not come, as the environment has it."""

import math
import os

_VARIABLE = "WORKQUEUE_PATIENCE"
_DEFAULT = "20"


class WrongPatience(ValueError):  # noqa: N818 - what the environment has
    """The environment has no number of seconds. The message says what it has, and what to do."""


def patience() -> float:
    """Seconds to wait for anything, unless a spec says otherwise.

    :raises WrongPatience: if what the environment has is no number of seconds.
    """
    given = os.environ.get(_VARIABLE) or _DEFAULT
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise WrongPatience(
            f"The environment variable {_VARIABLE} is {given!r}, which is no number of seconds to wait. "
            f"Set it to one, such as {_DEFAULT}, or unset it."
        )
    return seconds
