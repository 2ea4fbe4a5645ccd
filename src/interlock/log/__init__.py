"""The log: append-only, hash-chained streams behind one port."""

from interlock.log.ports import Log
from interlock.log.record import Appended, Conflict, Record, Stored

__all__ = ["Appended", "Conflict", "Log", "Record", "Stored"]
