"""The questions without a server: the logs are read as they stand, and folded into a view that is thrown away.

A running server's view is never opened for writing: it is copied (SQLite's own backup, positions and all) so that only
the tail needs folding; without one the whole history is folded.
"""

import asyncio
import sqlite3
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from interlock.datadir import DataDir
from interlock.errors import InterlockError, LocalError
from interlock.ledger import Ledger, copy_view


def check_data_dir(root: Path) -> DataDir:
    """Raises: LocalError `not_found`: there is no log in it."""
    places = DataDir(root)
    if not places.log.is_file():
        what = f"{root} is not a data directory: it has no {places.log.name}; name one with --data DIR"
        raise LocalError(f"{what} (`interlock status` says which a server has)", code="not_found", field="data")
    return places


def check_order(since_ns: int | None, until_ns: int | None) -> None:
    """Raises: LocalError: nothing can be between the two."""
    if since_ns is not None and until_ns is not None and since_ns >= until_ns:
        raise LocalError("--since is not before --until", field="--since")


def ask(
    root: Path, question: Callable[[Ledger], Awaitable[dict[str, Any]]], tenant: str | None = None
) -> dict[str, Any]:
    """The answer to `question`, `problem` in it as the server has it. Raises: InterlockError: also as `check_known`."""
    places = check_data_dir(root)
    with tempfile.TemporaryDirectory(prefix="interlock-") as scratch:
        path = Path(scratch) / "ledger.sqlite"
        with suppress(sqlite3.Error):  # no view, or not a good one: then everything is folded
            copy_view(places.ledger, path)
        return asyncio.run(_ask(places, path, question, tenant))


async def _ask(
    places: DataDir, path: Path, question: Callable[[Ledger], Awaitable[dict[str, Any]]], tenant: str | None
) -> dict[str, Any]:
    from interlock.control.known import check_known
    from interlock.log.reader import JournalReader
    from interlock.log.sqlite import SqliteLog

    problem = None
    with closing(Ledger(path)) as ledger, closing(SqliteLog(places.log)) as log:
        try:
            await ledger.catch_up(JournalReader(places.journal), log)
        except InterlockError as error:
            if error.code != "log_corrupt":
                raise
            problem = error.message
        if tenant is not None:
            await check_known(tenant, log, ledger)
        return {**await question(ledger), "problem": problem}
