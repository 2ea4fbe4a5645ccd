"""Calls that a cache may answer, and what the tests of sharing ask of a rig."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from tests.gateway.answers import ask
from tests.gateway.rig import SSE_HEAD, Rig, Script, Seen, Upstream, chunk, policy, rig

from interlock.caching import Caching
from interlock.gateway import Policy, Rule, When
from interlock.ledger import Opened, Refused, Settled

Run = Callable[..., Any]


def zero(format: str, *, stream: bool = False, **changes: Any) -> dict[str, Any]:
    """A small request that qualifies."""
    stored = {"store": False} if format == "responses" else {}
    return {**ask(format, stream=stream), "temperature": 0, **stored, **changes}


def rules(**caching: Any) -> tuple[Rule, ...]:
    """Everything is cached, for a minute unless told otherwise."""
    return (Rule(name="all", when=When(), tier="main", cache=Caching(**{"ttl_s": 60, **caching})),)


def play(
    run: Run,
    tmp_path: Path,
    test: Callable[[Rig], Awaitable[None]],
    *upstreams: Upstream,
    boundary: str = "",
    **made: Any,
) -> None:
    """Run `test(rig)` before these upstreams, on every loop, under `rules()` unless `made` has others."""

    async def main() -> None:
        ports = [await upstream.start() for upstream in upstreams]
        try:
            async with rig(tmp_path / "data", cached(ports, **made), boundary=boundary) as on:
                await test(on)
        finally:
            for upstream in upstreams:
                await upstream.stop()

    run(main, blocking_s=1.0)  # opening the logs blocks, once


def cached(ports: list[int], **made: Any) -> Policy:
    return policy(ports, **{"rules": rules(), **made})


async def key_of(on: Rig, tenant: str, *, name: str = "agent", boundary: str = "") -> str:
    """The secret of another key."""
    profiles = set(on.gateway.policy.profiles)
    issued = await on.identity.issue(
        tenant=tenant, name=name, boundary=boundary, profiles=profiles, scopes=("inference",)
    )
    return issued.secret


class Gate:
    """Opened by the test."""

    def __init__(self) -> None:
        self.event = asyncio.Event()

    def open(self) -> None:
        self.event.set()


def held(answer: Script, gate: Gate) -> Script:
    """The same answer, once the gate is open."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        await gate.event.wait()
        await answer(reader, writer, seen)

    return script


def halting(first: list[bytes], rest: list[bytes], gate: Gate, *, end: bool = True) -> Script:
    """A stream that says `first` at once and `rest` once the gate is open."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        writer.write(SSE_HEAD + b"".join(map(chunk, first)))
        await gate.event.wait()
        writer.write(b"".join(map(chunk, rest)))
        if end:
            writer.write(b"0\r\n\r\n")
        else:
            writer.close()

    return script


async def until(condition: Callable[[], Any], seconds: float = 30.0) -> None:
    """Until it is so, within a bound."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


def by_request(records: list[Opened | Settled | Refused]) -> dict[str, list[Any]]:
    """Records in order, by request."""
    found: dict[str, list[Any]] = {}
    for record in records:
        found.setdefault(record.request_id, []).append(record)
    return found


async def records_of(on: Rig, request_id: str, count: int) -> list[Any]:
    """All of one request, once there are so many."""
    found: list[Any] = []
    async with asyncio.timeout(5):
        while len(found := by_request(await on.records()).get(request_id, [])) < count:
            await asyncio.sleep(0.005)
    return found


def encoded(body: dict[str, Any]) -> bytes:
    return msgspec.json.encode(body)
