"""Faults in front of a log, for tests of whoever writes to one.

The fault model, one fault an append:

- `lost`: the append never reached the log; the caller cannot know: UnknownOutcome.
- `lost_after_effect`: it stands, but the answer was lost: UnknownOutcome.
- `refused`: the log knows that it did nothing: LogUnavailable.
- `slow`: `pause` is awaited before it reaches the log, so that others may overtake it.
- `twice`: the network delivers it twice; the answer is the second one.

Not modelled: damage to what is stored, reordering inside one append, an answer to another's question, failed reads.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Literal

from interlock.errors import LogUnavailable, UnknownOutcome
from interlock.log import Appended, Conflict, Log, Record, Stored

Fault = Literal["none", "lost", "lost_after_effect", "refused", "slow", "twice"]


class FaultyLog(Log):
    """`log` behind the next of `faults` at each append; when they run out, no fault."""

    def __init__(self, log: Log, faults: Iterator[Fault], *, pause: Callable[[], Awaitable[None]]) -> None:
        self._log = log
        self._faults = faults
        self._pause = pause

    async def append(self, stream: str, records: Sequence[Record], *, expect: int | None = None) -> Appended | Conflict:
        fault = next(self._faults, "none")
        if fault == "lost":
            raise UnknownOutcome("injected: the request was lost")
        if fault == "refused":
            raise LogUnavailable("injected: the log refused")
        if fault == "slow":
            await self._pause()
        answer = await self._log.append(stream, records, expect=expect)
        if fault == "lost_after_effect":
            raise UnknownOutcome("injected: the answer was lost")
        if fault == "twice":
            return await self._log.append(stream, records, expect=expect)
        return answer

    async def head(self, stream: str) -> int:
        return await self._log.head(stream)

    def read(self, stream: str, *, after: int = 0) -> AsyncIterator[Stored]:
        return self._log.read(stream, after=after)

    def follow(self, stream: str, *, after: int) -> AsyncIterator[Stored]:
        return self._log.follow(stream, after=after)

    async def streams(self) -> list[str]:
        return await self._log.streams()
