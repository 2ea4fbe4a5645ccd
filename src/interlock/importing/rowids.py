"""Ids for rows that have none: a row's digest and its number among the equal rows of its file.

The same file gives the same ids, whatever stopped an import; equal rows are told apart. How often each was seen is kept
in a private SQLite file that its own cache bounds: millions of rows cost disk, not memory.
"""

import sqlite3

CACHE_KIB = 32 * 1024


class RowIds:
    """One file's."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)  # a file without a name, gone when it is closed
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        self._db.execute("CREATE TABLE seen (digest BLOB PRIMARY KEY, times INTEGER NOT NULL) WITHOUT ROWID")
        self._db.execute("BEGIN")

    def next(self, digest: bytes) -> str:
        """The id of the next row with this digest. Raises: OSError: there is no room to remember it."""
        count = "INSERT INTO seen VALUES (?, 1) ON CONFLICT DO UPDATE SET times = times + 1 RETURNING times"
        try:
            [(times,)] = self._db.execute(count, (digest,)).fetchall()
        except sqlite3.Error as error:
            raise OSError(f"no room to remember its rows (TMPDIR says where): {error}") from error
        return f"row-{digest.hex()}-{times}"

    def close(self) -> None:
        """Forget all."""
        self._db.close()
