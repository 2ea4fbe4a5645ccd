"""One command, one table: `python -m bench [--only nginx,interlock] [--rounds 3] [--quick]`.

Peers take turns (A B C, A B C, ...), because the machine's speed drifts; each figure is the median of its rounds.
Exit 1 if a target was measured and missed.
"""

import argparse
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench import crowd, memory, start_time
from bench.load import EVENTS, KINDS, SPACING_NS, Kind, Sample, build_tools, measure, upstream
from bench.machine import BenchError
from bench.peers import HERE, PEERS, Peer, Target
from bench.report import Promise, Row, beside, promises, table, translations, verdicts


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What stands in bench/results/DATE.json."""

    at: str
    machine: str
    rounds: int
    events_a_stream: int
    spacing_ns: int
    rows: list[Row]
    crowds: list[crowd.Crowd]
    targets: list[Promise]
    notes: list[str]


class Collected:
    """What the rounds gave for one peer so far."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.samples: dict[str, list[Sample]] = {}
        self.failed: dict[str, str] = {}
        self.void = ""

    def take_turn(self, upstream_port: int, divide: int) -> None:
        """Start the peer, put every kind of load on it, end it. What fails once is not tried again, nor counted."""
        try:
            with (
                tempfile.TemporaryDirectory(prefix="interlock-bench-") as directory,
                self.peer.start(Path(directory), upstream_port) as target,
            ):
                for kind in KINDS:
                    if kind.translated and not target.translates:
                        continue
                    self._measure(target, kind, max(kind.requests // self.peer.scale // divide, 20))
        except BenchError as error:
            self.void = str(error)

    def _measure(self, target: Target, kind: Kind, requests: int) -> None:
        if kind.name in self.failed:
            return
        try:
            self.samples.setdefault(kind.name, []).append(measure(target, kind, requests))
        except BenchError as error:
            self.samples.pop(kind.name, None)
            self.failed[kind.name] = str(error)

    def row(self) -> Row:
        """For the table."""
        return Row(name=self.peer.name, samples=self.samples, void=self.void, failed=self.failed)


def measure_all(peers: Sequence[Peer], rounds: int, divide: int) -> list[Row]:
    """Every peer, `rounds` times in turn."""
    collected = [Collected(peer) for peer in peers]
    with (
        tempfile.TemporaryDirectory(prefix="interlock-bench-") as directory,
        upstream(Path(directory)) as upstream_port,
    ):
        for turn in range(rounds):
            for one in collected:
                if not one.void:
                    print(f"round {turn + 1}: {one.peer.name}", file=sys.stderr, flush=True)
                    one.take_turn(upstream_port, divide)
    return [one.row() for one in collected]


def about_machine() -> str:
    """The processor, as the kernel names it, and the kernel."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1].strip() for line in lines if "model name" in line] or [platform.machine()]
    python = platform.python_version()
    return f"{os.cpu_count()} × {names[0]}, Linux {platform.release()}, Python {python}"


def busy_before() -> list[str]:
    """A remark if others use this machine: cold caches and shared cores make every CPU figure larger."""
    load = os.getloadavg()[0]
    return (
        [f"Load average {load:.1f} before the run: the machine was not idle, so quote none of this."]
        if load > 0.5
        else []
    )


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--only",
        default="",
        metavar="NAMES",
        help=f"of {', '.join(peer.name for peer in PEERS)}, and crowd, memory, start",
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--quick", action="store_true", help="one round, a fifth of the calls, no crowd: to try it, not to quote"
    )
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print, write; the exit status."""
    options = parsed(arguments)
    wanted = set(filter(None, options.only.split(",")))
    peers = [peer for peer in PEERS if not wanted or peer.name in wanted]
    rounds, divide = (1, 5) if options.quick else (options.rounds, 1)
    if len(os.sched_getaffinity(0)) < 2:
        print("the benchmark needs two cores: one for the proxy, one for the load", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    notes = busy_before()
    build_tools()
    rows = measure_all(peers, rounds, divide)
    targets, crowds = promises(rows), []
    if "crowd" in wanted or not (wanted or options.quick):
        try:
            crowds = crowd.run()
            targets += crowd.promises(crowds)
        except BenchError as error:
            notes.append(f"crowd not measured: {error}")
    for name, extra in (("start", start_time.targets), ("memory", memory.targets)):
        if wanted and name not in wanted:
            continue
        try:
            targets += extra()
        except BenchError as error:
            notes.append(f"{name} not measured: {error}")
    now = datetime.now(UTC)  # noqa: TID251 - a report's date, not a decision
    run = Run(
        at=now.isoformat(timespec="seconds"),
        machine=about_machine(),
        rounds=rounds,
        events_a_stream=EVENTS,
        spacing_ns=SPACING_NS,
        rows=rows,
        crowds=crowds,
        targets=targets,
        notes=notes,
    )
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    (results / f"{now:%Y-%m-%dT%H%M%SZ}.json").write_bytes(msgspec.json.format(msgspec.json.encode(run)))
    print(f"{run.machine}; {run.at}; median of {rounds}")
    tables = [table(rows), beside(rows), translations(rows)] if rows else []
    tables += [crowd.table(crowds)] if crowds else []
    print("\n\n".join(["", *filter(None, tables), "\n".join([verdicts(targets), *notes])]))
    return 0 if all(target.met for target in targets) else 1


if __name__ == "__main__":
    sys.exit(main())
