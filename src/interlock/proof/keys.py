"""The key that checkpoints are signed with: made once, kept in the data directory, never told.

The private half is in `checkpoint.key` (64 hex digits, mode 0600), the public one beside it in `checkpoint.pub`.
Nothing here says what is in the first: not in errors, and no object prints it. cryptography is imported when it is
first needed: the control process has to be up sooner.
"""

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from interlock.datadir import DataDir
from interlock.errors import LocalError
from interlock.log.segments import sync_directory
from interlock.proof.checkpoint import KEY_CHARS, Checkpoint

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class Signer:
    """Signs with one private key."""

    def __init__(self, private: "Ed25519PrivateKey") -> None:
        self._private = private
        self.public_key = private.public_key().public_bytes_raw().hex()
        """Hex."""

    def sign(self, message: bytes) -> bytes:
        """64 bytes."""
        return self._private.sign(message)


def open_signer(places: DataDir, *, may_make: bool) -> Signer:
    """The directory's key; with `may_make` a new one if there is none. Its public half stands beside it afterwards.

    Raises: LocalError: there is none, or the file is not a key. OSError.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if not places.checkpoint_key.exists():
        if not may_make:
            raise LocalError(
                f"{places.checkpoint_key} is missing, and checkpoints were signed with it: put it back, or move "
                f"{places.journal / 'checkpoints'} away to begin anew",
                code="not_found",
                field="checkpoint.key",
            )
        with suppress(FileExistsError):  # somebody was faster: then it is theirs
            _write(places.checkpoint_key, Ed25519PrivateKey.generate().private_bytes_raw().hex(), 0o600, replace=False)
    text = places.checkpoint_key.read_bytes()[: KEY_CHARS + 2].strip()
    try:
        signer = Signer(Ed25519PrivateKey.from_private_bytes(bytes.fromhex(text.decode())))
    except ValueError:
        # What was raised quotes the file's content, so it must not be this error's cause.
        raise LocalError(f"{places.checkpoint_key} is not a key: 64 hex digits", field="checkpoint.key") from None
    if not places.checkpoint_pub.exists():
        _write(places.checkpoint_pub, signer.public_key, 0o644, replace=True)
    return signer


def read_public_key(text: str, field: str) -> str:
    """A public key as it is shown: 64 hex digits. Raises: LocalError."""
    key = text.strip().lower()
    try:
        good = len(bytes.fromhex(key)) == KEY_CHARS // 2 and len(key) == KEY_CHARS
    except ValueError:
        good = False
    if not good:
        raise LocalError(f"{text[:80]!r} is not a public key: write its 64 hex digits", field=field)
    return key


def directory_public_key(places: DataDir) -> str | None:
    """What `checkpoint.pub` says; None: it is not there. Raises: LocalError: it is no key."""
    try:
        return read_public_key(places.checkpoint_pub.read_bytes()[:200].decode(errors="replace"), "checkpoint.pub")
    except FileNotFoundError:
        return None


def is_signed(checkpoint: Checkpoint) -> bool:
    """Whether the signature is by the key that the statement names."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(checkpoint.statement.public_key))
        key.verify(bytes.fromhex(checkpoint.signature), checkpoint.signed)
    except (InvalidSignature, ValueError):
        return False
    return True


def _write(path: Path, text: str, mode: int, *, replace: bool) -> None:
    """Whole or not at all, and on the disk. Raises: FileExistsError, if it may not be replaced. OSError."""
    beside = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        if replace:
            beside.replace(path)
        else:
            os.link(beside, path)  # unlike a rename, this fails if it is there
    finally:
        beside.unlink(missing_ok=True)
    sync_directory(path.parent)
