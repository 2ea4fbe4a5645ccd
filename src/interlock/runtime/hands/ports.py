"""The hands' port: a sandbox is provisioned, commands are executed in it, and it is destroyed.

`interlock.testing.hands_contract` is its proof. A sandbox holds no secret, and nothing in it is trusted: every path,
byte and exit status that comes out was written by whoever the agent was talked into being. What a session keeps is its
workspace, a directory of its own that survives the sandbox; everything else in a sandbox may vanish at any time.
"""

from collections.abc import AsyncIterator, Mapping
from typing import Literal, Protocol

import msgspec

from interlock.runtime.hands.resources import Resources

Strength = Literal["process", "namespace", "kernel"]
"""What stands between the agent and this machine: nothing; the kernel's namespaces and filters; another kernel."""


REMOVED = "the workspace was removed, with all that was in it"
"""Told once of each, by `HandsLost` of the field `workspace`."""


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """One fresh process. It inherits no environment, no terminal and no history of the command before."""

    argv: tuple[str, ...]
    """`("sh", "-c", text)` for a line of shell."""
    cwd: str = "."
    """Relative to the workspace, and inside it."""
    env: Mapping[str, str] = {}
    """Beside PATH, HOME, LANG and TERM."""
    stdin: bytes = b""
    time_s: float | None = None
    """Seconds of wall clock; None: the resources' `time_s`."""


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """The process runs; first, once."""

    at_ns: int


class Delta(msgspec.Struct, frozen=True, kw_only=True):
    """More output, as it comes."""

    stream: Literal["stdout", "stderr"]
    data: bytes


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """The process and everything it started are gone; last, once."""

    status: Literal["completed", "timed_out", "lost"]
    """`lost`: the sandbox died under it (killed, out of memory as a whole)."""
    exit_code: int | None
    """0 to 255; 128 + n: ended by signal n. None unless completed."""
    reason: str = ""
    """For people: which limit it ran into (`out of memory`, `time is up after 120 s`)."""
    thrown_away: int = 0
    """Bytes of output beyond `output_bytes`."""
    duration_s: float = 0.0
    cpu_s: float = 0.0
    memory_bytes_peak: int = 0


Output = Start | Delta | Stop


class Shell(Protocol):
    """A terminal in a sandbox, which outlives the connections that look at it."""

    id: str

    async def write(self, data: bytes) -> None:
        """Keys as they are typed. Raises: LocalError: the shell has ended."""
        ...

    async def resize(self, columns: int, rows: int) -> None:
        """The window's new size."""
        ...

    def attach(self) -> AsyncIterator[bytes]:
        """The last 256 KiB of output, then what comes, until the shell ends. Several may look at once."""
        ...

    async def close(self) -> None:
        """Kill it."""
        ...


class Sandbox(Protocol):
    """One provisioned sandbox. Every call raises HandsLost if it is gone: provision another."""

    id: str
    session: str
    strength: Strength
    workspace_made_at_ns: int
    """When its workspace was made. Another time than a session's last: that one was removed, and this began empty."""

    def execute(self, command: Command) -> AsyncIterator[Output]:
        """Run one command; several may run at once. Closing the iterator kills the command and all it started.

        Raises: LocalError: the command is outside its limits (argv over 128 KiB, cwd outside the workspace).
        """
        ...

    async def shell(self, *, columns: int = 80, rows: int = 24) -> Shell:
        """Open a terminal. Raises: LocalError: more than 10 are open."""
        ...

    async def read(self, path: str, *, offset: int = 0, limit: int = 1 << 20) -> bytes:
        """A regular file's bytes. `path` is inside the workspace, links followed only inside it.

        Raises: LocalError: no such regular file, or the path leaves the workspace.
        """
        ...

    async def write(self, path: str, data: bytes) -> None:
        """Replace a file whole; directories are made as needed. Raises: LocalError: as `read`, or no room."""
        ...

    async def snapshot(self) -> str:
        """Keep the workspace as it is now; returns the snapshot's id. What runs may go on."""
        ...

    async def restore(self, snapshot: str) -> None:
        """Make the workspace what it was. Raises: LocalError: no such snapshot of this tenant's."""
        ...

    async def destroy(self) -> None:
        """Kill everything in it. The workspace stays. Twice is once."""
        ...


class Hands(Protocol):
    """One kind of sandbox on this machine."""

    name: str
    strength: Strength

    async def missing(self) -> list[str]:
        """Why sandboxes of this kind cannot be had here, each with what would help; empty: they can. It probes."""
        ...

    async def provision(self, session: str, workspace: str, resources: Resources) -> Sandbox:
        """A sandbox with the workspace of that id (made if it is new).

        Raises: HandsUnavailable: it cannot be had here; never a weaker one instead.
        """
        ...
