"""What one sandbox may use. Every limit holds for all processes of the sandbox together."""

import msgspec


class Resources(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of one sandbox, part of a session's agent. Defaults are those of a small coding task."""

    cpus: float = 1.0
    """Cores' worth of CPU time a second."""
    memory_bytes: int = 1 << 30
    processes: int = 256
    """Processes and threads at once."""
    disk_bytes: int = 2 << 30
    """Of the workspace and the sandbox's own temporary files together."""
    output_bytes: int = 1 << 20
    """Of one command's standard output and error together; what is beyond is read, counted and thrown away."""
    time_s: float = 120.0
    """A command that does not say how long it may take may take this long."""
    egress: tuple[str, ...] = ()
    """`host:port` of whom it may connect to; the host may begin with `*.`, and the port be `*`. Empty: nobody."""
