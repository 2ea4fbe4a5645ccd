"""Tables: rows that a fold of the log gives, as Parquet files that any engine reads. They know of no event or meter."""

from interlock.tables.leaving import Ahead, Archive
from interlock.tables.manifest import Damaged, Horizon, horizon_key
from interlock.tables.store import Tables, open_tables
from interlock.tables.table import Columns, Table

__all__ = ["Ahead", "Archive", "Columns", "Damaged", "Horizon", "Table", "Tables", "horizon_key", "open_tables"]
