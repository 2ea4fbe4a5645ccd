"""A worker's shares of limits that several machines have together: leased when needed, told of, given back.

The page is the truth about what this machine was granted, the authority about what everybody was. So the page is
lowered before the authority is told, and raised after it has said so: whatever dies in between, the authority never
believes that a machine has less than it may spend. One exchange at a time, so that what was told last holds.

All workers of a machine spend from the sum of their shares (`shares.py`). What nobody spends is given back after
IDLE_NS, or at once if somebody else lacks it. While the authority cannot be reached, shares in hand are spent; then the
limit's overdraft is.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Sequence

from interlock.errors import TransientError
from interlock.limits.call import Claim, Denied, Held, NeedsLease
from interlock.limits.decide import SOON_NS
from interlock.limits.limiter import FENCE_NS, Limiter
from interlock.limits.page import CONTACT
from interlock.limits.ports import Answer, Ask, Authority
from interlock.limits.shares import Share, Shares

BEAT_S = 0.1
"""Between looks at what moved, what others lack, and whether the authority is there."""
IDLE_NS = 1_000_000_000
LEASE_S = 3.0
"""The most that a call waits for its share; longer than a new authority gathers (`Times.gather_ns`)."""
RECALL_S = 0.4
"""How long others have to give back what they do not need: several of their beats."""
AGAIN_S = 0.03
ANSWER_S = 0.5
"""An authority that takes longer is not there."""
SWEEP_NS = 10_000_000_000
BATCH = 200


class Leases:
    """Of one limiter. `run` beside the loop; `lease` when a call lacks something."""

    def __init__(self, limiter: Limiter, authority: Authority) -> None:
        self.away = False
        """Whether the authority could not be reached the last time."""
        self.shares = Shares(limiter)
        self._limiter = limiter
        self._clock = limiter.clock
        self._authority = authority
        self._joined = False
        self._told: dict[bytes, Share] = {}
        """Counters that the authority knows of from this worker."""
        self._moved: dict[bytes, Share] = {}
        """Those that may have something to give back, the one that moved longest ago first."""
        self._turn = asyncio.Lock()  # protects the order: the page is read, told and raised by one at a time
        self._swept_ns = 0
        limiter.leases = self

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            try:
                async with self._turn:
                    await self._beat()
            except TransientError:
                pass  # `away` says so
            await asyncio.sleep(BEAT_S)

    async def close(self) -> None:
        """Give back what is not held, if the authority is there, and hang up. After the last call; `run` has ended."""
        try:
            if self._joined:
                async with self._turn:
                    for share in self._told.values():
                        self.shares.give_back(share)
                    await self._tell(list(self._told.values()))
        except TransientError:
            pass  # it stays granted to this machine until its next run tells
        finally:
            await self._authority.close()

    async def lease(self, claim: Claim) -> Held | Denied:
        """Admit a call for which this machine's shares do not suffice, if the authority has enough."""
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        while True:
            answer = Answer()
            try:
                async with self._turn:
                    outcome = self._limiter.reserve(claim)  # another's lease may have brought enough meanwhile
                    if isinstance(outcome, NeedsLease):
                        answer = await self._ask(claim)
                        outcome = self._limiter.reserve(claim)
            except TransientError:
                outcome = self._limiter.reserve(claim)  # by what is decided while the authority is away
            if not isinstance(outcome, NeedsLease):
                return outcome
            waited_s = loop.time() - begun_s
            hopeless = waited_s >= RECALL_S or self.shares.hopeless(claim)
            if waited_s >= LEASE_S or (hopeless and not answer.granted and not answer.gathering):
                return self._refuse(claim)
            await asyncio.sleep(AGAIN_S)

    def _refuse(self, claim: Claim) -> Held | Denied:
        self.shares.refused(claim)
        outcome = self._limiter.reserve(claim)
        if isinstance(outcome, NeedsLease):  # the window has just turned
            return Denied(reason="away", limit="", retry_after_ns=SOON_NS)
        return outcome

    # exchanges: in turn

    async def _ask(self, claim: Claim) -> Answer:
        """Lease what the call lacks."""
        if not self._joined:
            await self._join()
        self._wake()
        wanted = self.shares.lacking(claim)
        for share, _ in wanted:
            self._told[share.key] = share
        answer = await self._exchange([ask for _, ask in wanted])
        now_ns = self._clock.monotonic_ns()
        for (share, ask), told in zip(wanted, answer.told, strict=True):
            self.shares.raise_by(share, ask, told)
            self._move(share, now_ns)
        return answer

    async def _beat(self) -> None:
        if not self._joined:
            await self._join()
        self._wake()
        now_ns = self._clock.monotonic_ns()
        moved = [share for target in self._limiter.take_touched() if (share := self.shares.of(target))]
        for share in moved:
            self._told[share.key] = share
            self._move(share, now_ns)
        idle = list(itertools.takewhile(lambda one: now_ns - one.moved_ns >= IDLE_NS, self._moved.values()))
        for share in idle:
            del self._moved[share.key]
            self.shares.give_back(share)
        answer = await self._tell([*moved, *idle])
        names = set(answer.recalled)
        lacked = [share for share in self._told.values() if share.name in names] if names else []
        if returned := [share for share in lacked if self.shares.give_back(share)]:
            await self._tell(returned)
        self._sweep(now_ns)

    async def _join(self) -> None:
        """Tell everything that this machine was granted to an authority that may know nothing."""
        async with self._answering():
            await self._authority.join()
        self._joined = True
        self._wake()
        self._told = {share.key: share for share in self.shares.every()}
        for share in self._told.values():
            share.told = None
        await self._tell(list(self._told.values()))
        if self._limiter.slot == 0:
            self._joined = False
            async with self._answering():
                await self._authority.retire_others()
            self._joined = True

    async def _tell(self, shares: Sequence[Share]) -> Answer:
        """Tell what has changed of these; the last answer. At least one exchange: it brings what others lack."""
        answer = Answer()
        told = [(share, ask) for share in shares if (ask := self.shares.news(share))]
        for begin in range(0, len(told) or 1, BATCH):
            part = told[begin : begin + BATCH]
            answer = await self._exchange([ask for _, ask in part])
            for (share, ask), heard in zip(part, answer.told, strict=True):
                self.shares.raise_by(share, ask, heard)
                if not ask.mine:
                    self._told.pop(share.key, None)
        return answer

    async def _exchange(self, asks: Sequence[Ask]) -> Answer:
        sent_ns, known, self._joined = self._clock.monotonic_ns(), self._joined, False
        async with self._answering():  # a cancelled one is not joined either: its answer is lost
            answer = await self._authority.exchange(asks)
        self.away = False
        words = self._limiter.page.words
        words[CONTACT] = max(words[CONTACT], sent_ns)
        if answer.unknown:
            raise TransientError("the limits' authority does not know this worker", code="limits_unavailable")
        self._joined = known
        return answer

    @contextlib.asynccontextmanager
    async def _answering(self) -> AsyncIterator[None]:
        """The authority is away if it does not answer in time. Raises: TransientError: so it is."""
        try:
            async with asyncio.timeout(ANSWER_S):
                yield
        except (TransientError, TimeoutError) as error:
            self.away = True
            raise TransientError("the limits' authority cannot be reached", code="limits_unavailable") from error

    def _wake(self) -> None:
        """Before telling, after a long silence: what of calls at once is not in use may be others' by now."""
        if self._clock.monotonic_ns() - self._limiter.page.words[CONTACT] > FENCE_NS:
            self.shares.drop_windowless()

    def _move(self, share: Share, now_ns: int) -> None:
        share.moved_ns = now_ns
        self._moved.pop(share.key, None)
        self._moved[share.key] = share

    def _sweep(self, now_ns: int) -> None:
        """Forget windows that are over; the authority does so by itself."""
        if now_ns - self._swept_ns >= SWEEP_NS:
            self._swept_ns, wall_ns = now_ns, self._clock.now_ns()
            self._told = {key: share for key, share in self._told.items() if share.ends_ns > wall_ns}
            self._moved = {key: share for key, share in self._moved.items() if share.ends_ns > wall_ns}
            self.shares.forget_past()
