"""Usage on its way to the journal: each attempt opened, then settled once, though the disk may be full in between.

It counts what it settles, for the metrics. What a record says is records.py.
"""

from collections import Counter
from collections.abc import Callable

import msgspec

from interlock.clock import Clock
from interlock.errors import LogUnavailable
from interlock.gateway.ports import UsageJournal
from interlock.ledger import Settled

_encode = msgspec.json.Encoder().encode


class Metering:
    """That of one worker. Attempts are named `REQUEST_ID/N`."""

    def __init__(self, clock: Clock, journal: UsageJournal) -> None:
        self.attempts: Counter[tuple[str, str]] = Counter()
        """Settled, by deployment and outcome."""
        self.tokens: Counter[tuple[str, str]] = Counter()
        """Settled, by deployment and kind."""
        self.unwritten: list[tuple[str, bytes]] = []
        """Settled, but there was no room."""
        self._clock = clock
        self._journal = journal
        self._open_seqs: dict[str, int] = {}

    def opened(self, attempt: str, payload: bytes, done: Callable[[LogUnavailable | None], None]) -> None:
        """Write `usage.opened`; `done` is called when it would survive a kill."""
        self._open_seqs[attempt] = self._journal.seq + 1
        try:
            self._journal.stage(f"{attempt}/opened", "usage.opened", self._clock.now_ns(), payload, done)
        except LogUnavailable as error:
            done(error)

    def forget(self, attempt: str) -> None:
        """Its `usage.opened` could not be written."""
        self._open_seqs.pop(attempt, None)

    def settled(self, attempt: str, deployment: str, settled: Settled, then: Callable[[], None] | None = None) -> None:
        """Write `usage.settled`, then call `then`; if the disk is full it is kept and written when there is room."""
        self.given(attempt, settled, then)
        self.attempts[deployment, settled.outcome] += 1
        for kind, count in settled.usage.items():
            self.tokens[deployment, kind] += count

    def given(self, attempt: str, settled: Settled, then: Callable[[], None] | None = None) -> None:
        """As `settled`, of an answer given again: no upstream was asked, so none is counted."""
        self._write_settled(attempt, _encode(settled), then)

    def _write_settled(self, attempt: str, payload: bytes, then: Callable[[], None] | None = None) -> None:
        def written(error: LogUnavailable | None) -> None:
            if error is None:
                self._open_seqs.pop(attempt, None)
            else:
                self.unwritten.append((attempt, payload))
            if then is not None:
                then()

        now_ns = self._clock.now_ns()
        try:
            self._journal.stage(f"{attempt}/settled", "usage.settled", now_ns, payload, written, reserved=True)
        except LogUnavailable as error:
            written(error)

    def low_water(self) -> int:
        """The lowest sequence number that a recovery would need."""
        return next(iter(self._open_seqs.values()), self._journal.seq + 1)

    def write_rest(self) -> None:
        """Try once more to write what found no room."""
        unwritten, self.unwritten = self.unwritten, []
        for attempt, payload in unwritten:
            self._write_settled(attempt, payload)
