"""`interlock backup` and `interlock restore`: on files alone, whether a server runs or not."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from interlock.cli.client import data_dir
from interlock.cli.output import complain, number, say, say_json
from interlock.clock import SystemClock
from interlock.errors import LocalError
from interlock.wiring.backup import Backup, back_up, restore

LOUD_BYTES = 64 << 20
"""Of a file that is worth a line."""


def make(args: Any) -> int:
    """The file appears whole or not at all; `-` is stdout."""
    from interlock.cli.offline import check_data_dir

    data = check_data_dir(data_dir(args)).root
    with _written(args.file) as file:
        backup = back_up(data, file, SystemClock(), _told)
    if args.file != "-":  # stdout is the backup itself
        _summary(args, backup, f"backed up {data} to {args.file}")
    return 0


def take(args: Any) -> int:
    """Into a directory that is not there yet; then every chain is verified."""
    from interlock.log.verify import verify

    data = data_dir(args)
    with _read(args.file) as file:
        backup = restore(file, data, _told)
    problems = [problem for report in verify(data) for problem in report.problems]
    for problem in problems:
        complain(f"{problem.stream} {problem.seq}: {problem.what}")
    _summary(args, backup, f"restored to {data}; every chain holds" if not problems else f"restored to {data}")
    return int(bool(problems))


def _summary(args: Any, backup: Backup, what: str) -> None:
    size = sum(member.bytes for member in backup.files)
    if args.format == "json":
        say_json({"files": len(backup.files), "bytes": size, "made_at_ns": str(backup.made_at_ns)})
    else:
        say(f"{what}: {number(len(backup.files))} files, {number(size)} bytes")


def _told(name: str, size: int) -> None:
    if size >= LOUD_BYTES and sys.stderr.isatty():
        complain(f"{name}: {number(size)} bytes")


@contextmanager
def _written(name: str) -> Iterator[IO[bytes]]:
    if name == "-":
        if sys.stdout.isatty():
            raise LocalError("a backup is no text: name a file, or redirect", field="file")
        yield sys.stdout.buffer
        return
    path = Path(name)
    if path.exists():
        raise LocalError(f"{name} is there already", code="conflict", field="file")
    if not path.parent.is_dir():
        raise LocalError(f"{path.parent} is not a directory", code="not_found", field="file")
    made = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        # It holds keys.
        with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        made.rename(path)
    finally:
        made.unlink(missing_ok=True)


@contextmanager
def _read(name: str) -> Iterator[IO[bytes]]:
    if name == "-":
        yield sys.stdin.buffer
    else:
        with Path(name).open("rb") as file:
            yield file
