"""What a program's model calls use, against its session's budget.

Each call passes the door of the sandbox's proxy, out here. Before it is sent it is looked at: if the budget is used up
it is refused, in its own format; else it is written down (`program.called`) and let through. What it came to is not
read from its answer, which may be streamed, cut off or tried again: the ledger is asked for the session's attempts, and
each that is over is written down once (`program.metered`), by its id. So nothing is lost by a crash: whoever comes next
asks the ledger too.

A call that is over counts before the next one is let through, so a budget is exceeded by what is in flight at most.
"""

import asyncio
import logging

from interlock.errors import InterlockError, LocalError, LogUnavailable, TransientError
from interlock.gateway.service import FORMATS
from interlock.gateway.wire import error_body
from interlock.ids import new_id
from interlock.ledger import Format, SessionAttempt
from interlock.runtime.brain.decide import over_budget
from interlock.runtime.brain.desk import Desk, LeaseLost
from interlock.runtime.brain.parts import Parts
from interlock.runtime.hands.egress import Admission
from interlock.runtime.sessions.event import Called, Metered
from interlock.runtime.sessions.state import State

PAUSES_S = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1.0, 1.0, 1.0)
"""Between looks for the end of attempts whose calls are over: a worker that died has them settled in about a second."""
SLACK_NS = 60_000_000_000
"""Records of several workers are not written in the order of their times."""
_log = logging.getLogger(__name__)


class Unasked(TransientError):
    """The ledger cannot be asked just now."""

    default_code = "limits_unavailable"


class Meter:
    """Of one session that a brain works on."""

    def __init__(self, parts: Parts, session: str, desk: Desk) -> None:
        self._parts, self._session, self._desk = parts, session, desk
        self._lock = asyncio.Lock()  # of two who find the same attempt one writes it down
        self._flying = 0
        self._since_ns = 0
        self._looks = 0
        self._stale = True  # a call has ended, or something was open, since the last look
        self._stuck = 0  # open attempts, beyond those that fly, that were waited for in vain
        self.refused_ns: int | None = None
        """Since when (monotonic) calls have been refused because the budget is used up."""
        self.broken: Exception | None = None
        """Why the log could not be written."""

    async def admit(self, method: str, target: str) -> Admission:
        """What is said of a request to the gateway. Only model calls are counted, and refused."""
        format = FORMATS.get(target.partition("?")[0])
        if method != "POST" or format is None or format == "count_tokens":
            return Admission()
        try:
            if _measured(await self._desk.latest()):
                await self.settle()
            if await self._desk.decide("program.called", lambda state: _call(state, format)) is not None:
                self._flying, self.refused_ns = self._flying + 1, None
                return Admission(over=self._over)
        except Unasked as error:
            return self._refusal(format, error)
        except (InterlockError, LeaseLost) as error:
            self.broken = error
            return self._refusal(format, LogUnavailable("the session's log cannot be written now"))
        if self.refused_ns is None:
            self.refused_ns = self._parts.clock.monotonic_ns()
        limit = over_budget(self._desk.state)
        text = f"the session's budget is used up ({limit}); a person may raise it"
        return self._refusal(format, LocalError(text, code="budget_exceeded"))

    async def settle(self, *, all: bool = False) -> None:
        """Write down what the ledger has beyond the log; waits a little for attempts whose calls are over.

        all: also for calls in flight, which are about to end.
        Raises: Unasked: the ledger cannot be asked. As `Desk.record`.
        """
        arrived = self._looks
        async with self._lock:
            beyond = 0
            for pause_s in (*PAUSES_S, 0.0):
                if self._looks > arrived and not self._stale and not (all and self._flying):
                    return  # somebody has looked since
                self._looks += 1
                self._stale, flying = False, 0 if all else self._flying
                try:
                    beyond = max(await self._look() - flying, 0)
                except BaseException:
                    self._stale = True
                    raise
                if beyond > self._stuck:
                    self._stale = True
                else:
                    self._stuck = beyond
                if pause_s and (self._stale or (all and self._flying)):
                    await self._parts.sleep(pause_s)
            self._stuck = beyond

    async def settled(self, *, all: bool = False) -> None:
        """`settle` if a call has ended since; nobody waits for it, so what cannot be had now is had later."""
        if not self._stale and not (all and self._flying):
            return
        try:
            await self.settle(all=all)
        except Unasked as error:
            _log.warning("what the program of %s has used cannot be asked now: %s", self._session, error)

    async def exhausted(self) -> str:
        """Which limit of the budget is reached, as people may have raised it meanwhile; empty: none."""
        return over_budget(await self._desk.latest())

    async def _look(self) -> int:
        """Ask the ledger and write down what is over; how many attempts are open."""
        created = self._desk.state.created
        assert created is not None
        try:
            found = await self._parts.attempts(created.tenant, self._session, self._since_ns)
        except InterlockError as error:
            text = f"whether the session's budget allows the call cannot be said now: {error.message}"
            raise Unasked(text) from error
        metered = self._desk.state.metered
        events = [_event(one) for one in found if one.settled and one.id not in metered and _tells(one)]
        if events:
            await self._desk.record("program.metered", *events)
        opened = [one.at_ns for one in found if not one.settled]
        if found:
            self._since_ns = max(min([*opened, found[-1].at_ns]) - SLACK_NS, self._since_ns)
        return len(opened)

    def _over(self) -> None:
        self._flying -= 1
        self._stale = True

    def _refusal(self, format: Format, error: InterlockError) -> Admission:
        request_id = new_id("req", self._parts.clock.now_ns())
        body = error_body(format, status=error.status, code=error.code, message=error.message, request_id=request_id)
        return Admission(why_not=error.message, status=error.status, body=body)


def _measured(state: State) -> bool:
    """Whether what calls used has to be known before the next one."""
    return state.budget.tokens is not None or state.budget.amount_nanousd is not None


def _call(state: State, format: Format) -> Called | None:
    return None if over_budget(state) else Called(step=state.steps + 1, format=format)


def _tells(attempt: SessionAttempt) -> bool:
    """Counting tokens is an attempt that uses nothing."""
    return bool(attempt.usage) or attempt.outcome != "completed"


def _event(attempt: SessionAttempt) -> Metered:
    return Metered(
        attempt=attempt.id,
        model=attempt.model,
        deployment=attempt.deployment,
        outcome=attempt.outcome,
        usage=attempt.usage,
        amount_nanousd=attempt.amount_nanousd,
    )
