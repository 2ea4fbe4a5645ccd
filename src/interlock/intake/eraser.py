"""Erasures carried out: asked for, written beside the log, told in the stream, then done to its files.

    DIR/ID.json     what was asked for; while it runs with the names that go, then without them

The order, so that whatever instant the process dies at the next start goes on: the request is on the disk; the records
that hold the subjects' events are found; the stream tells what will stand in their place, the last part in the same
turn in which the newest records were looked through; the segments are written anew; the views have passed that record
and are on the disk; the names are removed from the request. Reading the log blocks, and is done on threads.

It reaches the events' stream and the views of it. Backups, bundles, and copies elsewhere are for whoever made them.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import msgspec
from msgspec.structs import replace

from interlock.clock import Clock
from interlock.errors import InterlockError, LocalError, LogUnavailable, TransientError
from interlock.intake.cloudevent import Origin
from interlock.intake.erasing import Erasure, Found, change, erasure_of, is_erasure_id, look, tell, told_since
from interlock.intake.records import STREAM
from interlock.intake.residue import Keep
from interlock.intake.service import Intake
from interlock.log import LogCorrupt, Stored
from interlock.log.reader import JournalReader
from interlock.log.redaction import redact
from interlock.log.segments import read_seal, seal_path, segment_numbers, sync_directory

PENDING_MAX = 100
"""Erasures of all tenants that wait."""
NEAR = 1000
"""Records that may be looked through in one go on the intake's thread, while events wait."""
POLL_S = 0.1
AGAIN_S = 2.0


class Eraser:
    """One data directory's. Made before the intake starts; `ask` any time, `run` beside it."""

    def __init__(
        self,
        directory: Path,
        journals: Path,
        intake: Intake,
        clock: Clock,
        written: Callable[[], int],
        reached: Callable[[str], None] = lambda point: None,
    ) -> None:
        """
        Args:
            written: the record up to which every view that holds names is on the disk.
            reached: told each point that a crash may come at: `asked`, `told`, `redacted`, `passed`.
        Raises: LocalError `view_corrupt`: a file is not what was written. OSError.
        """
        self._directory = directory
        self._log = journals / STREAM
        self._reader = JournalReader(journals)
        self._intake = intake
        self._clock = clock
        self._written = written
        self._reached = reached
        self._known = {one.id: one for one in _standing(directory)}
        self._wake = asyncio.Event()
        self._stopping = threading.Event()
        self.searched = 0
        """Up to which record, for the one in hand."""
        self.problem = ""
        """Why the one in hand does not go on; empty: it does, or there is none."""
        self._tell_intake()

    def of(self, tenant: str) -> Sequence[Erasure]:
        """All that the tenant ever asked for, in order."""
        return [one for _, one in sorted(self._known.items()) if one.tenant == tenant]

    def find(self, tenant: str, id: str) -> Erasure:
        """Raises: LocalError `not_found`."""
        found = self._known.get(id)
        if found is None or found.tenant != tenant:
            raise LocalError(f"there is no erasure {id[:80]!r}", code="not_found", field="id")
        return found

    def names(self, id: str) -> Erasure | None:
        """One that is not done yet, for whoever folds its last record; None: there are no such names any more."""
        found = self._known.get(id)
        return found if found is not None and found.state == "running" else None

    def check_idle(self, tenant: str) -> None:
        """Raises: TransientError `busy`: one of the tenant's runs, so what its meters read must stay as it is."""
        if any(one.state == "running" for one in self.of(tenant)):
            raise TransientError("an erasure of this tenant runs; retry when it is done", code="busy")

    def ask(
        self, origin: Origin, subjects: Sequence[str], reason: str, keep: Keep, groups: dict[str, list[int]]
    ) -> Erasure:
        """Have subjects erased: on the disk when this returns. Blocking.

        Raises: LocalError: as `erasure_of`. TransientError `busy`: too many wait. LogUnavailable: no room on the disk.
        """
        if sum(one.state == "running" for one in self._known.values()) >= PENDING_MAX:
            raise TransientError("too many erasures wait; retry", code="busy")
        erasure = erasure_of(origin, subjects, reason, keep, groups, self._clock.now_ns(), self._intake.head)
        self._write(erasure)
        self._keep(erasure)
        self._reached("asked")
        return erasure

    def wake(self) -> None:
        """There is something to do. On the event loop's thread."""
        self._wake.set()

    async def run(self) -> None:
        """Carry out what was asked for, one after the other, until cancelled."""
        try:
            while True:
                for one in [one for _, one in sorted(self._known.items()) if one.state == "running"]:
                    await self._carry_out_at_last(one)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), AGAIN_S)
                self._wake.clear()
        finally:
            self._stopping.set()

    async def _carry_out_at_last(self, erasure: Erasure) -> None:
        """However often it takes: a full disk passes, and what was told must be done."""
        while True:
            try:
                await self._carry_out(erasure)
                self.problem = ""
                return
            except (InterlockError, OSError, msgspec.DecodeError) as error:
                self.problem = f"erasure {erasure.id} waits: {error}"
            await asyncio.sleep(AGAIN_S)

    async def _carry_out(self, erasure: Erasure) -> None:
        await _until(lambda: self._intake.ready)
        if await asyncio.to_thread(self._last, erasure) is None:
            await self._tell(erasure)
        self._reached("told")
        last, events, wanted = await asyncio.to_thread(self._all_told, erasure)
        await self._seal_through(max(wanted, default=0))
        await asyncio.to_thread(self._redact, erasure, wanted)
        self._reached("redacted")
        await _until(lambda: self._written() >= last)
        self._reached("passed")
        done = replace(
            erasure,
            subjects={},
            state="done",
            done_at_ns=self._clock.now_ns(),
            seq=last,
            events=events,
            records=len(wanted),
            first_seq=await asyncio.to_thread(self._reader.first, STREAM),
        )
        await asyncio.to_thread(self._write, done)
        self._keep(done)

    async def _tell(self, erasure: Erasure) -> None:
        """Find the records, and have the stream say so."""
        found = Found(seq=await asyncio.to_thread(self._reader.first, STREAM) - 1)
        while True:
            full = not await asyncio.to_thread(self._look, erasure, found)
            if full:
                await self._intake.do(partial(tell, erasure=erasure, found=found, last=False))
                found = Found(seq=found.seq)
            elif self._intake.head - found.seq <= NEAR:
                break
        await self._intake.do(partial(tell, erasure=erasure, found=found, last=True))

    def _look(self, erasure: Erasure, found: Found) -> bool:
        return look(erasure, self._scan(found.seq), found)

    def _scan(self, after: int) -> Iterator[Stored]:
        for stored in self._reader.scan(STREAM, after=after):
            self._go_on()
            self.searched = stored.seq
            yield stored

    def _go_on(self) -> None:
        """Raises: TransientError: nobody waits for the end of it any more."""
        if self._stopping.is_set():
            raise TransientError("the server is stopping", code="draining")

    def _last(self, erasure: Erasure) -> int | None:
        """The seq of its last record, if it was written."""
        told = told_since(erasure, self._scan(max(erasure.after_seq, self._reader.first(STREAM) - 1)))
        return next((seq for seq, one in told if one.last), None)

    def _all_told(self, erasure: Erasure) -> tuple[int, int, dict[int, str]]:
        """Its last record, how many events it is about, and what is to stand where."""
        wanted: dict[int, str] = {}
        events = 0
        for seq, told in told_since(erasure, self._scan(max(erasure.after_seq, self._reader.first(STREAM) - 1))):
            new = [record for record in told.records if record[0] not in wanted]
            wanted.update(new)
            events += told.events if new else 0
            if told.last:
                return seq, events, wanted
        raise LogCorrupt(STREAM, 0, f"the last record of erasure {erasure.id} is missing")

    async def _seal_through(self, seq: int) -> None:
        """Wait until the segment that holds a record is sealed."""
        while not await asyncio.to_thread(self._is_sealed, seq):
            await self._intake.do(lambda committer: committer.rotate())
            await asyncio.sleep(POLL_S)

    def _is_sealed(self, seq: int) -> bool:
        sealed = [number for number in segment_numbers(self._log) if seal_path(self._log, number).exists()]
        seal = read_seal(self._log, sealed[-1], STREAM) if sealed else None
        return seq == 0 or (seal is not None and seal.last_seq >= seq)

    def _redact(self, erasure: Erasure, wanted: dict[int, str]) -> None:
        make = change(erasure)

        def changed(payload: bytes) -> bytes | None:
            made = make(payload)
            return made[0] if made else None

        for number in segment_numbers(self._log):
            seal = read_seal(self._log, number, STREAM)
            if seal is None:
                return
            self._go_on()
            of_it = {seq: wanted[seq] for seq in range(seal.first_seq, seal.last_seq + 1) if seq in wanted}
            if of_it:
                redact(self._log, STREAM, number, of_it, changed)

    def _write(self, erasure: Erasure) -> None:
        """Durable, whole or not at all. Raises: LogUnavailable."""
        path = self._directory / f"{erasure.id}.json"
        beside = path.with_suffix(".new")
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(erasure)))
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
            sync_directory(self._directory)
        except OSError as error:
            raise LogUnavailable(f"the erasure could not be written down: {error}") from error

    def _keep(self, erasure: Erasure) -> None:
        """What is on the disk is known here, and to the intake before anybody sees it here."""
        self._known[erasure.id] = erasure
        self._tell_intake()

    def _tell_intake(self) -> None:
        running = [one for one in self._known.values() if one.state == "running"]
        leaving = {
            tenant: frozenset(name for one in running if one.tenant == tenant for name in one.subjects)
            for tenant in {one.tenant for one in running}
        }
        self._intake.leaving.update(leaving)  # never empty in between: the intake's thread goes on reading it
        for tenant in self._intake.leaving.keys() - leaving.keys():
            del self._intake.leaving[tenant]


async def _until(is_so: Callable[[], bool]) -> None:
    while True:
        if is_so():
            return
        await asyncio.sleep(POLL_S)


def _standing(directory: Path) -> Iterator[Erasure]:
    for path in sorted(directory.glob("er_*.json")):
        if is_erasure_id(path.stem):
            try:
                yield msgspec.json.decode(path.read_bytes(), type=Erasure)
            except msgspec.DecodeError as error:
                raise LocalError(f"{path.name} cannot be read: {error}", code="view_corrupt") from error


def running(directory: Path) -> list[str]:
    """The ids of those in a directory that are not done."""
    return [one.id for one in _standing(directory) if one.state == "running"]
