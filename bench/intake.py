"""What it costs to count an event once: `python -m bench.intake [--keys 1000000] [--batches 200]`.

From body bytes (1,000 lines of CloudEvents, one in fifty known), past the door of a meter that sums them by model, to
the answer after the sync, on one thread, beside the same with no key known; and the keys alone, looked up and inserted
durably, beside SQLite with a unique index, DuckDB with an anti-join and PostgreSQL with ON CONFLICT DO NOTHING (as
root, if its server and psycopg are installed). Known keys are made in bulk. CPU time is the process's, of PostgreSQL
its backend's too; elapsed time has the disk in.
"""

import argparse
import atexit
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from interlock.clock import SystemClock
from interlock.control.events import lines
from interlock.intake import STREAM, Committer, Job, Origin
from interlock.intake.decide import Known
from interlock.intake.index import FORMAT, Index, Manifest
from interlock.intake.runs import CHUNK, Columns, ordered, write_run
from interlock.log.journal import Journal
from interlock.log.reader import JournalReader
from interlock.meters import Meter, Version
from interlock.meters.door import Door

BATCH, KNOWN_EVERY = 1000, 50
ORIGIN = Origin(tenant="bench", principal="bench", key_id="key_bench")
METER = Meter(slug="tokens", event_type="tokens", aggregation="sum", value="$.tokens", group_by={"model": "$.model"})
CHAIN = b"\0" * 32


class Cost(msgspec.Struct, frozen=True):
    """Of one event or key."""

    cpu_us: float
    elapsed_us: float


def body(number: int) -> bytes:
    """A thousand events; the first of every fifty is one of the batch before."""
    ids = [number * BATCH + i - (BATCH - 1 if number and i % KNOWN_EVERY == 0 else 0) for i in range(BATCH)]
    made = (
        {
            "specversion": "1.0",
            "id": f"call-{id:012d}",
            "source": "gateway/eu-1",
            "type": "tokens",
            "subject": f"customer-{id % 1000}",
            "time": f"2026-11-{id % 27 + 1:02d}T10:00:{id % 60:02d}Z",
            "data": {"tokens": id % 977, "model": f"model-{id % 5}", "kind": "input"},
        }
        for id in ids
    )
    return b"\n".join(map(msgspec.json.encode, made))


def bulk(count: int) -> Iterator[Columns]:
    """That many random keys, sorted, some `CHUNK` at a time."""
    chance = np.random.default_rng(1)
    chunks = -(-count // CHUNK)
    step = (1 << 64) // chunks
    for number in range(chunks):
        size = min(CHUNK, count - number * CHUNK)
        high = chance.integers(number * step, number * step + step - 1, size, dtype=np.uint64)
        rest = [chance.integers(0, 1 << 63, size, dtype=np.uint64) for _ in range(4)]
        yield ordered(Columns(high, *rest))


def prepared(directory: Path, known: int) -> Index:
    """An index that knows so many keys."""
    directory.mkdir(parents=True)
    if known:
        write_run(directory / "00000001.run", bulk(known), known)
        manifest = Manifest(format=FORMAT, through_seq=0, chain="", runs=("00000001.run",))
        (directory / "index.json").write_bytes(msgspec.json.encode(manifest))
    return Index(directory)


def measured(work: Callable[[int], None], batches: int, used_ns: Callable[[], int] = time.process_time_ns) -> Cost:
    """Of `work(n)` on a thousand, after a tenth of them to warm up. `used_ns`: CPU of all that works."""
    warm = max(batches // 10, 1)
    for n in range(warm):
        work(n)
    cpu_ns, begun_ns = used_ns(), time.perf_counter_ns()
    for n in range(warm, warm + batches):
        work(n)
    units = batches * BATCH * 1e3
    return Cost((used_ns() - cpu_ns) / units, (time.perf_counter_ns() - begun_ns) / units)


def whole(root: Path, known: int, batches: int) -> Cost:
    """From body bytes to the answer."""
    clock, index = SystemClock(), prepared(root / "index", known)
    journal = Journal.open(root / "journal" / STREAM, STREAM, clock=clock, sync="tick")
    committer = Committer(journal, index, JournalReader(root / "journal"), clock)
    committer.catch_up()
    door = Door([Version(tenant=ORIGIN.tenant, version=1, meter=METER)])
    bodies = [body(n) for n in range(batches + max(batches // 10, 1))]

    def work(n: int) -> None:
        [outcomes] = committer.commit([Job(ORIGIN, door.admit(ORIGIN, lines(bodies[n], ORIGIN, 1e12)))])
        assert len(msgspec.json.encode(outcomes)) > BATCH
        assert sum(outcome.result == "counted" for outcome in outcomes) == BATCH - (BATCH // KNOWN_EVERY if n else 0)

    try:
        return measured(work, batches)
    finally:
        index.close()
        journal.close()


def keys(batches: int) -> list[list[bytes]]:
    """Batches of random keys; the first of every fifty is one of the batch before."""
    made: list[list[bytes]] = []
    for _ in range(batches + max(batches // 10, 1)):
        new = [os.urandom(16) for _ in range(BATCH)]
        if made:
            new[::KNOWN_EVERY] = made[-1][1::KNOWN_EVERY]
        made.append(new)
    return made


def ours(root: Path, known: int, batches: Sequence[list[bytes]]) -> Callable[[int], None]:
    """The index alone; its durability is the log's, whose cost `whole` has."""
    index = prepared(root / "ours", known)

    def work(n: int) -> None:
        found = index.find(batches[n])
        index.add({key: Known(key, n) for key in batches[n] if key not in found}, n, CHAIN)

    return work


def sqlite(root: Path, known: int, batches: Sequence[list[bytes]]) -> Callable[[int], None]:
    """A unique index, one commit a batch, WAL, synchronous=FULL."""
    db = sqlite3.connect(root / "events.sqlite", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA cache_size = -262144")
    db.execute("CREATE TABLE events (key BLOB PRIMARY KEY, content BLOB, seq INTEGER) WITHOUT ROWID")
    db.execute("BEGIN")
    for part in bulk(known) if known else ():
        pairs = np.stack([part.high, part.low], axis=1).astype(">u8").tobytes()
        rows = ((pairs[i : i + 16], pairs[i : i + 16], 0) for i in range(0, len(pairs), 16))
        db.executemany("INSERT INTO events VALUES (?, ?, ?)", rows)
    db.execute("COMMIT")
    db.execute("PRAGMA synchronous = FULL")

    def work(n: int) -> None:
        db.execute("BEGIN")
        db.executemany("INSERT OR IGNORE INTO events VALUES (?, ?, ?)", ((key, key, n) for key in batches[n]))
        db.execute("COMMIT")

    return work


def duckdb(root: Path, known: int, batches: Sequence[list[bytes]]) -> Callable[[int], None]:
    """An anti-join, one commit a batch."""
    import duckdb as engine

    db: Any = engine.connect(str(root / "events.duckdb"), config={"threads": 1})
    db.execute("CREATE TABLE events (high UBIGINT, low UBIGINT, seq UBIGINT)")
    for part in bulk(known) if known else ():
        loaded = {"high": np.asarray(part.high), "low": np.asarray(part.low), "seq": np.asarray(part.seq)}
        _load(db, loaded)

    def work(n: int) -> None:
        halves = np.frombuffer(b"".join(batches[n]), dtype=">u8").reshape(-1, 2).astype(np.uint64)
        new = {"high": halves[:, 0].copy(), "low": halves[:, 1].copy(), "seq": np.full(len(halves), n, np.uint64)}
        _load(db, new, "ANTI JOIN events USING (high, low)")

    return work


def _load(db: Any, new: dict[str, Any], join: str = "") -> None:
    db.register("new", new)
    db.execute(f"INSERT INTO events SELECT high, low, seq FROM new {join}")  # words of ours


def postgresql(
    root: Path, known: int, batches: Sequence[list[bytes]]
) -> tuple[Callable[[int], None], Callable[[], int]]:
    """INSERT … ON CONFLICT DO NOTHING of whole arrays, one commit a batch, its own durability (fsync).

    Raises: ImportError: no psycopg, or no server is installed (Debian's place).
    """
    import psycopg  # type: ignore[import-not-found, unused-ignore]  # not among our dependencies

    programs = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)
    if programs is None:
        raise ImportError("no PostgreSQL server in /usr/lib/postgresql")
    place = root / "postgresql"
    place.mkdir()
    root.chmod(0o755)
    shutil.chown(place, "postgres")
    by = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    subprocess.run(
        [*by, programs / "initdb", "-D", place / "data", "-A", "trust"], check=True, stdout=subprocess.DEVNULL
    )
    options = ["-h", "", "-c", "shared_buffers=1GB", "-c", "max_wal_size=4GB"]
    started: list[str | Path] = [*by, programs / "postgres", "-D", place / "data", "-k", place, *options]
    server = subprocess.Popen(started, stderr=subprocess.DEVNULL)
    atexit.register(server.terminate)
    while not (place / ".s.PGSQL.5432").exists():
        time.sleep(0.1)
    db = psycopg.connect(host=str(place), user="postgres", dbname="postgres", autocommit=True)
    db.execute("CREATE TABLE events (key bytea, content bytea, seq bigint)")
    with db.cursor().copy("COPY events FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(["bytea", "bytea", "int8"])
        for part in bulk(known) if known else ():
            pairs = np.stack([part.high, part.low], axis=1).astype(">u8").tobytes()
            for i in range(0, len(pairs), 16):
                copy.write_row((pairs[i : i + 16], pairs[i : i + 16], 0))
    db.execute("ALTER TABLE events ADD PRIMARY KEY (key)")
    db.execute("CHECKPOINT")
    stat = Path(f"/proc/{db.info.backend_pid}/stat")

    def work(n: int) -> None:
        new = batches[n]
        insert = "INSERT INTO events SELECT k, k, %s FROM unnest(%s::bytea[]) AS k ON CONFLICT DO NOTHING"
        db.execute(insert, (n, new))

    def used_ns() -> int:
        ticks = sum(map(int, stat.read_text().rpartition(")")[2].split()[11:13]))
        return time.process_time_ns() + ticks * (10**9 // os.sysconf("SC_CLK_TCK"))

    return work, used_ns


def anonymous_mib() -> float:
    """Memory of this process that is no file's."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon")]
    return int(line.split()[1]) / 1024


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.intake", description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, default=1_000_000, help="known before (default: %(default)s)")
    parser.add_argument("--batches", type=int, default=200, help="of 1,000 events (default: %(default)s)")
    asked = parser.parse_args(arguments)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print("| one thread, batches of 1,000 | CPU µs each | elapsed µs each | a second |\n| --- | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory(prefix="interlock-bench-") as directory:
        root = Path(directory)
        for known in (0, asked.keys):
            _row(f"event, body to synced answer, {known:,} keys known", whole(root / f"{known}", known, asked.batches))
        print(f"| anonymous memory then, MiB | {anonymous_mib():.0f} | | |", flush=True)
        batches = keys(asked.batches)
        for peer in (ours, sqlite, duckdb, postgresql):
            try:
                made = peer(root, asked.keys, batches)
                work, used_ns = made if isinstance(made, tuple) else (made, time.process_time_ns)
                _row(f"key, {peer.__name__}, {asked.keys:,} known", measured(work, asked.batches, used_ns))
            except ImportError as error:
                print(f"| key, {peer.__name__} | not measured: {error} | | |", flush=True)
    return 0


def _row(what: str, cost: Cost) -> None:
    print(f"| {what} | {cost.cpu_us:.2f} | {cost.elapsed_us:.2f} | {1e6 / cost.elapsed_us:,.0f} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
