"""Which of a deployment's credentials the next call takes. State, no clock, and no secrets: keys are numbers here.

A key that was limited (429) rests until the upstream's Retry-After; one that was refused (401, 402, 403) rests longer,
and is reported. A refusal may also be about one request (a model or a region that is not allowed), which a client could
send on purpose: so where every key is refused the one refused longest ago is taken, and nobody can close a deployment
for the others.
"""

import math
from collections.abc import Collection

LIMITED_S = 1.0
"""How long a key rests after a 429 that told no time: it is not hammered, and where it is alone not missed for long."""
REFUSED_S = 300.0
"""A key that is revoked, or whose account is empty, is mended by a person."""


class Keys:
    """Those of one deployment. Times are seconds of one monotonic clock."""

    def __init__(self, count: int) -> None:
        """`count`: at least 1; a deployment without a credential has one that is empty."""
        self._next = 0
        self._limited_until_s = [-math.inf] * count
        self._refused_until_s = [-math.inf] * count

    def pick(self, now_s: float, besides: Collection[int] = ()) -> int | None:
        """The key for a call, in turn; None: all are resting.

        Args:
            besides: those that the call has tried already.
        """
        free = self.free(now_s, besides)
        if not free:
            return None
        self._next = (free[0] + 1) % len(self._limited_until_s)
        return free[0]

    def free(self, now_s: float, besides: Collection[int] = ()) -> list[int]:
        """Those that `pick` may take, the one that it takes first."""
        count = len(self._limited_until_s)
        turn = [index % count for index in range(self._next, self._next + count)]
        free = [index for index in turn if self._limited_until_s[index] <= now_s and index not in besides]
        good = [index for index in free if self._refused_until_s[index] <= now_s]
        if not good and self._all_refused(now_s):
            good = sorted(free, key=lambda index: self._refused_until_s[index])
        return good

    def limited(self, index: int, now_s: float, after_s: float | None = None) -> None:
        """It got a 429. `after_s`: what Retry-After told; None: nothing. A later end counts."""
        until_s = now_s + (LIMITED_S if after_s is None else after_s)
        self._limited_until_s[index] = max(self._limited_until_s[index], until_s)

    def refused(self, index: int, now_s: float) -> None:
        """It got a 401, 402 or 403."""
        self._refused_until_s[index] = now_s + REFUSED_S

    def worked(self, index: int) -> None:
        """It was let in: if it had been refused, that is over."""
        self._refused_until_s[index] = -math.inf

    def soonest(self, now_s: float) -> float:
        """The first time when `pick` may have one; `now_s` if it has one now."""
        refused_s = [-math.inf] * len(self._refused_until_s) if self._all_refused(now_s) else self._refused_until_s
        ends = [max(pair) for pair in zip(self._limited_until_s, refused_s, strict=True)]
        return max(min(ends), now_s)

    def report(self, now_s: float) -> str:
        """What an operator should know: which keys were refused (counted from 1); empty: none."""
        refused = [str(index + 1) for index, until_s in enumerate(self._refused_until_s) if until_s > now_s]
        return f"credential {', '.join(refused)} of {len(self._refused_until_s)} refused upstream" if refused else ""

    def _all_refused(self, now_s: float) -> bool:
        return all(until_s > now_s for until_s in self._refused_until_s)
