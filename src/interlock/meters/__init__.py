"""Meters: what counted events come to, by window, customer and group: exact, and of every event that was counted."""

from interlock.meters.answer import Answer
from interlock.meters.catalog import Catalog, Registry
from interlock.meters.definition import Meter, Version
from interlock.meters.finding import Entry, Wanted
from interlock.meters.query import Found, Query, Row
from interlock.meters.service import Meters
from interlock.meters.settings import Rule, Settings, Store
from interlock.meters.staying import what_stays
from interlock.meters.windows import Size

__all__ = [
    "Answer",
    "Catalog",
    "Entry",
    "Found",
    "Meter",
    "Meters",
    "Query",
    "Registry",
    "Row",
    "Rule",
    "Settings",
    "Size",
    "Store",
    "Version",
    "Wanted",
    "what_stays",
]
