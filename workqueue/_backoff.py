"""How long to wait before the next attempt. Pure, but for the dice."""

import dataclasses
import random


@dataclasses.dataclass
class Backoff:
    """Exponential, capped, and fully jittered, so that a thousand workers do not come back at the same moment.

    The n-th delay is anything from zero to ``first`` × 2ⁿ seconds, ``cap`` at most. ``attempts`` are counted; who sets
    them to 0 begins anew.
    """

    first: float = 0.2
    cap: float = 10.0
    attempts: int = 0

    def next(self) -> float:
        """Seconds to wait now."""
        # Beyond 2^32 the cap holds for any sensible first; an endless outage must not end in an overflow.
        limit = min(self.cap, self.first * 2.0 ** min(self.attempts, 32))
        self.attempts += 1
        return random.uniform(0.0, limit)  # noqa: S311 - no secret
