"""Tables: rows that a fold of the log gives, as Parquet files that any engine reads. They know of no event or meter."""

from interlock.tables.leaving import Ahead, Archive
from interlock.tables.manifest import Damaged, Horizon, horizon_key
from interlock.tables.store import Tables, open_tables
from interlock.tables.table import Change, Columns, Table, literal

__all__ = [
    "Ahead",
    "Archive",
    "Change",
    "Columns",
    "Damaged",
    "Horizon",
    "Table",
    "Tables",
    "horizon_key",
    "literal",
    "open_tables",
]
