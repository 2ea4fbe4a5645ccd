"""Where files stand: a directory, or what behaves like one (objects.py).

A place keeps bytes under names; it knows no table. What is kept is whole or not there, and on the disk when the call
returns. One writer; reading is anybody's.
"""

import fcntl
import os
import shutil
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from interlock.errors import InterlockError, TransientError
from interlock.log.segments import sync_directory
from interlock.tables.manifest import Damaged, File

_CHUNK = 1 << 20


class Place(Protocol):
    """All methods raise TransientError `view_unavailable` where the disk or the network fails: nothing was done, except
    that of a `write` it is not known."""

    scratch: Path
    """A directory for files on their way, empty at first, on the file system that `keep` takes them from."""

    def keep(self, name: str, made: Path) -> None:
        """Keep a file of `scratch` under a name; it is gone from there."""
        ...

    def fetch(self, files: Sequence[File]) -> list[str]:
        """Paths of these files, each found to be what it was. Raises: Damaged: the first that is not."""
        ...

    def read(self, name: str) -> bytes | None:
        """A small file; None: there is none."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Replace a small file, at once."""
        ...

    def remove(self, names: Sequence[str]) -> None:
        """Those that are not there are let be."""
        ...

    def names(self) -> Iterator[str]:
        """Of every Parquet file here."""
        ...

    def close(self) -> None:
        """Give it back."""
        ...


class Lock:
    """A directory held by one process. Raises: InterlockError `conflict`: another has it. OSError."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = (directory / "lock").open("ab")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise InterlockError(f"{directory}: in use by another process", code="conflict") from error

    def release(self) -> None:
        """Let another have it."""
        self._file.close()


class Known:
    """Which local files were compared with the manifest; a file is read through once, and again when it was touched."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, int, int, int]] = {}

    def check(self, path: Path, file: File) -> None:
        """Raises: Damaged: it is missing, cut short or changed. OSError."""
        try:
            stat = path.stat()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise Damaged(file.name, "it is missing") from error
        if stat.st_size != file.bytes:
            raise Damaged(file.name, f"it has {stat.st_size} bytes and had {file.bytes}")
        found = (stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, file.crc32)
        if self._seen.get(file.name) != found:
            if checksum(path) != file.crc32:
                raise Damaged(file.name, "it was changed")
            self._seen[file.name] = found

    def forget(self, name: str) -> None:
        """It is removed."""
        self._seen.pop(name, None)


class Directory:
    """A place on a local file system."""

    def __init__(self, root: Path) -> None:
        """Raises: InterlockError `conflict`: another process has it. TransientError `view_unavailable`."""
        self._root = root
        self._known = Known()
        try:
            self._lock = Lock(root)
            self.scratch = clean(root / "scratch")
        except OSError as error:
            raise _unavailable(root.name, error) from error

    def keep(self, name: str, made: Path) -> None:
        path = self._root / name
        try:
            with made.open("rb") as file:
                os.fsync(file.fileno())
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            made.replace(path)
            for directory in path.parents:
                sync_directory(directory)
                if directory == self._root:
                    break
        except OSError as error:
            raise _unavailable(name, error) from error

    def fetch(self, files: Sequence[File]) -> list[str]:
        paths = [self._root / file.name for file in files]
        for path, file in zip(paths, files, strict=True):
            try:
                self._known.check(path, file)
            except OSError as error:
                raise _unavailable(file.name, error) from error
        return [str(path) for path in paths]

    def read(self, name: str) -> bytes | None:
        try:
            return (self._root / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unavailable(name, error) from error

    def write(self, name: str, content: bytes) -> None:
        beside = self.scratch / name
        try:
            with beside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._root / name)
            sync_directory(self._root)
        except OSError as error:
            raise _unavailable(name, error) from error

    def remove(self, names: Sequence[str]) -> None:
        for name in names:
            path = self._root / name
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise _unavailable(name, error) from error
            self._known.forget(name)
            with suppress(OSError):  # other files are in it
                for directory in path.parents:
                    if directory == self._root:
                        break
                    directory.rmdir()

    def names(self) -> Iterator[str]:
        for path in self._root.rglob("*.parquet"):
            if self.scratch not in path.parents:
                yield path.relative_to(self._root).as_posix()

    def close(self) -> None:
        self._lock.release()


def clean(directory: Path) -> Path:
    """That directory, empty. Raises: OSError."""
    if directory.exists():
        shutil.rmtree(directory)
    directory.mkdir(mode=0o700, parents=True)
    return directory


def checksum(path: Path) -> int:
    """CRC-32 of a file, at some 1 GB/s. Raises: OSError."""
    crc = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            crc = zlib.crc32(chunk, crc)
    return crc


def _unavailable(name: str, error: OSError) -> TransientError:
    return TransientError(f"{name}: {error.strerror or error}", code="view_unavailable")
