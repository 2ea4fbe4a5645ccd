"""What a machine's runtime is told: [runtime] of the configuration."""

from typing import Literal

import msgspec


class RuntimeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Part of the server's configuration, read when it starts."""

    enabled: bool = True
    """Whether agents run here at all."""
    hands: tuple[str, ...] = ("bubblewrap", "gvisor")
    """The kinds of sandbox that a session may ask for. `process`, which is none, must be named here."""
    read: tuple[str, ...] = ()
    """Directories of this machine that every sandbox sees under the same path, read only: toolchains."""
    sync: Literal["process", "power"] = "process"
    """What a session's events survive when they are answered for: the death of the process, or of the machine."""
    brains: int = 64
    """How many sessions are worked on at once; more wait for their turn."""
    idle_days: int = 14
    """A workspace that nobody used for so long is removed, its snapshots with it; the log stays."""
