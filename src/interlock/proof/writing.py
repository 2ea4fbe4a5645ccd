"""Checkpoints written beside the work: when a stream moved, what is on the disk of all of them is signed.

Nothing is signed over a contradiction: if a stream no longer holds what the last checkpoint attests, somebody changed
it, and a signature on what it says now would cover that up. Calls block; they are for a thread. It does not verify
what lies further back (check.py).
"""

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from interlock.clock import Clock
from interlock.datadir import DataDir
from interlock.errors import InterlockError, LogUnavailable
from interlock.log import Stored
from interlock.log.check import LogCorrupt
from interlock.log.journal import Journal
from interlock.log.segments import SegmentReader, position_before, segment_numbers, segment_path
from interlock.log.sqlite import SqliteLog
from interlock.proof.checkpoint import (
    FIRST_PREVIOUS,
    STREAM,
    TYPE,
    Checkpoint,
    Statement,
    Tip,
    make,
    read,
    signed_bytes,
)
from interlock.proof.ends import Ends
from interlock.proof.keys import Signer, open_signer

SEGMENT_BYTES = 8 << 20
"""Less than other journals': a start reads the newest segment for the last checkpoint."""


class Checkpoints:
    """The writer of one data directory's checkpoints. Any thread may call it; one is served at a time."""

    def __init__(self, places: DataDir, log: SqliteLog, clock: Clock) -> None:
        """Opens nothing."""
        self._places = places
        self._log = log
        self._clock = clock
        self._lock = threading.Lock()  # protects all below: a timer's thread, a caller's and the closing one may meet
        self._ends = Ends(places.journal, STREAM)
        self._signer: Signer | None = None
        self._journal: Journal | None = None
        self._continues = False
        self._closed = False
        self.newest: Checkpoint | None = None
        self.problem = ""
        """Why the last attempt wrote none; empty: it did, or nothing had moved."""

    @property
    def public_key(self) -> str | None:
        """Hex; None until the key was opened."""
        return self._signer.public_key if self._signer else None

    def write(self) -> Checkpoint | None:
        """Write one if a stream moved since the last; the newest then. None: nothing stands yet, so there is none.

        Raises: InterlockError, OSError: none could be written; `problem` says the same.
        """
        with self._lock:
            try:
                if not self._closed:
                    self._write()
                self.problem = ""
            except (InterlockError, OSError) as error:
                self.problem = error.message if isinstance(error, InterlockError) else str(error)
                raise
            return self.newest

    def close(self) -> None:
        """Write the last one, if it can be, and let the next owner in."""
        try:
            self.write()
        except (InterlockError, OSError):
            pass  # the next start writes it; what it would have said is in the streams
        finally:
            with self._lock:
                self._closed = True
                if self._journal:
                    self._journal.close()

    def _write(self) -> None:
        signer, journal = self._opened()
        streams = self._tips()
        last = self.newest
        if streams == (last.streams if last else {}):
            return
        if last:
            self._check_continues(last, streams)
        number, previous = (last.number + 1, last.hash) if last else (1, FIRST_PREVIOUS)
        now_ns = self._clock.now_ns()
        statement = Statement(
            at_ns=str(now_ns), number=number, previous=previous, public_key=signer.public_key, streams=streams
        )
        checkpoint = make(statement, signer.sign(signed_bytes(statement)))
        answers: list[LogUnavailable | None] = []
        journal.stage(f"checkpoint/{number}", TYPE, now_ns, checkpoint.document, answers.append)
        journal.flush()
        if answers[0]:
            raise answers[0]
        self.newest = checkpoint

    def _opened(self) -> tuple[Signer, Journal]:
        if self._signer is None or self._journal is None:
            self.newest = newest(self._places)
            self._signer = open_signer(self._places, may_make=self.newest is None)
            if self.newest and self.newest.statement.public_key != self._signer.public_key:
                raise InterlockError(
                    f"checkpoint {self.newest.number} was signed with another key than checkpoint.key",
                    code="log_corrupt",
                )
            directory = self._places.journal / STREAM
            self._journal = Journal.open(
                directory, STREAM, clock=self._clock, segment_bytes=SEGMENT_BYTES, sync="tick", reserve_bytes=0
            )
        return self._signer, self._journal

    def _tips(self) -> dict[str, Tip]:
        places = {stream: (end.seq, end.chain) for stream, end in self._ends.on_disk().items()} | self._log.tips()
        return {stream: Tip(seq=seq, chain=chain.hex()) for stream, (seq, chain) in places.items()}

    def _check_continues(self, last: Checkpoint, streams: dict[str, Tip]) -> None:
        """Raises: LogCorrupt: a stream does not hold what the last checkpoint attests."""
        for stream, tip in last.streams.items():
            now = streams.get(stream)
            if now is None or now.seq < tip.seq:
                end = now.seq if now else 0
                what = (
                    f"the stream ends at {end}, and checkpoint {last.number} attests {tip.seq}: nothing more is signed"
                )
                raise LogCorrupt(stream, end + 1, what)
            if now.seq > tip.seq and self._continues:
                continue  # it was looked at when this process began, and is appended to since
            chain = now.chain if now.seq == tip.seq else self._chain_at(stream, tip.seq)
            if chain is not None and chain != tip.chain:
                what = f"checkpoint {last.number} attests another record here: nothing more is signed"
                raise LogCorrupt(stream, tip.seq, what)
        self._continues = True

    def _chain_at(self, stream: str, seq: int) -> str | None:
        if (self._places.journal / stream).is_dir():
            chain = self._ends.chain_at(stream, seq)
            return chain.hex() if chain else None
        found = self._log.read_after(stream, seq - 1, limit=1)
        return found[0].chain.hex() if found else None


def newest(places: DataDir) -> Checkpoint | None:
    """The last checkpoint of a directory. Raises: InterlockError, OSError."""
    found = last_ones(places, 1)
    return found[0] if found else None


def last_ones(places: DataDir, count: int) -> list[Checkpoint]:
    """The last checkpoints of a directory, from the end of their journal, in order. Raises: InterlockError, OSError."""
    directory = places.journal / STREAM
    found: list[bytes] = []
    for number in reversed(segment_numbers(directory)):
        found = [stored.record.payload for stored in _records(directory, number) if stored.record.type == TYPE] + found
        if len(found) >= count:
            break
    return [read(document) for document in found[-count:]]


def _records(directory: Path, number: int) -> Iterator[Stored]:
    start = position_before(directory, number, STREAM)
    with closing(SegmentReader(segment_path(directory, number), STREAM, start)) as reader:
        while batch := reader.poll():
            yield from batch
