"""The authority's contract, in memory and with a real server; and both give the same answers to the same questions."""

import asyncio
import contextlib
import random
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.limits.servers import InMemory, Real, real, real_server

from interlock.errors import LocalError, TransientError
from interlock.limits import Ask, Lessee, Times
from interlock.limits.limit import NEVER_NS
from interlock.limits.valkey_authority import ValkeyAuthority
from interlock.testing.authority_contract import END_NS, AuthorityContract, ask, at_some_pace, grants, lessee
from interlock.units import INT64_MAX


class TestMemory(AuthorityContract):
    """The reference."""

    @contextlib.asynccontextmanager
    async def server(self, directory: Path, times: Times) -> AsyncIterator[InMemory]:
        yield InMemory(times)


class TestValkey(AuthorityContract):
    """A real server."""

    def server(self, directory: Path, times: Times) -> contextlib.AbstractAsyncContextManager[Real]:
        return real(directory, times)


STILL = Times(gather_ns=0, silent_ns=3_600 * 10**9, recall_ns=3_600 * 10**9)


def test_the_script_answers_as_the_reference_does(tmp_path: Path, run: Callable[..., object]) -> None:
    """One seed drives both with the same exchanges of four workers about three counters."""
    chance = random.Random(11)
    amounts = (0, 1, 2, 3, 7, 50, 1 << 53, (1 << 53) + 1, INT64_MAX // 8)

    def some_ask(name: str) -> Ask:
        small = chance.random() < 0.8
        numbers = [chance.choice(amounts[:6] if small else amounts) for _ in range(4)]
        mine, spent, need, extra = numbers if small else (*numbers[:3], 0)  # what is extra is a part, roughly
        ends_ns = NEVER_NS if name == "z" else END_NS
        amount = chance.choice((10, 60, INT64_MAX if not small else 100))
        return Ask(name=name, ends_ns=ends_ns, mine=mine, spent=spent, need=need, extra=extra, amount=amount)

    async def main() -> None:
        memory = InMemory(STILL)
        async with real(tmp_path, STILL) as server:
            lessees = [
                Lessee(machine=m, run=r, slot=s)
                for m, r, s in [("a", "1", 0), ("a", "1", 1), ("a", "2", 0), ("b", "1", 0)]
            ]
            pairs = [(memory.line(one), server.line(one)) for one in lessees]
            for pair in pairs:
                for line in pair:
                    await line.join()
            for step in range(1_500):
                reference, line = chance.choice(pairs)
                if chance.random() < 0.02:
                    await reference.retire_others()
                    await line.retire_others()
                asks = [some_ask(name) for name in "xyz" if chance.random() < 0.6]
                wanted, got = await reference.exchange(asks), await line.exchange(asks)
                assert sorted(wanted.recalled) == sorted(got.recalled)
                assert (wanted.told, wanted.granted) == (got.told, got.granted), f"step {step}: {asks}"

    run(main)


def test_a_server_that_comes_back_with_an_older_memory_is_told_before_it_grants(
    tmp_path: Path, run: Callable[..., object]
) -> None:
    """It was saved, granted more, and was killed: what it remembers is not all, though it knows everybody."""

    async def main(times: Times) -> None:
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        with real_server(folder) as server:
            one, two = (ValkeyAuthority(server.url, lessee(name), times=times) for name in "ab")
            async with asyncio.timeout(20), contextlib.AsyncExitStack() as stack:
                for line in (one, two):
                    stack.push_async_callback(line.close)
                    await line.join()
                await asyncio.sleep(times.gather_ns / 1e9)
                assert grants(await one.exchange([ask(3)])) == [3]
                await one._client.save()
                assert grants(await two.exchange([ask(7)])) == [7]
                server.kill()
                server.start()
                for line in (one, two):
                    with pytest.raises(TransientError):
                        await line.exchange([])
                    await line.join()
                answer = await one.exchange([ask(7, mine=3)])
                assert (grants(answer), answer.gathering) == ([0], True)
                await two.exchange([ask(mine=7)])
                await asyncio.sleep(times.gather_ns / 1e9)
                assert grants(await one.exchange([ask(1, mine=3)])) == [0]

    at_some_pace(lambda times: run(lambda: main(times)))


def test_a_server_that_is_not_there_is_said_and_its_address_is_not(tmp_path: Path, run: Callable[..., object]) -> None:
    async def main() -> None:
        line = ValkeyAuthority("redis://user:secret@127.0.0.1:1", lessee())
        for call in (line.join(), line.exchange([]), line.retire_others()):
            with pytest.raises(TransientError) as refused:
                await call
            assert "secret" not in str(refused.value)
            assert refused.value.code == "limits_unavailable"
        assert "secret" not in repr(line)
        await line.close()

    run(main)
    with pytest.raises(LocalError) as wrong:
        ValkeyAuthority("http://user:secret@host", lessee())
    assert "secret" not in str(wrong.value)


def test_a_password_is_asked_for_and_given(tmp_path: Path, run: Callable[..., object]) -> None:
    async def main() -> None:
        with real_server(tmp_path) as server:
            async with asyncio.timeout(10):
                admin = ValkeyAuthority(server.url, lessee())
                await admin.join()
                await admin._client.config_set("requirepass", "secret")
                await admin.close()
                with pytest.raises(TransientError):
                    await ValkeyAuthority(server.url, lessee()).join()
                line = ValkeyAuthority(server.url, lessee(), password="secret", times=STILL)
                await line.join()
                assert (await line.exchange([])).unknown is False
                await line.close()

    run(main)


def test_an_exchange_that_is_given_up_takes_its_connection_with_it(tmp_path: Path, run: Callable[..., object]) -> None:
    """Its answer may still come, and must not be taken for the next one's."""

    async def main() -> None:
        with real_server(tmp_path) as server:
            async with asyncio.timeout(10):
                line = ValkeyAuthority(server.url, lessee(), times=STILL)
                await line.join()
                task = asyncio.ensure_future(line.exchange([ask(3)]))
                await asyncio.sleep(0)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                with pytest.raises(TransientError):
                    await line.exchange([])
                await line.join()
                assert grants(await line.exchange([ask(3), ask(2, name="d")])) == [3, 2]
                await line.close()

    run(main)
