"""What a command in a sandbox costs: beside a plain fork and exec, and beside bubblewrap alone with the same mounts.

`python -m bench.hands [--commands 100]`: no network. They take turns, because the machine's speed drifts; read the
ratios. `bubblewrap` is what agents get: what goes around the proxy is watched; `unwatched` has no proxy. It also counts
what an idle sandbox keeps. Exit 1 if the target is missed: half of all commands under 15 ms.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from interlock.clock import SystemClock
from interlock.runtime.hands import Command, Resources, Sandbox, Stop
from interlock.runtime.hands.bubblewrap import Bubblewrap
from interlock.runtime.hands.egress import Egress
from interlock.runtime.hands.process import Process
from interlock.runtime.hands.workspaces import Workspaces

TARGET_MS, IDLE, IDLE_BYTES_MAX = 15.0, 1_000, 20_000_000
CLOCK = SystemClock()
BARE = (
    *("bwrap", "--unshare-all", "--unshare-user", "--uid", "1000", "--gid", "1000", "--hostname", "sandbox"),
    *("--die-with-parent", "--new-session", "--cap-drop", "ALL", "--clearenv", "--ro-bind", "/usr", "/usr"),
    *("--symlink", "usr/bin", "/bin", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"),
    *("--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "/usr/bin/true"),
)


async def once(box: Sandbox) -> None:
    """One `true`."""
    async for output in box.execute(Command(argv=("/usr/bin/true",))):
        assert not isinstance(output, Stop) or output.exit_code == 0, output


async def plain(argv: tuple[str, ...]) -> None:
    """The same without us."""
    subprocess.run(argv, check=True)  # noqa: ASYNC221 - nobody else is on this loop


async def take_turns(peers: dict[str, Callable[[], Awaitable[None]]], commands: int) -> dict[str, list[float]]:
    """Milliseconds of each, in order of size."""
    took: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(commands):
        for name, run in peers.items():
            begun_ns = CLOCK.monotonic_ns()
            await run()
            took[name].append((CLOCK.monotonic_ns() - begun_ns) / 1e6)
    return {name: sorted(times) for name, times in took.items()}


def resident_bytes() -> int:
    """Of this process now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def idle(hands: Bubblewrap) -> int:
    """What a thousand sandboxes that have run a command, and run none now, keep of memory; they keep no process."""
    boxes = []
    before = resident_bytes()
    for number in range(IDLE):
        boxes.append(await hands.provision("bench", f"idle-{number}", Resources()))
        if number % 50 == 0:
            await once(boxes[-1])
    kept = resident_bytes() - before
    children = (
        Path(  # noqa: ASYNC240 - nobody else is on this loop
            f"/proc/self/task/{os.getpid()}/children"
        )
        .read_text()
        .split()
    )
    assert not children, "an idle sandbox keeps a process"
    for box in boxes:
        await box.destroy()
    return kept


async def measure(root: Path, commands: int) -> bool:
    """Print it all; whether the target is met."""
    workspaces = Workspaces(root / "own", CLOCK)
    hands = Bubblewrap(workspaces, CLOCK, egress=Egress(root / "egress"))
    box = await hands.provision("bench", "bench", Resources())
    unwatched = await Bubblewrap(workspaces, CLOCK).provision("bench", "unwatched", Resources())
    bare = await Process(Workspaces(root / "plain", CLOCK, own_users=False), CLOCK).provision("b", "b", Resources())
    await once(box)
    await once(unwatched)
    took = await take_turns(
        {
            "fork and exec": lambda: plain(("/usr/bin/true",)),
            "bubblewrap alone": lambda: plain(BARE),
            "process": lambda: once(bare),
            "unwatched": lambda: once(unwatched),
            "bubblewrap": lambda: once(box),
        },
        commands,
    )
    base = statistics.median(took["bubblewrap alone"])
    print(f"{'one `true`':<20}{'min ms':>9}{'p50 ms':>9}{'p90 ms':>9}{'of bubblewrap alone':>21}")
    for name, times in took.items():
        middle = statistics.median(times)
        print(f"{name:<20}{times[0]:>9.2f}{middle:>9.2f}{times[len(times) * 9 // 10]:>9.2f}{middle / base:>20.2f}x")
    kept = await idle(hands)
    print(f"{IDLE} idle sandboxes keep {kept / 1e6:.1f} MB and no process")
    for made in (box, unwatched, bare):
        await made.destroy()
    return statistics.median(took["bubblewrap"]) < TARGET_MS and kept < IDLE_BYTES_MAX


def main() -> int:
    """The exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--commands", type=int, default=100, help="of each kind (default: %(default)s)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="interlock-bench-") as directory:
        return 0 if asyncio.run(measure(Path(directory), args.commands)) else 1


if __name__ == "__main__":
    sys.exit(main())
