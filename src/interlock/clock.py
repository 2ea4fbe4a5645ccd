"""Time as a value that is passed in, so that decisions can be replayed and tests never wait."""

import time
from typing import Protocol


class Clock(Protocol):
    """Both times in nanoseconds."""

    def now_ns(self) -> int:
        """Wall clock, Unix epoch, UTC."""
        ...

    def monotonic_ns(self) -> int:
        """For deadlines and durations: never goes back; its zero means nothing."""
        ...


class SystemClock:
    """The machine's clocks."""

    now_ns = staticmethod(time.time_ns)  # noqa: TID251 - the one place that asks the machine
    monotonic_ns = staticmethod(time.monotonic_ns)
