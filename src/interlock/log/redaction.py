"""Payloads put in the place of others, where a person's data has to go: what stood there cannot be had any more.

Heads and chain stay as they are, so the stream verifies as before; a payload that is another than its head says is
told by two: the segment's seal, for readers, and a record of type `journal.redacted` further on in the stream, for
`verify`. So nobody who can only write files can pass a change off as a redaction.

    journal.redacted    {…, "records": [[seq, hex SHA-256 of the payload that stands there from then on], …]}

Other members are the writer's. Only sealed segments are written anew: as a whole, beside the old file, renamed over it;
the seal goes first and knows both files, so whatever instant the process dies at, the segment is what its seal says.
It does not decide what goes.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from interlock.log.check import LogCorrupt
from interlock.log.lines import frame, parse
from interlock.log.segments import RedactedSeal, Seal, read_seal, segment_path, sync_directory, write_seal

REDACTED = "journal.redacted"
"""Type of the records that tell which payloads were put in place of others."""


class Redaction(msgspec.Struct, frozen=True):
    """As much of such a record's payload as the log reads."""

    records: list[tuple[int, str]]


def redact(
    directory: Path, stream: str, number: int, wanted: Mapping[int, str], change: Callable[[bytes], bytes | None]
) -> int:
    """Write a sealed segment anew with other payloads; how many were changed. Blocking; it can be repeated.

    Args:
        wanted: by seq, hex SHA-256 of the payload that is to stand there; those of other segments are passed over.
        change: what is to stand in place of a payload; None: it stands there already.
    Raises: LogCorrupt: the segment does not hold, or `change` does not make what is wanted. LocalError: it is not
        sealed. OSError: nothing was changed.
    """
    seal = read_seal(directory, number, stream)
    if seal is None:
        raise LogCorrupt(stream, 0, f"segment {number} is not sealed, so it cannot be redacted")
    path, changed = segment_path(directory, number), dict[str, str]()
    old, new = hashlib.sha256(), hashlib.sha256()
    beside = path.with_suffix(".new")
    try:
        with path.open("rb") as source, beside.open("wb") as target:
            os.fchmod(target.fileno(), 0o600)
            for seq, line in enumerate(source, seal.first_seq):
                old.update(line)
                written = line
                if seq in wanted:
                    written = _redacted(stream, seq, line, wanted[seq], change)
                    changed[str(seq)] = wanted[seq]
                new.update(written)
                target.write(written)
            size = target.tell()
            if not changed or old.digest() == new.digest():
                return 0
            target.flush()
            os.fsync(target.fileno())
        write_seal(directory, number, _sealed(seal, changed, old.hexdigest(), new.hexdigest(), size), durable=True)
        beside.replace(path)
        sync_directory(directory)
    finally:
        beside.unlink(missing_ok=True)
    return len(changed)


def _redacted(stream: str, seq: int, line: bytes, wanted: str, change: Callable[[bytes], bytes | None]) -> bytes:
    try:
        chain, head, payload = parse(line)
    except ValueError as error:
        raise LogCorrupt(stream, seq, str(error)) from error
    made = change(payload)
    if hashlib.sha256(payload if made is None else made).hexdigest() != wanted:
        raise LogCorrupt(stream, seq, "the payload does not become what was to stand there")
    return line if made is None else frame(chain, head, made)


def _sealed(seal: Seal, changed: Mapping[str, str], old: str, new: str, size: int) -> RedactedSeal:
    before = seal.redacted if isinstance(seal, RedactedSeal) else {}
    return RedactedSeal(
        stream=seal.stream,
        first_seq=seal.first_seq,
        last_seq=seal.last_seq,
        chain_before=seal.chain_before,
        chain=seal.chain,
        sha256=new,
        bytes=size,
        low_water=seal.low_water,
        epoch=seal.epoch,
        redacted={**before, **changed},
        was_sha256=old,
    )
