"""The intake of one process: requests from the event loop, one thread that commits them together.

What waits while the disk syncs is committed with the next sync, so more callers cost no more syncs. It is open once it
has caught up with the log; until then callers are told so. It knows no HTTP.
"""

import asyncio
import queue
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from interlock.clock import Clock
from interlock.errors import InterlockError, TransientError
from interlock.intake.cloudevent import Event, Origin, Refused
from interlock.intake.commit import STREAM, Committer, Job, Outcome
from interlock.log.journal import Journal
from interlock.log.reader import JournalReader

GROUP_EVENTS_MAX = 20_000
"""Committed with one sync."""
WAITING_EVENTS_MAX = 200_000
"""Handed in and not answered; beyond, callers are told to come again."""

_Answer = asyncio.Future[list[Outcome]]


class Intake:
    """One data directory's. `start`, then `take`, then `close`."""

    def __init__(self, journals: Path, index: Path, clock: Clock) -> None:
        """`journals`: the root of the streams' directories. Opens nothing."""
        self._journals = journals
        self._index = index
        self._clock = clock
        self._queue: queue.SimpleQueue[tuple[Job, _Answer] | None] = queue.SimpleQueue()
        self.results: Counter[str] = Counter()
        """Events answered since the start, by result."""
        self._closing = threading.Event()
        self._waiting = 0  # events; only the event loop's thread touches it
        self._problem: InterlockError | None = TransientError("the log of events is being read", code="not_ready")
        self._thread = threading.Thread(target=self._run, name="intake", daemon=True)

    def start(self) -> None:
        """Open the log and read what the index lacks, on the intake's own thread."""
        self._thread.start()

    @property
    def ready(self) -> bool:
        """Whether events are taken."""
        return self._problem is None

    @property
    def problem(self) -> str:
        """Why events will not be taken by waiting; empty: they are, or will be once the log is read."""
        return self._problem.message if self._problem and self._problem.code != "not_ready" else ""

    async def take(self, origin: Origin, events: Sequence[Event | Refused]) -> list[Outcome]:
        """An outcome for each event, in order, once those counted are on the disk.

        A caller that goes away is not heard of again: its events are counted all the same.
        Raises: TransientError: `not_ready`, `busy`. InterlockError: the log or its index cannot be read.
        """
        if self._problem:
            raise self._problem
        if self._waiting + len(events) > max(WAITING_EVENTS_MAX, len(events)):
            raise TransientError("too many events wait to be written; retry", code="busy")
        answer: _Answer = asyncio.get_running_loop().create_future()
        self._waiting += len(events)
        try:
            self._queue.put((Job(origin, events), answer))
            outcomes = await answer
            self.results.update(outcome.result for outcome in outcomes)
            return outcomes
        finally:
            self._waiting -= len(events)

    def close(self) -> None:
        """Commit what was handed in, then give everything back."""
        self._closing.set()
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def _run(self) -> None:
        try:
            journal = Journal.open(self._journals / STREAM, STREAM, clock=self._clock, sync="tick")
        except (InterlockError, OSError) as error:
            self._problem = _as_ours(error)
            return
        from interlock.intake.index import Index  # numpy takes longer to import than all of the control process

        try:
            index = Index(self._index)
            try:
                committer = Committer(journal, index, JournalReader(self._journals), self._clock)
                committer.catch_up(self._closing.is_set)
                self._problem = None
                self._serve(committer)
            finally:
                index.close()
        except (InterlockError, OSError) as error:
            self._problem = _as_ours(error)
        finally:
            journal.close()

    def _serve(self, committer: Committer) -> None:
        while (taken := self._queue.get()) is not None:
            group, last = [taken], False
            size = len(taken[0].events)
            while size < GROUP_EVENTS_MAX and not self._queue.empty():
                more = self._queue.get()
                if more is None:
                    last = True
                    break
                group.append(more)
                size += len(more[0].events)
            _commit(committer, group)
            if last:
                return


def _commit(committer: Committer, group: Sequence[tuple[Job, _Answer]]) -> None:
    """Commit, and answer each on its own loop."""
    try:
        outcomes = committer.commit([job for job, _ in group])
    except Exception as error:  # also a defect of ours: whoever waits must hear of it, and the next ones be served
        problem = error if isinstance(error, InterlockError) else _as_ours(error)
        for _, answer in group:
            _tell(answer, problem)
        return
    for (_, answer), found in zip(group, outcomes, strict=True):
        _tell(answer, found)


def _tell(answer: _Answer, found: list[Outcome] | InterlockError) -> None:
    def unless_gone() -> None:
        if answer.done():
            return
        if isinstance(found, InterlockError):
            answer.set_exception(found)
        else:
            answer.set_result(found)

    with suppress(RuntimeError):  # the loop is closed: the process ends, and nobody waits any more
        answer.get_loop().call_soon_threadsafe(unless_gone)


def _as_ours(error: Exception) -> InterlockError:
    if isinstance(error, InterlockError):
        return error
    return TransientError(f"events cannot be taken: {error}", code="log_unavailable")
