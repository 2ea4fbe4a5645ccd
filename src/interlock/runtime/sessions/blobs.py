"""Content-addressed files: what is too large for a log, under its SHA-256, as `blobs/ab/cdef…`.

A file appears whole or not at all, and is never changed. Nothing is collected: a blob stays when the session that it
was written for is forgotten, because another may name it too.
"""

import asyncio
import contextlib
import os
import re
import secrets
from hashlib import sha256
from pathlib import Path

from interlock.errors import LocalError, LogUnavailable
from interlock.log import LogCorrupt
from interlock.runtime.sessions.event import INLINE_BYTES_MAX, Blob, Text
from interlock.runtime.sessions.ports import Blobs
from interlock.runtime.sessions.tables import Sync

BLOB_BYTES_MAX = 64 << 20
HEAD_BYTES = 1024
"""Of a blob, as text, in the log."""

_NAME = re.compile(r"[0-9a-f]{64}")


class FileBlobs(Blobs):
    """Files under one directory, for any number of processes. `sync` as of the store that names them."""

    def __init__(self, root: Path, *, sync: Sync = "process") -> None:
        self._root, self._sync = root, sync
        root.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def put(self, data: bytes) -> str:
        if len(data) > BLOB_BYTES_MAX:
            raise LocalError(f"{len(data)} bytes, at most {BLOB_BYTES_MAX}", code="body_too_large", field="content")
        return await asyncio.to_thread(self._put, data)

    async def get(self, sha256: str) -> bytes:
        if not _NAME.fullmatch(sha256):
            raise _absent(sha256)
        return await asyncio.to_thread(self._get, sha256)

    def _place(self, name: str) -> Path:
        return self._root / name[:2] / name[2:]

    def _put(self, data: bytes) -> str:
        name = sha256(data).hexdigest()
        place = self._place(name)
        part = place.with_name(f".{secrets.token_hex(8)}")
        try:
            place.parent.mkdir(mode=0o700, exist_ok=True)
            if not self._stands(place, data):  # a power failure may have left a piece
                self._write(part, data)
                part.rename(place)
            if self._sync == "power":
                _sync_directory(place.parent)
                _sync_directory(self._root)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink()
            raise LogUnavailable(f"blobs: {error}") from error
        return name

    def _write(self, part: Path, data: bytes) -> None:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            if self._sync == "power":
                os.fsync(file.fileno())

    def _stands(self, place: Path, data: bytes) -> bool:
        try:
            with place.open("rb") as file:
                if file.read(len(data) + 1) != data:
                    return False
                if self._sync == "power":
                    os.fsync(file.fileno())
                return True
        except FileNotFoundError:
            return False

    def _get(self, name: str) -> bytes:
        try:
            with self._place(name).open("rb") as file:
                data = file.read(BLOB_BYTES_MAX + 1)
        except FileNotFoundError as error:
            raise _absent(name) from error
        except OSError as error:
            raise LogUnavailable(f"blobs: {error}") from error
        if sha256(data).hexdigest() != name:
            raise LogCorrupt(f"blobs/{name}", 0, "the content is not what its name says")
        return data


async def content(blobs: Blobs, data: bytes) -> Text | Blob:
    """A tool's result as the log keeps it: in it, or beside it under its hash if it is large or no text."""
    if len(data) <= INLINE_BYTES_MAX:
        with contextlib.suppress(UnicodeDecodeError):
            return Text(text=data.decode())
    head = data[:HEAD_BYTES].decode(errors="replace")
    return Blob(sha256=await blobs.put(data), bytes=len(data), head=head)


def _absent(name: str) -> LocalError:
    return LocalError(f"no blob {name[:64]!r}", code="not_found", field="sha256")


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
