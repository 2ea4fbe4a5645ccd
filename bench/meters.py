"""What it costs to meter a counted event, and to ask: `python -m bench.meters [--records 300] [--rows 10000000]`.

Folding: records of 1,000 events as the log holds them, one meter (a sum, grouped by model), from the stored payload to
rollup rows, and those rows to Parquet; with events as they come (the minutes of a day in order) and with events of any
minute of a month (a backfill: nearly every event is a row of its own). CPU time is the process's.

Asking: one tenant's month by day and model, of a thousand tenants' rollups, laid out as merges leave them (files of a
day with many tenants, sorted), made in bulk. Elapsed time of a question, warm.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from statistics import median

import duckdb
import msgspec

from interlock.intake import Event, Origin, read_json
from interlock.intake.placing import Closings
from interlock.intake.records import COUNTED, payload_of
from interlock.log import Record, Stored
from interlock.meters import Meter, Query, Version
from interlock.meters.entries import EVENTS as EVENTS_TABLE
from interlock.meters.entries import Entries
from interlock.meters.folding import ROLLUPS, TABLES
from interlock.meters.movements import movements
from interlock.meters.query import Engine, Rollups
from interlock.meters.rollups import Fold
from interlock.meters.rows import COLUMNS, DAY_MINUTES, columns_of
from interlock.tables import Tables

EVENTS, SUBJECTS, MODELS, TENANTS = 1000, 100, 5, 1000
FIRST_DAY = 20_393  # 2025-11-01
ORIGIN = Origin(tenant="t0500", principal="bench", key_id="key_bench")
VERSION = Version(
    tenant=ORIGIN.tenant,
    version=1,
    meter=Meter(slug="tokens", event_type="call", aggregation="sum", value="$.tokens", group_by={"model": "$.model"}),
)


def records(count: int, *, scattered: bool) -> Iterator[Stored]:
    """That many, of events in order of time, or of any time of a month."""
    chance = Random(1)
    for number in range(count):
        events: list[Event] = []
        for n in range(EVENTS):
            minute = chance.randrange(30 * DAY_MINUTES) if scattered else number * 1440 // count
            document = {
                "specversion": "1.0",
                "id": f"call-{number * EVENTS + n:012d}",
                "source": "gateway/eu-1",
                "type": "call",
                "subject": f"customer-{chance.randrange(SUBJECTS)}",
                "time": f"2025-11-{minute // 1440 + 1:02}T{minute // 60 % 24:02}:{minute % 60:02}:{n % 60:02}Z",
                "data": {"tokens": chance.randrange(10_000), "model": f"model-{chance.randrange(MODELS)}"},
            }
            event = read_json(msgspec.json.encode(document), ORIGIN, 2e9)
            assert isinstance(event, Event)
            events.append(event)
        keys, contents = [event.key for event in events], [event.content for event in events]
        payload = payload_of(ORIGIN, keys, contents, [event.canonical for event in events])
        record = Record(id=f"b{number}", type=COUNTED, at_ns=0, payload=payload)
        yield Stored(stream="events/0", seq=number + 1, record=record, chain=b"")


def folding(root: Path, count: int, *, scattered: bool) -> str:
    """CPU µs an event."""
    made = list(records(count, scattered=scattered))
    fold, entries, closings = Fold([VERSION]), Entries(), Closings()
    moved = [movement for stored in made for movement in movements(stored)]

    def fold_all() -> None:
        for movement in moved:
            fold.apply(movement, closings)

    def list_all() -> None:
        for movement in moved:
            entries.add(movement, closings)

    folded_s, listed_s = timed(fold_all), timed(list_all)
    tables = Tables(root, TABLES)
    try:
        rollups = columns_of(fold.rows[VERSION.key].held())
        rolled_s = timed(lambda: tables.commit({ROLLUPS.name: rollups}, count, "00"))
        written_s = timed(lambda: tables.commit({EVENTS_TABLE.name: entries.columns}, count + 1, "00"))
    finally:
        tables.close()
    events, rows = count * EVENTS, fold.size
    each = [seconds / events * 1e6 for seconds in (folded_s, rolled_s, listed_s, written_s)]
    return (
        f"{'any minute of a month' if scattered else 'in order of time':22} to rollups {each[0]:.2f} µs "
        f"({events / folded_s:,.0f} events/s, {rows / events:.3f} rows an event), these to Parquet {each[1]:.2f}; "
        f"events to rows {each[2]:.2f}, these to Parquet {each[3]:.2f}; all {1e6 / sum(each):,.0f}/s"
    )


def timed(work: Callable[[], object]) -> float:
    """CPU seconds."""
    began = time.process_time()
    work()
    return time.process_time() - began


def bulk(root: Path, rows: int) -> list[str]:
    """A month's rollups, a file for each day and part of the tenants: at most some million rows each."""
    connection = duckdb.connect()
    names = [name for name, _ in COLUMNS]
    files, per_day = [], rows // 30
    parts = max(1, per_day // 800_000)
    for day in range(30):
        for part in range(parts):
            first, last = TENANTS * part // parts, TENANTS * (part + 1) // parts
            path = root / f"{day:02}-{part}.parquet"
            cells = {
                "tenant": f"printf('t%04d', {first} + i % {last - first})",
                "day": f"DATE '1970-01-01' + {FIRST_DAY + day}",
                "meter": "'tokens'",
                "version": "1",
                "minute": f"{(FIRST_DAY + day) * DAY_MINUTES} + (hash(i) % {DAY_MINUTES})::BIGINT",
                "corrects": "''",
                "subject": f"'customer-' || (hash(i + 1) % {SUBJECTS})",
                "g1": f"'model-' || (hash(i + 2) % {MODELS})",
                "n": "1",
                "total": "hash(i + 3) % 10000",
                "unreadable": "0",
            }
            types = dict(COLUMNS)
            select = ", ".join(f"({cells.get(name, 'NULL')})::{types[name]} AS {name}" for name in names)
            connection.execute(
                f"COPY (SELECT {select} FROM range({per_day // parts}) t(i) ORDER BY tenant, day, minute) "
                f"TO '{path}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 16384)"
            )
            if first <= TENANTS // 2 < last:  # the others are pruned by the manifest
                files.append(str(path))
    connection.close()
    return files


def asking(root: Path, rows: int) -> str:
    """Median of eleven."""
    files, engine = bulk(root, rows), Engine()
    empty = columns_of()
    query = Query(since=FIRST_DAY * DAY_MINUTES, until=(FIRST_DAY + 30) * DAY_MINUTES, size="day", by=("model",))
    taken, count = [], 0
    for _ in range(12):
        began = time.perf_counter()
        found = engine.ask(VERSION, query, Rollups(files, empty))
        taken.append(time.perf_counter() - began)
        count = len(found.rows)
    engine.close()
    return (
        f"{rows:,} rows of {TENANTS} tenants: {median(taken[1:]) * 1e3:.0f} ms ({len(files)} files read, {count} rows)"
    )


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.meters", description=__doc__)
    parser.add_argument("--records", type=int, default=300)
    parser.add_argument("--rows", type=int, default=10_000_000)
    args = parser.parse_args()
    for scattered in (False, True):
        with tempfile.TemporaryDirectory(dir=Path.cwd()) as root:
            print(folding(Path(root), args.records, scattered=scattered), flush=True)
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as root:
        print(asking(Path(root), args.rows), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
