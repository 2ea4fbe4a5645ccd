"""Whether each view is what the log says, row by row; and throwing views away, so that they are made again.

A view is compared at the position where it stands, so a server may go on writing meanwhile. Nothing of the directory is
changed by a check.
"""

import fcntl
import os
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path
from typing import Literal

import msgspec

from interlock.datadir import DataDir
from interlock.errors import InterlockError, LocalError
from interlock.log.verify import Progress
from interlock.proof.views import VIEWS, Dump, View

ROW_CHARS_MAX = 300
"""Of a row that is shown."""


class ViewReport(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one view."""

    view: str
    state: Literal["equal", "different", "absent", "unreadable"]
    """absent: the next start makes it. unreadable: the view, or the log that it is made from."""
    position: dict[str, int] = {}
    """By stream, the last record that is in the view."""
    rows: int = 0
    digest: str = ""
    """Hex SHA-256 of the standing view's rows, a newline after each."""
    rebuilt_rows: int = 0
    rebuilt_digest: str = ""
    problem: str = ""
    """The first row that differs, or why it cannot be read."""


def _quiet(stream: str, count: int) -> None:
    """Nobody asks how far it is."""


def check(places: DataDir, *, views: Sequence[View] = VIEWS, progress: Progress = _quiet) -> Iterator[ViewReport]:
    """One report a view, each when it is done. Blocking. Room for the views is needed where temporary files go."""
    for view in views:
        with tempfile.TemporaryDirectory(prefix="interlock-") as scratch:
            try:
                yield _check(view, places, Path(scratch), progress)
            except (InterlockError, OSError, sqlite3.Error) as error:
                yield ViewReport(view=view.name, state="unreadable", problem=str(error))


def _check(view: View, places: DataDir, scratch: Path, progress: Progress) -> ViewReport:
    with view.standing(places, scratch) as standing:
        if standing is None:
            return ViewReport(view=view.name, state="absent")
        with view.rebuilt(places, scratch, standing.position, progress) as rebuilt:
            return _compared(view.name, standing, rebuilt)


def _compared(name: str, standing: Dump, rebuilt: Dump) -> ViewReport:
    hashes, counts, problem = (sha256(), sha256()), [0, 0], ""
    for pair in zip_longest(standing.rows, rebuilt.rows):
        for side, row in enumerate(pair):
            if row is not None:
                hashes[side].update(row + b"\n")
                counts[side] += 1
        if pair[0] != pair[1] and not problem:
            shown = ["nothing" if row is None else standing.show(row)[:ROW_CHARS_MAX] for row in pair]
            problem = f"row {max(counts)}: the view has {shown[0]}; the log makes {shown[1]}"
    return ViewReport(
        view=name,
        state="different" if problem else "equal",
        position=dict(standing.position),
        rows=counts[0],
        digest=hashes[0].hexdigest(),
        rebuilt_rows=counts[1],
        rebuilt_digest=hashes[1].hexdigest(),
        problem=problem,
    )


def drop(places: DataDir, *, views: Sequence[View] = VIEWS) -> list[str]:
    """Throw the views away: the next start makes them from the log. Returns their names.

    Raises: LocalError `conflict`: a server runs on the directory. OSError.
    """
    with _no_server(places):
        for view in views:
            view.drop(places)
    return [view.name for view in views]


@contextmanager
def _no_server(places: DataDir) -> Iterator[None]:
    """While this holds, none can start."""
    places.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(places.supervisor_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise LocalError(f"a server runs on {places.root}: stop it first", code="conflict", field="data") from error
    finally:
        os.close(fd)
