"""Whether a store that fails is asked at all: after failures it is left alone, then one question tries it. No clock."""

FAILURES = 2
"""In a row. One late answer may be a machine that was busy; a refused connection counts as all of them."""
REST_S = 1.0
REST_S_MAX = 30.0


class Fuse:
    """Times are seconds of one monotonic clock."""

    def __init__(self) -> None:
        self._failures = 0
        self._rest_s = REST_S
        self._until_s = 0.0

    @property
    def blown(self) -> bool:
        """Whether it is left alone, or tried again for the first time."""
        return self._failures >= FAILURES

    def lets(self, now_s: float) -> bool:
        """Whether to ask now. After a rest the first to be let through is the one that tries; the others rest on, for
        twice as long, unless it `worked`."""
        if not self.blown:
            return True
        if now_s < self._until_s:
            return False
        self._rest_s = min(self._rest_s * 2, REST_S_MAX)
        self._until_s = now_s + self._rest_s
        return True

    def worked(self) -> bool:
        """It answered; whether that is news."""
        news = self.blown
        self._failures, self._rest_s = 0, REST_S
        return news

    def failed(self, now_s: float, *, sure: bool) -> bool:
        """It did not; whether that is news. `sure`: nobody is there, which needs no second question."""
        if self.blown:
            return False  # asked before the others failed, or the one that tried
        self._failures = FAILURES if sure else self._failures + 1
        if self.blown:
            self._until_s = now_s + self._rest_s
        return self.blown
