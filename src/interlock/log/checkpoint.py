"""Where a fold stands and what it has computed, so that a start reads the tail of the log and not its history.

A checkpoint is a shortcut, never the truth: any of them may be deleted, and the fold reads from the beginning again.

    NAME.checkpoint, NAME.previous:   SHA-256 of the rest in hex, newline, JSON head, newline, state
"""

import os
import re
from hashlib import sha256
from pathlib import Path

import msgspec

from interlock.errors import LocalError, LogUnavailable
from interlock.log.segments import sync_directory

STATE_BYTES_MAX = 1 << 30

_NAME = re.compile(r"[a-z0-9_-]{1,64}")


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A fold's state after it consumed each stream up to `positions[stream]`."""

    name: str
    positions: dict[str, int]
    state: bytes


class _Head(msgspec.Struct, frozen=True):
    name: str
    positions: dict[str, int]


class Checkpoints:
    """Checkpoints by name in one directory. Each name has one writer."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def save(self, name: str, positions: dict[str, int], state: bytes) -> None:
        """Replace the checkpoint at once or not at all; synced when this returns. The one before it is kept.

        Raises: LocalError: a bad name, or too much state. LogUnavailable: it could not be written; the old one stands.
        """
        current, previous = self._paths(name)
        if len(state) > STATE_BYTES_MAX:
            raise LocalError(f"a state of {len(state)} bytes is over {STATE_BYTES_MAX}", field="state")
        content = msgspec.json.encode(_Head(name, positions)) + b"\n" + state
        temporary = current.with_suffix(".checkpoint-new")
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.write(sha256(content).hexdigest().encode() + b"\n" + content)
                file.flush()
                os.fsync(file.fileno())
            if _load(current, name):  # a damaged one must not push out a good previous one
                current.replace(previous)
            temporary.replace(current)
            sync_directory(self._directory)
        except OSError as error:
            raise LogUnavailable(f"checkpoint {name!r} cannot be saved: {error}") from error

    def load(self, name: str) -> Checkpoint | None:
        """The newest checkpoint that is whole; None: begin at the beginning. Raises: LocalError: a bad name."""
        current, previous = self._paths(name)
        return _load(current, name) or _load(previous, name)

    def _paths(self, name: str) -> tuple[Path, Path]:
        if not _NAME.fullmatch(name):
            raise LocalError(f"{name!r} is not a checkpoint name (1 to 64 of a-z 0-9 _ -)", field="name")
        return self._directory / f"{name}.checkpoint", self._directory / f"{name}.previous"


def _load(path: Path, name: str) -> Checkpoint | None:
    try:
        digest, _, content = path.read_bytes().partition(b"\n")
    except OSError:
        return None
    if sha256(content).hexdigest().encode() != digest:
        return None
    head_bytes, _, state = content.partition(b"\n")
    try:
        head = msgspec.json.decode(head_bytes, type=_Head)
    except msgspec.DecodeError:
        return None  # whole, but not of this version
    return Checkpoint(name=name, positions=head.positions, state=state) if head.name == name else None
