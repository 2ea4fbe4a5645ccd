"""What a stream says of many, folded by a worker: at every admission as new as the last change anybody was told of.

Prepaid accounts (docs/adr/0035) and plans (docs/adr/0039) are known to workers so.
"""

from collections.abc import Collection
from typing import Generic, Protocol, TypeVar

from interlock.errors import InterlockError
from interlock.identity.generation import Generation, Tail
from interlock.log import Stored
from interlock.units import INT64_MAX

Who = TypeVar("Who")
What = TypeVar("What")
WhoFolded = TypeVar("WhoFolded", covariant=True)


class Fold(Protocol[WhoFolded]):
    """The records so far."""

    @property
    def seq(self) -> int:
        """The last that was folded."""
        ...

    def apply(self, stored: Stored) -> WhoFolded | None:
        """Fold the next; whom it is about, None: nobody. Raises: InterlockError."""
        ...


class Following(Generic[Who, What]):
    """For one worker. A memory read where nothing is new; SQLite is read only where something is."""

    def __init__(self, log: Tail, generation: Generation, slot: int, stream: str, fold: Fold[Who]) -> None:
        """Nothing is read before the first question. `slot`: of the generation's page, for the stream."""
        self._log, self._slots, self._slot, self._stream = log, generation.slots, slot, stream
        self._fold = fold
        self._next_ns = 0
        self._due: dict[Who, int] = {}
        """When the time alone changes what holds; those for whom it does not are left out."""

    def look(self, who: Who, now_ns: int) -> tuple[What | None, int]:
        """What holds for somebody now, None: nothing that anybody has to know; and when the time alone changes it,
        INT64_MAX: never. Of the fold, and nothing else.
        """
        raise NotImplementedError  # whoever folds something knows

    def changed(self, now_ns: int) -> Collection[What] | None:
        """What holds now where it is another than at the last question; None: it cannot be read, so nobody knows."""
        head = self._slots[self._slot]
        if head <= self._fold.seq and now_ns < self._next_ns:
            return ()
        some = {who for who, at_ns in self._due.items() if at_ns <= now_ns}
        if head > self._fold.seq:
            try:
                for stored in self._log.read_after(self._stream, self._fold.seq):
                    who = self._fold.apply(stored)
                    if who is not None:
                        some.add(who)
                        self._due[who] = 0  # until it is looked at, even if the next record cannot be read
            except (InterlockError, OSError):
                return None
            if self._fold.seq < head:
                return None  # what was folded is taken up with the rest
        found = []
        for who in some:
            what, next_ns = self.look(who, now_ns)
            self._due.pop(who, None)
            if next_ns < INT64_MAX:
                self._due[who] = next_ns
            if what is not None:
                found.append(what)
        self._next_ns = min(self._due.values(), default=INT64_MAX)
        return found
