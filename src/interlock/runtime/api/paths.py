"""/v1/sessions and /v1/approvals: a handler reads its input, asks the service, and answers; it decides nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Route

from interlock.answers import decoded, json, query
from interlock.asker import HEADER, Asker, read_asker
from interlock.errors import LocalError
from interlock.runtime.api.given import GivenAgent, GivenBudget, agent_of, budget_of, check_tools
from interlock.runtime.api.shown import approval_json, event_json, row_json, session_json
from interlock.runtime.hands import Hands
from interlock.runtime.hands.egress import parse as parse_egress
from interlock.runtime.permissions import Ruleset
from interlock.runtime.sessions.event import Raised, Said
from interlock.runtime.sessions.ports import Row, Store
from interlock.runtime.sessions.service import Sessions

EVENTS_MAX, EVENTS_BYTES = 1000, 1 << 20
"""In one answer: fewer where they are larger than that; whoever asks for the next ones gets them."""
PAGE_MAX = 500
WAIT_S_MAX = 60
DIGITS_MAX = 18


class New(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/sessions. `id`: the client's own, so that a repeated request makes one session."""

    agent: GivenAgent = GivenAgent()
    say: str = ""
    title: str = ""
    labels: dict[str, str] = {}
    id: str = ""


class Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST …/messages."""

    text: str
    id: str = ""
    """The client's own: the same message twice is said once."""


class Fork(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST …/fork. `at`: the last event that is copied; None: all there are."""

    at: int | None = None
    title: str | None = None
    say: str = ""
    id: str = ""
    """As of `New`."""


class Cancel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST …/cancel."""

    reason: str = ""


class Reset(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST …/reset. `summary`: what the model is told in the place of all that has been."""

    summary: str = ""


class Compact(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST …/compact: nothing."""


class Raise(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST …/budget: what the session may use in all from now on."""

    budget: GivenBudget
    id: str = ""
    """As of `Message`."""


class Word(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/approvals/SESSION/APPROVAL. `arguments_sha256`: of what was shown to the person."""

    approved: bool
    arguments_sha256: str
    note: str = ""


def asker_of(connection: HTTPConnection) -> Asker:
    """Who asks, as the control process says. Raises: LocalError: nobody says."""
    try:
        return read_asker(connection.headers.get(HEADER, ""))
    except ValueError as error:
        raise LocalError("nobody says who asks", code="key_missing") from error


def number(params: dict[str, str], name: str, default: int, most: int) -> int:
    """A whole number of the query, from 0 to `most`. Raises: LocalError."""
    text = params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX) or int(text) > most:
        raise LocalError(f"{name} is a whole number from 0 to {most}, not {text[:24]!r}", field=name)
    return int(text)


class SessionPaths:
    """The handlers."""

    def __init__(self, sessions: Sessions, store: Store, hands: Mapping[str, Hands]) -> None:
        """`hands`: the kinds of sandbox that sessions may ask for here."""
        self._sessions = sessions
        self._store = store
        self._hands = hands

    def routes(self) -> Sequence[Route]:
        """What is answered here and nowhere else."""
        one = "/v1/sessions/{session}"
        return [
            Route("/v1/sessions", self.index, methods=["GET"]),
            Route("/v1/sessions", self.create, methods=["POST"]),
            Route(one, self.show, methods=["GET"]),
            Route(f"{one}/events", self.events, methods=["GET"]),
            Route(f"{one}/results/{{seq}}", self.result, methods=["GET"]),
            Route(f"{one}/messages", self.say, methods=["POST"]),
            Route(f"{one}/wake", self.wake, methods=["POST"]),
            Route(f"{one}/fork", self.fork, methods=["POST"]),
            Route(f"{one}/cancel", self.cancel, methods=["POST"]),
            Route(f"{one}/reset", self.reset, methods=["POST"]),
            Route(f"{one}/compact", self.compact, methods=["POST"]),
            Route(f"{one}/budget", self.raise_budget, methods=["POST"]),
            Route("/v1/approvals", self.approvals, methods=["GET"]),
            Route("/v1/approvals/{session}/{approval}", self.answer, methods=["POST"]),
        ]

    async def index(self, request: Request) -> Response:
        asker = asker_of(request)
        params = query(request, ("before", "limit", "tenant"))
        limit = number(params, "limit", 100, PAGE_MAX)
        rows = await self._sessions.rows(_tenant(asker, params), before=params.get("before", ""), limit=limit)
        return json({"sessions": [row_json(row) for row in rows]})

    async def create(self, request: Request) -> Response:
        asker = asker_of(request)
        query(request, ())
        wanted = await decoded(request, New)
        if wanted.agent.hands not in self._hands:
            known = ", ".join(sorted(self._hands)) or "none"
            message = f"{wanted.agent.hands[:64]!r} is no kind of sandbox that is to be had here; there are: {known}"
            raise LocalError(message, field="agent.hands")
        if wanted.agent.mode == "bypass" and self._hands[wanted.agent.hands].strength != "kernel":
            message = f"bypass needs a sandbox with a kernel of its own (gvisor), not {wanted.agent.hands}"
            raise LocalError(message, field="agent.mode")
        agent = agent_of(wanted.agent)
        Ruleset.parse(agent.rules)  # a rule that means nothing is refused here, not when it would be needed
        parse_egress(agent.resources.egress)  # and so are a pattern and a tool
        check_tools(agent.tools)
        row = await self._sessions.create(
            asker.tenant,
            asker.principal,
            asker.key_id,
            agent,
            title=wanted.title,
            labels=wanted.labels,
            say=wanted.say,
            session_id=wanted.id or request.headers.get("idempotency-key"),
        )
        return await self._shown(row, 201)

    async def show(self, request: Request) -> Response:
        query(request, ())
        return await self._shown(await self.row(request))

    async def events(self, request: Request) -> Response:
        """`wait`: seconds to wait for the first if there is none yet."""
        params = query(request, ("after", "limit", "wait"))
        row = await self.row(request)
        after = number(params, "after", 0, 10**15)
        limit = number(params, "limit", EVENTS_MAX, EVENTS_MAX)
        wait_s = number(params, "wait", 0, WAIT_S_MAX)
        if row.head <= after and wait_s:
            await self._store.changed(row.session, after=after, wait_s=wait_s)
        found = await self._sessions.events(row.tenant, row.session, after=after, limit=limit, bytes_max=EVENTS_BYTES)
        return json({"events": [event_json(seen) for seen in found]})

    async def result(self, request: Request) -> Response:
        """All of a call's result, by its `tool.finished`: a hash alone is no permission."""
        query(request, ())
        row = await self.row(request)
        seq = number(dict(request.path_params), "seq", 0, 10**15)
        data = await self._sessions.content(row.tenant, row.session, seq)
        return Response(data, media_type="application/octet-stream")

    async def say(self, request: Request) -> Response:
        query(request, ())
        row = await self.row(request)
        message = await decoded(request, Message)
        said = Said(text=message.text, by=asker_of(request).principal, id=message.id)
        seq = await self._sessions.emit(row.tenant, row.session, said)
        return json({"session": row.session, "seq": seq}, 201)

    async def wake(self, request: Request) -> Response:
        query(request, ())
        row = await self.row(request)
        return await self._shown(await self._sessions.wake(row.tenant, row.session))

    async def fork(self, request: Request) -> Response:
        query(request, ())
        row = await self.row(request)
        wanted = await decoded(request, Fork)
        asker = asker_of(request)
        made = await self._sessions.fork(
            row.tenant,
            row.session,
            wanted.at,
            principal=asker.principal,
            key_id=asker.key_id,
            title=wanted.title,
            say=wanted.say,
            session_id=wanted.id or request.headers.get("idempotency-key"),
        )
        return await self._shown(made, 201)

    async def cancel(self, request: Request) -> Response:
        query(request, ())
        row = await self.row(request)
        wanted = await decoded(request, Cancel)
        await self._sessions.cancel(row.tenant, row.session, by=asker_of(request).principal, reason=wanted.reason)
        return await self._shown(await self.row(request))

    async def reset(self, request: Request) -> Response:
        query(request, ())
        row = await self.row(request)
        wanted = await decoded(request, Reset)
        await self._sessions.cut(row.tenant, row.session, wanted.summary)
        return await self._shown(await self.row(request))

    async def compact(self, request: Request) -> Response:
        query(request, ())
        row = await self.row(request)
        await decoded(request, Compact)
        await self._sessions.compact(row.tenant, row.session, by=asker_of(request).principal)
        return await self._shown(await self.row(request))

    async def raise_budget(self, request: Request) -> Response:
        query(request, ())
        row = await self.row(request)
        wanted = await decoded(request, Raise)
        raised = Raised(by=asker_of(request).principal, budget=budget_of(wanted.budget), id=wanted.id)
        await self._sessions.emit(row.tenant, row.session, raised)
        return await self._shown(await self.row(request))

    async def approvals(self, request: Request) -> Response:
        """Everything that waits for a person, the newest session first; of the newest `PAGE_MAX` sessions."""
        asker = asker_of(request)
        open_: list[dict[str, Any]] = []
        for row in await self._sessions.rows(_tenant(asker, query(request, ("tenant",))), limit=PAGE_MAX):
            if row.standing.status != "idle":
                state = await self._sessions.state(row.tenant, row.session)
                open_ += [approval_json(row.session, asking, state) for asking in state.waiting]
        return json({"approvals": open_})

    async def answer(self, request: Request) -> Response:
        query(request, ())
        row = await self.row(request)
        word = await decoded(request, Word)
        await self._sessions.answer(
            row.tenant,
            row.session,
            request.path_params["approval"],
            word.approved,
            word.arguments_sha256,
            by=asker_of(request).principal,
            note=word.note,
        )
        return await self._shown(await self.row(request))

    async def row(self, connection: HTTPConnection) -> Row:
        """The session of the path, if the asker may know of it. Raises: LocalError `session_unknown`."""
        asker = asker_of(connection)
        return await self._sessions.row(None if asker.every_tenant else asker.tenant, connection.path_params["session"])

    async def _shown(self, row: Row, status: int = 200) -> Response:
        return json(session_json(row, await self._sessions.state(row.tenant, row.session)), status)


def _tenant(asker: Asker, params: dict[str, str]) -> str | None:
    """Whose sessions are listed; None: everybody's. Raises: LocalError: another tenant's."""
    if asker.every_tenant:
        return params.get("tenant")
    if params.get("tenant", asker.tenant) != asker.tenant:
        raise LocalError("a tenant's key sees its own sessions alone", field="tenant")
    return asker.tenant
