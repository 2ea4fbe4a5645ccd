"""A deployment's circuit: after failures in a row it is left alone, then one call tries it. State, no clock.

Only what `retry.judge` counts is told here as a failure: never a 4xx, never a client that hung up. A call that tries
has other candidates to go to, so a probe costs nothing but its own time. Each worker has its own circuits.

    closed      calls go through; `failures` in a row within `window_s` open it
    open        calls are refused until `open_s` is over; the next one is the probe
    half-open   the probe is out, all others are refused; its end closes or opens, and opening doubles `open_s`

An upstream that recovers only to fail again is left alone longer each time: a circuit that opens again within
`window_s`, or within as long as it had been open, doubles just as after a failed probe.

If nobody else can take a call, refusing it would make an outage of 300 s out of one of 20, while letting everybody
through would make circuits pointless. So `wait_s(alone=True)` lets one call at a time through, and at most one in
`open_s` (never doubled): the upstream sees a handful of calls a minute, and recovery is noticed as soon as if it had
failed for the first time.
"""

import math
from typing import Literal

from interlock.gateway.policy import Breaker

State = Literal["closed", "open", "half-open"]

PROBE_WAIT_S = 1.0
"""What callers are told to wait while a probe is out; how long it takes is not known."""
STRAY = -1
"""The era of an attempt that was sent in spite of a refusal: its end tells nothing."""


class Circuit:
    """One deployment's. Times are seconds of one monotonic clock."""

    def __init__(self, rules: Breaker) -> None:
        self._rules = rules
        self._first_open_s = min(rules.open_s, rules.open_s_max)
        self._open_for_s = self._first_open_s
        self._state: State = "closed"
        self._era = 0
        self._failed_s: list[float] = []
        self._opened_s = self._closed_s = self._cool_until_s = -math.inf
        self._why = self._cool_why = ""

    @property
    def state(self) -> State:
        """For metrics. An open circuit stays so until a call tries it."""
        return self._state

    def wait_s(self, now_s: float, *, alone: bool = False) -> float:
        """Seconds until a call would be let through; 0: now.

        Args:
            alone: nobody else can take the call.
        """
        cool_s = max(self._cool_until_s - now_s, 0.0)
        if self._state == "closed":
            return cool_s
        if self._state == "half-open":
            return max(cool_s, PROBE_WAIT_S)
        return max(cool_s, self._opened_s + (self._first_open_s if alone else self._open_for_s) - now_s)

    def refusal(self, now_s: float) -> str:
        """Why no call may be sent; empty: it may."""
        wait_s = self.wait_s(now_s)
        if wait_s <= 0.0:
            return ""
        if self._cool_until_s > now_s:
            return f"left alone for {math.ceil(self._cool_until_s - now_s)} s, as asked ({self._cool_why})"
        if self._state == "half-open":
            return f"circuit half-open: one call is trying it after {self._why}"
        return f"circuit open for {math.ceil(wait_s)} s after {self._why}"

    def begin(self) -> int:
        """An attempt is sent. Returns: its era, with which its end is told; of an open circuit it is the probe."""
        if self._state == "half-open":
            return STRAY
        if self._state == "open":
            self._state = "half-open"
            self._era += 1
        return self._era

    def failed(self, era: int, now_s: float, why: str) -> None:
        """It ended in a fault that counts; `why` is its code. Attempts that began before the circuit opened, or before
        the probe, say nothing about now."""
        if era != self._era or not self._rules.failures:
            return
        if self._state == "half-open":
            self._open(now_s, f"a failed trial ({why})", again=True)
        elif self._state == "closed":
            since_s = now_s - self._rules.window_s
            self._failed_s = [*(at_s for at_s in self._failed_s if at_s >= since_s), now_s]
            count = len(self._failed_s)
            if count >= self._rules.failures:
                soon_s = max(self._rules.window_s, self._open_for_s)
                plural = "s" if count > 1 else ""
                self._open(now_s, f"{count} failure{plural} ({why})", again=now_s - self._closed_s <= soon_s)

    def spoke(self, era: int, now_s: float) -> None:
        """Its first word has come: enough for a probe, as a stream may go on for minutes. `failed` may follow."""
        if era == self._era and self._state == "half-open":
            self._state, self._closed_s = "closed", now_s

    def succeeded(self, era: int, now_s: float) -> None:
        """Its answer is whole. Nothing less ends a row of failures, or one that cuts every answer would never open."""
        self.spoke(era, now_s)
        if era == self._era:
            self._failed_s.clear()

    def ended(self, era: int) -> None:
        """It ended with nothing learnt (the client hung up, a 4xx). Harmless after `failed` or `succeeded`."""
        if era == self._era and self._state == "half-open":
            self._state = "open"

    def cool(self, until_s: float, why: str) -> None:
        """The upstream asked to be left alone until then (`why`: with a 503, say). A later end counts."""
        if until_s > self._cool_until_s:
            self._cool_until_s, self._cool_why = until_s, why

    def _open(self, now_s: float, why: str, *, again: bool) -> None:
        self._open_for_s = min(self._open_for_s * 2, self._rules.open_s_max) if again else self._first_open_s
        self._state, self._opened_s, self._why = "open", now_s, why
        self._failed_s.clear()
