"""A server whose disk is full: new work is refused and told why, what runs is settled, and it goes on by itself.

The disk is a real one, a small tmpfs.
"""

import asyncio
import contextlib
import errno
import os
from pathlib import Path

import pytest
from tests.disks import small_disk
from tests.e2e.calls import Caller, call, connected
from tests.e2e.configs import Journals, scripted
from tests.e2e.server import Server, run_cli, until
from tests.e2e.upstream import Upstream, upstream
from tests.gateway.rig import FORMATS, Answer, read_answer

DISK_MIB = 24


def fill(disk: Path) -> Path:
    """Take every byte there is; the file that holds them."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * size)
    with pytest.raises(OSError) as full, (disk / "more").open("wb", buffering=0) as file:
        file.write(b"x" * 8192)
    assert full.value.errno == errno.ENOSPC
    (disk / "more").unlink(missing_ok=True)
    return ballast


def test_a_full_disk_refuses_new_work_and_settles_what_runs(tmp_path: Path) -> None:
    with small_disk(tmp_path, DISK_MIB) as disk, upstream(tmp_path / "upstream") as provider:
        config = scripted(tmp_path / "interlock.toml", provider.port)
        server = Server(disk / "data", config=config)
        server.said_path = tmp_path / "said"
        server.start()
        try:
            assert call(server.port, server.admin, "before").status == 200
            until(lambda: _rows(server) == {"before": "completed"}, "the view holds it")
            asyncio.run(_full_and_then_free(server, provider, disk))
            until(lambda: server.cli("status").returncode == 0, "all is well")
            assert call(server.port, server.admin, "after").status == 200
            until(lambda: _rows(server).get("after") == "completed", "the view goes on")
            assert set(_rows(server)) - {"squeezed"} == {"before", "after", *(f"held-{format}" for format in FORMATS)}
            assert set(_rows(server).values()) == {"completed"}
            assert server.cli("verify").returncode == 0
            assert server.stop() == 0
        finally:
            server.kill()
        Journals(server.places.journal).check()
        done = run_cli("verify", "--data", str(server.places.root))
        assert done.returncode == 0, done.stderr


async def _full_and_then_free(server: Server, provider: Upstream, disk: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        callers: list[Caller] = []
        for format in FORMATS:
            caller = await stack.enter_async_context(connected(server.port, server.admin))
            caller.send(f"held-{format}", format, stream=True)
            callers.append(caller)
            await asyncio.to_thread(provider.wait_for, f"held-{format}")
        ballast = await asyncio.to_thread(fill, disk)
        while (await _answer(server, "squeezed", "chat", False)).status == 200:
            pass  # the journal's last block had room left for a few records more
        for format in FORMATS:
            for stream in (False, True):
                await _refused(server, f"refused-{format}-{stream}", format, stream)
        assert not server.answers(server.port, "/readyz") and server.answers(server.port, "/healthz")
        provider.gate.touch()
        for caller in callers:
            answer = await read_answer(caller.reader)
            assert answer.status == 200 and answer.complete and b'"error"' not in answer.body
        await asyncio.to_thread(until, lambda: not Journals(server.places.journal).open, "all is settled", 5.0)
        await _refused(server, "refused-still", "chat", False)
        os.truncate(ballast, 0)
        await asyncio.to_thread(until, lambda: server.answers(server.port, "/readyz"), "ready again")
        assert not [marker for marker in provider.markers() if marker.startswith("refused")]


async def _answer(server: Server, marker: str, format: str, stream: bool) -> Answer:
    async with connected(server.port, server.admin) as caller:
        return await caller.call(marker, format, stream=stream)


async def _refused(server: Server, marker: str, format: str, stream: bool) -> None:
    answer = await _answer(server, marker, format, stream)
    assert answer.status == 503 and answer.complete and "retry-after" in answer.headers
    assert _code(answer, format) == "log_unavailable"


def _code(answer: Answer, format: str) -> object:
    body = answer.json
    assert body.get("type", "error") == "error" or format != "messages"
    return body["error"]["code"]


def _rows(server: Server) -> dict[str, str]:
    rows = server.json("usage", "--by", "session,outcome")["rows"]
    return {row["dimensions"]["session"]: row["dimensions"]["outcome"] for row in rows}


def test_a_start_on_a_full_disk_says_so(tmp_path: Path) -> None:
    with small_disk(tmp_path, DISK_MIB) as disk:
        config = scripted(tmp_path / "interlock.toml", 9)
        server = Server(disk / "data", config=config)
        server.said_path = tmp_path / "said"
        fill(disk)
        done = run_cli(*server.argv()[1:], seconds=30)
        assert done.returncode == 1
        assert "No space left on device" in done.stderr and "Traceback" not in done.stderr
