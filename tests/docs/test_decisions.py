"""What docs/adr/0008 and 0009 promise, seen from outside the code that keeps it."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.gateway.answers import CHAT, ask
from tests.gateway.rig import PATHS, Rig, Upstream, silent, whole
from tests.gateway.test_exchange import Run, play

from interlock.gateway.http import ServerConnection
from interlock.log.reader import JournalReader


def test_a_whole_answer_is_sent_after_its_record_is_written(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    respond = ServerConnection.respond
    written: list[list[str]] = []

    def watched(connection: ServerConnection, *args: Any, **options: Any) -> None:
        stored = JournalReader(tmp_path / "data" / "journal").scan("usage/0")
        written.append([one.record.type for one in stored])
        respond(connection, *args, **options)

    async def test(on: Rig) -> None:
        answer = await on.call(PATHS["chat"], ask("chat"))
        assert (answer.status, answer.complete) == (200, True)

    monkeypatch.setattr(ServerConnection, "respond", watched)
    play(run, tmp_path, test, Upstream(whole(CHAT)))
    assert [types[-2:] for types in written] == [["usage.opened", "usage.settled"]]


@pytest.mark.parametrize("stream", [False, True])
def test_a_half_close_is_a_hang_up(run: Run, tmp_path: Path, stream: bool) -> None:
    async def test(on: Rig) -> None:
        reader, writer = await on.connect()
        writer.write(on.request(PATHS["chat"], msgspec.json.encode(ask("chat", stream=stream))))
        async with asyncio.timeout(2):
            while not upstream.seen:
                await asyncio.sleep(0.005)
        writer.write_eof()
        async with asyncio.timeout(2):
            await upstream.closed.wait()
            assert await reader.read() == b""
        [settled] = await on.settled(1)
        assert (settled.outcome, settled.source) == ("cancelled", "estimated")
        writer.close()

    upstream = Upstream(silent)
    play(run, tmp_path, test, upstream)
