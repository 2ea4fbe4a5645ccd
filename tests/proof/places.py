"""A data directory as a server leaves it, made in this process: records in every kind of stream, and checkpoints."""

import asyncio
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from tests.intake.events import Ledger, event
from tests.log.journals import write

from interlock.datadir import DataDir
from interlock.intake import Origin
from interlock.log.lines import frame, parse
from interlock.log.sqlite import SqliteLog
from interlock.proof.check import verify
from interlock.proof.checkpoint import Checkpoint
from interlock.proof.writing import Checkpoints
from interlock.testing.clock import ManualClock
from interlock.testing.log_contract import record

EVENTS = "events/0"


class Place:
    """One directory; each `count` is one record of events of a tenant, each `sign` a checkpoint if something moved."""

    def __init__(self, root: Path) -> None:
        self.places = DataDir(root)
        self.places.create()
        self.clock = ManualClock(1_795_860_000 * 10**9)
        self._numbers = iter(range(1, 1_000_000))

    @property
    def root(self) -> Path:
        return self.places.root

    def identity(self, count: int = 3) -> None:
        """Some records in log.sqlite."""
        with closing(SqliteLog(self.places.log)) as log:
            records = [record(f"r{next(self._numbers)}") for _ in range(count)]
            asyncio.run(log.append("identity", records))

    def usage(self, count: int = 3) -> None:
        """An owner that opens `usage/0`, writes some records, and closes it."""
        write(self.root, count)

    def count(self, *tenants: str, events: int = 2, time: str = "2026-11-28T10:00:00Z") -> None:
        """A record a tenant."""
        with closing(Ledger(self.root, clock=self.clock)) as ledger:
            for tenant in tenants:
                origin = Origin(tenant=tenant, principal="meter", key_id=f"key_of_{tenant}")
                made = [event(f"e{next(self._numbers)}", origin, time=time or None) for _ in range(events)]
                assert {outcome.result for outcome in ledger.commit(*made, origin=origin)} == {"counted"}

    @contextmanager
    def writer(self) -> Iterator[Checkpoints]:
        """As the control process has it."""
        with closing(SqliteLog(self.places.log)) as log:
            checkpoints = Checkpoints(self.places, log, self.clock)
            try:
                yield checkpoints
            finally:
                checkpoints.close()

    def sign(self) -> Checkpoint:
        with self.writer() as writer:
            found = writer.write()
            assert found
            return found

    def problems(self, **options: object) -> list[tuple[str, int, str]]:
        """Stream, seq and words of all that `verify` finds."""
        reports = verify(self.root, **options)  # type: ignore[arg-type]  # passed on
        return [(problem.stream, problem.seq, problem.what) for report in reports for problem in report.problems]

    # what somebody does to the files

    def segment(self, stream: str, number: int = 1) -> Path:
        return self.places.journal / stream / f"{number:08d}.seg"

    def lines(self, stream: str) -> list[bytes]:
        return self.segment(stream).read_bytes().splitlines(keepends=True)

    def put(self, stream: str, lines: list[bytes]) -> None:
        self.segment(stream).write_bytes(b"".join(lines))


def chained(lines: list[bytes], before: bytes) -> list[bytes]:
    """The records of these lines as a chain that holds: what somebody who knows the format writes."""
    import msgspec

    from interlock.log.record import Record, chain_next, head_json

    made, chain = [], before
    for seq, line in enumerate(lines, 1):
        _, head, payload = parse(line)
        old = msgspec.json.decode(head)
        new = Record(id=old["id"], type=old["type"], at_ns=int(old["at_ns"]), payload=payload)
        head = head_json(seq, new)
        chain = chain_next(chain, head)
        made.append(frame(chain, head, payload))
    return made
