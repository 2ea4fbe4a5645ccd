"""What has left the tables for good, as the stream `retention` says: by table and tenant, which days of which records.

    retention.applied   {"table","tenant","before","seq","chain","rows","then","place"}   id TABLE/TENANT/BEFORE/SEQ

A record is written once an archive has the rows (or when they are to be dropped), and before the tables let them go: so
tables that are made again leave out exactly what has left. Pure.
"""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Literal

import msgspec

from interlock.log import Record, Stored
from interlock.tables import Horizon, horizon_key

STREAM = "retention"
TYPE = "retention.applied"
_EPOCH = date(1970, 1, 1)


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    """Rows left: those of days before `before` of records up to `seq`."""

    table: str
    tenant: str = ""
    """Empty: of all."""
    before: str
    """ISO 8601."""
    seq: int
    chain: str
    """Hex: of the events' stream at `seq`."""
    rows: int
    then: Literal["archive", "drop"]
    place: str = ""
    """Of the archive."""

    @property
    def key(self) -> str:
        """Whose rows."""
        return horizon_key(self.table, self.tenant)

    @property
    def horizon(self) -> Horizon:
        """As tables keep it."""
        return Horizon(before=self.before, seq=self.seq, chain=self.chain)

    def record(self, at_ns: int) -> Record:
        """As it is written down."""
        id = f"{self.table}/{self.tenant}/{self.before}/{self.seq}"
        return Record(id=id, type=TYPE, at_ns=at_ns, payload=msgspec.json.encode(self))


class History:
    """The stream `retention` as far as it was read."""

    def __init__(self) -> None:
        self.seq = 0
        self.last: dict[str, Applied] = {}
        """By key: days and records only go on, so the last one says all that those before it said."""
        self.rows: dict[str, int] = {}
        """By key, all that left."""
        self.at_ns: dict[str, int] = {}

    def apply(self, records: Iterable[Stored]) -> None:
        """The next ones. Raises: msgspec.DecodeError."""
        for stored in records:
            self.seq = stored.seq
            if stored.record.type == TYPE:
                applied = msgspec.json.decode(stored.record.payload, type=Applied)
                self.last[applied.key] = applied
                self.rows[applied.key] = self.rows.get(applied.key, 0) + applied.rows
                self.at_ns[applied.key] = stored.record.at_ns

    @property
    def horizons(self) -> dict[str, Horizon]:
        """As tables keep them."""
        return {key: applied.horizon for key, applied in self.last.items()}

    def says(self, key: str, claimed: Horizon) -> bool:
        """Whether all that is claimed to have left has."""
        last = self.last.get(key)
        return last is not None and claimed.seq <= last.seq and claimed.before <= last.before


def first_day(horizons: Mapping[str, Horizon], table: str, tenant: str) -> int:
    """The first day (since 1970) from which a tenant's rows of a table are whole; 0: all are."""
    return Left(horizons).before(table, tenant, 0)


class Left:
    """Horizons, as those who fill tables ask."""

    def __init__(self, horizons: Mapping[str, Horizon]) -> None:
        self.ends = frozenset(horizon.seq for horizon in horizons.values())
        """Records after which less is left out than before."""
        self.last = max(self.ends, default=0)
        self._days = {key: (_days(horizon.before), horizon.seq) for key, horizon in horizons.items()}

    def before(self, table: str, tenant: str, seq: int) -> int:
        """Of rows that record `seq` or earlier ones gave: those of days before this one have left; 0: none have."""
        keys = (horizon_key(table), horizon_key(table, tenant))
        found = [self._days[key] for key in keys if key in self._days]
        return max((day for day, end in found if end >= seq), default=0)


NOTHING = Left({})


def _days(text: str) -> int:
    return (date.fromisoformat(text) - _EPOCH).days
