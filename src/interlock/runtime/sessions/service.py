"""Sessions as people and their programs use them: created, told, watched, forked, cancelled, and asked for approval.

Every call is for one tenant (None: the operator, for any), and a session of another is one that there is not. Nothing
here is a session's state but its log: what a person asks for is decided on the fold of the log as it stands, and
written behind exactly that; if the log moved meanwhile, it is decided anew.
"""

import asyncio
import random
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from hashlib import sha256

import msgspec

from interlock.clock import Clock
from interlock.errors import LocalError
from interlock.ids import new_id
from interlock.runtime.sessions import checks, forking
from interlock.runtime.sessions.agent import Agent
from interlock.runtime.sessions.codec import EVENTS_MAX, unknown
from interlock.runtime.sessions.event import (
    Answer,
    Blob,
    Cancelled,
    Compacted,
    Created,
    Cut,
    Event,
    Finished,
    Raised,
    Said,
    Seen,
)
from interlock.runtime.sessions.ports import Blobs, Moved, Row, Store
from interlock.runtime.sessions.state import State, after, fold

STATES_KEPT = 64
"""Folds that are kept for the next question; a log of more than EVENTS_KEPT is folded anew."""
EVENTS_KEPT = 20_000
ATTEMPTS = 64
"""How often a decision is made anew because the log moved."""
IDLE_S = 15.0

CopyWorkspace = Callable[[str, str, str], Awaitable[None]]
"""`(source, target, snapshot)`: make the workspace `target` from what `source` holds now, or (`snapshot` not empty)
held when that snapshot was made. The target is new; after a failure nobody names it."""


class Sessions:
    """The service. For one event loop; others may use the same store in other processes."""

    def __init__(self, store: Store, blobs: Blobs, clock: Clock, copy_workspace: CopyWorkspace) -> None:
        self._store, self._blobs, self._clock, self._copy = store, blobs, clock, copy_workspace
        self._states: OrderedDict[str, State] = OrderedDict()

    async def create(
        self,
        tenant: str,
        principal: str,
        key_id: str,
        agent: Agent,
        *,
        title: str = "",
        labels: Mapping[str, str] | None = None,
        say: str = "",
        session_id: str | None = None,
    ) -> Row:
        """A new session, with the first message if there is one.

        `session_id`: the client's idempotency key; the session's id is made of it and the tenant. With the same key the
        session that is there is returned, if it was created alike. Raises: LocalError: a field outside its bounds;
        `conflict`: it was created otherwise.
        """
        labels = labels or {}
        checks.check_agent(agent)
        checks.check_about(principal, title, labels, say)
        session = self._id(tenant, session_id)
        created = Created(
            tenant=tenant,
            principal=principal,
            key_id=key_id,
            agent=agent,
            workspace=_workspace(session),
            title=title,
            labels=dict(labels),
        )
        events: list[Event] = [created, *([Said(text=say, by=principal)] if say else [])]
        at_ns = self._clock.now_ns()
        state = State()
        after(state, events, at_ns)
        times = [at_ns] * len(events)
        if not await self._store.create(session, tenant, principal, events, state.standing(), at_ns=times):
            await self._same(session, events)
        return await self.row(tenant, session)

    async def row(self, tenant: str | None, session: str) -> Row:
        """How it stands. Raises: LocalError `session_unknown`."""
        row = await self._store.row(session)
        if row is None or tenant not in (None, row.tenant):
            raise unknown(session)
        return row

    async def rows(self, tenant: str | None, *, before: str = "", limit: int = 100) -> list[Row]:
        """Newest first; `before`: the last of the page before."""
        checks.check_limit(limit)
        if before:
            await self.row(tenant, before)
        return await self._store.rows(tenant, before=before, limit=limit)

    async def events(
        self, tenant: str | None, session: str, *, after: int = 0, limit: int = 1000, bytes_max: int | None = None
    ) -> list[Seen]:
        """Events with `seq > after`, in order; `bytes_max` as of the store's."""
        checks.check_limit(limit)
        if after < 0:
            raise LocalError(f"after is {after}, not 0 or more", field="after")
        await self.row(tenant, session)
        return await self._store.events(session, after=after, limit=limit, bytes_max=bytes_max)

    async def follow(
        self, tenant: str | None, session: str, *, after: int = 0, idle_s: float = IDLE_S
    ) -> AsyncIterator[list[Seen]]:
        """As `events`, and then all that come, for ever; an empty list when nothing came for `idle_s`."""
        while True:
            found = await self.events(tenant, session, after=after)
            if found or not await self._store.changed(session, after=after, wait_s=idle_s):
                yield found
            after = found[-1].seq if found else after

    async def content(self, tenant: str | None, session: str, seq: int) -> bytes:
        """All of a call's result, whether the log holds it or names it. `seq`: of its `tool.finished`."""
        found = await self.events(tenant, session, after=max(seq - 1, 0), limit=1)
        if not found or found[0].seq != seq or not isinstance(found[0].event, Finished):
            raise LocalError(f"no result stands at {seq}", code="not_found", field="seq")
        content = found[0].event.content
        return await self._blobs.get(content.sha256) if isinstance(content, Blob) else content.text.encode()

    async def state(self, tenant: str | None, session: str) -> State:
        """The fold of its log as it stands; the caller's own."""
        await self.row(tenant, session)
        return await self._folded(session)

    async def emit(self, tenant: str | None, session: str, event: Said | Raised, *, expect: int | None = None) -> int:
        """A person's event. Its seq; that of the one that stands, if one with the same `id` does.

        `expect`: only if the log has not grown past this. Raises: LocalError: a field outside its bounds;
        `session_moved`: it has; `conflict`: another event with that `id` stands.
        """
        checks.check_emitted(event)

        def decide(state: State) -> list[Event]:
            if event.id in state.heard_ids:
                return []
            if expect not in (None, state.seq):
                raise _moved(session, state.seq)
            return [event]

        state, seq = await self._decide(tenant, session, decide)
        if seq:
            return seq
        stands = state.heard_ids[event.id]
        if (await self._store.events(session, after=stands - 1, limit=1))[0].event != event:
            raise LocalError(f"another event with the id {event.id!r} stands at {stands}", code="conflict", field="id")
        return stands

    async def wake(self, tenant: str | None, session: str) -> Row:
        """Make sure that a brain looks at it, if there is anything to do. The index's row is made from the log anew."""

        while True:
            row = await self.row(tenant, session)
            state = await self._folded(session)
            standing = state.standing()
            wanted = standing.status == "runnable" and not row.owner
            if state.seq == row.head and (wanted or standing != row.standing):
                answer = await self._store.append(session, [], standing, expect=state.seq)
                if isinstance(answer, Moved):
                    continue
            if state.seq >= row.head:
                self._keep(session, state)
                return await self.row(tenant, session)

    async def cut(self, tenant: str | None, session: str, summary: str = "") -> int:
        """Show the model nothing of what has been, but `summary`, from here on; the log keeps it. The event's seq.

        Raises: LocalError `conflict`: a turn is under way, whose calls would lose what they are about.
        """
        checks.check_text("summary", summary, checks.SAY_BYTES_MAX)

        def decide(state: State) -> list[Event]:
            _check_at_rest(state, session)
            return [Cut(kind="summary" if summary else "reset", before_seq=state.seq, summary=summary)]

        return (await self._decide(tenant, session, decide))[1]

    async def compact(self, tenant: str | None, session: str, *, by: str) -> int:
        """Have the model sum up what it is shown, and be shown the summary in its place. The event's seq.

        Raises: LocalError `conflict`: a turn is under way, there is nothing to sum up, or it is a program's session.
        """
        checks.check_name("by", by)

        def decide(state: State) -> list[Event]:
            _check_at_rest(state, session)
            if state.agent.program or not state.shown:
                why = "is a program's" if state.agent.program else "has nothing to sum up"
                raise LocalError(f"the session {session} {why}", code="conflict", field="session")
            return [Compacted(by=by)]

        return (await self._decide(tenant, session, decide))[1]

    async def cancel(self, tenant: str | None, session: str, *, by: str, reason: str = "") -> int:
        """Stop what runs and end the turn. The event's seq; 0: no turn is under way, or it is being cancelled."""
        checks.check_name("by", by)
        checks.check_text("reason", reason, checks.NOTE_BYTES_MAX)

        def decide(state: State) -> list[Event]:
            if not state.in_turn or state.cancelled is not None:
                return []
            return [Cancelled(by=by, reason=reason)]

        return (await self._decide(tenant, session, decide))[1]

    async def answer(
        self,
        tenant: str | None,
        session: str,
        approval: str,
        approved: bool,
        arguments_sha256: str,
        *,
        by: str,
        note: str = "",
    ) -> int:
        """A person's word on a question, for exactly the arguments that were asked about. The answer's seq; 0: the same
        person has said the same before.

        Raises: LocalError `approval_closed`: it was answered, has expired, or is for other arguments.
        """
        checks.check_name("by", by)
        checks.check_text("note", note, checks.NOTE_BYTES_MAX)
        answer = Answer(approval=approval, approved=approved, arguments_sha256=arguments_sha256, by=by, note=note)

        def decide(state: State) -> list[Event]:
            stands = state.approvals.get(approval)
            if stands is not None and stands.answer == answer and not stands.void:
                return []
            why = _closed(state, answer, self._clock.now_ns())
            if why:
                raise LocalError(f"the approval {approval[:64]!r} {why}", code="approval_closed", field="approval")
            return [answer]

        return (await self._decide(tenant, session, decide))[1]

    async def fork(
        self,
        tenant: str | None,
        session: str,
        at: int | None = None,
        *,
        principal: str,
        key_id: str,
        title: str | None = None,
        labels: Mapping[str, str] | None = None,
        say: str = "",
        session_id: str | None = None,
    ) -> Row:
        """A new session that goes on from the parent's event `at` (None: the last), with a workspace of its own.

        Its model calls are `key_id`'s. If a turn was under way there, it goes on at once. Title and labels: the
        parent's, if not given. `session_id`: as of `create`. Raises: LocalError: no such place; a field outside its
        bounds; `conflict`.
        """
        row = await self.row(tenant, session)
        child = self._id(row.tenant, session_id)
        if await self._store.row(child) is not None:
            return await self._forked(tenant, child, session, at)
        at = row.head if at is None else at
        if not 1 <= at <= min(row.head, EVENTS_MAX - 1000):
            raise LocalError(f"at is {at}, not 1 to {min(row.head, EVENTS_MAX - 1000)}", field="at")
        copied = await self._store.events(session, limit=at)
        parent = copied[0].event
        assert isinstance(parent, Created), "a log begins with session.created"
        title, labels = parent.title if title is None else title, parent.labels if labels is None else labels
        checks.check_about(principal, title, labels, say)
        created = msgspec.structs.replace(
            parent,
            principal=principal,
            key_id=key_id,
            workspace=new_id("wsp", self._clock.now_ns()),  # not of the child's id: two attempts must not share one
            title=title,
            labels=dict(labels),
            parent=session,
            parent_seq=at,
        )
        said = Said(text=say, by=principal) if say else None
        seen, state, end = forking.forked(created, copied, said, head=row.head, at_ns=self._clock.now_ns())
        if end.workspace != "empty":
            await self._copy(parent.workspace, created.workspace, end.snapshot)
        events, times = [one.event for one in seen], [one.at_ns for one in seen]
        await self._store.create(child, row.tenant, principal, events, state.standing(), at_ns=times)
        return await self._forked(tenant, child, session, at)

    async def _forked(self, tenant: str | None, child: str, parent: str, at: int | None) -> Row:
        """The fork that is there. Raises: LocalError: it is one of another place."""
        created = (await self._store.events(child, limit=1))[0].event
        assert isinstance(created, Created), "a log begins with session.created"
        if created.parent != parent or at not in (None, created.parent_seq):
            raise LocalError("a session with this id was created otherwise", code="conflict", field="session_id")
        return await self.row(tenant, child)

    def _id(self, tenant: str, key: str | None) -> str:
        if key is None:
            return new_id("ses", self._clock.now_ns())
        checks.check_name("session_id", key, checks.KEY_BYTES_MAX)
        return f"ses_{sha256(tenant.encode() + bytes(1) + key.encode()).hexdigest()[:32]}"

    async def _same(self, session: str, events: Sequence[Event]) -> None:
        """Raises: LocalError: what stands there was created otherwise. The key may be another: they are changed."""
        stands = [seen.event for seen in await self._store.events(session, limit=len(events))]
        for event, stood in zip(events, stands, strict=False):
            if isinstance(event, Created) and isinstance(stood, Created):
                event = msgspec.structs.replace(event, key_id=stood.key_id)
            if event != stood:
                break
        else:
            if len(stands) == len(events):
                return
        raise LocalError("a session with this id was created otherwise", code="conflict", field="session_id")

    async def _decide(
        self, tenant: str | None, session: str, decide: Callable[[State], list[Event]]
    ) -> tuple[State, int]:
        """Write what is decided behind the state that it was decided on; the state then, and the last one's seq (0:
        nothing was to be written)."""
        await self.row(tenant, session)
        for attempt in range(ATTEMPTS):
            state = await self._folded(session)
            seq, events = state.seq, decide(state)
            if not events:
                self._keep(session, state)
                return state, 0
            at_ns = self._clock.now_ns()
            after(state, events, at_ns)
            answer = await self._store.append(session, events, state.standing(), expect=seq, at_ns=at_ns)
            if not isinstance(answer, Moved):
                self._keep(session, state)
                return state, state.seq
            # A brain that writes without pause may be there first each time: come at another moment.
            await asyncio.sleep(0 if attempt % 2 else random.uniform(0, 0.002))  # noqa: S311 - a pause, no secret
        raise _moved(session, seq)

    async def _folded(self, session: str) -> State:
        state = self._states.pop(session, None) or State()  # whoever else folds meanwhile takes its own
        while True:
            batch = await self._store.events(session, after=state.seq)
            if not batch:
                return state
            fold(batch, state)

    def _keep(self, session: str, state: State) -> None:
        if state.seq <= EVENTS_KEPT:
            self._states[session] = state
        if len(self._states) > STATES_KEPT:
            self._states.popitem(last=False)


def _closed(state: State, answer: Answer, now_ns: int) -> str:
    """Why a question takes no answer; empty: it does."""
    asking = state.approvals.get(answer.approval)
    if asking is None:
        return "is not one of this session"
    if asking.answer is not None and not asking.void:
        return f"was answered by {asking.answer.by}"
    if asking.expired or now_ns >= asking.question.expires_at_ns:
        return "has expired"
    if not asking.open or asking.question.call_id not in state.pending or state.cancelled is not None:
        return "is not asked any more"
    if asking.question.arguments_sha256 != answer.arguments_sha256:
        return "is for other arguments"
    return ""


def _check_at_rest(state: State, session: str) -> None:
    if state.in_turn:
        raise LocalError(f"the session {session} is at work: cancel it first", code="conflict", field="session")


def _workspace(session: str) -> str:
    return f"wsp_{session.removeprefix('ses_')}"


def _moved(session: str, seq: int) -> LocalError:
    return LocalError(f"the session {session} has moved on to {seq}", code="session_moved", field="session")
