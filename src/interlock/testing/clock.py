"""A clock that stands still until a test moves it."""

from interlock.clock import Clock


class ManualClock(Clock):
    """Both times advance together, by `advance` only."""

    def __init__(self, now_ns: int = 1_700_000_000_000_000_000) -> None:
        self._now_ns = now_ns
        self._monotonic_ns = 0

    def now_ns(self) -> int:
        return self._now_ns

    def monotonic_ns(self) -> int:
        return self._monotonic_ns

    def advance(self, by_ns: int) -> None:
        """Move forward; a clock that must go back is made anew."""
        assert by_ns >= 0
        self._now_ns += by_ns
        self._monotonic_ns += by_ns
