"""Both shelves by one contract, and what only a server can do: die, hang, come back, ask for a password."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.caching.redis import Redis, redis
from tests.caching.shelves import KEY, ONE, TWO, MemoryShelf, Run, ShelfContract
from tests.e2e import certificates

from interlock.caching import Settings, Shelf
from interlock.caching.server import ServerShelf
from interlock.credentials import Credential
from interlock.errors import LocalError

PATIENT_MS = 2000
"""The machine that tests run on may be busy: what is not about time waits long."""


class TestMemory(ShelfContract):
    def on_shelf(self, run: Run, test: Callable[[Shelf, Callable[[int], Any]], Any]) -> None:
        async def main() -> None:
            shelf = MemoryShelf()

            async def wait_ms(time: int) -> None:
                shelf.now_ms += time

            await test(shelf, wait_ms)

        run(main)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with redis(tmp_path_factory.mktemp("redis")) as started:
        yield started


def on_server(run: Run, settings: Settings, test: Callable[[ServerShelf], Any]) -> None:
    async def main() -> None:
        shelf = ServerShelf(settings, asyncio.get_running_loop().time)
        try:
            await test(shelf)
        finally:
            await shelf.close()

    run(main, blocking_s=1.0)  # a context of TLS is made once


class TestServer(ShelfContract):
    @pytest.fixture(autouse=True)
    def _server(self, server: Redis) -> None:
        server.says("FLUSHALL")
        self.url = server.url

    def on_shelf(self, run: Run, test: Callable[[Shelf, Callable[[int], Any]], Any]) -> None:
        async def main(shelf: ServerShelf) -> None:
            await test(shelf, lambda time: asyncio.sleep(time / 1000))

        on_server(run, Settings(url=self.url, timeout_ms=PATIENT_MS), main)

    def test_a_tenant_s_answers_have_a_name_of_their_own(self, run: Run, server: Redis) -> None:
        async def test(shelf: ServerShelf) -> None:
            await shelf.put("acme", KEY, b"", b"a", 60_000)
            await shelf.claim("other", KEY, ONE)

        on_server(run, Settings(url=self.url, timeout_ms=PATIENT_MS), test)
        place = f"{{{KEY.hex()}}}"
        assert server.names() == [f"interlock:cache:1:acme:{place}", f"interlock:cache:1:other:{place}:lead"]


def test_a_server_that_is_not_there_is_away_at_once_and_left_alone(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(shelf: ServerShelf) -> None:
        for _ in range(200):
            assert await shelf.claim("acme", KEY, ONE) == "away"
        assert shelf.away
        await shelf.put("acme", KEY, ONE, b"a", 60_000)
        await shelf.renew("acme", KEY, ONE)
        await shelf.give_up("acme", KEY, ONE)

    gone = Redis(tmp_path / "redis")
    with caplog.at_level(logging.WARNING):
        on_server(run, Settings(url=f"redis://user@127.0.0.1:{gone.port}", timeout_ms=PATIENT_MS), test)
    assert caplog.text.count("is left alone") == 1
    assert f"127.0.0.1:{gone.port}" in caplog.text


def test_a_server_that_hangs_costs_little_and_is_asked_again_when_it_answers(run: Run, tmp_path: Path) -> None:
    now_s = 0.0

    async def main() -> None:
        nonlocal now_s
        shelf = ServerShelf(Settings(url=server.url, timeout_ms=200), lambda: now_s)
        await patiently(shelf, "lead")
        server.freeze()
        loop = asyncio.get_running_loop()
        begun_s = loop.time()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(500):
                tasks.create_task(shelf.claim("acme", KEY, ONE))
        # 32 wait for it, the others not at all; one after another it would take 100 s
        assert shelf.away and loop.time() - begun_s < 20
        server.thaw()
        assert await shelf.claim("acme", KEY, ONE) == "away"
        now_s = 1000.0
        await patiently(shelf, "wait")
        assert not shelf.away
        await shelf.close()

    async def patiently(shelf: ServerShelf, what: str) -> None:
        nonlocal now_s
        for _ in range(50):
            if (found := await shelf.claim("acme", KEY, TWO)) != "away":
                break
            now_s += 1000.0
        assert found == what

    with redis(tmp_path / "redis") as server:
        run(main, blocking_s=1.0)


def test_answers_of_questions_that_were_given_up_are_never_another_s(run: Run, tmp_path: Path) -> None:
    """Cancelled at every point of asking, as a worker that stops does; what is asked next gets its own answer."""

    async def test(shelf: ServerShelf) -> None:
        keys = [bytes([n]) * 32 for n in range(64)]
        for key in keys:
            await shelf.put("acme", key, b"", b"of " + key, 60_000)
        for turn in range(200):
            asking = asyncio.ensure_future(shelf.claim("acme", keys[turn % 64], ONE))
            for _ in range(turn % 9):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait({asking})
            key = keys[(turn * 7 + 1) % 64]
            assert await shelf.claim("acme", key, ONE) == b"of " + key

    with redis(tmp_path / "redis") as server:
        on_server(run, Settings(url=server.url, timeout_ms=PATIENT_MS), test)


def test_a_server_killed_and_started_again_is_used_again(run: Run, tmp_path: Path) -> None:
    now_s = 0.0

    async def main() -> None:
        nonlocal now_s
        shelf = ServerShelf(Settings(url=killed.url, timeout_ms=PATIENT_MS), lambda: now_s)
        await shelf.put("acme", KEY, b"", b"a", 60_000)
        assert await shelf.claim("acme", KEY, ONE) == b"a"
        killed.kill()
        assert await shelf.claim("acme", KEY, ONE) == "away"
        killed.start()
        now_s += 2
        assert await shelf.claim("acme", KEY, ONE) == "lead"
        await shelf.close()

    with redis(tmp_path / "redis") as killed:
        run(main, blocking_s=1.0)


def test_what_a_server_refuses_is_away_and_its_words_are_not_logged(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(shelf: ServerShelf) -> None:
        assert await shelf.claim("acme", KEY, ONE) == "away"

    async def let_in(shelf: ServerShelf) -> None:
        assert await shelf.claim("acme", KEY, ONE) == "lead"
        await shelf.give_up("acme", KEY, ONE)

    monkeypatch.setenv("CACHE_PASSWORD", "s3cret-of-the-cache")
    monkeypatch.setenv("WRONG_PASSWORD", "wr0ng-of-the-cache")
    with redis(tmp_path / "redis", "--requirepass", "s3cret-of-the-cache") as server:
        settings = Settings(url=server.url, timeout_ms=PATIENT_MS)
        with caplog.at_level(logging.DEBUG):
            on_server(run, settings, refused)
            for env, test in (("WRONG_PASSWORD", refused), ("CACHE_PASSWORD", let_in)):
                credential = Credential(env=env)
                on_server(run, Settings(url=server.url, timeout_ms=PATIENT_MS, credential=credential), test)
    assert "of-the-cache" not in caplog.text


def test_a_server_without_scripts_costs_hits_and_what_it_repeats_is_not_logged(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(shelf: ServerShelf) -> None:
        await shelf.put("acme", KEY, ONE, b"what a model said", 60_000)
        for _ in range(3):
            assert await shelf.claim("acme", KEY, ONE) == "away"

    with redis(tmp_path / "redis", "--rename-command", "EVALSHA", "") as server:
        on_server(run, Settings(url=server.url, timeout_ms=PATIENT_MS), test)
    assert "left alone" in caplog.text
    assert "beginning with" not in caplog.text and "acme" not in caplog.text


def test_a_password_that_is_not_there_is_said_by_its_place() -> None:
    with pytest.raises(LocalError, match="NO_SUCH_PASSWORD"):
        ServerShelf(Settings(url="redis://127.0.0.1", credential=Credential(env="NO_SUCH_PASSWORD")), lambda: 0.0)


def test_a_full_server_keeps_what_it_has_and_costs_hits(run: Run, tmp_path: Path) -> None:
    async def test(shelf: ServerShelf) -> None:
        await shelf.put("acme", KEY, b"", bytes(3 << 20), 60_000)
        await shelf.put("acme", ONE * 2, b"", bytes(3 << 20), 60_000)
        assert await shelf.claim("acme", TWO * 2, ONE) in ("away", "lead")

    with redis(tmp_path / "redis", "--maxmemory", "2mb", "--maxmemory-policy", "noeviction") as server:
        on_server(run, Settings(url=server.url, timeout_ms=PATIENT_MS), test)


def test_tls_is_verified(run: Run, tmp_path: Path) -> None:
    async def works(shelf: ServerShelf) -> None:
        assert await shelf.claim("acme", KEY, ONE) in ("lead", "wait")

    async def fails(shelf: ServerShelf) -> None:
        assert await shelf.claim("acme", KEY, ONE) == "away"

    made = certificates.make(tmp_path / "tls", "localhost")
    other = certificates.make(tmp_path / "other", "localhost")
    files = ["--tls-cert-file", str(made.certificate), "--tls-key-file", str(made.key), "--tls-auth-clients", "no"]
    with redis(tmp_path / "redis", *files, "--tls-ca-cert-file", str(made.authority), tls=True) as server:
        url = f"rediss://127.0.0.1:{server.port}"
        on_server(run, Settings(url=url, ca_bundle=str(made.authority), timeout_ms=PATIENT_MS), works)
        on_server(run, Settings(url=url, ca_bundle=str(other.authority), timeout_ms=PATIENT_MS), fails)
        on_server(run, Settings(url=url, timeout_ms=PATIENT_MS), fails)
