"""`interlock verify`: every stream's chain, every checkpoint, and every stream against every checkpoint.

Reads a stopped or a running directory, takes no lock and writes nothing: what the checkpoints attest that stand when it
begins was on the disk before them. Checkpoints are read once for themselves and once for each stream, so that memory
does not grow with them. Without a key or a checkpoint from elsewhere it proves that the directory agrees with itself,
which whoever holds `checkpoint.key` can bring about.
"""

import heapq
from collections.abc import Iterator
from pathlib import Path

import msgspec

from interlock.datadir import DataDir
from interlock.errors import InterlockError, LocalError
from interlock.log.check import LogCorrupt
from interlock.log.reader import JournalReader
from interlock.log.record import Stored
from interlock.log.verify import Attested, Problem, Progress, StreamReport, nothing_of
from interlock.log.verify import verify as verify_streams
from interlock.proof.checkpoint import FIRST_PREVIOUS, STREAM, TYPE, Checkpoint, Tip, read
from interlock.proof.keys import directory_public_key, is_signed


def verify(
    root: Path, *, public_key: str | None = None, kept: Checkpoint | None = None, progress: Progress | None = None
) -> Iterator[StreamReport]:
    """One report a stream, each when it is done. Blocking.

    Args:
        public_key: hex, of the only key that may have signed; None: the one in the directory.
        kept: a checkpoint that was kept elsewhere (`read_kept`); streams and checkpoints must go on from it.
    """
    places = DataDir(root)
    found = _Found(places, public_key, kept)
    missing = dict(found.last)
    for report in verify_streams(root, progress=progress, attested=found.attested):
        if report.stream == STREAM:
            report = msgspec.structs.replace(report, problems=[*report.problems, *found.problems])
            found.problems.clear()
        missing.pop(report.stream, None)
        yield report
    if found.problems:
        problems, found.problems = found.problems, []
        yield msgspec.structs.replace(nothing_of(STREAM, problems[0]), problems=problems)
    for stream, (tip, by) in missing.items():
        yield nothing_of(stream, Problem(stream, 1, f"the stream is missing, and {by} attests {tip.seq} records"))


def read_kept(text: str) -> Checkpoint:
    """A checkpoint from elsewhere. Raises: LocalError: it is none, or its signature is not by the key that it names."""
    kept = read(text.encode())
    if not is_signed(kept):
        raise LocalError("the checkpoint is not signed by the key that it names: it was changed", field="checkpoint")
    return kept


class _NotGood(LogCorrupt):
    """A checkpoint is not what its place says it is."""


class _Found:
    """The checkpoints of a directory, up to the first that is not as it was signed."""

    def __init__(self, places: DataDir, public_key: str | None, kept: Checkpoint | None) -> None:
        self._journals = JournalReader(places.journal)
        self._kept = kept
        self.problems: list[Problem] = []
        self.last: dict[str, tuple[Tip, str]] = {}
        """By stream, the newest that is attested and by whom."""
        self._until = 0
        """The last record of the stream of checkpoints that is good."""
        newest = self._read_all(places, public_key)
        if kept:
            self._check_kept(kept, newest, public_key)

    def attested(self, stream: str) -> Iterator[Attested]:
        """What all of them, and the kept one, say of a stream."""
        of_kept = self._kept.streams.get(stream) if self._kept else None
        first = [Attested(seq=of_kept.seq, chain=bytes.fromhex(of_kept.chain), by=_KEPT)] if of_kept else []
        if stream == STREAM or not self._until:
            return iter(first)
        return heapq.merge(first, self._of_journal(stream), key=lambda one: one.seq)

    def _of_journal(self, stream: str) -> Iterator[Attested]:
        before = 0
        for stored in self._journals.scan(STREAM):
            if stored.record.type == TYPE:
                checkpoint = read(stored.record.payload)
                tip = checkpoint.streams.get(stream)
                if tip and tip.seq != before:
                    before = tip.seq
                    yield Attested(seq=tip.seq, chain=bytes.fromhex(tip.chain), by=_name(checkpoint))
            if stored.seq == self._until:
                return  # not a record further: the next one may be damaged

    def _read_all(self, places: DataDir, public_key: str | None) -> Checkpoint | None:
        """The last good one. What is wrong with the journal itself, its own report says."""
        last: Checkpoint | None = None
        try:
            key = public_key or directory_public_key(places)
            for stored in self._journals.scan(STREAM):
                if stored.record.type == TYPE:
                    last = self._read_one(stored, last, key)
                self._until = stored.seq
        except _NotGood as error:
            self.problems.append(Problem(error.stream, error.seq, error.what))
        except LogCorrupt:
            pass  # named by the stream's own report
        except InterlockError as error:
            self.problems.append(Problem(STREAM, 0, error.message))
        if last is None and public_key and not self.problems:
            self.problems.append(Problem(STREAM, 0, "there is no checkpoint, by this key or any other"))
        return last

    def _read_one(self, stored: Stored, last: Checkpoint | None, key: str | None) -> Checkpoint:
        """Raises: _NotGood: it is not the one that follows `last`, signed."""
        try:
            checkpoint = read(stored.record.payload)
        except LocalError as error:
            raise _NotGood(STREAM, stored.seq, error.message) from error
        number, previous = (last.number + 1, last.hash) if last else (1, FIRST_PREVIOUS)
        if checkpoint.number != number or checkpoint.statement.previous != previous:
            what = f"checkpoint {checkpoint.number} does not follow on the one before it"
            raise _NotGood(STREAM, stored.seq, what)
        if not is_signed(checkpoint):
            raise _NotGood(STREAM, stored.seq, f"checkpoint {number} is not signed by the key that it names")
        if checkpoint.statement.public_key != key:
            what = f"checkpoint {number} is signed by another key: {checkpoint.statement.public_key}"
            raise _NotGood(STREAM, stored.seq, what)
        if self._kept and self._kept.number == number and self._kept.hash != checkpoint.hash:
            raise _NotGood(STREAM, stored.seq, f"checkpoint {number} is not the one that was kept elsewhere")
        self.last |= {stream: (tip, _name(checkpoint)) for stream, tip in checkpoint.streams.items()}
        return checkpoint

    def _check_kept(self, kept: Checkpoint, newest: Checkpoint | None, public_key: str | None) -> None:
        key = public_key or (newest.statement.public_key if newest else None)
        if key and kept.statement.public_key != key:
            self.problems.append(Problem(STREAM, 0, "the checkpoint that was kept is signed by another key"))
        if not self.problems and (newest is None or newest.number < kept.number):
            end = newest.number if newest else 0
            what = f"checkpoints end at {end}, and {kept.number} was kept elsewhere: checkpoints were cut off"
            self.problems.append(Problem(STREAM, self._until + 1, what))
        for stream, tip in kept.streams.items():
            known = self.last.get(stream)
            if known is None or known[0].seq < tip.seq:
                self.last[stream] = (tip, _KEPT)


_KEPT = "the checkpoint kept elsewhere"


def _name(checkpoint: Checkpoint) -> str:
    return f"checkpoint {checkpoint.number}"
