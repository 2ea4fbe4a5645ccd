"""The log: append-only, hash-chained streams behind one port.

The adapters are imported by their modules (`interlock.log.journal`, `.sqlite`, `.memory`), so that a program that only
names records does not load SQLite.
"""

from interlock.log.check import LogCorrupt
from interlock.log.ports import Log
from interlock.log.record import Appended, Conflict, Record, Stored

__all__ = ["Appended", "Conflict", "Log", "LogCorrupt", "Record", "Stored"]
