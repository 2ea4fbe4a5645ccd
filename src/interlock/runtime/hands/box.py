"""What every sandbox on this machine's own kernel does alike: commands, shells, files, limits. Adapters start trees.

A box that runs nothing is this object and a directory: no process, no descriptor, no control group.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from typing import Literal

from interlock.clock import Clock
from interlock.errors import HandsLost, HandsUnavailable, LocalError
from interlock.runtime.hands.ports import REMOVED, Command, Output, Start, Stop, Strength
from interlock.runtime.hands.quota import Quota
from interlock.runtime.hands.resources import Resources
from interlock.runtime.hands.shells import SHELLS_MAX, TerminalShell, terminal
from interlock.runtime.hands.streams import Streams
from interlock.runtime.hands.tree import Ending, Stdio, Tree
from interlock.runtime.hands.workspace import Workspace

COMMANDS_MAX = 16
ARGV_BYTES_MAX, STDIN_BYTES_MAX, TIME_S_MAX = 128 << 10, 16 << 20, 86_400.0
WATCH_EVERY_S = 0.05
SHORT = "this machine has only the room left that is kept for logs"


class Run:
    """One tree under way, and why it was ended if it was."""

    def __init__(self, tree: Tree, disk_bytes_max: int, room_min: float) -> None:
        self.tree = tree
        self.disk_bytes_max = disk_bytes_max
        self.room_min = room_min
        self.status: Literal["completed", "timed_out", "lost"] | None = None
        self.reason = ""

    def end(self, status: Literal["completed", "timed_out", "lost"], reason: str) -> None:
        """Kill it; the first reason counts."""
        if self.status is None and not self.tree.gone.done():
            self.status, self.reason = status, reason
        self.tree.kill()


class Box:
    """See `ports.Sandbox`."""

    strength: Strength

    def __init__(self, id: str, session: str, workspace: Workspace, resources: Resources, clock: Clock) -> None:
        self.id = id
        self.session = session
        self.workspace = workspace
        self.workspace_made_at_ns = workspace.made_at_ns
        self.resources = resources
        self._clock = clock
        self._quota = Quota(workspace, resources.disk_bytes, clock)
        self._running = set[Run]()
        self._shells: dict[str, TerminalShell] = {}
        self._gone = ""
        self._watching: asyncio.Task[None] | None = None  # ends with the last run; destroy waits for it
        self._files = asyncio.Lock()  # no command begins while the workspace's directory is exchanged for another

    @property
    def gone(self) -> bool:
        """Nothing runs in it any more, and nothing will."""
        return bool(self._gone)

    # What adapters fill in.

    def _start(self, command: Command, cwd: str, stdio: Stdio) -> Tree:
        """Start a command's tree. Raises: OSError, HandsUnavailable."""
        raise NotImplementedError  # an adapter's

    def _shell_command(self) -> Command:
        """What a shell is here."""
        raise NotImplementedError  # an adapter's

    def _reason(self, run: Run, ending: Ending) -> str:
        """Which limit of the kernel's a command ran into, as far as can be seen."""
        return ""

    def _over(self) -> str:
        """Which limit that only we look after has been passed."""
        return ""

    def _still(self) -> "contextlib.AbstractContextManager[None]":
        """Hold what runs where it is, if that can be had."""
        return contextlib.nullcontext()

    async def _stands(self) -> None:
        """Wait until what is held does stand."""

    async def _put_away(self) -> None:
        """Nothing runs any more, and nothing will."""

    # Commands.

    async def execute(self, command: Command) -> AsyncIterator[Output]:
        """See the port."""
        self._alive()
        check(command)
        cwd = self.workspace.directory(command.cwd)
        time_s = self.resources.time_s if command.time_s is None else command.time_s
        begun_ns = self._clock.monotonic_ns()
        streams = Streams(self.resources.output_bytes)
        run = timer = None
        try:
            async with self._files:
                await self._check_room()
                self._alive()
                with _input(command.stdin) as stdin:
                    run = self._run(command, cwd, Stdio(stdin, *streams.inner))
            streams.begun()
            run.tree.gone.add_done_callback(lambda _: streams.end())
            timer = asyncio.get_running_loop().call_later(
                time_s, run.end, "timed_out", f"time is up after {time_s:g} s"
            )
            await self._started(run, streams)
            yield Start(at_ns=self._clock.now_ns())
            while (delta := await streams.next()) is not None:
                yield delta
            yield self._stop(run, streams, (self._clock.monotonic_ns() - begun_ns) / 1e9)
        finally:
            if timer is not None:
                timer.cancel()
            if run is None:
                streams.begun()
                streams.end()
            else:
                run.end("lost", "nobody waits for it any more")
                await asyncio.shield(run.tree.gone)

    def _run(self, command: Command, cwd: str, stdio: Stdio) -> Run:
        if len(self._running) >= COMMANDS_MAX + SHELLS_MAX:
            raise LocalError(f"{COMMANDS_MAX} commands run in this sandbox already", field="command")
        try:
            # Who begins with more than the limit may still make room, if not add to it.
            full_at = max(self.resources.disk_bytes, self._quota.known)
            room = self._quota.room()
            run = Run(self._start(command, cwd, stdio), full_at, 1.0 if room >= 1 else room / 2)
        except OSError as error:
            raise HandsUnavailable(f"no command can be started now: {error.strerror}") from error
        self._running.add(run)
        run.tree.gone.add_done_callback(lambda _: self._running.discard(run))
        if self._watching is None or self._watching.done():
            self._watching = asyncio.get_running_loop().create_task(self._watch())
        return run

    async def _started(self, run: Run, streams: Streams) -> None:
        try:
            await asyncio.shield(run.tree.started)
        except HandsUnavailable as error:
            await asyncio.shield(run.tree.gone)
            if run.status is not None:  # we ended it before it began
                return
            said = b""
            while (delta := await streams.next()) is not None:
                said += delta.data
            raise HandsUnavailable(f"{error.message}: {said[:500].decode(errors='replace').strip()}") from error

    def _stop(self, run: Run, streams: Streams, duration_s: float) -> Stop:
        ending = run.tree.gone.result()
        code, status, reason = ending.exit_code, run.status, run.reason
        if status is None and code is None:
            status, reason = "lost", "the sandbox was killed from outside"
            self._lose(reason)
        elif status is None:
            status, reason = "completed", self._reason(run, ending)
        elif status == "completed":
            code = 137
        return Stop(
            status=status,
            exit_code=code if status == "completed" else None,
            reason=reason,
            thrown_away=streams.thrown_away,
            duration_s=duration_s,
            cpu_s=ending.cpu_s,
            memory_bytes_peak=ending.memory_bytes_peak,
        )

    async def _watch(self) -> None:
        """While anything runs: is the disk's limit kept, and what else the kernel does not look after?"""
        while self._running:
            await asyncio.sleep(WATCH_EVERY_S)
            over = self._over()
            try:
                used, room = await self._quota.used(running=True), self._quota.room()
            except (OSError, RuntimeError) as error:  # the latter: no thread is to be had, as when the loop ends
                why = error.strerror if isinstance(error, OSError) else error
                used, room, over = 0, 1.0, f"the workspace cannot be measured: {why}"
            for run in list(self._running):
                full = self._full() if used > run.disk_bytes_max else SHORT if room < run.room_min else ""
                if over or full:
                    run.end("completed", over or f"the disk is full: {full}")

    def _full(self) -> str:
        return f"the workspace has more than its {self.resources.disk_bytes} bytes"

    async def _check_room(self) -> None:
        await self._quota.used(running=False)
        if self._quota.room() < 1:
            raise HandsUnavailable(f"no command can be started now: {SHORT}")

    # Shells.

    async def shell(self, *, columns: int = 80, rows: int = 24) -> TerminalShell:
        """See the port."""
        self._alive()
        if len(self._shells) >= SHELLS_MAX:
            raise LocalError(f"{SHELLS_MAX} shells are open in this sandbox: close one", field="shell")
        command = self._shell_command()
        async with self._files:
            self._alive()
            with terminal(columns, rows) as (outer, inner):
                run = self._run(command, ".", Stdio(inner, inner, inner, terminal=True))
                shell = TerminalShell(outer, run.tree)
        self._shells[shell.id] = shell
        run.tree.gone.add_done_callback(lambda _: self._shells.pop(shell.id, None))
        return shell

    # Files.

    async def read(self, path: str, *, offset: int = 0, limit: int = 1 << 20) -> bytes:
        """See the port."""
        self._alive()
        return await asyncio.to_thread(self.workspace.read, path, offset, limit)

    async def write(self, path: str, data: bytes) -> None:
        """See the port."""
        self._alive()
        async with self._files:
            if await self._quota.used(running=False) + len(data) > self.resources.disk_bytes:
                raise LocalError(f"{path[:200]!r} cannot be written: {self._full()}", field="path")
            if self._quota.room(len(data)) < 1:
                raise LocalError(f"{path[:200]!r} cannot be written: {SHORT}", field="path")
            await asyncio.to_thread(self.workspace.write, path, data)

    async def snapshot(self) -> str:
        """See the port. What runs is held still meanwhile where the kernel can do that (docs/hands.md)."""
        self._alive()
        async with self._files:
            with self._still():
                await self._stands()
                return await asyncio.to_thread(self.workspace.snapshot, self.resources.disk_bytes)

    async def restore(self, snapshot: str) -> None:
        """See the port. What runs is ended first: it stands in a directory that is about to go."""
        self._alive()
        self.workspace.kept(snapshot)
        async with self._files:
            await self._end_all("the workspace was restored")
            await asyncio.to_thread(self.workspace.restore, snapshot, self.resources.disk_bytes)

    # The end.

    async def destroy(self) -> None:
        """See the port."""
        first = not self._gone
        self._lose("the sandbox was destroyed")
        await self._end_all("the sandbox was destroyed")
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        if first:
            await self._put_away()
            self.workspace.used()

    async def _end_all(self, reason: str) -> None:
        for run in list(self._running):
            run.end("lost", reason)
            await asyncio.shield(run.tree.gone)

    def _lose(self, reason: str) -> None:
        self._gone = self._gone or reason

    def _alive(self) -> None:
        if not self._gone and not self.workspace.there:
            raise HandsLost(REMOVED, field="workspace")
        if self._gone:
            raise HandsLost(f"{self._gone}: provision another")


def check(command: Command) -> None:
    """Raises: LocalError: the command is outside its limits."""
    if not command.argv or not command.argv[0]:
        raise LocalError("argv names no program", field="argv")
    words = [*command.argv, *command.env, *command.env.values()]
    if any("\0" in word for word in words) or any("=" in name or not name for name in command.env):
        raise LocalError("argv and env hold no NUL, and names in env no =", field="argv")
    if sum(len(os.fsencode(word)) + 1 for word in words) > ARGV_BYTES_MAX:
        raise LocalError(f"argv and env are more than {ARGV_BYTES_MAX} bytes", field="argv")
    if len(command.stdin) > STDIN_BYTES_MAX:
        raise LocalError(f"stdin is more than {STDIN_BYTES_MAX} bytes", field="stdin")
    if command.time_s is not None and not 0 < command.time_s <= TIME_S_MAX:
        raise LocalError(f"time_s is not between 0 and {TIME_S_MAX:g}", field="time_s")


@contextlib.contextmanager
def _input(data: bytes) -> Iterator[int]:
    """A descriptor to read the input from: a file in memory, so that nobody has to feed a pipe."""
    descriptor = os.memfd_create("stdin") if data else os.open(os.devnull, os.O_RDONLY)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        if data:
            os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)
