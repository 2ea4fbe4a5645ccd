"""Clients that close: after the answer's own last event nothing is missing, before it the call was cancelled.

OpenAI's SDK closes as soon as it has read `[DONE]`, which may be before the upstream has ended its framing.
"""

import asyncio
from pathlib import Path

import pytest
from tests.e2e.calls import connected
from tests.e2e.configs import scripted
from tests.e2e.server import Server, running, until
from tests.e2e.upstream import upstream
from tests.gateway.answers import USAGE
from tests.gateway.rig import FORMATS

LAST = {"chat": b"data: [DONE]\n\n", "responses": b"event: response.completed", "messages": b"event: message_stop"}
FIRST = {"chat": b"data: ", "responses": b"event: response.created", "messages": b"event: message_start"}
BOUND_S = 15.0


async def leave_after(server: Server, marker: str, format: str, seen: bytes) -> None:
    """Read up to `seen` and what follows it in the same chunk, then close."""
    async with asyncio.timeout(BOUND_S), connected(server.port, server.admin) as caller:
        caller.send(marker, format, stream=True)
        await caller.reader.readuntil(seen)
        if format != "chat":
            await caller.reader.readuntil(b"\n\n")


def entry(server: Server, marker: str) -> tuple[str, int, int, int]:
    """(outcome, input, output, estimated) of the call, once it is settled."""

    def found() -> dict[str, object] | None:
        rows = server.json("usage", "--by", "session,outcome")["rows"]
        mine = [row for row in rows if row["dimensions"]["session"] == marker and not row["open"]]
        return mine[0] if mine else None

    row = until(found, f"{marker} is settled")
    return row["dimensions"]["outcome"], row["input"], row["output"], row["estimated"]


@pytest.mark.parametrize("format", FORMATS)
def test_who_leaves_after_the_end_had_all_of_it_and_before_it_not(format: str, tmp_path: Path) -> None:
    with upstream(tmp_path / "upstream", "--pause-ms", "150") as provider:
        config = scripted(tmp_path / "interlock.toml", provider.port)
        with running(tmp_path / "data", config=config) as server:
            asyncio.run(leave_after(server, "before", format, FIRST[format]))
            asyncio.run(leave_after(server, "after", format, LAST[format]))
            assert entry(server, "before")[0] == "cancelled"
            assert entry(server, "after") == ("completed", USAGE["input"], USAGE["output"], 0)
