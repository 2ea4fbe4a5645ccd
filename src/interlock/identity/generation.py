"""How every process on a machine knows at once that a stream has moved: one shared page of sequence numbers.

`DIR/run/generation` holds little-endian uint64 slots, mapped by all processes. Whoever commits a record raises the slot
to its sequence number before it answers; a worker compares the slot with what it has folded on every admission, which
costs a memory read, and reads the tail from SQLite first if it is behind. So once `revoke` has answered, no
worker can admit the key (docs/adr/0006). The file carries no facts: it is made anew from the streams' heads.
"""

import fcntl
import mmap
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from interlock.errors import InterlockError
from interlock.identity.directory import Denied, Directory
from interlock.identity.value import STREAM, Key, Scope
from interlock.log import Stored

IDENTITY = 0
"""Slot: head of the `identity` stream."""
CONFIG = 1
"""Slot: head of the `config` stream."""
TOOLS = 2
"""Slot: head of the `tools` stream."""
CREDITS = 3
"""Slot: head of the `credits` stream."""
ENTITLEMENTS = 4
"""Slot: head of the `entitlements` stream."""
ACKNOWLEDGED = 8
"""First of the slots that workers write, each its own: up to which record of `config` it acts."""
WORKERS_MAX = 256
_SLOTS = ACKNOWLEDGED + WORKERS_MAX


class Generation:
    """The shared page. `slots[IDENTITY]` and `slots[CONFIG]` are read directly: that is the point of it."""

    def __init__(self, data_dir: Path) -> None:
        """Map DIR/run/generation; it is zeroed first if no other process has it (a leftover of an earlier run).

        Raises: OSError.
        """
        assert sys.byteorder == "little", "a slot is stored as the machine does; only little-endian ones are supported"
        path = data_dir / "run" / "generation"
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock_path = path.with_suffix(".lock")
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with self._exclusive():
            # Every holder keeps a shared lock for life, so an exclusive one can be had only when there is none.
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.ftruncate(self._file, 0)
            except BlockingIOError:
                pass
            os.ftruncate(self._file, 8 * _SLOTS)
            fcntl.flock(self._file, fcntl.LOCK_SH)
        self._map = mmap.mmap(self._file, 8 * _SLOTS)
        self.slots = memoryview(self._map).cast("Q")

    def raise_to(self, slot: int, seq: int) -> None:
        """Let `slot` be at least `seq`. Call it after the record is durable and before anybody is told so."""
        with self._exclusive():  # compare and store together: a slower writer must not lower what a faster one set
            if seq > self.slots[slot]:
                self.slots[slot] = seq

    def close(self) -> None:
        """Give the page back."""
        self.slots.release()
        self._map.close()
        os.close(self._file)

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        lock = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


class Tail(Protocol):
    """The part of the SQLite log that a worker needs: synchronous, because nobody is admitted meanwhile."""

    def read_after(self, stream: str, seq: int) -> list[Stored]:
        """Records of `stream` after `seq`, in order, to the head."""
        ...


_UNAVAILABLE = Denied("directory_unavailable")


class SharedDirectory:
    """A worker's Directory: as new, at every admission, as the last change that anybody was told of."""

    def __init__(self, log: Tail, generation: Generation) -> None:
        """Folds the stream from its start. Raises: InterlockError: it cannot be read."""
        self.directory = Directory()
        self._log = log
        self._slots = generation.slots
        self._fold_tail()

    def admit(self, secret: str, now_ns: int, scope: Scope) -> Key | Denied:
        """As `Directory.admit`; `directory_unavailable` if it is behind and the tail cannot be read."""
        if self._slots[IDENTITY] > self.directory.seq and not self._caught_up():
            return _UNAVAILABLE
        return self.directory.admit(secret, now_ns, scope)

    def admit_id(self, key_id: str, now_ns: int, scope: Scope) -> Key | Denied:
        """As `admit`, of a key that is named by a token of its own."""
        if self._slots[IDENTITY] > self.directory.seq and not self._caught_up():
            return _UNAVAILABLE
        return self.directory.admit_id(key_id, now_ns, scope)

    @property
    def seq(self) -> int:
        """The last record folded."""
        return self.directory.seq

    def stands(self, key: Key, seq: int, now_ns: int) -> bool:
        """Whether a key that was admitted when `seq` was the last record folded would be admitted now."""
        expires_at_ns = key.expires_at_ns
        return self._slots[IDENTITY] <= seq == self.directory.seq and (expires_at_ns is None or now_ns < expires_at_ns)

    def boundaries(self, key: Key) -> tuple[str, ...]:
        """As `Directory.boundaries`."""
        return self.directory.boundaries(key)

    def agreements(self, key: Key) -> tuple[str, ...]:
        """As `Directory.agreements`, as new as at an admission; none if it is behind and the tail cannot be read."""
        if self._slots[IDENTITY] > self.directory.seq and not self._caught_up():
            return ()
        return self.directory.agreements(key)

    def _caught_up(self) -> bool:
        wanted = self._slots[IDENTITY]
        try:
            self._fold_tail()
        except (InterlockError, OSError):
            return False
        return self.directory.seq >= wanted

    def _fold_tail(self) -> None:
        for stored in self._log.read_after(STREAM, self.directory.seq):
            self.directory.apply(stored)
