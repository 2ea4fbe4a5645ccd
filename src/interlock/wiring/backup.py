"""A data directory in one tar file, taken while a server runs, and back again.

What is copied is the truth and its secrets: journals, log.sqlite, sessions with their blobs, keys, the configuration;
views are made again from the log. Sessions go first, before the blobs that they name, then checkpoints, and log.sqlite
last: so a copy holds every record that its checkpoints attest, and every policy that its usage names. The last member
lists all others with their sums; a copy without it broke off. Workspaces are not in it: agents write them, with links.
"""

import hashlib
import os
import shutil
import sqlite3
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO

import msgspec

from interlock.clock import Clock
from interlock.datadir import DataDir
from interlock.errors import LocalError
from interlock.log.reader import journal_directories

FORMAT = 1
MANIFEST = "backup.json"
MANIFEST_BYTES_MAX = 64 << 20
_CHUNK = 1 << 20
_LEFT_OUT = frozenset({"views", "run", "models", "workspaces"})
"""Made again, or fetched again; workspaces hold what agents made, which no archive of ours follows."""
_NOT_COPIED = frozenset({"lock", "reserve", "session.secret"})
"""The last so that tokens of sessions, which live for minutes, are good for nothing where a copy is served."""

Progress = Callable[[str, int], None]
"""Called with a file's name and its bytes once it was copied."""


class Member(msgspec.Struct, frozen=True):
    """One file of a backup."""

    name: str
    bytes: int
    sha256: str


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds."""

    format: int
    made_at_ns: int
    files: list[Member]


def back_up(data: Path, to: IO[bytes], clock: Clock, progress: Progress = lambda name, size: None) -> Backup:
    """Write a tar of a directory to `to`; a server may run on it. Nothing in it is changed.

    Raises: LocalError: it is no data directory. OSError, sqlite3.Error.
    """
    places = DataDir(data)
    if not places.log.exists():
        raise LocalError(f"{data} is no data directory: it has no {places.log.name}", code="not_found", field="data")
    members: list[Member] = []
    with tarfile.open(fileobj=to, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        if places.sessions.exists():
            members.append(_add_database(tar, places.sessions, clock))
            progress(places.sessions.name, members[-1].bytes)
        for path in (*_plain(places), *_journals(places)):
            name = path.relative_to(data).as_posix()
            try:
                with path.open("rb") as file:
                    members.append(_add(tar, name, file, os.fstat(file.fileno()).st_size, clock))
            except FileNotFoundError:  # a segment that retention dropped meanwhile: its seal says so
                continue
            progress(name, members[-1].bytes)
        members.append(_add_database(tar, places.log, clock))
        progress(places.log.name, members[-1].bytes)
        backup = Backup(format=FORMAT, made_at_ns=clock.now_ns(), files=members)
        content = msgspec.json.format(msgspec.json.encode(backup))
        _add(tar, MANIFEST, BytesIO(content), len(content), clock)
    return backup


def restore(source: IO[bytes], data: Path, progress: Progress = lambda name, size: None) -> Backup:
    """Make a data directory from a backup, once all of that is there, and is what was backed up. Verify it before use.

    Raises: LocalError: the directory is in use, or the backup is not whole, or not one. OSError.
    """
    if data.exists() and (not data.is_dir() or any(data.iterdir())):
        what = f"{data} is there already: name a directory that is not, or is empty"
        raise LocalError(what, code="conflict", field="data")
    data.parent.mkdir(parents=True, exist_ok=True)
    there = data.exists()  # it may be a mount, which cannot be put in another's place
    made = Path(tempfile.mkdtemp(dir=data if there else data.parent, prefix=f".{data.name}-"))
    try:
        backup = _extract(source, made, progress)
        if not there:
            made.rename(data)
        else:
            for entry in sorted(made.iterdir()):
                entry.rename(data / entry.name)
        return backup
    except tarfile.TarError as error:
        raise LocalError(f"it is no whole backup: {error}", field="file") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _plain(places: DataDir) -> Iterator[Path]:
    """All but the journals, the databases and what is made again."""
    databases = (places.log.name, places.sessions.name)
    for path in sorted(places.root.rglob("*")):
        top = path.relative_to(places.root).parts[0]
        if top in _LEFT_OUT or top == places.journal.name or path.name.startswith((".", *databases)):
            continue
        if path.is_file() and path.name not in _NOT_COPIED:
            yield path


def _journals(places: DataDir) -> Iterator[Path]:
    """Each stream's segments in order, so that what is missing in the end is its newest; checkpoints before all."""
    for directory in sorted(journal_directories(places.journal), key=lambda path: (path.name != "checkpoints", path)):
        found = [path for path in directory.iterdir() if path.suffix in (".seg", ".seal")]
        # A segment before its seal: of one that is redacted meanwhile, the seal knows both files (log/redaction.py).
        yield from sorted(found, key=lambda path: (path.stem, path.suffix != ".seg"))


class _Summed:
    """A reader that sums what it hands on, and ends after so many bytes though the file grows."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self._left = file, size
        self.sha256 = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(min(size, self._left) if size >= 0 else self._left)
        self._left -= len(data)
        self.sha256.update(data)
        return data


def _add(tar: tarfile.TarFile, name: str, file: IO[bytes], size: int, clock: Clock) -> Member:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o600, clock.now_ns() // 1_000_000_000
    summed = _Summed(file, size)
    tar.addfile(info, summed)
    return Member(name, size, summed.sha256.hexdigest())


def _add_database(tar: tarfile.TarFile, path: Path, clock: Clock) -> Member:
    """A copy of one moment, though others write to it."""
    with tempfile.NamedTemporaryFile(prefix="interlock-backup-") as copy:
        with (
            closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as source,
            closing(sqlite3.connect(copy.name)) as target,
        ):
            source.backup(target)
        with Path(copy.name).open("rb") as file:
            return _add(tar, path.name, file, os.fstat(file.fileno()).st_size, clock)


def _extract(source: IO[bytes], made: Path, progress: Progress) -> Backup:
    found: dict[str, Member] = {}
    with tarfile.open(fileobj=source, mode="r|") as tar:
        for info in tar:
            content = tar.extractfile(info) if info.isreg() else None
            if content is None or not _is_plain(info.name) or info.name in found:
                raise LocalError(f"it is no backup: {info.name[:100]!r} is in it", field="file")
            if info.name == MANIFEST:
                if info.size > MANIFEST_BYTES_MAX:
                    raise LocalError(f"it is no backup: {MANIFEST} is too large", field="file")
                return _checked(content.read(), found)
            path = made / info.name
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            found[info.name] = _write(path, content)
            progress(info.name, info.size)
    raise LocalError(f"the backup broke off: it has no {MANIFEST}", field="file")


def _write(path: Path, content: IO[bytes]) -> Member:
    sum_, size = hashlib.sha256(), 0
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        while data := content.read(_CHUNK):
            sum_.update(data)
            size += file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return Member(path.name, size, sum_.hexdigest())


def _checked(content: bytes, found: dict[str, Member]) -> Backup:
    try:
        backup = msgspec.json.decode(content, type=Backup)
    except msgspec.DecodeError as error:
        raise LocalError(f"{MANIFEST} cannot be read: {error}", field="file") from error
    if backup.format != FORMAT:
        raise LocalError(f"a backup of format {backup.format} is of another version of Interlock", field="file")
    if {member.name for member in backup.files} != found.keys():
        raise LocalError("the backup does not hold the files that it lists", field="file")
    for member in backup.files:
        if (member.bytes, member.sha256) != (found[member.name].bytes, found[member.name].sha256):
            raise LocalError(f"{member.name} is not what was backed up", field="file")
    return backup


def _is_plain(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and 0 < len(name) < 1024 and name.isprintable()
