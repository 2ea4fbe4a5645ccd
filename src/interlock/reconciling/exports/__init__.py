"""Readers of exports, one provider a module: documents or rows in, charges out. Pure; files are read by `tables`."""

from interlock.reconciling.exports.read import FORMATS, read

__all__ = ["FORMATS", "read"]
