"""One seed drives clients, crashes and a failing disk against a real ledger; an auditor that shares nothing checks it.

Clients send batches of new events, of those they had no answer to, of old ones again, and now and then of an old id
with other content. They correct what they sent, and what they corrected, alone or several that hang together, again and
otherwise; and they close months. The ledger dies at its named points and within a write, and its disk refuses or cuts
writes. Not modelled: a disk that says it wrote and did not (power loss), two ledgers on one directory (the journal's
lock forbids it).
"""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import TypeVar

import msgspec
import pytest
from tests.intake.events import Crash, Ledger, correction, event, stored
from tests.sim.auditor import Auditor

from interlock.errors import InterlockError, LocalError
from interlock.intake import Committer, Correction, Event
from interlock.intake.decide import reversal_key
from interlock.intake.records import closings_of
from interlock.log import appender

T = TypeVar("T")
POINTS = ("looked_up", "staged", "writing", "written", "known")
CLIENTS, STEPS = 3, 60


class Simulation:
    """A seed's run."""

    def __init__(self, root: Path, seed: int, committer: type[Committer] = Committer) -> None:
        self.root = root
        self.chance = Random(seed)
        self.committer = committer
        self.auditor = Auditor()
        self.made: list[Event] = []
        self.unanswered: list[Event] = []
        self.corrections: list[Correction] = []
        self.uncorrected: list[Correction] = []
        """Without an answer."""
        self.replaced = 0
        self.months = 0
        """That were closed, or tried."""
        self.failing = 0.0
        self.ledger = self._opened()

    def run(self, patch: pytest.MonkeyPatch) -> None:
        """All steps, then the audit. Raises: AssertionError: a promise was broken."""
        patch.setattr(appender, "os", SimpleNamespace(**{**vars(os), "write": self._write}))
        for _ in range(STEPS):
            self._step()
        self.failing = 0.0
        self.ledger.clock.advance(10**8)
        for one in self.unanswered[:]:
            self._send([one])  # clients go on until they are answered
        for asked in self.uncorrected[:]:
            self._correct([asked])
        self.ledger.stop_at = ""
        self.ledger.close()
        self.auditor.check(self.root)
        again = Ledger(self.root)  # whatever the index held, it is the log's view
        wanted = self.auditor.accepted | {reversal_key(key): said for key, said in self.auditor.corrected.items()}
        known = again.index.find(sorted(wanted))
        assert {key: known[key].content for key in wanted} == wanted
        assert again.committer.closings("acme") == [one for record in stored(self.root) for one in closings_of(record)]
        again.close()

    def _step(self) -> None:
        chance = self.chance
        self.ledger.clock.advance(10**8)  # after which a disk that failed is tried again
        self.failing = chance.choice((0.0, 0.0, 0.3))
        if chance.random() < 0.2:
            self.ledger.stop_at = chance.choice(POINTS)
        batch = [self._new() for _ in range(chance.randrange(8))]
        batch += chance.sample(self.unanswered, min(len(self.unanswered), chance.randrange(4)))
        batch += chance.sample(self.made, min(len(self.made), chance.randrange(4)))
        if self.made and chance.random() < 0.3:
            batch.append(self._changed(chance.choice(self.made)))
        batch += batch[: chance.randrange(3)]
        chance.shuffle(batch)
        if batch:
            self._send(batch)
        if self.made and chance.random() < 0.5:
            if chance.random() < 0.3:
                self.ledger.stop_at = chance.choice((*POINTS, "writing"))
            asked = [self._correction() for _ in range(chance.randrange(1, 4))]
            asked += chance.sample(self.uncorrected, min(len(self.uncorrected), chance.randrange(3)))
            self._correct(asked)
        if chance.random() < 0.1:
            self._close()

    def _send(self, batch: list[Event]) -> None:
        self.auditor.sending(*batch)
        outcomes = self._survived(lambda: self.ledger.commit(*batch))
        if outcomes is None:
            self.unanswered += batch
            return
        for one, outcome in zip(batch, outcomes, strict=True):
            if outcome.result == "unavailable":
                self.unanswered.append(one)
            else:
                self.auditor.answered(one, outcome.result)
                self.unanswered = [other for other in self.unanswered if other is not one]

    def _correct(self, asked: list[Correction]) -> None:
        self.auditor.correcting(*asked)
        outcomes = self._survived(lambda: self.ledger.correct(*asked))
        if outcomes is None:
            self.uncorrected += asked
            return
        for one, outcome in zip(asked, outcomes, strict=True):
            if outcome.result == "unavailable":
                self.uncorrected.append(one)
            else:
                self.auditor.answered_correction(one, outcome)
                self.uncorrected = [other for other in self.uncorrected if other is not one]

    def _close(self) -> None:
        """The next month, or one before it again."""
        self.months = min(self.months + 1, 10) if self.chance.random() < 0.6 else max(self.months - 1, 1)
        period = f"2026-{self.months:02d}"
        try:
            if self._survived(lambda: self.ledger.close_period(period)):
                self.auditor.closed.add(period)
        except LocalError as error:
            stand = [one.closed.period for record in stored(self.root) for one in closings_of(record)]
            assert error.code == "period_closed" and max(stand) > period, error  # perhaps one that nobody was told of

    def _survived(self, call: Callable[[], T]) -> T | None:
        """What it returns; None: the ledger died, or its disk failed, and nothing is known."""
        try:
            return call()
        except LocalError:
            raise
        except (Crash, InterlockError) as error:
            if isinstance(error, Crash):
                self.ledger.crash()
                self.ledger = self._opened()
            return None

    def _opened(self) -> Ledger:
        failing, self.failing = self.failing, 0.0  # a start on a full disk is another test's
        ledger = Ledger(self.root, held_max=self.chance.choice((4, 20, 1000)), committer=self.committer)
        self.failing = failing
        return ledger

    def _new(self) -> Event:
        number = len(self.made)
        made = event(f"e{number}", source=f"client/{number % CLIENTS}", data={"n": number})
        self.made.append(made)
        return made

    def _correction(self) -> Correction:
        """Of anything that was sent, or put in another's place; one of three as it was asked for before, or almost."""
        chance = self.chance
        if self.corrections and chance.random() < 0.3:
            old = chance.choice(self.corrections)
            return (
                old if chance.random() < 0.5 else correction(event(old.id, source=old.source), old.replacement, "why")
            )
        candidates = self.made + [one.replacement for one in self.corrections[-5:] if one.replacement]
        original, replacement = chance.choice(candidates), None
        if chance.random() < 0.7:
            self.replaced += 1
            replacement = event(f"r{self.replaced}", source="desk", data={"n": self.replaced})
            if chance.random() < 0.1 and (other := chance.choice(self.made)).key != original.key:
                replacement = other  # it stands already, or will
        self.corrections.append(correction(original, replacement))
        return self.corrections[-1]

    def _changed(self, one: Event) -> Event:
        document = msgspec.json.decode(one.canonical)
        return event(**{**document, "data": {"n": self.chance.randrange(3), "x": 1}})

    def _write(self, fd: int, data: bytes) -> int:
        if self.ledger.stop_at == "writing":
            self.ledger.stop_at = ""
            os.write(fd, data[: self.chance.randrange(len(data) + 1)])
            raise Crash("writing")
        if self.chance.random() < self.failing:
            if self.chance.random() < 0.5:
                raise OSError(errno.ENOSPC, "no space left on the device")
            data = data[: self.chance.randrange(len(data))]
        return os.write(fd, data)
