"""One seed drives clients, crashes and a failing disk against a real ledger; an auditor that shares nothing checks it.

Clients send batches of new events, of those they had no answer to, of old ones again, and now and then of an old id
with other content. The ledger dies at its named points, and its disk refuses or cuts writes. Not modelled: a disk that
says it wrote and did not (power loss), two ledgers on one directory (the journal's lock forbids it).
"""

import errno
import os
from collections import Counter
from pathlib import Path
from random import Random
from types import SimpleNamespace

import msgspec
import pytest
from tests.intake.events import Crash, Ledger, counted, event, stored

from interlock.errors import InterlockError
from interlock.intake import Committer, Event
from interlock.log import appender

POINTS = ("looked_up", "staged", "written", "known")
CLIENTS, STEPS = 3, 60


class Auditor:
    """What must be true of the answers, and in the end of the log."""

    def __init__(self) -> None:
        self.accepted: dict[bytes, bytes] = {}
        """Key to content, of what was answered as counted or duplicate."""
        self.conflicts: set[tuple[bytes, bytes]] = set()
        self.maybe: set[bytes] = set()
        """Keys of events that were sent and not answered: they may stand."""
        self.sent: set[tuple[bytes, bytes]] = set()

    def answered(self, one: Event, result: str) -> None:
        """One answer came."""
        known = self.accepted.get(one.key)
        if result == "counted":
            assert known is None, "counted twice"
        elif result == "duplicate":
            assert known == one.content or (known is None and one.key in self.maybe), "a duplicate of nothing"
        elif result == "conflict":
            assert known != one.content and (known is not None or one.key in self.maybe), "a conflict with nothing"
            self.conflicts.add((one.key, one.content))
        if result in ("counted", "duplicate"):
            self.accepted[one.key] = one.content

    def check(self, root: Path) -> None:
        """The log holds each accepted event once, each conflict once, and nothing that nobody sent."""
        log = [event(**document) for document in counted(root)]
        times = Counter(one.key for one in log)
        assert not [key for key, count in times.items() if count > 1], "counted twice in the log"
        content = {one.key: one.content for one in log}
        assert {key: content.get(key) for key in self.accepted} == self.accepted, "accepted, and not counted"
        assert {(one.key, one.content) for one in log} <= self.sent
        kept = Counter(
            (one.key, one.content)
            for record in stored(root)
            if record.record.type == "events.conflict"
            for one in (event(**d) for d in msgspec.json.decode(record.record.payload)["events"])
        )
        assert set(kept.values()) <= {1} and self.conflicts <= set(kept), "a conflict lost, or kept twice"
        assert not kept.keys() & content.items(), "kept aside, and counted"


class Simulation:
    """A seed's run."""

    def __init__(self, root: Path, seed: int, committer: type[Committer] = Committer) -> None:
        self.root = root
        self.chance = Random(seed)
        self.committer = committer
        self.auditor = Auditor()
        self.made: list[Event] = []
        self.unanswered: list[Event] = []
        self.failing = 0.0
        self.ledger = self._opened()

    def run(self, patch: pytest.MonkeyPatch) -> None:
        """All steps, then the audit. Raises: AssertionError: a promise was broken."""
        patch.setattr(appender, "os", SimpleNamespace(**{**vars(os), "write": self._write}))
        for _ in range(STEPS):
            self._step()
        self.failing = 0.0
        for one in self.unanswered[:]:
            self._send([one])  # clients go on until they are answered
        self.ledger.close()
        self.auditor.check(self.root)
        again = Ledger(self.root)  # whatever the index held, it is the log's view
        wanted = {one.key for one in self.made}
        known = again.index.find(sorted(wanted))
        assert {key: known[key].content for key in self.auditor.accepted} == self.auditor.accepted
        again.close()

    def _step(self) -> None:
        chance = self.chance
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

    def _send(self, batch: list[Event]) -> None:
        self.auditor.sent |= {(one.key, one.content) for one in batch}
        self.auditor.maybe |= {one.key for one in batch}
        try:
            outcomes = self.ledger.commit(*batch)
        except (Crash, InterlockError) as error:
            self.unanswered += batch
            if isinstance(error, Crash):
                self.ledger.crash()
                self.ledger = self._opened()
            return
        for one, outcome in zip(batch, outcomes, strict=True):
            if outcome.result == "unavailable":
                self.unanswered.append(one)
            else:
                self.auditor.answered(one, outcome.result)
                self.unanswered = [other for other in self.unanswered if other is not one]

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

    def _changed(self, one: Event) -> Event:
        document = msgspec.json.decode(one.canonical)
        return event(**{**document, "data": {"n": self.chance.randrange(3), "x": 1}})

    def _write(self, fd: int, data: bytes) -> int:
        if self.chance.random() < self.failing:
            if self.chance.random() < 0.5:
                raise OSError(errno.ENOSPC, "no space left on the device")
            data = data[: self.chance.randrange(len(data))]
        return os.write(fd, data)
