"""A key revoked while many connections use it: nothing that is sent after the answer is admitted, by no worker."""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from http.client import HTTPConnection
from pathlib import Path

import msgspec
import pytest
from tests.e2e.calls import connected
from tests.e2e.configs import Journals, scripted
from tests.e2e.server import INTERLOCK, Server, running
from tests.e2e.upstream import Upstream, upstream

CONNECTIONS = 48
CALLS_BEFORE, CALLS_AFTER = 1500, 10
DEADLINE_S = 60.0


class Load:
    """Connections that call for ever with one key, and what each call came to."""

    def __init__(self, server: Server, key: str, name: str) -> None:
        self.server = server
        self.key = key
        self.name = name
        self.revoked = False
        """Set in the turn of the loop in which the answer to the revocation was seen."""
        self.statuses: dict[str, int] = {}
        """By marker."""
        self.late: set[str] = set()
        """Markers of calls of which no byte was sent before the answer."""

    async def connection(self, number: int) -> None:
        """Call until enough calls were made after the answer."""
        calls = after = 0
        while after < CALLS_AFTER:
            async with connected(self.server.port, self.key) as caller:
                for _ in range(25):  # then a new connection, which another worker may take
                    marker = f"{self.name}-{number}-{calls}"
                    calls += 1
                    if self.revoked:
                        self.late.add(marker)
                        after += 1
                    answer = await caller.call(marker)
                    self.statuses[marker] = answer.status
                    if answer.headers.get("connection") == "close" or after >= CALLS_AFTER:
                        break

    async def until_busy(self) -> None:
        """Until the load runs at full width."""
        while len(self.statuses) < CALLS_BEFORE:
            await asyncio.sleep(0.005)


async def _by_command(server: Server, key_id: str) -> None:
    environment = {"INTERLOCK_URL": f"http://127.0.0.1:{server.control_port}", "INTERLOCK_KEY": server.admin}
    process = await asyncio.create_subprocess_exec(INTERLOCK, "keys", "revoke", key_id, env=os.environ | environment)
    assert await process.wait() == 0


async def _by_http(server: Server, key_id: str) -> None:
    """On the loop's own socket: the answer is seen in the very turn in which it arrives."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.control_port)
    head = f"DELETE /v1/keys/{key_id} HTTP/1.1\r\nhost: i\r\nauthorization: Bearer {server.admin}\r\n\r\n"
    writer.write(head.encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.close()


@pytest.mark.parametrize("revoke", [_by_command, _by_http])
def test_nothing_is_admitted_after_the_answer(revoke: Callable[[Server, str], Awaitable[None]], tmp_path: Path) -> None:
    with upstream(tmp_path / "upstream") as provider:
        config = scripted(tmp_path / "interlock.toml", provider.port)
        with running(tmp_path / "data", config=config, workers=2) as server:
            key_id, key = server.issue()
            _, other = server.issue()
            load, bystander = Load(server, key, "load"), Load(server, other, "other")

            async def main() -> None:
                async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as group:
                    for number in range(CONNECTIONS):
                        group.create_task(load.connection(number))
                    group.create_task(bystander.connection(0))
                    await load.until_busy()
                    await revoke(server, key_id)
                    load.revoked = bystander.revoked = True

            asyncio.run(main())
            _check(load, provider)
            assert set(bystander.statuses.values()) == {200}
            assert server.stop() == 0
        Journals(server.places.journal).check()
        for slot in range(2):  # the load was on both workers
            segment = server.places.journal / "usage" / str(slot) / "00000001.seg"
            assert segment.read_bytes().count(b'"usage.opened"') > CALLS_BEFORE // 20


def _check(load: Load, provider: Upstream) -> None:
    assert len(load.late) >= CONNECTIONS * CALLS_AFTER
    assert {load.statuses[marker] for marker in load.late} == {401}
    assert not load.late.intersection(provider.markers())
    early = [status for marker, status in load.statuses.items() if marker not in load.late]
    assert set(early) <= {200, 401} and early.count(200) >= CALLS_BEFORE


def test_a_key_that_is_issued_works_at_once_on_every_worker(tmp_path: Path) -> None:
    with upstream(tmp_path / "upstream") as provider:
        config = scripted(tmp_path / "interlock.toml", provider.port)
        with running(tmp_path / "data", config=config, workers=2) as server:
            _, key = server.issue()
            for n in range(20):
                assert _models_status(server, key) == 200, n


def _models_status(server: Server, key: str) -> int:
    with contextlib.closing(HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
        connection.request("GET", "/v1/models", headers={"x-api-key": key})
        response = connection.getresponse()
        assert msgspec.json.decode(response.read())
        return response.status
