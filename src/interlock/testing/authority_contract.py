"""What every adapter of the port `interlock.limits.Authority` must do. Subclass it and give it `server`.

    class TestMyAuthority(AuthorityContract):
        def server(self, directory): return my_async_context_manager(directory)

Each test has a new server, on asyncio's loop in debug mode and on uvloop.
"""

import asyncio
import contextlib
import functools
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from interlock.limits import Answer, Ask, Authority, Lessee, Times
from interlock.limits.limit import NEVER_NS
from interlock.testing.loops import LOOPS, run_on
from interlock.units import INT64_MAX

PACES = tuple(Times(gather_ns=60_000_000 * n, silent_ns=250_000_000 * n, recall_ns=150_000_000 * n) for n in (1, 20))
"""A real server's time goes on while a busy machine does nothing for a test: what fails is tried with longer times."""
END_NS = 4_000_000_000_000_000_000
"""In the year 2096."""
_DEADLINE_S = 20.0

Self = TypeVar("Self", bound="AuthorityContract")


class Server(Protocol):
    """What a test has of an adapter."""

    now_ns: Callable[[], int]
    times: Times

    def line(self, lessee: Lessee) -> Authority:
        """A new line to it, closed with the server."""
        ...

    async def wait(self, ns: int) -> None:
        """Let so much of its time pass."""
        ...

    async def forget(self) -> None:
        """Lose all that was granted."""
        ...


def lessee(machine: str = "a", slot: int = 0, run: str = "1") -> Lessee:
    """A worker."""
    return Lessee(machine=machine, run=run, slot=slot)


def ask(need: int = 0, *, mine: int = 0, spent: int = 0, extra: int = 0, amount: int = 10, name: str = "c") -> Ask:
    """About a counter with a window."""
    return Ask(name=name, ends_ns=END_NS, mine=mine, spent=spent, need=need, extra=extra, amount=amount)


def at_once(need: int = 0, *, mine: int = 0, amount: int = 10) -> Ask:
    """About a counter without one."""
    return Ask(name="o", ends_ns=NEVER_NS, mine=mine, spent=0, need=need, amount=amount)


def grants(answer: Answer) -> list[int]:
    """What was granted of each."""
    return [told.granted for told in answer.told]


def at_some_pace(attempt: Callable[[Times], object]) -> None:
    """Run it with times of PACES until it works. Raises: what the last one raises."""
    for times in PACES[:-1]:
        with contextlib.suppress(AssertionError, TimeoutError):
            attempt(times)
            return
    attempt(PACES[-1])


def _on_server(
    test: "Callable[[Self, Server], Coroutine[Any, Any, None]]",
) -> "Callable[[Self, Path], None]":
    def run(self: "Self", tmp_path: Path) -> None:
        async def main(directory: Path, times: Times) -> None:
            async with asyncio.timeout(_DEADLINE_S), self.server(directory, times) as server:
                await test(self, server)

        def attempt(loop: str, times: Times) -> None:
            directory = tmp_path / f"{loop}-{times.gather_ns}"
            directory.mkdir()
            run_on(loop, lambda: main(directory, times))

        for loop in LOOPS:
            at_some_pace(functools.partial(attempt, loop))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


class AuthorityContract:
    """The suite."""

    def server(self, directory: Path, times: Times) -> AbstractAsyncContextManager[Server]:
        """A server that knows nothing."""
        raise NotImplementedError

    async def joined(self, server: Server, *lessees: Lessee) -> Sequence[Authority]:
        """Lines that are joined, once the server gathers no more."""
        lines = [server.line(one) for one in lessees]
        for line in lines:
            await line.join()
        await server.wait(server.times.gather_ns)
        return lines

    @_on_server
    async def test_nothing_is_granted_while_it_gathers(self, server: Server) -> None:
        line = server.line(lessee())
        await line.join()
        answer = await line.exchange([ask(1, mine=3, amount=10)])
        assert (grants(answer), answer.granted, answer.gathering) == ([0], False, True)
        await server.wait(server.times.gather_ns)
        answer = await line.exchange([ask(8, mine=3)])
        assert (grants(answer), answer.granted, answer.gathering) == ([0], False, False)
        assert grants(await line.exchange([ask(7, mine=3)])) == [7]

    @_on_server
    async def test_exactly_the_amount_is_granted(self, server: Server) -> None:
        lines = await self.joined(server, lessee("a", 0), lessee("a", 1), lessee("b", 0))
        mine = [0, 0, 0]
        for turn in range(30):
            at = turn % 3
            mine[at] += grants(await lines[at].exchange([ask(1, mine=mine[at])]))[0]
        assert sum(mine) == 10
        mine[1] -= 2  # given back
        answer = await lines[1].exchange([ask(mine=mine[1])])
        assert not answer.granted
        assert grants(await lines[2].exchange([ask(3, mine=mine[2])])) == [0]
        assert grants(await lines[2].exchange([ask(2, mine=mine[2])])) == [2]

    @_on_server
    async def test_every_need_is_met_or_none(self, server: Server) -> None:
        [line] = await self.joined(server, lessee())
        both = [ask(4, name="x"), ask(11, name="y"), ask(name="z")]
        assert grants(await line.exchange(both)) == [0, 0, 0]
        both = [ask(4, name="x"), ask(10, name="y"), ask(name="z")]
        answer = await line.exchange(both)
        assert (grants(answer), answer.granted) == ([4, 10, 0], True)
        assert await line.exchange([]) == Answer(recalled=["y"])

    @_on_server
    async def test_what_was_spent_was_spent(self, server: Server) -> None:
        one, two = await self.joined(server, lessee("a"), lessee("b"))
        assert grants(await one.exchange([ask(6)])) == [6]
        await one.exchange([ask(mine=25)])  # more than there is: it used more than it reserved
        assert grants(await two.exchange([ask(1)])) == [0]
        await one.exchange([ask(mine=9)])
        assert grants(await two.exchange([ask(1)])) == [1]

    @_on_server
    async def test_amounts_to_the_end_of_int64(self, server: Server) -> None:
        one, two = await self.joined(server, lessee("a"), lessee("b"))
        assert grants(await one.exchange([ask(INT64_MAX - 1, amount=INT64_MAX)])) == [INT64_MAX - 1]
        assert grants(await two.exchange([ask(2, amount=INT64_MAX)])) == [0]
        assert grants(await two.exchange([ask(1, amount=INT64_MAX)])) == [1]
        assert grants(await two.exchange([ask(1, mine=1, amount=INT64_MAX)])) == [0]
        big = (1 << 53) + 1  # the first integer that a double does not hold
        assert grants(await one.exchange([ask(big, name="big", amount=big - 1)])) == [0]
        answer = await one.exchange([ask(big, name="big", amount=big, spent=big)])
        assert grants(answer) == [big]
        assert (await two.exchange([ask(name="big")])).told[0].others == big

    @_on_server
    async def test_beyond_need_is_granted_a_part_of_what_is_left(self, server: Server) -> None:
        one, two = await self.joined(server, lessee("a"), lessee("b"))
        assert grants(await one.exchange([ask(20, extra=10_000, amount=100)])) == [20 + 10]
        assert grants(await two.exchange([ask(6, extra=3, amount=100)])) == [6 + 3]
        assert grants(await two.exchange([ask(54, mine=9, extra=50, amount=100)])) == [54]

    @_on_server
    async def test_others_are_other_machines(self, server: Server) -> None:
        lines = await self.joined(server, lessee("a", 0), lessee("a", 1), lessee("b", 0))
        await lines[0].exchange([ask(mine=5, spent=3)])
        await lines[1].exchange([ask(mine=2, spent=4)])  # the machine's, as it stands by now
        answer = await lines[2].exchange([ask(mine=1, spent=1)])
        assert answer.told[0].others == 4
        assert (await lines[0].exchange([ask(mine=5, spent=4)])).told[0].others == 1

    @_on_server
    async def test_what_is_lacked_is_recalled_for_a_while(self, server: Server) -> None:
        one, two = await self.joined(server, lessee("a"), lessee("b"))
        assert (await one.exchange([ask(10)])).recalled == []
        await two.exchange([ask(1)])
        assert (await one.exchange([])).recalled == ["c"]
        await server.wait(server.times.recall_ns + 20_000_000)
        assert (await one.exchange([])).recalled == []

    @_on_server
    async def test_calls_at_once_of_a_silent_machine_come_back_and_nothing_else(self, server: Server) -> None:
        one, two = await self.joined(server, lessee("a"), lessee("b"))
        assert grants(await one.exchange([at_once(10), ask(10)])) == [10, 10]
        await server.wait(server.times.silent_ns // 2)
        assert grants(await two.exchange([at_once(1)])) == [0]
        await server.wait(server.times.silent_ns // 2 + 30_000_000)
        assert grants(await two.exchange([at_once(4)])) == [4]
        assert grants(await two.exchange([ask(1)])) == [0]
        await one.exchange([at_once(mine=6)])  # it speaks again
        await server.wait(server.times.silent_ns // 2)
        assert grants(await two.exchange([at_once(1, mine=4)])) == [0]

    @_on_server
    async def test_earlier_runs_of_a_machine_are_forgotten_when_it_says_so(self, server: Server) -> None:
        lines = await self.joined(server, lessee("a", 0, "1"), lessee("a", 1, "1"), lessee("a", 0, "2"), lessee("b"))
        assert grants(await lines[0].exchange([ask(3, spent=3)])) == [3]
        assert grants(await lines[1].exchange([ask(2, spent=4)])) == [2]
        assert grants(await lines[3].exchange([ask(1, spent=1)])) == [1]
        await lines[2].exchange([ask(mine=4, spent=4)])
        assert grants(await lines[3].exchange([ask(1, mine=1, spent=1)])) == [0]
        await lines[2].retire_others()
        answer = await lines[3].exchange([ask(5, mine=1, spent=1)])
        assert (grants(answer), answer.told[0].others) == ([5], 4)

    @_on_server
    async def test_a_server_that_forgot_says_so_and_gathers(self, server: Server) -> None:
        one, two = await self.joined(server, lessee("a"), lessee("b"))
        assert grants(await one.exchange([ask(6)])) == [6]
        assert grants(await two.exchange([ask(4)])) == [4]
        await server.forget()
        for line, mine in ((one, 6), (two, 4)):
            answer = await line.exchange([ask(1, mine=mine)])
            assert (answer.unknown, answer.granted) == (True, False)
            await line.join()
        answer = await one.exchange([ask(1, mine=6)])
        assert (answer.gathering, answer.granted) == (True, False)
        await two.exchange([ask(mine=4)])
        await server.wait(server.times.gather_ns)
        assert grants(await one.exchange([ask(1, mine=6)])) == [0]
        await two.exchange([ask(mine=3)])
        assert grants(await one.exchange([ask(1, mine=6)])) == [1]

    @_on_server
    async def test_a_line_may_be_closed_and_joined_again(self, server: Server) -> None:
        [line] = await self.joined(server, lessee())
        assert grants(await line.exchange([ask(6)])) == [6]
        await line.close()
        await line.join()
        assert grants(await line.exchange([ask(5, mine=6)])) == [0]
        assert grants(await line.exchange([ask(4, mine=6)])) == [4]
        await line.close()
        await line.close()
