"""A provider withdrawn while many connections use it: nothing reaches it after the command has answered."""

import asyncio
import os
import signal
from pathlib import Path

import msgspec
from tests.e2e.calls import connected, one
from tests.e2e.server import Server, running, until
from tests.e2e.upstream import Upstream, upstream

CONNECTIONS = 24
CALLS_BEFORE, CALLS_AFTER = 800, 10


def both(path: Path, first: int, second: int) -> Path:
    """Two providers; the first is preferred, and tier `only` has nobody else."""
    path.write_text(
        'default_tier = "main"\nboundary = "union"\n[boundaries.union]\ngeographies = ["eu"]\n'
        + "".join(
            f'[deployments.{name}]\nprovider = "{name}"\nbase_url = "http://127.0.0.1:{port}/v1"\nmodel = "m-{name}"\n'
            'formats = ["chat", "responses", "messages"]\nprice = "free"\n'
            'boundary = { geographies = ["eu"], peers = ["127.0.0.0/8"] }\n'
            for name, port in (("first", first), ("second", second))
        )
        + '[tiers]\nmain = ["first", "second"]\nonly = ["first"]\n'
    )
    return path


async def withdraw(server: Server, method: str = "POST", path: str = "/v1/withdrawals") -> bytes:
    """On the loop's own socket: the answer is seen in the very turn in which it arrives."""
    body = (
        msgspec.json.encode({"kind": "provider", "name": "first", "reason": "terms changed"})
        if method == "POST"
        else b""
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", server.control_port)
    head = f"{method} {path} HTTP/1.1\r\nhost: i\r\nauthorization: Bearer {server.admin}\r\nconnection: close\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 20"), answer
    return answer


class Load:
    """Connections that call for ever; `late` are the calls of which no byte was sent before the answer."""

    def __init__(self, server: Server, key: str) -> None:
        self.server = server
        self.key = key
        self.done = 0
        self.withdrawn = False
        self.late: set[str] = set()
        self.statuses: dict[str, int] = {}

    async def connection(self, number: int) -> None:
        after = calls = 0
        while after < CALLS_AFTER:
            async with connected(self.server.port, self.key) as caller:
                for _ in range(25):
                    marker = f"load-{number}-{calls}"
                    calls += 1
                    if self.withdrawn:
                        self.late.add(marker)
                        after += 1
                    answer = await caller.call(marker)
                    self.statuses[marker] = answer.status
                    self.done += 1
                    if answer.headers.get("connection") == "close" or after >= CALLS_AFTER:
                        break


def test_nothing_reaches_it_after_the_answer(tmp_path: Path) -> None:
    with upstream(tmp_path / "a") as first, upstream(tmp_path / "b") as second:
        config = both(tmp_path / "interlock.toml", first.port, second.port)
        with running(tmp_path / "data", config=config, workers=2) as server:
            _, key = server.issue()
            load = Load(server, key)
            seen_then: list[int] = []

            async def main() -> None:
                async with asyncio.timeout(90.0), asyncio.TaskGroup() as group:
                    for number in range(CONNECTIONS):
                        group.create_task(load.connection(number))
                    while load.done < CALLS_BEFORE:
                        await asyncio.sleep(0.005)
                    await withdraw(server)
                    load.withdrawn = True
                    await asyncio.sleep(0.3)  # what was sent before has been written down there by then
                    seen_then.append(len(first.seen()))

            asyncio.run(main())
            assert set(load.statuses.values()) == {200}, "sessions go on with what remains"
            assert len(load.late) >= CONNECTIONS * CALLS_AFTER
            assert not load.late.intersection(first.markers())
            assert load.late <= set(second.markers())
            assert len(first.seen()) == seen_then[0] > CALLS_BEFORE // 2
            _ends_with_the_reason(server, key, first)
            _nothing_left(server)
            assert server.stop() == 0
        with running(tmp_path / "data", config=config, workers=1) as server:
            _ends_with_the_reason(server, key, first)  # it stands after a restart
            asyncio.run(withdraw(server, "DELETE", "/v1/withdrawals/provider/first"))
            until(lambda: asyncio.run(one(server.port, key, "again", model="only")).status == 200, "reinstated")
            assert "again" in first.markers()


def _ends_with_the_reason(server: Server, key: str, first: Upstream) -> None:
    before = len(first.seen())
    answer = asyncio.run(one(server.port, key, "nobody", model="only"))
    assert answer.status == 403 and len(first.seen()) == before
    assert answer.json["error"]["code"] == "withdrawn"
    assert "provider first is withdrawn: terms changed" in answer.json["error"]["message"]


def _nothing_left(server: Server) -> None:
    """`prove` and `audit`, of the log of a server that runs."""
    proved = server.cli("prove", "--tenant", "acme", "--data", str(server.places.root))
    assert proved.returncode == 0, proved.stderr
    assert proved.stdout.startswith("did any byte of tenant acme leave its boundary? no\n")
    proof = msgspec.json.decode(server.cli("prove", "--data", str(server.places.root), "--format", "json").stdout)
    assert proof["observed_inside"] >= CALLS_BEFORE and proof["outside"] == 0 and proof["refused"] == 0
    assert proof["unsent"] >= 1, "the call that nobody remained for"
    trail = server.cli("audit", "--tenant", "acme", "--data", str(server.places.root), "--format", "json")
    lines = [msgspec.json.decode(line) for line in trail.stdout.splitlines()]
    assert len(lines) == proof["attempts"] + proof["refused"] + proof["unsent"]
    assert {line["verdict"] for line in lines} == {"inside", "unsent"}


def test_a_worker_that_hangs_is_killed_and_sends_nothing(tmp_path: Path) -> None:
    with upstream(tmp_path / "a") as first, upstream(tmp_path / "b") as second:
        config = both(tmp_path / "interlock.toml", first.port, second.port)
        with running(tmp_path / "data", config=config, workers=2) as server:
            _, key = server.issue()
            stopped = server.pids()["worker-1"]
            os.kill(stopped, signal.SIGSTOP)
            answer = asyncio.run(withdraw(server))
            assert b'"workers_killed":1' in answer
            until(lambda: server.pids().get("worker-1") not in (None, stopped), "it is started again")
            for n in range(20):
                assert asyncio.run(one(server.port, key, f"after-{n}")).status == 200
            assert not first.seen()
