"""When an exchange must look at the clock again: silence, first word, next round, keep-alive comment, total.

Seconds of the loop's clock throughout. It knows what is due, not what to do about it.
"""

import math

from interlock.gateway.policy import Timeouts


class Deadlines:
    """Those of one call."""

    def __init__(self, timeouts: Timeouts, now_s: float, *, stream: bool) -> None:
        self._timeouts = timeouts
        self._stream = stream
        self._comment_s = timeouts.keep_alive_s if stream and timeouts.keep_alive_s else math.inf
        self._silence_s = self._word_s = self._round_s = math.inf
        self._comment_due_s = now_s + self._comment_s
        self._came_s = 0.0  # when the stream last came on, if that was after the deadline was set
        self._spoken = self.paused = False
        self.total_s = now_s + timeouts.total_s
        self.due_s = 0.0
        """The next of all."""
        self._set()

    def sent(self, now_s: float) -> None:
        """An attempt's request is on its way."""
        timeouts = self._timeouts
        self._came_s = 0.0  # of the attempt before
        self._silence_s = now_s + timeouts.connect_s + timeouts.first_byte_s
        if self._stream and not self._spoken:
            self._word_s = now_s + timeouts.connect_s + timeouts.first_token_s
        self._set()

    def heard(self, now_s: float) -> None:
        """The upstream is alive."""
        if self.paused:
            return
        self._silence_s = now_s + self._timeouts.idle_s
        if self._spoken:
            self._comment_due_s = now_s + self._comment_s
        self._set()

    def came(self, now_s: float) -> None:
        """The same, for each event of a stream: the deadline is moved when it is due, so an event costs nothing."""
        self._came_s = now_s

    def spoke(self) -> None:
        """The client has heard a word."""
        self._word_s, self._spoken = math.inf, True

    def commented(self, now_s: float) -> None:
        """The client was told that the stream lives."""
        self._comment_due_s = now_s + self._comment_s
        self._set()

    def wait_for_round(self, due_s: float) -> None:
        """Nothing is asked of anybody until then."""
        self._silence_s = self._word_s = math.inf
        self._came_s, self._round_s = 0.0, due_s
        self._set()

    def begin_round(self) -> None:
        """It begins; its first request is not sent yet."""
        self._round_s = math.inf
        self._set()

    def pause(self) -> None:
        """The client does not read: the upstream's silence is not its fault."""
        self._silence_s = self._comment_due_s = math.inf
        self.paused = True
        self._set()

    def resume(self, now_s: float) -> None:
        """It reads again."""
        self.paused, self._came_s = False, 0.0
        self._comment_due_s = now_s + self._comment_s
        self.heard(now_s)

    def passed(self, now_s: float) -> bool:
        """Whether anything is due, all that came considered."""
        if self._came_s:
            came_s, self._came_s = self._came_s, 0.0
            self.heard(came_s)
        return now_s >= self.due_s

    def round_due(self, now_s: float) -> bool:
        """Whether the next round may begin."""
        return now_s >= self._round_s

    @property
    def waits_for_round(self) -> bool:
        """Whether one is waited for."""
        return self._round_s != math.inf

    def comment_due(self, now_s: float) -> bool:
        """Whether the client has heard nothing for long."""
        return now_s >= self._comment_due_s

    def overdue(self, now_s: float, *, answering: bool) -> str:
        """Which of the policy's timeouts has passed; empty: none. `answering`: the upstream has sent a head."""
        if now_s >= self.total_s:
            return "total_s"
        if now_s >= self._word_s:
            return "first_token_s"
        return ("idle_s" if answering else "first_byte_s") if now_s >= self._silence_s else ""

    def _set(self) -> None:
        self.due_s = min(self._silence_s, self._word_s, self._round_s, self._comment_due_s, self.total_s)
