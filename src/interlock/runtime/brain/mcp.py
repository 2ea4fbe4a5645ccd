"""Tools of other servers, behind the gateway's door: listed and called over MCP at the data port's `/mcp`.

A session's token opens the door for the tools that its agent names, and no others. What a server says of a tool's
effect is believed as far as running it again goes (`readOnlyHint`, `idempotentHint`); a tool that says nothing runs
once. A server that dies, floods or answers nonsense costs the call that met it. The SDK is imported when it is needed.
"""

import asyncio
import fnmatch
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from interlock.clock import Clock
from interlock.errors import InterlockError, RemoteError
from interlock.runtime.brain.tools.ports import Done, Tool, Use
from interlock.runtime.sessions.agent import Agent
from interlock.runtime.sessions.event import Effect
from interlock.runtime.sessions.state import State

LIST_S = 20.0
CALL_S = 120.0
TOOLS_MAX = 128
DESCRIPTION_CHARS_MAX = 4096
SCHEMA_BYTES_MAX = 32 * 1024
RESULT_BYTES_MAX = 1 << 20
KEPT_S = 60.0
"""How long a list of tools is believed."""
KEY_META = "dev.interlock/idempotency-key"
NAME_META = "dev.interlock/tool"
"""In `_meta` of a listed tool: `server.tool`, by the server's own name for it."""
UNAVAILABLE_META = "dev.interlock/unavailable"
"""In `_meta` of a list: which servers are missing from it, and why."""
_TRIES = 2
_log = logging.getLogger(__name__)
Mint = Callable[[str, State, Literal["inference", "mcp"]], str]


def patterns_of(agent: Agent) -> tuple[str, ...]:
    """The `server.tool` patterns among an agent's tools.

    >>> patterns_of(Agent(tools=("shell", "mcp(github.*)")))
    ('github.*',)
    """
    return tuple(name[4:-1] for name in agent.tools if name.startswith("mcp(") and name.endswith(")"))


class Behind:
    """The door, for the sessions of one process. See `toolbox.Door`."""

    def __init__(self, url: str, mint: Mint, clock: Clock) -> None:
        """`url`: of the data port, without a path."""
        self._url, self._mint, self._clock = f"{url.rstrip('/')}/mcp", mint, clock
        self._kept: dict[str, _Kept] = {}

    async def tools(self, session: str, state: State) -> Sequence[Tool]:
        patterns = patterns_of(state.agent)
        if not patterns:
            return ()
        now_ns = self._clock.monotonic_ns()
        self._kept = {name: kept for name, kept in self._kept.items() if now_ns - kept.at_ns < KEPT_S * 1e9}
        if session not in self._kept:
            tools, away = await self._listed(session, state, patterns)
            self._kept[session] = _Kept(at_ns=now_ns, tools=tools, away=away)
        return self._kept[session].tools

    def away(self, session: str) -> Mapping[str, str]:
        kept = self._kept.get(session)
        return kept.away if kept is not None else {}

    async def _listed(
        self, session: str, state: State, patterns: tuple[str, ...]
    ) -> tuple[Sequence[Tool], Mapping[str, str]]:
        token = self._mint(session, state, "mcp")
        refused: list[str] = []
        async with _mapped(refused), asyncio.timeout(LIST_S), self._client(token, LIST_S, refused) as client:
            result = await client.list_tools()
        found = [_tool(self, state, item) for item in result.tools[: TOOLS_MAX * 8]]
        fitting = [
            tool
            for tool in found
            if tool is not None and any(fnmatch.fnmatchcase(tool.asks_as[4:-1], pattern) for pattern in patterns)
        ]
        away = _away(patterns, result.meta or {})
        if not fitting:
            raise RemoteError(_why_none(patterns, away), code="upstream_error")
        return fitting[:TOOLS_MAX], away

    async def call(self, tool: "RemoteTool", arguments: dict[str, Any], use: Use) -> Done:
        """Call it; for `RemoteTool`."""
        time_s = min(CALL_S, use.time_s)
        token = self._mint(use.session, tool.state, "mcp")
        refused: list[str] = []
        async with _mapped(refused), asyncio.timeout(time_s + 5), self._client(token, time_s, refused) as client:
            result = await client.call_tool(tool.name, arguments, meta={KEY_META: use.key})
        return Done(outcome="error" if result.is_error else "ok", content=_content(result))

    @asynccontextmanager
    async def _client(self, token: str, time_s: float, refused: list[str]) -> AsyncIterator[Any]:
        """`refused` gets what the gateway says where it hands a request on to nobody: the SDK passes it over."""
        import httpx2
        from mcp import Client
        from mcp.client.streamable_http import streamable_http_client

        async def look(response: Any) -> None:
            if response.is_error and (message := _refusal(await response.aread())):
                refused.append(message)

        headers, hooks = {"authorization": f"Bearer {token}"}, {"response": [look]}
        async with httpx2.AsyncClient(headers=headers, timeout=time_s, trust_env=False, event_hooks=hooks) as http:
            transport = streamable_http_client(self._url, http_client=http)
            async with Client(transport, read_timeout_seconds=time_s) as client:
                yield client


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """A session's list."""

    at_ns: int
    tools: Sequence[Tool]
    away: Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class RemoteTool:
    """One tool of another server. See `ports.Tool`."""

    door: Behind
    state: State
    name: str
    asks_as: str
    description: str
    schema: dict[str, Any]
    effect: Effect

    def check(self, arguments: dict[str, Any]) -> str:
        """Its server checks them; what is checked here is that they are one object."""
        return ""

    async def run(self, arguments: dict[str, Any], use: Use) -> Done:
        """Call it; what may be repeated is, once, with the same key."""
        for left in reversed(range(1 if self.effect == "once" else _TRIES)):
            try:
                return await self.door.call(self, arguments, use)
            except RemoteError as error:
                _log.warning("the tool %s could not be called: %s", self.asks_as, error)
                if self.effect == "once" and error.code != "upstream_error":
                    text = f"Unknown outcome: {error.message}. It may have happened, or not; it was not repeated."
                    return Done(outcome="unknown", content=text.encode())
                if not left:
                    return Done(outcome="error", content=f"The tool could not be called: {error.message}".encode())
        raise AssertionError("the last try returned")


def _tool(door: Behind, state: State, item: Any) -> RemoteTool | None:
    """A listed tool; None: it is none that a model can be shown."""
    schema = item.input_schema or {}
    if len(msgspec.json.encode(schema)) > SCHEMA_BYTES_MAX:
        _log.warning("the tool %s is left out: its schema is larger than %d bytes", item.name, SCHEMA_BYTES_MAX)
        return None
    own = (item.meta or {}).get(NAME_META)
    name = own if isinstance(own, str) else item.name.replace("__", ".", 1)
    return RemoteTool(
        door=door,
        state=state,
        name=item.name,
        asks_as=f"mcp({name})",
        description=(item.description or "")[:DESCRIPTION_CHARS_MAX],
        schema=schema,
        effect=_effect(item.annotations),
    )


def _effect(annotations: Any) -> Effect:
    if annotations is not None and annotations.read_only_hint:
        return "pure"
    return "idempotent" if annotations is not None and annotations.idempotent_hint else "once"


def _content(result: Any) -> bytes:
    """A result's text; what is not text is named. Where there is only structured content, that."""
    pieces: list[bytes] = []
    for block in result.content:
        text = getattr(block, "text", None)
        if isinstance(text, str):
            pieces.append(text.encode(errors="replace"))
        else:
            mime = getattr(block, "mime_type", "") or ""
            pieces.append(f"[{block.type} {mime}: not shown]".encode())
    structured: Mapping[str, Any] | None = result.structured_content
    if not pieces and structured is not None:
        pieces.append(msgspec.json.encode(structured))
    content = b"\n".join(pieces)
    if len(content) <= RESULT_BYTES_MAX:
        return content
    return content[:RESULT_BYTES_MAX] + f"\n[{len(content) - RESULT_BYTES_MAX} more bytes left out]".encode()


class _Error(msgspec.Struct):
    message: str


class _Refusal(msgspec.Struct):
    """An error of the gateway's own; one of MCP's names its protocol."""

    error: _Error
    jsonrpc: str = ""


def _refusal(body: bytes) -> str:
    try:
        found = msgspec.json.decode(body, type=_Refusal)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    return "" if found.jsonrpc else found.error.message


def _away(patterns: Sequence[str], meta: Mapping[str, Any]) -> dict[str, str]:
    """Which servers that are meant a list lacks, and why."""
    away, meant = meta.get(UNAVAILABLE_META), [pattern.partition(".")[0] for pattern in patterns]
    found = away.items() if isinstance(away, dict) else ()
    return {name: str(why) for name, why in found if any(fnmatch.fnmatchcase(name, one) for one in meant)}


def _why_none(patterns: Sequence[str], away: Mapping[str, str]) -> str:
    """Why a list holds nothing that fits: the servers that are meant and away, if there are any."""
    reasons = "; ".join(away.values())
    return f"nothing that this key may use fits {', '.join(patterns)}" + (f" ({reasons})" if reasons else "")


@asynccontextmanager
async def _mapped(refused: Sequence[str]) -> AsyncIterator[None]:
    """Whatever the SDK raises, as ours: an answer of the server's that is an error is `upstream_error`, anything else
    `upstream_closed`, of which nobody knows how far the call came."""
    try:
        yield
    except InterlockError:
        raise
    except TimeoutError as error:
        raise RemoteError("the server did not answer in time", code="upstream_timeout") from error
    except Exception as error:
        from mcp import MCPError
        from mcp_types import CONNECTION_CLOSED, REQUEST_TIMEOUT

        leaf: BaseException = error
        while isinstance(leaf, BaseExceptionGroup):
            leaf = leaf.exceptions[0]
        answered = isinstance(leaf, MCPError) and leaf.code not in (CONNECTION_CLOSED, REQUEST_TIMEOUT)
        said = refused[-1] if answered and refused else str(leaf)
        text = " ".join(said.split())[:300] or type(leaf).__name__
        raise RemoteError(text, code="upstream_error" if answered else "upstream_closed") from error
