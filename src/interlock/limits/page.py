"""The counters of one machine: a file that every process maps, changed under one lock, whole or not at all.

A process may be killed between any two instructions. So a change is written down whole before it is made (`commit`),
and whoever takes the lock next finishes what a dead process began; the kernel gives the lock free. The file is a view:
a start makes it anew, and `restore` sets the counters from the log. It need not survive a power failure.

    header | change under way | keys: 16 bytes a row | rows | shares: 2 words a row and slot | tickets: 64 words each

All words are int64. A row is a counter in one window; when the window is over it is used again, under the next
generation. A ticket is one admitted call: which rows it holds how much of, and its id, so that what a dead worker held
can be settled by what the log says. Shares are what a worker (slot) has leased from the authority (`leases.py`).
"""

import mmap
import os
import random
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from interlock.errors import LocalError
from interlock.limits.call import ID_BYTES_MAX, Parts
from interlock.limits.limit import NEVER_NS
from interlock.limits.lock import SharedLock, trylock, unlock

MAGIC = int.from_bytes(b"ilimits1", "little")
ROWS, TICKETS = 16_384, 1_024
"""As many counters at once; as many calls at once in each worker."""
PROBES = 256
"""A counter's row is among so many; a table with free rows refuses a counter only if all of these are taken."""
PARTS_MAX = 18
"""Limits that may apply to one call."""

GENERATION, ENDS, USED, HELD, GRANTED, OTHERS, WARNED = range(7)
"""A row's words. ENDS: ns, Unix epoch. GRANTED: the shares of all slots. OTHERS: used and held by other machines, as
last heard. WARNED: which thresholds were passed (`warning.passed`)."""
ROW_WORDS = 8  # a cache line
unpack_row = struct.Struct("<6q").unpack_from
"""(page.buffer, byte of a row) -> generation, ends_ns, used, held, granted, others."""
_HEAD = struct.Struct("<6q")
_LOCK = 240
CONTACT = 8
"""Word: when the authority last answered anybody here, ns, monotonic."""
_LOG, _LOG_MAX = 16, 64
_HEADER_WORDS = 256
_TICKET_WORDS = 64
_TICKET_HEAD = 1 + ID_BYTES_MAX // 8 + 1
_SHARE_WORDS = 2

_PAIRS = [struct.Struct(f"<{2 * n}q") for n in range(_LOG_MAX + 1)]
_TICKET = [struct.Struct(f"<{ID_BYTES_MAX}sq{3 * n}q") for n in range(PARTS_MAX + 1)]


class Page:
    """The mapped file. Everything below `lock` needs it held; a process uses a page from one thread."""

    def __init__(self, path: Path) -> None:
        """Map the page that `create` made.

        Raises: OSError. LocalError: it is not such a page.
        """
        assert sys.byteorder == "little", "a word is stored as the machine does; only little-endian ones are supported"
        self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        head = os.pread(self._file, _HEAD.size, 0)
        magic, run, slots, rows, tickets, leased = _HEAD.unpack(head.ljust(_HEAD.size, b"\0"))
        if magic != MAGIC or os.fstat(self._file).st_size != 8 * _layout(slots, rows, tickets)[-1]:
            os.close(self._file)
            raise LocalError(f"{path}: not a page of limits, or of another version")
        self.run: int = run
        """Random; another one at each start."""
        self.slots: int = slots
        self.rows: int = rows
        self.tickets: int = tickets
        """Of each slot."""
        self.leased = bool(leased)
        """Whether the amounts are shared with other machines."""
        self._keys, self._first, self._shares, self._first_ticket, _ = _layout(slots, rows, tickets)
        self.buffer = mmap.mmap(self._file, 0)
        """For `unpack_row`."""
        self.words = memoryview(self.buffer).cast("q")
        self._lock = SharedLock(self.buffer, 8 * _LOCK)
        self._mutex = self._lock.mutex

    @staticmethod
    def create(path: Path, *, slots: int, leased: bool = False, rows: int = ROWS, tickets: int = TICKETS) -> None:
        """Make an empty page in the place of whatever stands there. Processes that have that one mapped keep it.

        Its space is taken from the disk at once: a mapped file that cannot grow would kill who writes to it.
        Raises: OSError: the disk is full, or the place cannot be written.
        """
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = path.with_name(path.name + ".new")
        file = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(file, 0, 8 * _layout(slots, rows, tickets)[-1])
            os.pwrite(file, _HEAD.pack(MAGIC, random.getrandbits(62), slots, rows, tickets, leased), 0)
        finally:
            os.close(file)
        page = Page(beside)
        page._lock.make()
        page.close()
        beside.replace(path)

    def close(self) -> None:
        """Give the page back."""
        del self._mutex
        self._lock.close()
        self.words.release()
        self.buffer.close()
        os.close(self._file)

    # the lock

    def lock(self) -> None:
        """Take the lock; what a dead holder began is finished first.

        Raises: TransientError: somebody kept it for seconds, which only a process that stands still does.
        """
        if result := trylock(self._mutex):
            self._lock.take_after(result)
        if self.words[_LOG]:
            self._redo()

    def unlock(self) -> None:
        """Give the lock back."""
        unlock(self._mutex)

    # changes

    def commit(self, changes: Sequence[int]) -> None:
        """Make a change whole or not at all: word, value, word, value …"""
        words, count = self.words, len(changes) // 2
        _PAIRS[count].pack_into(self.buffer, 8 * (_LOG + 1), *changes)
        words[_LOG] = count  # from here on it will be made, by us or by whoever takes the lock next
        for n in range(0, 2 * count, 2):
            words[changes[n]] = changes[n + 1]
        words[_LOG] = 0

    def _redo(self) -> None:
        count = self.words[_LOG]
        self.commit(_PAIRS[count].unpack_from(self.buffer, 8 * (_LOG + 1)))

    # rows

    def find(self, key: bytes) -> int:
        """First word of the counter's row; -1: it has none."""
        home = self._home(key)
        begin = 8 * self._keys + 16 * home
        end = begin + 16 * PROBES
        place = self.buffer.find(key, begin, end)
        while place >= 0 and (place - begin) % 16:
            place = self.buffer.find(key, place + 1, end)
        return -1 if place < 0 else self._first + ROW_WORDS * (home + (place - begin) // 16)

    def open_row(self, key: bytes, ends_ns: int, now_ns: int) -> int:
        """First word of the counter's row for the window that ends then, or a later one that somebody has seen.

        Returns: -1: there is no room. A row is free once its window is over, or, without one, while nothing is held.
        """
        at = self.find(key)
        if at >= 0 and self.words[at + ENDS] > now_ns:
            return at
        if at < 0:
            at = self._free_row(key, now_ns)
            if at < 0:
                return -1
        named = self._keys + 2 * self.index(at)
        first, second = struct.unpack("<2q", key)
        fresh = (self.words[at + GENERATION] + 1, ends_ns, 0, 0, 0, 0, 0)
        changes = [named, first, named + 1, second]
        for n, value in enumerate(fresh):
            changes += (at + n, value)
        self.commit(changes)
        return at

    def _free_row(self, key: bytes, now_ns: int) -> int:
        """One whose window is over or that was never used (it ends at 0); else one that has none and holds nothing."""
        words, home, idle = self.words, self._home(key), -1
        for row in range(home, home + PROBES):
            at = self._first + ROW_WORDS * row
            ends_ns = words[at + ENDS]
            if ends_ns <= now_ns:
                return at
            if idle < 0 and ends_ns == NEVER_NS and not words[at + HELD] and not words[at + GRANTED]:
                idle = at
        return idle

    def _home(self, key: bytes) -> int:
        return int.from_bytes(key[:8], "little") % self.rows

    def index(self, at: int) -> int:
        """Which row begins at word `at`."""
        return (at - self._first) // ROW_WORDS

    def open_rows(self, now_ns: int) -> Iterator[tuple[bytes, int]]:
        """(key, first word) of every row whose window is not over."""
        for row in range(self.rows + PROBES):
            at = self._first + ROW_WORDS * row
            if self.words[at + ENDS] > now_ns:
                place = 8 * self._keys + 16 * row
                yield self.buffer[place : place + 16], at

    # shares

    def share_at(self, slot: int, at: int) -> int:
        """First word of what a slot has leased for a row: (generation that it is for, amount)."""
        return self._shares + _SHARE_WORDS * (slot * (self.rows + PROBES) + self.index(at))

    def share(self, slot: int, at: int) -> int:
        """How much a slot has leased for the row, in its present window."""
        place = self.share_at(slot, at)
        return self.words[place + 1] if self.words[place] == self.words[at + GENERATION] else 0

    # tickets

    def ticket_at(self, slot: int, ticket: int) -> int:
        """First word of a ticket: 0, or how many parts it has."""
        return self._first_ticket + _TICKET_WORDS * (slot * self.tickets + ticket)

    def free_tickets(self, slot: int) -> list[int]:
        """First words of the tickets of a slot that record no call."""
        every = (self.ticket_at(slot, ticket) for ticket in range(self.tickets))
        return [at for at in every if not self.words[at]]

    def write_ticket(self, at: int, call: str, parts: Parts) -> None:
        """Fill a free ticket in. It says nothing until its first word, how many parts it has, is committed."""
        _TICKET[len(parts) // 3].pack_into(self.buffer, 8 * at + 8, call.encode(), 0, *parts)

    def read_ticket(self, at: int) -> tuple[str, Parts]:
        """(id of the call, its parts) of a ticket that records one."""
        named, _, *parts = _TICKET[self.words[at]].unpack_from(self.buffer, 8 * at + 8)
        return named.rstrip(b"\0").decode(), parts


def _layout(slots: int, rows: int, tickets: int) -> tuple[int, int, int, int, int]:
    """First words of keys, rows, shares, tickets, and how many words there are."""
    every = rows + PROBES  # the last home has as many neighbours as the first
    keys = _HEADER_WORDS
    first = keys + 2 * every
    shares = first + ROW_WORDS * every
    tickets_at = shares + _SHARE_WORDS * every * slots
    return keys, first, shares, tickets_at, tickets_at + _TICKET_WORDS * tickets * slots
