"""What dead workers left open is settled as lost, by whoever takes their journals over: the supervisor."""

from pathlib import Path

from interlock.clock import Clock
from interlock.ledger import Opened, lost_record, track
from interlock.log.journal import Journal
from interlock.log.reader import JournalReader

BATCH = 1000


def journal_streams(root: Path) -> list[str]:
    """Streams that have a directory, whether or not a worker will own them again."""
    return sorted(f"usage/{path.name}" for path in (root / "usage").glob("*") if path.is_dir())


async def settle_lost(root: Path, stream: str, clock: Clock) -> int:
    """Settle every attempt that `stream` left open; how many there were. The owner must be dead.

    Reads from the oldest record that was still needed when the last segment was sealed, so it is bounded by what one
    worker can have open, not by history.
    Raises: LocalError: somebody owns the journal. LogUnavailable, LogCorrupt.
    """
    reader = JournalReader(root)
    journal = Journal.open(root / stream, stream, clock=clock, sync="tick", low_water=lambda: reader.low_water(stream))
    try:
        opened: dict[str, Opened] = {}
        async for stored in reader.read(stream, after=reader.low_water(stream) - 1):
            track(opened, stored)
        attempts = list(opened.values())
        for start in range(0, len(attempts), BATCH):
            records = [lost_record(attempt, clock.now_ns()) for attempt in attempts[start : start + BATCH]]
            await journal.append(stream, records)
        return len(attempts)
    finally:
        journal.close()


async def settle_all_lost(root: Path, clock: Clock) -> dict[str, int]:
    """Before any worker runs: how many attempts were settled, by stream."""
    return {stream: await settle_lost(root, stream, clock) for stream in journal_streams(root)}
