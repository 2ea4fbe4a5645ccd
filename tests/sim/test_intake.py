"""Accepted equals counted, whatever happens; and each way to break that is seen.

`INTERLOCK_TEST_SEED=N` runs one seed; `INTERLOCK_TEST_SEEDS=5000` (`make soak`) more of them.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest
from tests.intake.events import Ledger, stored
from tests.sim.intake import Simulation

from interlock.intake import Committer, Job, Outcome
from interlock.intake import commit as commit_module
from interlock.intake.correct import _Correcting
from interlock.intake.decide import Known, decide, reversal_key
from interlock.intake.periods import Standing
from interlock.intake.records import Draft, known_of
from interlock.log.journal import Journal

SEEDS = int(os.environ.get("INTERLOCK_TEST_SEEDS", "200"))
ONE = os.environ.get("INTERLOCK_TEST_SEED")


def test_accepted_equals_counted(tmp_path: Path) -> None:
    for seed in [int(ONE)] if ONE else range(SEEDS):
        with pytest.MonkeyPatch.context() as patch:
            try:
                Simulation(tmp_path / str(seed), seed).run(patch)
            except BaseException:
                print(f"INTERLOCK_TEST_SEED={seed}")
                raise


class KnownAfterTheAnswer(Committer):
    """The index learns of a record only when the next request comes."""

    _late: Sequence[tuple[dict[bytes, Known], int, bytes]] = ()

    def commit(self, jobs: Sequence[Job]) -> list[list[Outcome]]:
        late, new = self._late, list[tuple[dict[bytes, Known], int, bytes]]()
        self._late = new
        add, self._index.add = self._index.add, lambda *one: new.append(one)  # type: ignore[method-assign]  # the planted bug
        try:
            return super().commit(jobs)
        finally:
            self._index.add = add  # type: ignore[method-assign]  # the planted bug
            for one in late:
                add(*one)


class NeverCaughtUp(Committer):
    """What a crash left between the log and the index is not made up for."""

    def catch_up(self, stopping: Callable[[], bool] = lambda: False) -> int:
        self._behind = False
        return 0


class AWindow(Committer):
    """What is older than some records is forgotten, as a day's window would."""

    def commit(self, jobs: Sequence[Job]) -> list[list[Outcome]]:
        find, newest = self._index.find, self._journal.seq
        self._index.find = lambda keys: {k: v for k, v in find(keys).items() if v.seq > newest - 10}  # type: ignore[method-assign]  # the planted bug
        try:
            return super().commit(jobs)
        finally:
            self._index.find = find  # type: ignore[method-assign]  # the planted bug


class AnsweredBeforeItIsWritten(Committer):
    """What the journal says is not waited for."""

    def write(self, drafts: Sequence[Draft]) -> None:
        super().write(drafts)
        for draft in drafts:
            draft.error = None


class BlindWithinARequest(Committer):
    """Each event of a request is looked up by itself."""

    def commit(self, jobs: Sequence[Job]) -> list[list[Outcome]]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                commit_module, "decide", lambda events, known: [r for e in events for r in decide([e], known)]
            )
            return super().commit(jobs)


class ReversalNotKnown(Committer):
    """The index learns of the replacement alone, until it reads the log again."""

    def write(self, drafts: Sequence[Draft]) -> None:
        def without(draft: _Correcting) -> dict[bytes, Known]:
            one = draft.item.replacement
            return {one.key: Known(one.content, draft.seq)} if one else {}

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_Correcting, "known", without)
            super().write(drafts)


class ReplacementAlone(Committer):
    """Reversal and replacement are two records, and the disk may take one of them."""

    def write(self, drafts: Sequence[Draft]) -> None:
        apart: list[Draft] = []
        for draft in drafts:
            if isinstance(draft, _Correcting) and draft.item.replacement:
                one = draft.item.replacement
                replacement = commit_module._Events("events.counted", draft.origin, [one], [one.key])
                draft.item = msgspec.structs.replace(draft.item, replacement=None)
                apart.append(replacement)
            apart.append(draft)
        super().write(apart)


class ClosingForgotten(Committer):
    """A closing is known from the log only, when it is read again."""

    def closings(self, tenant: str) -> list[Standing]:
        self._index._closings.clear()
        return super().closings(tenant)


class OriginalNotLookedUp(Committer):
    """Whether an event was taken back is looked up for the first correction of a request only."""

    def find(self, keys: Sequence[bytes]) -> dict[bytes, Known]:
        known = super().find(keys)
        reversals = {reversal_key(key) for key in keys}
        return {key: one for key, one in known.items() if key not in reversals or key == keys[0]}


PLANTED = [
    KnownAfterTheAnswer,
    NeverCaughtUp,
    AWindow,
    AnsweredBeforeItIsWritten,
    BlindWithinARequest,
    ReversalNotKnown,
    ReplacementAlone,
    ClosingForgotten,
    OriginalNotLookedUp,
]


@pytest.mark.parametrize("planted", PLANTED)
def test_a_planted_bug_is_caught(tmp_path: Path, planted: type[Committer]) -> None:
    caught = 0
    for seed in range(40):
        with pytest.MonkeyPatch.context() as patch:
            try:
                Simulation(tmp_path / str(seed), seed, planted).run(patch)
            except (AssertionError, KeyError):
                caught += 1
    assert caught >= 20, f"only {caught} of 40 seeds"


def test_the_index_is_a_view(tmp_path: Path) -> None:
    """Thrown away, damaged or another log's, it is made again from the log."""
    with pytest.MonkeyPatch.context() as patch:
        Simulation(tmp_path / "a", 1).run(patch)
        Simulation(tmp_path / "b", 2).run(patch)
    ledger = Ledger(tmp_path / "a", held_max=1)
    ledger.close()
    whole = Ledger(tmp_path / "a")
    count = whole.index.count
    whole.close()
    for path in (tmp_path / "a/index").iterdir():
        path.unlink()
    rebuilt = Ledger(tmp_path / "a", held_max=5)
    assert rebuilt.index.count == count
    rebuilt.close()
    (tmp_path / "b/index").rename(tmp_path / "b/own")
    (tmp_path / "a/index").rename(tmp_path / "b/index")
    foreign = Ledger(tmp_path / "b")
    assert isinstance(foreign.journal, Journal)
    own = [key for record in stored(tmp_path / "b") for key in known_of(record)]
    assert set(foreign.index.find(own)) == set(own) and foreign.index.count == len(own)
    foreign.close()
