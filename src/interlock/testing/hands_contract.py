"""What every adapter of the port `interlock.runtime.hands.Hands` must do. Subclass it and give it `open_hands`.

    class TestMyHands(ContainedContract, FilesContract, ShellsContract):
        def open_hands(self, directory): return my_async_context_manager(directory)

Each test has hands of its own, on asyncio's loop in debug mode and on uvloop. `HandsContract` is what also a plain
process can do, with `FilesContract` (hands_files.py) and `ShellsContract` (hands_shells.py); `ContainedContract`
(hands_contained.py) adds what a sandbox is for.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, aclosing
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from interlock.errors import LocalError
from interlock.runtime.hands import Command, Delta, Hands, Output, Resources, Sandbox, Start, Stop, Strength
from interlock.testing.loops import LOOPS, run_on

DEADLINE_S = 60.0
BLOCKING_S = 0.5
BEATS = "while :; do echo x >> beats; sleep 0.02; done"
"""A program of which one can see whether it runs."""

Self = TypeVar("Self", bound="HandsContract")


def on_hands(test: "Callable[[Self, Hands], Coroutine[Any, Any, None]]") -> "Callable[[Self, Path], None]":
    """Run a test on each of `loops`, with hands of its own."""

    def run(self: "Self", tmp_path: Path) -> None:
        async def main() -> None:
            async with asyncio.timeout(DEADLINE_S), self.open_hands(tmp_path / loop) as hands:
                await test(self, hands)

        for loop in self.loops:
            (tmp_path / loop).mkdir()
            run_on(loop, main, blocking_s=BLOCKING_S)

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


class Ran:
    """What came of a command."""

    def __init__(self, outputs: list[Output]) -> None:
        assert isinstance(outputs[0], Start) and isinstance(outputs[-1], Stop), outputs
        deltas = [output for output in outputs if isinstance(output, Delta)]
        assert len(deltas) == len(outputs) - 2, outputs
        self.stop = outputs[-1]
        self.code = self.stop.exit_code
        self.stdout = b"".join(delta.data for delta in deltas if delta.stream == "stdout")
        self.stderr = b"".join(delta.data for delta in deltas if delta.stream == "stderr")

    @property
    def text(self) -> str:
        """Standard output."""
        return self.stdout.decode(errors="replace")


async def execute(box: Sandbox, command: Command) -> Ran:
    """Run to the end."""
    return Ran([output async for output in box.execute(command)])


async def sh(box: Sandbox, line: str, **fields: Any) -> Ran:
    """A line of shell, to the end."""
    return await execute(box, Command(argv=("sh", "-c", line), **fields))


async def until(condition: Callable[[], Coroutine[Any, Any, bool]], what: str) -> None:
    """Wait for a condition, with a bound."""
    for _ in range(1000):
        if await condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"never: {what}")


async def beats(box: Sandbox) -> int:
    """How often BEATS has beaten; 0: not yet."""
    try:
        return len(await box.read("beats"))
    except LocalError:
        return 0


async def stands_still(read: Callable[[], Coroutine[Any, Any, int]]) -> bool:
    """Whether a figure no longer changes."""
    before = await read()
    await asyncio.sleep(0.3)
    return await read() == before


async def seen(pieces: AsyncIterator[bytes], wanted: bytes) -> bytes:
    """What a terminal shows until it shows this."""
    shown = b""
    async with aclosing(cast("AsyncGenerator[bytes, None]", pieces)) as source:
        async for piece in source:
            shown += piece
            if wanted in shown:
                return shown
    raise AssertionError(f"the shell ended without {wanted!r}: {shown!r}")


class HandsContract:
    """What all of them do."""

    strength: Strength = "process"
    loops: tuple[str, ...] = LOOPS

    def open_hands(self, directory: Path) -> AbstractAsyncContextManager[Hands]:
        """Hands that keep workspaces in an empty directory."""
        raise NotImplementedError  # each adapter's test says how they are made

    async def box(self, hands: Hands, workspace: str = "w", **resources: Any) -> Sandbox:
        """A sandbox of small size."""
        return await hands.provision("session", workspace, Resources(**{"time_s": 30.0, **resources}))

    @on_hands
    async def test_nothing_is_missing_where_it_is_tested(self, hands: Hands) -> None:
        assert await hands.missing() == []
        assert hands.strength == self.strength
        assert (await self.box(hands)).strength == self.strength

    @on_hands
    async def test_several_look_at_once(self, hands: Hands) -> None:
        """As when a server starts: its doctor, and the first of the sessions that go on."""

        async def looks(after_s: float) -> None:
            await asyncio.sleep(after_s)
            for _ in range(5):
                assert await hands.missing() == []

        async with asyncio.TaskGroup() as group:
            for number in range(4):
                group.create_task(looks(number * 0.005))

    # What a command gives back.

    @on_hands
    async def test_start_then_output_as_it_comes_then_stop(self, hands: Hands) -> None:
        box = await self.box(hands)
        line = "echo one; while [ ! -e go ]; do sleep 0.02; done; echo two >&2; exit 7"
        outputs: list[Output] = []
        async for output in box.execute(Command(argv=("sh", "-c", line))):
            outputs.append(output)
            if isinstance(output, Delta) and output.stream == "stdout":
                await box.write("go", b"")
        ran = Ran(outputs)
        assert (ran.stdout, ran.stderr, ran.code, ran.stop.status) == (b"one\n", b"two\n", 7, "completed")
        assert ran.stop.duration_s > 0 and ran.stop.thrown_away == 0

    @on_hands
    async def test_a_signal_is_128_and_its_number(self, hands: Hands) -> None:
        box = await self.box(hands)
        assert (await sh(box, "kill -TERM $$")).code == 143
        assert (await sh(box, "sh -c 'kill -KILL $$'; exit $?")).code == 137
        assert (await sh(box, "exit 255")).code == 255

    @on_hands
    async def test_a_program_that_is_not_there_is_127(self, hands: Hands) -> None:
        box = await self.box(hands)
        ran = await execute(box, Command(argv=("no-such-program", "x")))
        assert ran.code == 127 and b"no-such-program" in ran.stderr
        await box.write("not-executable", b"x")
        assert (await execute(box, Command(argv=("./not-executable",)))).code in {126, 127}

    @on_hands
    async def test_bytes_come_out_and_go_in_as_they_are(self, hands: Hands) -> None:
        box = await self.box(hands)
        every = bytes(range(256)) * 300
        ran = await execute(box, Command(argv=("cat",), stdin=every))
        assert ran.stdout == every
        assert (await execute(box, Command(argv=("cat",)))).stdout == b""

    @on_hands
    async def test_arguments_are_not_read_by_a_shell(self, hands: Hands) -> None:
        box = await self.box(hands)
        words = ("$(id)", "a  b", "", "*", "é\n")
        assert (await execute(box, Command(argv=("printf", "%s|", *words)))).text == "".join(f"{w}|" for w in words)

    # What a command is given.

    @on_hands
    async def test_each_command_begins_anew(self, hands: Hands) -> None:
        box = await self.box(hands)
        await sh(box, "export LEFT=1; cd /; umask 0; ulimit -n 3")
        ran = await sh(box, "env; umask; ulimit -n", env={"MINE": "a=b c"})
        names = {line.partition("=")[0] for line in ran.text.splitlines() if "=" in line}
        assert "MINE=a=b c" in ran.text.splitlines() and "LEFT" not in names
        assert {"PATH", "HOME", "LANG", "TERM"} <= names
        inherited = {"PYTHONPATH", "VIRTUAL_ENV", "INTERLOCK_KEY", "PYTEST_CURRENT_TEST", "SSH_AUTH_SOCK"} & names
        assert not inherited, "the environment of the server is not the agent's"

    @on_hands
    async def test_it_begins_in_the_workspace_or_below(self, hands: Hands) -> None:
        box = await self.box(hands)
        await box.write("here/deep/file", b"found")
        assert (await sh(box, "cat file", cwd="here/deep")).text == "found"
        assert (await sh(box, "cat here/deep/file; ls")).text == "foundhere\n"
        assert (await sh(box, "cat file", cwd="here/./deep/../deep")).text == "found"

    @on_hands
    async def test_a_cwd_outside_is_refused(self, hands: Hands) -> None:
        box = await self.box(hands)
        await sh(box, "ln -s / out; ln -s .. up; mkdir d; touch file")
        for cwd in ("..", "/", "/etc", "d/../..", "out", "up", "out/etc", "missing", "file", "d\0"):
            with pytest.raises(LocalError) as refused:
                await sh(box, "pwd", cwd=cwd)
            assert refused.value.field == "cwd", cwd

    @on_hands
    async def test_commands_outside_their_limits_are_refused(self, hands: Hands) -> None:
        box = await self.box(hands)
        for command, field in (
            (Command(argv=()), "argv"),
            (Command(argv=("",)), "argv"),
            (Command(argv=("true", "a\0b")), "argv"),
            (Command(argv=("true", "x" * (128 << 10))), "argv"),
            (Command(argv=("true",), env={"A=B": "c"}), "argv"),
            (Command(argv=("true",), stdin=bytes((16 << 20) + 1)), "stdin"),
            (Command(argv=("true",), time_s=0), "time_s"),
            (Command(argv=("true",), time_s=1e9), "time_s"),
        ):
            with pytest.raises(LocalError) as refused:
                await execute(box, command)
            assert refused.value.field == field
        assert (await execute(box, Command(argv=("true", *("x" * 1000,) * 120)))).code == 0

    @on_hands
    async def test_two_run_at_once(self, hands: Hands) -> None:
        box = await self.box(hands)
        async with asyncio.TaskGroup() as group:
            one = group.create_task(sh(box, "echo 1 > one; while [ ! -e two ]; do sleep 0.02; done; echo one"))
            two = group.create_task(sh(box, "echo 2 > two; while [ ! -e one ]; do sleep 0.02; done; echo two"))
        assert (one.result().text, two.result().text) == ("one\n", "two\n")

    # How it ends.

    @on_hands
    async def test_time_ends_a_command_and_all_that_it_started(self, hands: Hands) -> None:
        box = await self.box(hands)
        line = f"echo begun; (setsid sh -c '{BEATS}' >/dev/null 2>&1 &) ; trap '' TERM INT HUP; {BEATS}"
        ran = await sh(box, line, time_s=1.0)
        assert (ran.stop.status, ran.stop.exit_code, ran.text) == ("timed_out", None, "begun\n")
        assert "time is up after 1 s" in ran.stop.reason
        assert await beats(box) > 0 and await stands_still(lambda: beats(box))

    @on_hands
    async def test_what_is_left_in_the_background_is_gone_at_the_stop(self, hands: Hands) -> None:
        box = await self.box(hands)
        line = f"(setsid sh -c '{BEATS}' >/dev/null 2>&1 &); while [ ! -s beats ]; do sleep 0.02; done"
        assert (await sh(box, line)).code == 0
        assert await stands_still(lambda: beats(box))

    @on_hands
    async def test_a_background_process_that_keeps_the_output_does_not_keep_the_command(self, hands: Hands) -> None:
        box = await self.box(hands)
        ran = await sh(box, "sleep 1000 & echo done")
        assert (ran.code, ran.text) == (0, "done\n") and ran.stop.duration_s < 20

    @on_hands
    async def test_closing_the_iterator_kills(self, hands: Hands) -> None:
        box = await self.box(hands)
        running = cast("Any", box.execute(Command(argv=("sh", "-c", f"(setsid sh -c '{BEATS}' &); {BEATS}"))))
        assert isinstance(await anext(running), Start)
        await until(lambda: some(box), "a beat")
        await running.aclose()
        assert await stands_still(lambda: beats(box))

    @on_hands
    async def test_cancelling_the_reader_kills(self, hands: Hands) -> None:
        box = await self.box(hands)
        reader = asyncio.get_running_loop().create_task(sh(box, BEATS))
        await until(lambda: some(box), "a beat")
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        assert await stands_still(lambda: beats(box))

    @on_hands
    async def test_output_beyond_its_limit_is_counted_and_thrown_away(self, hands: Hands) -> None:
        box = await self.box(hands, output_bytes=1000)
        ran = await sh(box, "head -c 5000 /dev/zero | tr '\\0' a; head -c 3000 /dev/zero >&2")
        assert len(ran.stdout) + len(ran.stderr) == 1000 and ran.stop.thrown_away == 7000 and ran.code == 0
        assert ran.stdout == b"a" * len(ran.stdout)

    @on_hands
    async def test_a_flood_is_waited_for_by_nobody_slow(self, hands: Hands) -> None:
        """What is not taken stays with the command, so memory is bounded by what may wait, not by what is written."""
        box = await self.box(hands, output_bytes=8 << 20)
        total = 0
        async for output in box.execute(Command(argv=("head", "-c", str(8 << 20), "/dev/zero"))):
            if isinstance(output, Delta):
                total += len(output.data)
                if total < 1 << 20:
                    await asyncio.sleep(0.005)
        assert total == 8 << 20


async def some(box: Sandbox) -> bool:
    """Whether BEATS has begun."""
    return await beats(box) > 0
