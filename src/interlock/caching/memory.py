"""A worker's own entries: those used last, up to so many bytes, each for its time. State without a clock."""

import heapq
from collections import OrderedDict

from interlock.caching.keeping import Entry

_SLACK = 64


class Memory:
    """By key. What is the largest part of it in bytes is an answer's body, which is never copied."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes = 0
        """Held now."""
        self._bytes_max = bytes_max
        self._entries: OrderedDict[bytes, tuple[Entry, int]] = OrderedDict()
        self._ends: list[tuple[int, bytes]] = []  # a heap; it also holds ends of entries that are gone or were replaced

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes) -> Entry | None:
        """The entry, which is then the one used last. Whether it is fresh is not asked here."""
        found = self._entries.get(key)
        if found is None:
            return None
        self._entries.move_to_end(key)
        return found[0]

    def put(self, entry: Entry, until_ns: int) -> None:
        """Keep it instead of what was there, and let go of those unused for longest; not if it alone is too large."""
        self.drop(entry.key)
        if entry.size > self._bytes_max:
            return
        self._entries[entry.key] = entry, until_ns
        self.bytes += entry.size
        self._shrink()
        heapq.heappush(self._ends, (until_ns, entry.key))
        if len(self._ends) > 2 * len(self._entries) + _SLACK:
            self._ends = [(end_ns, key) for key, (_, end_ns) in self._entries.items()]
            heapq.heapify(self._ends)

    def drop(self, key: bytes) -> None:
        """Keep it no longer."""
        found = self._entries.pop(key, None)
        if found is not None:
            self.bytes -= found[0].size

    def expire(self, now_ns: int) -> None:
        """Drop what has had its time: an answer is content, and stays no longer than was said."""
        while self._ends and self._ends[0][0] <= now_ns:
            end_ns, key = heapq.heappop(self._ends)
            found = self._entries.get(key)
            if found is not None and found[1] == end_ns:
                self.drop(key)

    def resize(self, bytes_max: int) -> None:
        """Hold so many bytes at most from now on."""
        self._bytes_max = bytes_max
        self._shrink()

    def _shrink(self) -> None:
        while self.bytes > self._bytes_max:
            _, (entry, _) = self._entries.popitem(last=False)
            self.bytes -= entry.size
