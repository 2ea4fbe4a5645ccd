"""Durable steps a second, beside DBOS, LangGraph and Restate; a wake; idle sessions. `python -m bench.sessions`.

A step is one that does nothing: its start is on record before it and its end after it, and of a brain in a loop the end
of one and the start of the next are one append. Ours runs on one core; peers may use both, and write as they come
(DBOS and LangGraph sync each commit, as ours does in "power"). All take turns, because the machine's speed drifts;
each figure is the best of its turns: others on the machine only take away.
"""

import argparse
import asyncio
import gc
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import uvloop

from bench.machine import PROXY_CORE, BenchError
from bench.peers import HERE, INSTALLED, install
from interlock.clock import SystemClock
from interlock.runtime.sessions.agent import Agent
from interlock.runtime.sessions.blobs import FileBlobs
from interlock.runtime.sessions.event import Created, Ended, Event, Finished, Started, Text
from interlock.runtime.sessions.ports import Lease, Standing, Wrote
from interlock.runtime.sessions.service import Sessions
from interlock.runtime.sessions.sqlite import SqliteStore
from interlock.runtime.sessions.state import fold
from interlock.runtime.sessions.tables import Sync

MANY = 64
RUNNABLE = Standing(status="runnable")
RESULT = Text(text="done " * 20)
RESTATE = "@restatedev/restate-server@1.7.12"
Figures = dict[str, float]


def step(number: int) -> list[Event]:
    """What is appended between two steps."""
    start = Started(call_id=f"c{number}", attempt=1, key=f"k{number}", effect="once")
    if number == 1:
        return [start]
    return [Finished(call_id=f"c{number - 1}", attempt=1, outcome="ok", content=RESULT), start]


async def live(store: SqliteStore, session: str, steps: int, lease: Lease) -> None:
    """A brain in a loop."""
    head = 1
    for number in range(1, steps + 1):
        answer = await store.append(session, step(number), RUNNABLE, expect=head, lease=lease)
        assert isinstance(answer, Wrote)
        head = answer.head


async def steps_a_second(directory: Path, sync: Sync, steps: int) -> Figures:
    """One session alone, then 64 at once; and how long the first takes to be read, checked and folded."""
    store = SqliteStore(directory / "sessions.sqlite", SystemClock(), sync=sync)
    leases = []
    for n in range(MANY + 1):
        created = Created(tenant="t", principal="p", key_id="k", agent=Agent(), workspace="w")
        assert await store.create(f"ses_{n}", "t", "p", [created], RUNNABLE)
        lease = await store.take(f"ses_{n}", "brain", ttl_s=600)
        assert lease is not None
        leases.append(lease)
    begun = time.perf_counter()
    await live(store, f"ses_{MANY}", steps, leases[MANY])
    alone = steps / (time.perf_counter() - begun)
    each = max(steps // 16, 1)
    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for n in range(MANY):
            group.create_task(live(store, f"ses_{n}", each, leases[n]))
    together = MANY * each / (time.perf_counter() - begun)
    await store.close()
    return {f"{sync}, one session": alone, f"{sync}, 64 at once": together}


async def wake_ms(directory: Path, events: int = 10_000) -> Figures:
    """Open the file as a new process does, read a session's log, check its chain, and fold it."""
    path = directory / "sessions.sqlite"
    store = SqliteStore(path, SystemClock())
    created = Created(tenant="t", principal="p", key_id="k", agent=Agent(), workspace="w")
    pair: list[Event] = [Finished(call_id="c", attempt=0, outcome="ok", content=RESULT), Ended(reason="done")]
    more = pair * (events // 2)
    await store.create("ses_1", "t", "p", [created, *more[1:]], RUNNABLE)
    await store.close()
    best = float("inf")
    for _ in range(5):
        begun = time.perf_counter()
        store = SqliteStore(path, SystemClock())
        seen = await store.events("ses_1", limit=events)
        best = min(best, (time.perf_counter() - begun) * 1000)
        assert len(seen) == events
        await store.close()
    return {"wake of 10,000 events, ms": best}


def resident_bytes() -> int:
    """Of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def idle_mb(directory: Path, count: int = 1000) -> Figures:
    """What a process has grown by when it has made sessions, each with a turn that ended; then each followed."""
    store = SqliteStore(directory / "sessions.sqlite", SystemClock())

    async def copy(source: str, target: str, snapshot: str) -> None:
        raise AssertionError("nothing is forked")

    service = Sessions(store, FileBlobs(directory / "blobs"), SystemClock(), copy)
    gc.collect()
    before = resident_bytes()
    names = []
    for n in range(count):
        row = await service.create("t", "p", "k", Agent(), say=f"do {n}")
        state = fold(await store.events(row.session))
        await store.append(row.session, [Ended(reason="done")], Standing(status="idle"), expect=state.seq)
        names.append(row.session)
    gc.collect()
    idle = resident_bytes()
    async with asyncio.TaskGroup() as group:
        watches = [group.create_task(store.changed(name, after=9, wait_s=600)) for name in names]
        await asyncio.sleep(0.2)
        used = time.process_time()
        await asyncio.sleep(2)
        busy = (time.process_time() - used) / 2
        followed = resident_bytes()
        for watch in watches:
            watch.cancel()
    await store.close()
    return {
        "1,000 idle sessions, MB": (idle - before) / 1e6,
        "… each followed by somebody, MB": (followed - before) / 1e6,
        "… CPU of that, ms a second": busy * 1000,
    }


class Raw:
    """The same rows into the same tables with nothing around them but a commit that is synced; and a plain file."""

    def __init__(self, directory: Path) -> None:
        self._db = sqlite3.connect(directory / "raw.sqlite", isolation_level=None)
        for pragma in ("journal_mode = WAL", "synchronous = FULL"):
            self._db.execute(f"PRAGMA {pragma}")
        columns = "place INTEGER PRIMARY KEY, at INT, type TEXT, payload TEXT, sha TEXT, chain BLOB"
        self._db.execute(f"CREATE TABLE e ({columns})")
        self._db.execute("CREATE TABLE s (n INTEGER PRIMARY KEY, head INT, chain BLOB)")
        self._db.execute("INSERT INTO s VALUES (1, 0, x'')")
        self._file = (directory / "raw").open("wb", buffering=0)
        self._place = 0

    def sqlite(self, commits: int) -> float:
        """Seconds."""
        db, payload, chain = self._db, "x" * 140, bytes(32)
        begun = time.perf_counter()
        for _ in range(commits):
            db.execute("BEGIN IMMEDIATE")
            rows = [(self._place + k, 1, "tool.started", payload, "a" * 64, chain) for k in (1, 2)]
            self._place += 2
            db.executemany("INSERT INTO e VALUES (?, ?, ?, ?, ?, ?)", rows)
            db.execute("UPDATE s SET head = ?, chain = ? WHERE n = 1", (self._place, chain))
            db.execute("COMMIT")
        return time.perf_counter() - begun

    def plain(self, commits: int) -> float:
        """Seconds."""
        begun = time.perf_counter()
        for _ in range(commits):
            self._file.write(bytes(700))
            os.fdatasync(self._file.fileno())
        return time.perf_counter() - begun

    def close(self) -> None:
        self._db.close()
        self._file.close()


async def beside_raw(directory: Path, steps: int) -> Figures:
    """Bursts of 50, ours and the disk's own in turn, each as often first: a disk that others use drifts in a second."""
    store, bare, count = SqliteStore(directory / "sessions.sqlite", SystemClock(), sync="power"), Raw(directory), 50
    created = Created(tenant="t", principal="p", key_id="k", agent=Agent(), workspace="w")
    seconds: list[tuple[float, float, float]] = []
    for burst in range(max(steps // count, 1)):
        session = f"ses_{burst}"
        await store.create(session, "t", "p", [created], RUNNABLE)
        lease = await store.take(session, "brain", ttl_s=600)
        assert lease is not None
        took = [0.0, 0.0, 0.0]
        for kind in (burst % 3, (burst + 1) % 3, (burst + 2) % 3):
            if kind:
                took[kind] = bare.sqlite(count) if kind == 1 else bare.plain(count)
                continue
            begun = time.perf_counter()
            await live(store, session, count, lease)
            took[0] = time.perf_counter() - begun
        seconds.append((took[0], took[1], took[2]))
    await store.close()
    bare.close()
    best = [count / min(one) for one in zip(*seconds, strict=True)]
    return {
        "power, one session, best burst": best[0],
        "raw SQLite commits, FULL, best burst": best[1],
        "raw append and fdatasync, best burst": best[2],
        "power, of the SQLite commits beside it": best[0] / best[1],
        "power, of the plain syncs beside it": best[0] / best[2],
        "… the median of pairs, beside it": median(raw / ours for ours, raw, _ in seconds),
    }


def own(kind: str, steps: int) -> Figures:
    """One kind of measurement, in this process and on one core."""
    os.sched_setaffinity(0, {PROXY_CORE})
    with tempfile.TemporaryDirectory(prefix="interlock-bench-") as name:
        directory = Path(name)
        if kind == "raw":
            return uvloop.run(beside_raw(directory, steps))
        if kind == "wake":
            return uvloop.run(wake_ms(directory))
        if kind == "idle":
            return uvloop.run(idle_mb(directory))
        return uvloop.run(steps_a_second(directory, "power" if kind == "power" else "process", steps))


def printed(command: Sequence[str | Path]) -> Figures:
    """The figures that a program prints last. Raises: BenchError."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, cwd=HERE.parent)
        found: Figures = json.loads(done.stdout.strip().splitlines()[-1])  # noqa: TID251 - our own program's words
        return found
    except (subprocess.TimeoutExpired, ValueError, IndexError) as error:
        raise BenchError(f"{command[1]}: {error}: {getattr(error, 'stderr', '') or done.stderr[-300:]}") from error


def another(kind: str, steps: int) -> Figures:
    """As `own`, in a process of its own."""
    return printed([sys.executable, "-m", "bench.sessions", "--own", kind, "--steps", str(steps)])


def peer(name: str, packages: Sequence[str], steps: int) -> Figures:
    """Another's figures, installed first if it is not there. Raises: BenchError."""
    home = INSTALLED / name
    python = home / "bin/python"
    wanted = home / "installed"
    if not wanted.exists():
        venv.create(home, with_pip=True, clear=True)
        constraints = HERE / "constraints-peers.txt"
        install([python, "-m", "pip", "install", "-q", "-c", constraints, *packages], python)
        if name == "restate":
            install(["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", home, RESTATE], python)
        wanted.touch()
    more: list[str | Path] = []
    if name == "restate":
        more = [next(path for path in (home / "node_modules").rglob("restate-server") if path.is_file())]
    with tempfile.TemporaryDirectory(prefix="interlock-bench-") as directory:
        program = HERE / "durable" / f"{name}_steps.py"
        found = printed([python, program, directory, str(steps), str(MANY), "10", *more])
    return {f"{name}, one session": found["sequential"], f"{name}, 64 at once": found["concurrent"]}


def collect(turns: int, steps: int, peers: bool) -> tuple[Figures, list[str]]:
    """The best of the turns of each figure; what failed."""
    best: Figures = {}
    failed: dict[str, str] = {}
    measured: list[tuple[str, Callable[[], Figures]]] = [
        ("process", lambda: another("process", steps * 4)),
        ("raw", lambda: another("raw", steps)),
        ("power", lambda: another("power", steps)),
        ("wake", lambda: another("wake", 1)),
        ("idle", lambda: another("idle", 1)),
    ]
    if peers:
        measured += [
            ("dbos", lambda: peer("dbos", ["dbos"], 300)),
            ("langgraph", lambda: peer("langgraph", ["langgraph", "langgraph-checkpoint-sqlite"], 300)),
            ("restate", lambda: peer("restate", ["restate-sdk", "hypercorn"], 300)),
        ]
    for turn in range(turns):
        for name, measure in measured:
            print(f"turn {turn + 1}: {name}", file=sys.stderr, flush=True)
            try:
                for what, value in measure().items():
                    better = min if what.endswith(("ms", "MB", "second")) else max
                    best[what] = better(best.get(what, value), value)
            except BenchError as error:
                failed[name] = str(error)
    return best, [f"{name} not measured: {why}" for name, why in failed.items()]


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.sessions", description=__doc__)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--own", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.own:
        print(json.dumps(own(options.own, options.steps)))
        return
    begun = os.getloadavg()[0]
    best, notes = collect(options.turns, options.steps, not options.no_peers)
    for what, value in best.items():
        print(f"{what:<44}{value:>12.0%}" if " beside it" in what else f"{what:<44}{value:>12,.1f}")
    print(f"{os.cpu_count()} cores; load average before {begun:.1f}, after {os.getloadavg()[0]:.1f}", *notes, sep="\n")


if __name__ == "__main__":
    main()
