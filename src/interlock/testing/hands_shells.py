"""What every adapter's shells must do: a mixin of `hands_contract.HandsContract`."""

import asyncio
import contextlib

import pytest

from interlock.errors import LocalError
from interlock.runtime.hands import Hands, Shell
from interlock.testing.hands_contract import HandsContract, on_hands, seen, until

RING_BYTES = 256 << 10


async def typed(shell: Shell, keys: bytes, wanted: bytes, times: int = 10) -> bytes:
    """What the terminal shows until it shows this; keys are struck again as a person would, who sees nothing come: a
    shell that has not come to its prompt may throw away what was typed ahead."""
    shown = b""
    for _ in range(times):
        await shell.write(keys)
        shown = b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2.0):
                async for piece in shell.attach():
                    shown += piece
                    if wanted in shown:
                        return shown
    raise AssertionError(f"{keys!r} never showed {wanted!r}: {shown!r}")


async def interrupted(shell: Shell) -> None:
    """Strike Ctrl-C until the prompt is back."""
    shown = b""
    for _ in range(3):
        await shell.write(b"\x03")
        shown = b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2.0):
                async for piece in shell.attach():
                    shown += piece
                    _, pressed, since = shown.rpartition(b"^C")
                    if pressed and (b"$ " in since or b"# " in since):
                        return
    raise AssertionError(f"the program cannot be ended: {shown!r}")


class ShellsContract(HandsContract):
    """The suite."""

    @on_hands
    async def test_it_is_a_terminal_that_remembers(self, hands: Hands) -> None:
        box = await self.box(hands)
        shell = await box.shell(columns=100, rows=30)
        await shell.write(b"test -t 0 && test -t 1 && x=kept; stty size; tty; echo $x-$((6*7))\n")
        shown = await seen(shell.attach(), b"kept-42")
        assert b"30 100" in shown
        await shell.write(b"cd /; echo again-$x\n")
        assert b"kept-42" in await seen(shell.attach(), b"again-kept")
        await shell.close()

    @on_hands
    async def test_who_comes_back_sees_the_last_of_it(self, hands: Hands) -> None:
        box = await self.box(hands)
        shell = await box.shell()
        await shell.write(b"head -c 600000 /dev/zero | tr '\\0' z; echo; echo the-$((1+1))-end\n")
        await seen(shell.attach(), b"the-2-end")
        replayed = await seen(shell.attach(), b"the-2-end")
        assert RING_BYTES - 8192 < len(replayed) <= RING_BYTES + 8192
        await shell.close()

    @on_hands
    async def test_several_look_at_once(self, hands: Hands) -> None:
        box = await self.box(hands)
        shell = await box.shell()
        async with asyncio.TaskGroup() as group:
            watchers = [group.create_task(seen(shell.attach(), b"both-3")) for _ in range(3)]
            await asyncio.sleep(0)
            await shell.write(b"echo both-$((1+2))\n")
        assert all(b"both-3" in watcher.result() for watcher in watchers)
        await shell.close()

    @on_hands
    async def test_its_size_changes(self, hands: Hands) -> None:
        box = await self.box(hands)
        shell = await box.shell()
        await shell.write(b"echo up-$((1+1))\n")
        await seen(shell.attach(), b"up-2")
        for _ in range(10):  # readline reads the size and writes it back as it prompts: what comes between is lost
            await shell.resize(132, 50)
            with contextlib.suppress(AssertionError):
                assert b"50 132" in await typed(shell, b"stty size\n", b"50 132", times=1)
                break
        else:
            raise AssertionError("its size does not change")
        for columns, rows in ((0, 24), (80, 0), (100_000, 24)):
            with pytest.raises(LocalError):
                await shell.resize(columns, rows)
        await shell.close()

    @on_hands
    async def test_ctrl_c_ends_the_program_and_not_the_shell(self, hands: Hands) -> None:
        """In one of three shells: as a program starts, bash hands the terminal over to it, and a Ctrl-C that comes
        between may be the last that reaches anybody."""
        box = await self.box(hands)
        for last in (False, False, True):
            shell = await box.shell()
            await shell.write(b"sh -c 'echo up-$((1+1)); exec sleep 1000'\n")
            await seen(shell.attach(), b"up-2")
            try:
                await interrupted(shell)
                await typed(shell, b"echo after-$((1+1))\n", b"after-2", times=3)
                break
            except AssertionError:
                if last:
                    raise
            finally:
                await shell.close()

    @on_hands
    async def test_it_ends(self, hands: Hands) -> None:
        box = await self.box(hands)
        shell = await box.shell()
        await shell.write(b"echo bye-$((1+1)); exit\n")
        shown = b"".join([piece async for piece in shell.attach()])
        assert b"bye-2" in shown
        with pytest.raises(LocalError):
            await shell.write(b"x")
        await shell.close()
        assert b"bye-2" in b"".join([piece async for piece in shell.attach()]), "what it said can still be read"

    @on_hands
    async def test_ten_at_most(self, hands: Hands) -> None:
        box = await self.box(hands)
        shells = [await box.shell() for _ in range(10)]
        with pytest.raises(LocalError):
            await box.shell()
        await shells[0].close()

        async def room() -> bool:
            try:
                shells[0] = await box.shell()
            except LocalError:
                return False
            return True

        await until(room, "room for another shell")
        assert len({shell.id for shell in shells}) == 10
        await box.destroy()
        assert b"" in {b"", *[piece async for piece in shells[1].attach()]}
