"""Which keys were counted, of all time: a view of the log, exact, and bounded in memory.

New keys are held in a dict; from `held_max` on they become a run (runs.py), and runs of like size are merged into one
beside the work, so that there are few. `index.json` names the runs and the record up to which they are complete; what
came later is read from the log again before anything is asked (commit.py). Lost or deleted, all of it is. The closed
periods, which are few, are in memory, and in `index.json` up to that record.

It decides nothing. Its calls are one thread's; merging is another's.
"""

import logging
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from interlock.errors import TransientError
from interlock.intake.decide import Known
from interlock.intake.periods import Standing
from interlock.intake.runs import Columns, Run, columns_of, merged, ordered, write_run
from interlock.log.segments import sync_directory

_log = logging.getLogger(__name__)
FORMAT = 2
"""1 knew no closed periods: it is made again, for the log may hold some."""
HELD_MAX = 1 << 18
"""Keys held in memory: some 60 MB."""
ROW_BYTES = 40
FAN_IN = 4
"""Runs of like size that are merged into one: a key is written once for each power of four that there are of them."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What `index.json` holds."""

    format: int
    through_seq: int
    """The runs hold the keys of all records up to this one."""
    chain: str
    """Hex: the log's chain value there, by which the log is known again."""
    runs: tuple[str, ...]
    """File names, the oldest first."""
    closings: tuple[Standing, ...] = ()
    """Of all records up to `through_seq`, in their order."""


class Index:
    """One directory's."""

    def __init__(self, directory: Path, *, held_max: int = HELD_MAX) -> None:
        """Raises: TransientError `view_unavailable`: a file of it is damaged. OSError."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._held_max = self._flush_at = held_max
        self._held: dict[bytes, Known] = {}
        self._lock = threading.Lock()  # protects runs, manifest and the next number: merging ends on its own thread
        self._merging: threading.Thread | None = None
        self._closed = False
        manifest = _manifest(directory)
        self._through_seq, self._chain = manifest.through_seq, manifest.chain
        self._closings = list(manifest.closings)
        self._runs = [Run(directory / name) for name in manifest.runs]
        self._number = max((int(p.stem) for p in directory.glob("*.run") if p.stem.isdecimal()), default=0)
        for path in {*directory.glob("*.run"), *directory.glob("*.new")} - {run.path for run in self._runs}:
            path.unlink()  # of a merge, or a flush, that did not come to its end

    @property
    def through(self) -> tuple[int, str]:
        """(the record up to which the runs are complete, the log's chain value there in hex; 0 and empty: none)."""
        return self._through_seq, self._chain

    @property
    def count(self) -> int:
        """Keys that are known."""
        return len(self._held) + sum(run.count for run in self._runs)

    def closings(self, tenant: str) -> list[Standing]:
        """What a tenant closed, in order."""
        return [standing for standing in self._closings if standing.closed.tenant == tenant]

    def find(self, keys: Sequence[bytes]) -> dict[bytes, Known]:
        """What is known of those keys (16 bytes each) that are known."""
        held = self._held
        found = {key: held[key] for key in keys if key in held}
        with self._lock:
            runs = list(self._runs)
        if runs and keys:
            columns = columns_of(keys, keys, [0] * len(keys))
            for run in runs:
                places, known = run.find(columns.high, columns.low)
                for place, high, low, seq in zip(
                    places.tolist(),
                    known.content_high.tolist(),
                    known.content_low.tolist(),
                    known.seq.tolist(),
                    strict=True,
                ):
                    found[keys[place]] = Known((high << 64 | low).to_bytes(16, "big"), seq)
        return found

    def add(self, new: Mapping[bytes, Known], seq: int, chain: bytes, closings: Sequence[Standing] = ()) -> None:
        """Know these keys and closings; with them all up to record `seq` (chain value `chain`) are known.

        A record may come twice: its keys are known by themselves, its closing by its seq.
        """
        self._held.update(new)
        known_seq = self._closings[-1].seq if self._closings else 0
        self._closings += [standing for standing in closings if standing.seq > known_seq]
        if len(self._held) >= self._flush_at:
            try:
                self._flush(seq, chain.hex())
            except OSError:  # no room for a run: they stay held, and it is tried again some keys later
                self._flush_at = len(self._held) + self._held_max // 8 + 1

    def close(self) -> None:
        """Give up the merge under way. What is held is not written: the log has it."""
        self._closed = True
        if self._merging:
            self._merging.join()

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._write([], 0, "")
            runs, self._runs, self._held = self._runs, [], {}
            self._through_seq, self._chain, self._closings = 0, "", []
        for run in runs:
            run.path.unlink(missing_ok=True)

    def settle(self, seq: int, chain: bytes) -> None:
        """Write what is held as a run, however little it is: for a view that is compared, not for one that serves.

        Raises: OSError.
        """
        if self._held:
            self._flush(seq, chain.hex())

    def _flush(self, seq: int, chain: str) -> None:
        held = self._held
        contents = [known.content for known in held.values()]
        columns = ordered(columns_of(list(held), contents, [known.seq for known in held.values()]))
        path = self._next_path()
        write_run(path, iter([columns]), len(held))
        with self._lock:
            runs = [*self._runs, Run(path)]
            self._write(runs, seq, chain)
            self._runs, self._through_seq, self._chain = runs, seq, chain
        self._held, self._flush_at = {}, self._held_max
        if self._merging is None or not self._merging.is_alive():
            self._merging = threading.Thread(target=self._merge, name="index-merge")
            self._merging.start()

    def _merge(self) -> None:
        """Until no `FAN_IN` runs are of like size."""
        while not self._closed and (runs := self._alike()):
            path = self._next_path()
            try:
                write_run(path, self._while_open(merged(runs)), sum(run.count for run in runs))
                run = Run(path)
            except OSError:
                return  # no room, or closing: tried again after the next flush
            with self._lock:
                if not set(runs) <= set(self._runs):
                    path.unlink()  # it was cleared meanwhile
                    return
                at = self._runs.index(runs[0])
                fewer = [*self._runs[:at], run, *(one for one in self._runs[at:] if one not in runs)]
                try:
                    self._write(fewer, self._through_seq, self._chain)
                except OSError:
                    return  # the manifest may name the new run by now: what is too many is removed at the next start
                self._runs = fewer
            for old in runs:
                old.path.unlink()

    def _while_open(self, parts: Iterator[Columns]) -> Iterator[Columns]:
        for part in parts:
            if self._closed:
                raise InterruptedError("the index is being closed")
            yield part

    def _alike(self) -> list[Run]:
        with self._lock:
            sizes: dict[int, list[Run]] = {}
            for run in self._runs:
                sizes.setdefault(run.count.bit_length() // 2, []).append(run)
        return next((runs[:FAN_IN] for runs in sizes.values() if len(runs) >= FAN_IN), [])

    def _next_path(self) -> Path:
        with self._lock:
            self._number += 1
            return self._directory / f"{self._number:08d}.run"

    def _write(self, runs: Sequence[Run], through_seq: int, chain: str) -> None:
        names = tuple(run.path.name for run in runs)
        closings = tuple(standing for standing in self._closings if standing.seq <= through_seq)
        manifest = Manifest(format=FORMAT, through_seq=through_seq, chain=chain, runs=names, closings=closings)
        path = self._directory / "index.json"
        beside = path.with_suffix(".json.new")
        with beside.open("wb") as file:
            file.write(msgspec.json.encode(manifest))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
        sync_directory(self._directory)


def standing(directory: Path) -> tuple[Manifest, list[Run]]:
    """What stands on the disk, of one moment, while its owner may go on; nothing is written.

    Raises: TransientError `view_unavailable`: a file of it is damaged. OSError.
    """
    while True:
        manifest = _manifest(directory)
        try:
            return manifest, [Run(directory / name) for name in manifest.runs]
        except TransientError:
            if _manifest(directory) == manifest:  # else a run is missing because it was merged meanwhile
                raise


def _manifest(directory: Path) -> Manifest:
    path = directory / "index.json"
    if not path.exists():
        return Manifest(format=FORMAT, through_seq=0, chain="", runs=())
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except msgspec.DecodeError as error:
        raise TransientError(f"{path}: cannot be read; delete it", code="view_unavailable") from error
    if manifest.format != FORMAT:
        raise TransientError(f"{path}: format {manifest.format} is not {FORMAT}", code="view_unavailable")
    return manifest


def rows_of(runs: Sequence[Run]) -> Iterator[bytes]:
    """Each key with what is known of it, in order of the key: 16 bytes key, 16 content, 8 seq, big-endian."""
    for part in merged(runs) if runs else ():
        chunk = np.stack(part.arrays(), axis=1).astype(">u8").tobytes()
        for start in range(0, len(chunk), ROW_BYTES):
            yield chunk[start : start + ROW_BYTES]


def open_index(directory: Path) -> Index:
    """The index of a directory; one that cannot be read is removed: it is a view. Raises: OSError."""
    try:
        return Index(directory)
    except TransientError as error:
        _log.warning("the index of events is made again: %s", error)
        for path in directory.iterdir():
            if path.suffix in (".run", ".new", ".json"):
                path.unlink()
        return Index(directory)
