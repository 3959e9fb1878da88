"""How long to wait for what does not come, as the environment has it."""

import math
import os

_VARIABLE = "WORKQUEUE_PATIENCE"
_DEFAULT = "20"


def patience() -> float:
    """Seconds to wait for anything, unless a spec says otherwise.

    :raises ValueError: if what the environment has is no number of seconds; the message says so.
    """
    given = os.environ.get(_VARIABLE) or _DEFAULT
    try:
        seconds = float(given)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise ValueError(
            f"The environment variable {_VARIABLE} is {given!r}, which is no number of seconds to wait. "
            f"Set it to one, such as {_DEFAULT}, or unset it."
        )
    return seconds
