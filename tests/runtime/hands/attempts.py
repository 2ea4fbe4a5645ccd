"""What an attempt to leave a sandbox is, how it is run, and how it is told from outside whether it succeeded."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
from tests.runtime.hands.world import World

from interlock.errors import InterlockError
from interlock.runtime.hands import Command, Delta, Hands, Resources, Sandbox, Stop

LIMITS = Resources(
    cpus=1.0, memory_bytes=256 << 20, processes=64, disk_bytes=100 << 20, output_bytes=1 << 20, time_s=30.0
)
PRELUDE = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def call(number, *arguments):
    return libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
"""
"""Before each attempt in Python: system calls by their numbers on x86-64."""


class Ran(msgspec.Struct):
    """What came of an attempt, as seen from outside."""

    sandbox: Sandbox
    said: bytes = b""
    stop: Stop | None = None
    during: str = ""
    """What was seen while it ran, if that is an escape."""


After = Callable[[World, Ran], bool | Awaitable[bool]]
During = Callable[[World, Ran], Awaitable[str]]


class Attempt(msgspec.Struct, frozen=True):
    """One attempt, run as an agent's command."""

    name: str
    what: str
    kind: str
    """`sh` or `py`."""
    script: str
    """@NAME@ stands for what `World.names` says."""
    after: After | None = None
    """Whether it is an escape; None: it is if the token is in what was said, or a line begins with ESCAPED."""
    during: During | None = None
    unsafe: str = ""
    """Why it is not run as a plain process."""
    alike: bool = False
    """Defended by what all adapters share, so a plain process does not show that it can fail."""
    time_s: float | None = None
    destroyed_s: float | None = None
    """The sandbox is destroyed so many seconds after the beginning."""
    egress: tuple[str, ...] = ()


def sh(name: str, what: str, script: str, **more: object) -> Attempt:
    """In shell."""
    return Attempt(name, what, "sh", script, **more)  # type: ignore[arg-type]  # its own fields


def py(name: str, what: str, script: str, **more: object) -> Attempt:
    """In Python, with PRELUDE."""
    return Attempt(name, what, "py", script, **more)  # type: ignore[arg-type]  # its own fields


async def escapes(attempt: Attempt, hands: Hands, world: World) -> str:
    """What it got; empty: it was contained."""
    sandbox = await hands.provision("escape", world.workspace(), msgspec.structs.replace(LIMITS, egress=attempt.egress))
    ran = Ran(sandbox)
    try:
        async with asyncio.timeout(90):
            await _run(attempt, world, ran)
            if attempt.after is None:
                token = world.token.encode()
                held = "the token" if token in ran.said else ""
                marked = [line for line in ran.said.split(b"\n") if line.startswith(b"ESCAPED")]
                return held or (marked[0].decode(errors="replace") if marked else "") or ran.during
            found = attempt.after(world, ran)
            escaped = found if isinstance(found, bool) else await found
            return "seen outside" if escaped else ran.during
    finally:
        await sandbox.destroy()
        world.clean()


async def _run(attempt: Attempt, world: World, ran: Ran) -> None:
    script = world.filled(attempt.script)
    argv = ("sh", "-c", script) if attempt.kind == "sh" else ("/usr/bin/python3", "-I", "-c", PRELUDE + script)
    watching = asyncio.ensure_future(attempt.during(world, ran)) if attempt.during else None
    ending = asyncio.ensure_future(_destroyed(attempt.destroyed_s, ran.sandbox)) if attempt.destroyed_s else None
    try:
        async for output in ran.sandbox.execute(Command(argv=argv, time_s=attempt.time_s)):
            if isinstance(output, Delta):
                ran.said += output.data
            elif isinstance(output, Stop):
                ran.stop = output
    finally:
        if watching is not None:
            ran.during = await watching
        if ending is not None:
            await ending


async def _destroyed(after_s: float, sandbox: Sandbox) -> None:
    await asyncio.sleep(after_s)
    await sandbox.destroy()


# Outside checks.


def appeared(path: str) -> After:
    """A file is there that was not."""
    return lambda world, _: Path(world.filled(path)).exists()


def host_side_read(path: str) -> After:
    """The runtime reads it, and gives what is outside."""

    async def after(world: World, ran: Ran) -> bool:
        try:
            return world.token.encode() in await ran.sandbox.read(path)
        except InterlockError:
            return False

    return after


def host_side_write(path: str) -> After:
    """The runtime writes it, outside."""

    async def after(world: World, ran: Ran) -> bool:
        with contextlib.suppress(InterlockError):
            await ran.sandbox.write(path, b"x")
        return (world.open / "written").exists()

    return after


def race(path: str) -> During:
    """The runtime reads it again and again while the agent exchanges what it goes through."""

    async def during(world: World, ran: Ran) -> str:
        for _ in range(3000):
            if ran.stop is not None:
                break
            with contextlib.suppress(InterlockError):
                if world.token.encode() in await ran.sandbox.read(path):
                    return "read through a link"
            await asyncio.sleep(0)
        return ""

    return during


def dead(world: World, _: Ran) -> bool:
    """The victim."""
    return world.victim.poll() is not None


async def outlives(world: World, ran: Ran) -> bool:
    """Something goes on writing into the workspace."""
    alive = world.files(ran.sandbox) / "alive"
    await asyncio.sleep(0.3)
    before = alive.stat().st_mtime_ns
    await asyncio.sleep(0.7)
    return alive.stat().st_mtime_ns != before


async def heard(world: World, _: Ran) -> bool:
    """One of the world's listeners was reached."""
    await asyncio.sleep(0.1)
    return world.heard()


async def reached(world: World, ran: Ran) -> str:
    """Somebody outside reaches what listens inside."""
    for _ in range(300):
        if b"ready" in ran.said or ran.stop is not None:
            break
        await asyncio.sleep(0.02)
    for host in ("127.0.0.1", *world.own):
        with contextlib.suppress(OSError, TimeoutError), socket.socket() as one:
            one.setblocking(False)
            async with asyncio.timeout(2):
                loop = asyncio.get_running_loop()
                await loop.sock_connect(one, (host, world.free))
                if await loop.sock_recv(one, 100) == b"from the sandbox":
                    return f"reached at {host}"
    return ""


def amount(of: str) -> After:
    """More than twice what is allowed, found outside."""

    def after(world: World, ran: Ran) -> bool:
        if of == "output":
            return len(ran.said) > LIMITS.output_bytes
        if of == "files":
            return sum(len(names) for _, _, names in os.walk(world.files(ran.sandbox))) > 256_000
        places = [world.files(ran.sandbox), world.files(ran.sandbox).parent / "temporary"]
        total = sum(p.stat().st_blocks * 512 for place in places for p in place.rglob("*") if p.is_file())
        shared = sum(p.stat().st_size for p in Path("/tmp").glob(f"{world.mark}*"))
        return total + shared > 2 * LIMITS.disk_bytes

    return after


def shows_shadow(_: World, ran: Ran) -> bool:
    """A line of the machine's password file."""
    return any(line in ran.said for line in Path("/etc/shadow").read_bytes().splitlines() if line)


def shows_home(_: World, ran: Ran) -> bool:
    """What stands in root's home."""
    names = [path.name for path in Path("~root").expanduser().iterdir()]
    return any(name in ran.said.decode(errors="replace").split() for name in names)
