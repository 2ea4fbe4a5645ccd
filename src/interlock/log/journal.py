"""The journal: the hot path's log, one stream in one directory with one owner.

All records staged in one event-loop tick are written with one `write()`, so each survives a kill of the process from
the moment its `done` is called; `sync` says when it also survives a power loss. The journal is the exception among the
adapters: ids are not indexed, so a record appended twice stands twice, and whoever folds the stream deduplicates.
A crash may keep the first records of one append and lose the rest. It does not decide what to write or settle.
"""

import asyncio
import fcntl
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from interlock.clock import Clock
from interlock.errors import LocalError, LogUnavailable, UnknownOutcome
from interlock.log.appender import Appender
from interlock.log.check import LogCorrupt, check_count, check_id, check_payload, check_record, check_stream, check_type
from interlock.log.lines import Done, Entry
from interlock.log.ports import Log
from interlock.log.reader import read_directory
from interlock.log.record import PAYLOAD_BYTES_MAX, Appended, Conflict, Record, Stored
from interlock.log.recovery import Recovered, recover, seal_complete
from interlock.log.reserve import Reserve
from interlock.log.segments import OPENED, Opened

Sync = Literal["never", "tick"] | int
"""When written records reach the disk: never asked for, within the tick before `done`, or at most so many ms later."""

STAGED_BYTES_MAX = 64 << 20
"""Payload bytes waiting for one flush."""

_log = logging.getLogger(__name__)
_RETRY_NS = 100_000_000  # how often a full disk is tried again
_TYPES_MAX = 256
_RESERVED = 5  # place in an Entry
_JSON_STR = msgspec.json.Encoder().encode


class Journal(Log):
    """One owner's writer. For one event loop; outside a loop, call `flush` after `stage`."""

    def __init__(
        self,
        directory: Path,
        stream: str,
        lock_fd: int,
        recovered: Recovered,
        *,
        clock: Clock,
        segment_bytes: int,
        sync: Sync,
        reserve_bytes: int,
        low_water: Callable[[], int] | None,
    ) -> None:
        self.stream = stream
        self.epoch = recovered.epoch + 1
        self.cut_bytes = recovered.cut_bytes
        """Length of the torn last line that opening removed."""
        self._directory = directory
        self._lock_fd = lock_fd
        self._clock = clock
        self._segment_bytes = segment_bytes
        self._sync = sync
        self._low_water = low_water
        self._file = Appender(directory, recovered, sync_each=sync == "tick", durable=sync != "never")
        self._reserve = Reserve(directory / "reserve", reserve_bytes)
        self._degraded = not self._reserve.hold()
        self._retry_at_ns = 0
        self._pending: list[Entry] = []
        self._pending_bytes = 0
        self._types: dict[str, str] = {}
        self._sync_timer: asyncio.TimerHandle | None = None
        self._retry_timer: asyncio.TimerHandle | None = None
        self._sealer: threading.Thread | None = None
        self._closed = False

    @classmethod
    def open(
        cls,
        directory: Path,
        stream: str,
        *,
        clock: Clock,
        segment_bytes: int = 64 << 20,
        sync: Sync = "never",
        reserve_bytes: int = 1 << 20,
        low_water: Callable[[], int] | None = None,
    ) -> "Journal":
        """Become the owner, recover what a crash left, and write `journal.opened`.

        Args:
            low_water: the lowest seq that recovery still needs; asked when a segment is sealed. None: all are needed.
        Raises: LocalError: `conflict`: another process owns it. LogUnavailable: it cannot be opened or written.
            LogCorrupt: its last record is damaged.
        """
        check_stream(stream)
        try:
            lock_fd = _own(directory)
        except OSError as error:
            raise LogUnavailable(f"the journal of {stream} cannot be opened: {error}") from error
        try:
            recovered = recover(directory, stream, durable=sync != "never")
            journal = cls(
                directory,
                stream,
                lock_fd,
                recovered,
                clock=clock,
                segment_bytes=segment_bytes,
                sync=sync,
                reserve_bytes=reserve_bytes,
                low_water=low_water,
            )
        except OSError as error:
            os.close(lock_fd)
            raise LogUnavailable(f"the journal of {stream} cannot be opened: {error}") from error
        except BaseException:
            os.close(lock_fd)
            raise
        journal._announce()
        return journal

    @property
    def seq(self) -> int:
        """The last sequence number that stands (what is staged does not)."""
        return self._file.seq

    @property
    def chain(self) -> bytes:
        """The chain value after `seq` (32 bytes)."""
        return self._file.chain

    @property
    def written_bytes(self) -> int:
        """Bytes appended since it was opened, `journal.opened` among them; what was cut back does not count."""
        return self._file.written_bytes

    @property
    def writable(self) -> bool:
        """Whether the last flush succeeded and the reserve is in place: for readiness."""
        return not (self._degraded or self._closed)

    def stage(
        self, id: str, type: str, at_ns: int, payload: bytes, done: Done | None = None, *, reserved: bool = False
    ) -> None:
        """Have a record written at the end of this tick; then `done(None)`, or `done(error)` if it does not stand.

        `payload` must be JSON; that is not checked here. `done` must not raise. `reserved`: it settles what was begun,
        so on a full disk the room set aside is for it.
        Raises: LocalError: a field outside its limits. LogUnavailable: closed, or too much is staged. Then nothing was.
        """
        if id.isascii() and id.isprintable() and '"' not in id and "\\" not in id and 0 < len(id) <= 256:
            id_json = f'"{id}"'
        else:
            check_id(id)
            id_json = _JSON_STR(id).decode()
        if not 0 < len(payload) <= PAYLOAD_BYTES_MAX or payload.find(b"\n") >= 0 or payload.find(b"\t") >= 0:
            check_payload(payload)
        type_json = self._types.get(type) or self._learn_type(type)
        if self._closed or self._pending_bytes > STAGED_BYTES_MAX:
            raise LogUnavailable("the journal is closed" if self._closed else "too much is staged for one write")
        if not self._pending:
            with suppress(RuntimeError):  # no loop runs: the caller flushes
                asyncio.get_running_loop().call_soon(self.flush)
        self._pending_bytes += len(payload)
        self._pending.append((id_json, type_json, at_ns, payload, done, reserved))

    def flush(self) -> None:
        """Write what is staged, with one `write()`, and call every `done`."""
        batch, self._pending, self._pending_bytes = self._pending, [], 0
        if not batch:
            return
        if self._degraded:
            self._try_again()
        if not self._degraded:
            written, error = self._file.write(batch)
            if error is None:
                _answer(batch, None)
                self._after_write()
                return
            self._degrade()
        else:
            written, error = 0, OSError("the disk has no room for new work")
        self._settle_only(batch, written, error)

    async def append(self, stream: str, records: Sequence[Record], *, expect: int | None = None) -> Appended | Conflict:
        """As `Log.append`, but ids are not looked up. Raises also: UnknownOutcome: the disk took only the first."""
        self._check_own(stream)
        check_count(len(records))
        for record in records:
            check_record(record)
        self.flush()
        before = self.seq
        if expect is not None and records and expect != before:
            return Conflict(None, before)
        answers: list[LogUnavailable | None] = []
        for record in records:
            self.stage(record.id, record.type, record.at_ns, record.payload, answers.append)
        self.flush()
        errors = [error for error in answers if error]
        if errors and self.seq > before:
            raise UnknownOutcome(f"{len(records) - len(errors)} of {len(records)} records stand") from errors[0]
        if errors:
            raise errors[0]
        return Appended(tuple(range(before + 1, self.seq + 1)), self.seq)

    async def head(self, stream: str) -> int:
        """As `Log.head`; `seq` is the same without waiting."""
        self._check_own(stream)
        return self.seq

    async def read(self, stream: str, *, after: int = 0) -> AsyncIterator[Stored]:
        self._check_own(stream)
        async for stored in read_directory(self._directory, stream, after, until=self.seq):
            yield stored

    async def follow(self, stream: str, *, after: int) -> AsyncIterator[Stored]:
        self._check_own(stream)
        async for stored in read_directory(self._directory, stream, after, until=None):
            yield stored

    async def streams(self) -> list[str]:
        return [self.stream] if self.seq else []

    def close(self) -> None:
        """Flush, sync if `sync` says so, and let the next owner in. Harmless when repeated."""
        if self._closed:
            return
        self.flush()
        self._closed = True
        for timer in (self._sync_timer, self._retry_timer):
            if timer:
                timer.cancel()
        if self._sealer:
            self._sealer.join()
        try:
            if self._sync != "never":
                os.fdatasync(self._file.fd)
        finally:
            os.close(self._file.fd)
            os.close(self._lock_fd)

    def _announce(self) -> None:
        """Write `journal.opened`: even on a full disk, where it is what begins the settling."""
        answers: list[LogUnavailable | None] = []
        payload = msgspec.json.encode(Opened(epoch=self.epoch, pid=os.getpid()))
        self.stage(f"journal/{self.epoch}", OPENED, self._clock.now_ns(), payload, answers.append, reserved=True)
        self.flush()
        if answers[0]:
            self.close()
            raise answers[0]

    def _learn_type(self, type: str) -> str:
        check_type(type)
        if len(self._types) < _TYPES_MAX:
            self._types[type] = f'"{type}"'
        return f'"{type}"'

    def _check_own(self, stream: str) -> None:
        if stream != self.stream:
            raise LocalError(f"this journal holds {self.stream!r} only, not {stream!r}", field="stream")

    def _settle_only(self, batch: list[Entry], written: int, error: OSError) -> None:
        """The disk is full: after the `written` ones that stand, only reserved records are tried."""
        reserved = [entry for entry in batch[written:] if entry[_RESERVED]]
        rescued = self._file.write(reserved)[0] if reserved else 0
        refused = [entry for entry in batch[written:] if not entry[_RESERVED]] + reserved[rescued:]
        _answer(batch[:written] + reserved[:rescued], None)
        _answer(refused, LogUnavailable(f"the journal of {self.stream} cannot be written: {error}"))

    def _degrade(self) -> None:
        self._degraded = True
        self._retry_at_ns = self._clock.monotonic_ns() + _RETRY_NS
        with suppress(OSError):
            self._reserve.release()
        self._watch_for_room()

    def _watch_for_room(self) -> None:
        """Try again by itself too: while `writable` is false perhaps nobody stages anything."""
        self._retry_timer = None
        if self._degraded and not self._closed:
            self._try_again()
        if self._degraded and not self._closed:
            with suppress(RuntimeError):
                loop = asyncio.get_running_loop()
                self._retry_timer = loop.call_later(_RETRY_NS / 1e9, self._watch_for_room)

    def _try_again(self) -> None:
        now_ns = self._clock.monotonic_ns()
        if now_ns < self._retry_at_ns:
            return
        self._retry_at_ns = now_ns + _RETRY_NS
        with suppress(OSError):
            self._file.mend()
            self._degraded = not self._reserve.hold()

    def _after_write(self) -> None:
        if isinstance(self._sync, int) and self._sync_timer is None:
            with suppress(RuntimeError):
                loop = asyncio.get_running_loop()
                self._sync_timer = loop.call_later(self._sync / 1000, self._sync_later, loop)
        if self._file.size_bytes >= self._segment_bytes and not (self._sealer and self._sealer.is_alive()):
            self._rotate()

    def _sync_later(self, loop: asyncio.AbstractEventLoop) -> None:
        """On a thread, with a descriptor of its own: the segment may be closed meanwhile."""
        self._sync_timer = None
        synced = loop.run_in_executor(None, _sync_and_close, os.dup(self._file.fd))
        synced.add_done_callback(lambda result: self._degrade() if result.exception() and not self._closed else None)

    def rotate(self) -> None:
        """Begin the next segment as soon as may be: what stands so far is sealed, by a thread, unless one is at it."""
        if self._file.size_bytes and not (self._sealer and self._sealer.is_alive()):
            self._rotate()

    def _rotate(self) -> None:
        low_water = self._low_water() if self._low_water else 1
        try:
            old_fd = self._file.next_segment()
        except OSError:
            return  # no room for a new file: go on in this one, and try again after the next write
        self._sealer = threading.Thread(target=self._seal, args=(old_fd, low_water), name="journal-seal")
        self._sealer.start()

    def _seal(self, old_fd: int, low_water: int) -> None:
        """On a thread of its own: hashing a segment takes as long as many requests do."""
        durable = self._sync != "never"
        try:
            if durable:
                os.fdatasync(old_fd)
            seal_complete(self._directory, self.stream, durable=durable, low_water=low_water)
        except (OSError, LogCorrupt):
            return  # sealed with the next segment or by the next owner; damage is for `verify` to name
        finally:
            os.close(old_fd)


def _answer(entries: list[Entry], error: LogUnavailable | None) -> None:
    for _, _, _, _, done, _ in entries:
        if done:
            try:
                done(error)
            except Exception:  # a defect of one caller; the others wait for their answers
                _log.exception("what waited for a record failed")


def _sync_and_close(fd: int) -> None:
    try:
        os.fdatasync(fd)
    finally:
        os.close(fd)


def _own(directory: Path) -> int:
    """Take the directory's lock. Raises: LocalError: `conflict`. OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(fd)
        raise LocalError(f"another process owns the journal in {directory.name!r}", code="conflict") from error
    except BaseException:
        os.close(fd)
        raise
    return fd
