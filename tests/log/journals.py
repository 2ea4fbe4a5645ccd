"""What the journal's tests share."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from interlock.log import Stored
from interlock.log.journal import Journal
from interlock.log.reader import JournalReader
from interlock.log.verify import verify
from interlock.testing.clock import ManualClock

STREAM = "usage/0"


def journal_dir(data_dir: Path) -> Path:
    """Of `STREAM`."""
    return data_dir / "journal" / STREAM


def open_journal(directory: Path, **options: Any) -> Journal:
    """Without a reserve and with a clock that stands still, unless told."""
    return Journal.open(directory, STREAM, **{"clock": ManualClock(), "reserve_bytes": 0, **options})


def problems(data_dir: Path) -> list[tuple[str, int]]:
    """Stream and seq of all that `verify` finds."""
    return [(problem.stream, problem.seq) for report in verify(data_dir) for problem in report.problems]


async def until(condition: Callable[[], bool]) -> None:
    """Return when it holds. Raises: AssertionError: it does not within 20 s."""
    for _ in range(4000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never came true")


def write(data_dir: Path, count: int, *, segment_bytes: int = 1 << 20, low_water: int = 1) -> None:
    """`journal.opened` and `count` records, each flushed by itself."""
    journal = open_journal(journal_dir(data_dir), segment_bytes=segment_bytes, low_water=lambda: low_water)
    for n in range(count):
        journal.stage(f"r{journal.seq}", "test.happened", 7, b'{"n":%d}' % n)
        journal.flush()
        if journal._sealer:
            journal._sealer.join()  # so that the segments come out the same each time
    journal.close()


def records(data_dir: Path, *, after: int = 0) -> list[Stored]:
    """All that stand."""
    return list(JournalReader(data_dir / "journal").scan(STREAM, after=after))
