"""Tables: rows that a fold of the log gives, as Parquet files that any engine reads. They know of no event or meter."""

from interlock.tables.manifest import Damaged
from interlock.tables.store import Tables, open_tables
from interlock.tables.table import Change, Columns, Table, literal

__all__ = ["Change", "Columns", "Damaged", "Table", "Tables", "literal", "open_tables"]
