"""The intake of one process: requests from the event loop, one thread that commits them together.

What waits while the disk syncs is committed with the next sync, so more callers cost no more syncs. It is open once it
has caught up with the log; until then, and while the log cannot be written, callers are told so. It knows no HTTP.
"""

import asyncio
import logging
import queue
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from interlock.clock import Clock
from interlock.errors import InterlockError, LocalError, TransientError
from interlock.intake.closing import Answer, close_period
from interlock.intake.cloudevent import Event, Origin, Refused
from interlock.intake.commit import Committer, Job, Outcome
from interlock.intake.correct import WAVE_MAX, Correction, correct
from interlock.intake.periods import Standing
from interlock.intake.records import STREAM
from interlock.log.journal import Journal
from interlock.log.reader import JournalReader

GROUP_BYTES_MAX = 24 << 20
"""Of events committed with one sync; the journal stages 64 MiB."""
WAITING_BYTES_MAX = 256 << 20
"""Of events handed in and not answered; beyond, callers are told to come again."""
AGAIN_S = 2.0
"""How often a log that cannot be opened is tried again."""

T = TypeVar("T")
_Answer = asyncio.Future[Any]
_Task = Callable[[Committer], Any]
"""What is done on the intake's thread by itself, in its turn."""
_log = logging.getLogger(__name__)


class Intake:
    """One data directory's. `start`, then `take`, then `close`."""

    def __init__(self, journals: Path, index: Path, clock: Clock) -> None:
        """`journals`: the root of the streams' directories. Opens nothing."""
        self._journals = journals
        self._index = index
        self._clock = clock
        self._queue: queue.SimpleQueue[tuple[Job | _Task, int, _Answer] | None] = queue.SimpleQueue()
        self.results: Counter[str] = Counter()
        """Events answered since the start, by result."""
        self.corrections: Counter[str] = Counter()
        """The same, of corrections."""
        self.leaving: dict[str, frozenset[str]] = {}
        """By tenant, subjects that are being erased (eraser.py); as `Committer` has it."""
        self._committer: Committer | None = None
        self._closing = threading.Event()
        self._waiting = 0  # bytes; only the event loop's thread touches it
        self._refusal: tuple[str, str] | None = ("not_ready", "the log of events is being read; retry")
        self._thread = threading.Thread(target=self._run, name="intake", daemon=True)

    def start(self) -> None:
        """Open the log and read what the index lacks, on the intake's own thread."""
        self._thread.start()

    @property
    def ready(self) -> bool:
        """Whether events are taken."""
        return self._refusal is None

    @property
    def problem(self) -> str:
        """Why events will not be taken by waiting; empty: they are, or will be once the log is read."""
        refusal = self._refusal
        return refusal[1] if refusal and refusal[0] != "not_ready" else ""

    @property
    def head(self) -> int:
        """The last record that is on the disk, none that was answered for after it; 0: not known."""
        return self._committer.seq if self._committer else 0

    def check(self) -> None:
        """Raises: InterlockError: nothing can be taken now; anew each time, for an error keeps what raised it alive."""
        if refusal := self._refusal:
            raise InterlockError(refusal[1], code=refusal[0])

    async def take(self, origin: Origin, events: Sequence[Event | Refused]) -> list[Outcome]:
        """An outcome for each event, in order, once those counted are on the disk.

        A caller that goes away is not heard of again: its events are counted all the same.
        Raises: TransientError `busy`. InterlockError: as `check`; or the commit failed, and nothing is known of it.
        """
        self.check()
        size = sum([len(event.canonical) for event in events if isinstance(event, Event)])
        if self._waiting and self._waiting + size > WAITING_BYTES_MAX:
            raise TransientError("too many events wait to be written; retry", code="busy")
        outcomes: list[Outcome] = await self._put(Job(origin, events), size)
        self.results.update(outcome.result for outcome in outcomes)
        return outcomes

    async def correct(self, origin: Origin, items: Sequence[Correction | Refused]) -> list[Outcome]:
        """An outcome for each correction, in order, as `take`. Events that wait are taken between some and the next.

        Raises: InterlockError: as `check`; or none is made.
        """
        self.check()
        outcomes: list[Outcome] = []
        for start in range(0, len(items), WAVE_MAX):
            some = items[start : start + WAVE_MAX]
            try:
                outcomes += await self.do(partial(correct, origin=origin, items=some))
            except InterlockError as error:
                if not outcomes:
                    raise
                outcomes += [_unavailable(item, error) for item in items[start:]]
                break
        self.corrections.update(outcome.result for outcome in outcomes)
        return outcomes

    async def close_period(self, origin: Origin, period: str, zone: str) -> Answer:
        """As `closing.close_period`. Raises also: InterlockError: as `check`."""
        self.check()
        return await self.do(lambda committer: close_period(committer, origin, period, zone))

    async def periods(self, tenant: str) -> list[Standing]:
        """What a tenant closed, in order. Raises: InterlockError: as `check`."""
        self.check()
        return await self.do(lambda committer: committer.closings(tenant))

    async def do(self, task: Callable[[Committer], T]) -> T:
        """Something else that is done on the intake's thread, by itself, in its turn. It must not take long."""
        done: T = await self._put(task, 0)
        return done

    async def _put(self, work: Job | _Task, size: int) -> Any:
        answer: _Answer = asyncio.get_running_loop().create_future()
        self._waiting += size
        try:
            self._queue.put((work, size, answer))
            return await answer
        finally:
            self._waiting -= size

    def close(self) -> None:
        """Commit what was handed in, then give everything back."""
        self._closing.set()
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def _run(self) -> None:
        """Until it is closed. What passes (a full disk at the start, say) is waited for; what does not stays said."""
        while not self._closing.is_set():
            try:
                self._open_and_serve()
                return
            except (TransientError, OSError) as error:
                code = error.code if isinstance(error, TransientError) else "log_unavailable"
                self._refusal = (code, f"events cannot be taken: {error}")
                self._closing.wait(AGAIN_S)
            except InterlockError as error:
                self._refusal = (error.code, error.message)
                if error.code != "conflict":  # another owner of the log may go
                    return
                self._closing.wait(AGAIN_S)
            except Exception as error:  # a defect of ours: whoever asks must hear of it
                _log.exception("the intake of events has ended")
                self._refusal = ("internal", f"the intake of events has ended: {error!r}")
                return

    def _open_and_serve(self) -> None:
        from interlock.intake.index import open_index  # numpy takes longer to import than all of the control process

        journal = Journal.open(self._journals / STREAM, STREAM, clock=self._clock, sync="tick")
        try:
            index = open_index(self._index)
            try:
                reader = JournalReader(self._journals)
                committer = Committer(journal, index, reader, self._clock, leaving=self.leaving)
                committer.catch_up(self._closing.is_set)
                self._committer = committer
                self._refusal = None
                self._serve(committer)
            finally:
                index.close()
        finally:
            journal.close()

    def _serve(self, committer: Committer) -> None:
        """Jobs that wait are committed together; a task is done by itself, in its turn."""
        jobs: list[Job] = []
        answers: list[_Answer] = []
        size = 0
        while True:
            taken = self._queue.get()
            if taken is not None and isinstance(taken[0], Job):
                jobs.append(taken[0])
                answers.append(taken[2])
                size += taken[1]
                if size < GROUP_BYTES_MAX and not self._queue.empty():
                    continue
            if jobs:
                _do(partial(committer.commit, jobs), answers)
                jobs, answers, size = [], [], 0
            if taken is None:
                return
            work, _, answer = taken
            if not isinstance(work, Job):
                _do(partial(_alone, work, committer), [answer])


def _alone(task: _Task, committer: Committer) -> list[Any]:
    return [task(committer)]


def _do(work: Callable[[], Sequence[Any]], answers: Sequence[_Answer]) -> None:
    """Do it, and answer each on its own loop."""
    try:
        found = work()
    except LocalError as error:  # of a task: the request was wrong
        _tell(answers[0], error)
    except Exception as error:  # also a defect of ours: whoever waits must hear of it, and the next ones be served
        if not isinstance(error, InterlockError | OSError):
            _log.exception("events could not be committed")
        code = error.code if isinstance(error, InterlockError) else "log_unavailable"
        for answer in answers:
            _tell(answer, InterlockError(f"events could not be written: {error}", code=code))
    else:
        for answer, one in zip(answers, found, strict=True):
            _tell(answer, one)


def _unavailable(item: Correction | Refused, error: InterlockError) -> Outcome:
    message = "not written; send it again"
    return Outcome(result="unavailable", id=item.id, source=item.source, code=error.code, message=message)


def _tell(answer: _Answer, found: object) -> None:
    def unless_gone() -> None:
        if answer.done():
            return
        if isinstance(found, InterlockError):
            answer.set_exception(found)
        else:
            answer.set_result(found)

    with suppress(RuntimeError):  # the loop is closed: the process ends, and nobody waits any more
        answer.get_loop().call_soon_threadsafe(unless_gone)
