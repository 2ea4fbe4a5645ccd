"""The authority: who divides a limit among machines. It never hands out more than the amount."""

from collections.abc import Collection, Sequence
from typing import Protocol

import msgspec

from interlock.limits.entitled import Entitled
from interlock.limits.limit import Limit


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What one worker says of one counter, and what it wants more of it."""

    name: str
    """The counter's key in hex."""
    ends_ns: int
    """The window it is about."""
    mine: int
    """All that this worker has been granted in this window and has not returned, spent or not. It is taken as it is:
    what was spent was spent."""
    spent: int
    """Used and held on its whole machine; of calls at once 0: nothing is spent by running."""
    need: int = 0
    """The least that helps; 0: it only tells."""
    extra: int = 0
    """What it would like beyond that, if there is plenty."""
    amount: int = 0
    """The whole limit. With `need`."""


class Told(msgspec.Struct, frozen=True):
    """The answer to one Ask."""

    granted: int
    """`need` at least, or nothing."""
    others: int
    """Spent by all other machines, as they last said."""
    free: int = 0
    """Of a need that was asked about: what nobody has been granted, before this answer; less than 0: overspent."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to one exchange."""

    told: list[Told] = []
    """One each, in order."""
    granted: bool = False
    """Whether every need was met; if one was not, none was."""
    recalled: list[str] = []
    """`name` of counters that somebody lacks: who has any of them left over returns it now."""
    gathering: bool = False
    """It has just begun or lost its memory, and gives nothing before everybody had the time to tell."""
    unknown: bool = False
    """It does not know this worker (any more), and did nothing: join, and tell everything."""


class Funds(Protocol):
    """What prepaid accounts may use, as one worker knows it."""

    def changed(self, now_ns: int) -> Collection[Limit] | None:
        """The accounts whose amount is another than at the last call, each a limit of the window `ever`; None: it
        cannot be read now, so nobody knows. Asked at every admission: mostly there are none, for a memory read."""
        ...


class Plans(Protocol):
    """What tenants' plans let them use, as one worker knows it."""

    def changed(self, now_ns: int) -> Collection[Entitled] | None:
        """The tenants whose plan says something else than at the last call; None: it cannot be read now, so nobody
        knows. Asked at every admission: mostly there are none, for a memory read."""
        ...


class Authority(Protocol):
    """One worker's line to it. One call at a time; each may raise TransientError: it cannot be reached."""

    async def join(self) -> None:
        """Connect, anew if need be. Tell everything afterwards: it may know less than before."""
        ...

    async def exchange(self, asks: Sequence[Ask]) -> Answer:
        """Tell, and ask for more: what is told is taken over, then every need is met or none."""
        ...

    async def retire_others(self) -> None:
        """Forget what earlier runs of this machine were granted. What they spent must have been told by this run."""
        ...

    async def close(self) -> None:
        """Hang up. What was granted stays granted."""
        ...
