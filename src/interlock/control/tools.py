"""Paths for what tool servers describe: every tool that was seen, what is approved, and approving a description."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from interlock.answers import decoded, json, query
from interlock.clock import Clock
from interlock.door import Approvals, Definition, Pin
from interlock.errors import LocalError
from interlock.instants import rfc3339
from interlock.unixpath import short

DOOR_S = 2.0


class ApprovalRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/tools/SERVER/NAME/approval: the very description that was looked at."""

    sha256: str


class _Away(msgspec.Struct, frozen=True, kw_only=True):
    server: str
    tenant: str
    principal: str
    why: str
    seen_s_ago: float


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    unavailable: tuple[_Away, ...]


class ToolPaths:
    """What the control port answers of the `tools` stream."""

    def __init__(self, approvals: Approvals, door: Path, clock: Clock) -> None:
        """`door`: the socket of the process that asks tool servers, if there is one."""
        self._approvals, self._door, self._clock = approvals, door, clock

    async def list(self, request: Request) -> Response:
        """All tools that were ever seen, and the servers that did not answer whoever last asked for their tools."""
        wanted = query(request, ("server",)).get("server")
        pins = (await self._approvals.refresh()).tools
        found = [_line(*name, pin) for name, pin in sorted(pins.items()) if wanted in (None, name[0])]
        away = [one for one in await self._unavailable() if wanted in (None, one["server"])]
        return json({"tools": found, "unavailable": away})

    async def _unavailable(self) -> Sequence[dict[str, Any]]:
        now_ns = self._clock.now_ns()
        return [
            {
                "server": one.server,
                "tenant": one.tenant,
                "principal": one.principal,
                "why": one.why,
                "at": rfc3339(now_ns - int(one.seen_s_ago * 1e9)),
            }
            for one in await _asked(self._door)
        ]

    async def show(self, request: Request) -> Response:
        """One tool: the description that is approved, and those that wait. Raises: LocalError `not_found`."""
        query(request, ())
        server, name = request.path_params["server"], request.path_params["name"]
        pin = (await self._approvals.refresh()).tools.get((server, name))
        if pin is None:
            raise LocalError(f"no tool {server}.{name} was ever seen", code="not_found", field="name")
        approved = pin.seen.get(pin.approved.sha256) if pin.approved else None
        return json(
            {
                **_line(server, name, pin),
                "definition": _shown(approved) if approved else None,
                "waiting": [_shown(one) for one in pin.waiting],
            }
        )

    async def approve(self, request: Request) -> Response:
        """201: from now on that very description is listed and called. Raises: LocalError `not_found`."""
        query(request, ())
        server, name = request.path_params["server"], request.path_params["name"]
        wanted = await decoded(request, ApprovalRequest)
        approved = await self._approvals.approve(server, name, wanted.sha256, request.state.key.principal)
        return json({"server": server, "name": name, "sha256": approved.sha256, "by": approved.by}, 201)


async def _asked(door: Path) -> Sequence[_Away]:
    """What the door says; nothing if it does not run (without tool servers there is none)."""
    try:
        async with asyncio.timeout(DOOR_S):
            with short(door) as name:
                reader, writer = await asyncio.open_unix_connection(name)
            try:
                writer.write(b"GET /unavailable HTTP/1.0\r\nhost: door\r\n\r\n")
                answer = await reader.read()
            finally:
                writer.close()
        return msgspec.json.decode(answer.partition(b"\r\n\r\n")[2], type=_Answer).unavailable
    except (OSError, TimeoutError, msgspec.DecodeError):
        return ()


def _line(server: str, name: str, pin: Pin) -> dict[str, Any]:
    state = "approved" if pin.approved else "new"
    return {
        "server": server,
        "name": name,
        "state": "changed" if pin.approved and pin.waiting else state,
        "sha256": pin.approved.sha256 if pin.approved else None,
        "by": pin.approved.by if pin.approved else None,
        "at": rfc3339(pin.approved.at_ns) if pin.approved else None,
        "waiting": [one.sha256 for one in pin.waiting],
    }


def _shown(one: Definition) -> dict[str, Any]:
    return {"sha256": one.sha256, "seen_at": rfc3339(one.at_ns), "definition": one.definition}
