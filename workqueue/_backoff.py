"""How long to wait before the next attempt. Pure."""

import dataclasses
import random
from collections.abc import Callable


@dataclasses.dataclass
class Backoff:
    """Exponential, capped, and fully jittered, so that a thousand workers do not come back at the same moment.

    The n-th delay is anything from zero to ``first`` × 2ⁿ seconds, ``cap`` at most. ``uniform`` is the dice.
    """

    first: float = 0.2
    cap: float = 10.0
    uniform: Callable[[float, float], float] = random.uniform
    attempts: int = 0

    def next(self) -> float:
        """Seconds to wait now."""
        # Beyond 2^32 the cap holds for any sensible first; an endless outage must not end in an overflow.
        limit = min(self.cap, self.first * 2.0 ** min(self.attempts, 32))
        self.attempts += 1
        return self.uniform(0.0, limit)

    def reset(self) -> None:
        """What was waited for has happened."""
        self.attempts = 0
