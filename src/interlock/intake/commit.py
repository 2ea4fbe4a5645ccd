"""Events to the log, counted once: look up, decide, write, sync, know, answer, in this order.

The log is the commit. A key is known only after its record is on the disk, and the answer is given only after the key
is known; so whatever instant a process dies at, what was answered as counted stands, and what stands is a duplicate
when it comes again. One thread, one journal: nothing between the look-up and the write can be overtaken. Corrections
(correct.py) and closings (closing.py) are decided on the same thread, and written by the same `write`.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, cast

import msgspec

from interlock.clock import Clock
from interlock.errors import InterlockError, TransientError
from interlock.ids import new_id
from interlock.intake.cloudevent import Event, Origin, Refused
from interlock.intake.decide import Known, Result, conflict_key, decide
from interlock.intake.periods import Standing
from interlock.intake.records import CONFLICT, COUNTED, STREAM, Draft, closings_of, known_of, payload_of
from interlock.log import Stored
from interlock.log.journal import Journal
from interlock.log.reader import JournalReader

if TYPE_CHECKING:
    from interlock.intake.index import Index

RECORD_EVENTS_MAX = 1000
RECORD_BYTES_MAX = 960 * 1024
"""Of the events in one record: with their keys it stays below a payload's megabyte."""


class Outcome(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one event; whose it is, its place tells."""

    result: Literal["counted", "duplicate", "conflict", "refused", "unavailable"]
    id: str = ""
    """Of an event that was not counted: its own words, as far as it has them."""
    source: str = ""
    seq: int = 0
    """Of the record in which it stands (a conflict: in which the event that was counted stands)."""
    code: str = ""
    message: str = ""
    field: str = ""


class Job(msgspec.Struct, frozen=True):
    """One request's events."""

    origin: Origin
    events: Sequence[Event | Refused]


class _Events(Draft):
    """Events of one job that go into one record."""

    __slots__ = ("counted", "events", "keys", "origin")

    def __init__(self, type: str, origin: Origin, events: Sequence[Event], keys: Sequence[bytes]) -> None:
        super().__init__(type)
        self.origin = origin
        self.events = events
        self.keys = keys
        self.counted: Outcome | None = None
        """What each of them is told, once they stand."""

    def payload(self) -> bytes:
        contents = [event.content for event in self.events]
        return payload_of(self.origin, self.keys, contents, [event.canonical for event in self.events])

    def known(self) -> dict[bytes, Known]:
        seq = self.seq
        return {key: Known(event.content, seq) for event, key in zip(self.events, self.keys, strict=True)}


class _Group:
    """The records that some jobs' events go into, and who stands in which."""

    def __init__(self, known: dict[bytes, Known]) -> None:
        self.known = known
        self.records: list[_Events] = []
        self._owners: dict[bytes, _Events] = {}
        self._plain: dict[tuple[str, int], Outcome] = {}

    def put(self, job: Job, results: Sequence[Result | None]) -> None:
        """Place a job's events. `results`: None for a refused one."""
        counted: list[Any] = [one for one, result in zip(job.events, results, strict=True) if result == "counted"]
        self._fill(COUNTED, job.origin, counted, [event.key for event in counted])
        if "conflict" not in results:
            return
        conflicts: dict[bytes, Any] = {}
        for event, result in zip(job.events, results, strict=True):
            if result == "conflict" and isinstance(event, Event):
                conflicts.setdefault(conflict_key(event), event)
        new = [key for key in conflicts if key not in self.known and key not in self._owners]  # others are kept already
        self._fill(CONFLICT, job.origin, [conflicts[key] for key in new], new)

    def _fill(self, kind: str, origin: Origin, events: Sequence[Event], keys: Sequence[bytes]) -> None:
        """As few records as hold them."""
        sizes = [len(event.canonical) for event in events]
        start = 0
        while start < len(events):
            end = min(start + RECORD_EVENTS_MAX, len(events))
            while sum(sizes[start:end]) > RECORD_BYTES_MAX:
                end = (start + end) // 2
            record = _Events(kind, origin, events[start:end], keys[start:end])
            self.records.append(record)
            self._owners |= dict.fromkeys(record.keys, record)
            start = end

    def outcomes(self, job: Job, results: Sequence[Result | None]) -> list[Outcome]:
        """What became of each event, now that it is known which records stand."""
        for record in self.records:
            if record.error is None:
                record.counted = Outcome(result="counted", seq=record.seq)
        owners, events = self._owners, cast(Sequence[Event], job.events)  # those that are counted are
        return [
            (result == "counted" and owners[event.key].counted) or self._outcome(event, result)
            for event, result in zip(events, results, strict=True)
        ]

    def _outcome(self, event: Event | Refused, result: Result | None) -> Outcome:
        if isinstance(event, Refused):
            return _refused(event)
        assert result is not None
        error = self._error(event.key)
        if result == "conflict":
            error = error or self._error(conflict_key(event))
        if error:
            message = "not written; send it again"
            return Outcome(result="unavailable", id=event.id, source=event.source, code=error.code, message=message)
        seq = (self.known.get(event.key) or self._owners[event.key]).seq
        if result == "conflict":
            return _conflict(event, seq)
        plain = self._plain.get((result, seq))
        if plain is None:  # one for all events of a record
            plain = self._plain[result, seq] = Outcome(result=result, seq=seq)
        return plain

    def _error(self, key: bytes) -> InterlockError | None:
        owner = self._owners.get(key)
        return owner.error if owner else None


def _refused(event: Refused) -> Outcome:
    return Outcome(
        result="refused",
        id=event.id,
        source=event.source,
        code=event.code,
        message=event.message,
        field=event.field,
    )


def _conflict(event: Event, seq: int) -> Outcome:
    message = f"an event with this source and id, but other content, stands in record {seq}; this one is kept aside"
    return Outcome(
        result="conflict", id=event.id, source=event.source, seq=seq, code="conflict", message=message, field="id"
    )


class Committer:
    """The only writer of the events' stream."""

    def __init__(
        self,
        journal: Journal,
        index: "Index",
        reader: JournalReader,
        clock: Clock,
        reached: Callable[[str], None] = lambda point: None,
        leaving: Mapping[str, Collection[str]] = MappingProxyType({}),
    ) -> None:
        """
        Args:
            reader: of the journal's directory.
            leaving: by tenant, subjects that are being erased: their events cannot be corrected any more.
            reached: told each point that a crash may come at: `looked_up`, `staged`, `written`, `known`.
        """
        self._journal = journal
        self._index = index
        self._reader = reader
        self._clock = clock
        self.reached = reached
        self.leaving = leaving
        self._behind = True  # the log may hold what the index does not know

    @property
    def seq(self) -> int:
        """Of the last record that stands."""
        return self._journal.seq

    def catch_up(self, stopping: Callable[[], bool] = lambda: False) -> int:
        """Know all that the log holds; how many records were read. Before this nothing may be committed.

        An index that is not of this log is thrown away. Raises: InterlockError: the log does not hold; `draining`:
        `stopping` said that nobody wants it any more.
        """
        seq, chain = self._index.through
        if seq and next((s.chain.hex() for s in self._reader.scan(STREAM, after=seq - 1)), "") != chain:
            self._index.clear()
            seq = 0
        first = seq
        for stored in self._reader.scan(STREAM, after=seq):
            self._index.add(known_of(stored), stored.seq, stored.chain, closings_of(stored))
            seq = stored.seq
            if stopping():
                raise TransientError("the server is stopping", code="draining")
        self._behind = False
        return seq - first

    def commit(self, jobs: Sequence[Job]) -> list[list[Outcome]]:
        """An outcome for each event of each job, in order. Blocking: it waits for the disk.

        Raises: InterlockError: as `catch_up`, which is made up for after a commit that broke off.
        """
        if self._behind:
            self.catch_up()
        events = [event for job in jobs for event in job.events if isinstance(event, Event)]
        known = self._index.find([event.key for event in events])
        decided = decide(events, known)
        conflicts = [conflict_key(e) for e, result in zip(events, decided, strict=True) if result == "conflict"]
        if conflicts:
            known |= self._index.find(conflicts)
        self.reached("looked_up")
        each = iter(decided)
        results = [[next(each) if isinstance(event, Event) else None for event in job.events] for job in jobs]
        group = _Group(known)
        for job, of_job in zip(jobs, results, strict=True):
            group.put(job, of_job)
        if group.records:
            # If the disk takes only the first, none may say that it conflicts with one that does not stand.
            group.records.sort(key=lambda record: record.type == CONFLICT)
            self.write(group.records)
        return [group.outcomes(job, of_job) for job, of_job in zip(jobs, results, strict=True)]

    def find(self, keys: Sequence[bytes]) -> dict[bytes, Known]:
        """What is known of those keys that are known; all that the log holds is. Raises: as `commit`."""
        if self._behind:
            self.catch_up()
        return self._index.find(keys)

    def now_ns(self) -> int:
        """The clock that records are written by."""
        return self._clock.now_ns()

    def closings(self, tenant: str) -> list[Standing]:
        """What a tenant closed, in order. Raises: as `commit`."""
        if self._behind:
            self.catch_up()
        return self._index.closings(tenant)

    def record_at(self, seq: int) -> Stored | None:
        """A record of the stream; None: it was dropped. Raises: LogCorrupt."""
        return self._reader.record_at(STREAM, seq)

    def read(self, after: int) -> Iterator[Stored]:
        """What stands after a record. Raises: LogCorrupt."""
        return self._reader.scan(STREAM, after=after)

    def rotate(self) -> None:
        """Have what stands sealed soon."""
        self._journal.rotate()

    def write(self, drafts: Sequence[Draft]) -> None:
        """Have records written in this order, synced, and known; each draft then says whether it stands."""
        now_ns, seq = self._clock.now_ns(), self._journal.seq
        self._behind = True  # until the index knows what is about to stand
        for draft in drafts:
            draft.at_ns = now_ns
            try:
                self._journal.stage(new_id("batch", now_ns), draft.type, now_ns, draft.payload(), draft.done)
            except InterlockError as error:
                draft.error = error
        self.reached("staged")
        self._journal.flush()
        self.reached("written")
        new: dict[bytes, Known] = {}
        closings: list[Standing] = []
        for draft in drafts:
            if draft.error is None:  # they stand one after another: what fails, fails with all that follow
                seq = draft.seq = seq + 1
                new |= draft.known()
                closings += draft.closings()
        assert seq == self._journal.seq, (seq, self._journal.seq)
        self._index.add(new, seq, self._journal.chain, closings)
        self.reached("known")
        self._behind = False
