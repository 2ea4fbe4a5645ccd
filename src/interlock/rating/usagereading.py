"""Usage from outside: a JSON document, or CSV rows of single quantities; bounded, and a mistake names its place."""

import csv
import io
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

from interlock.errors import LocalError
from interlock.rating.exact import exact
from interlock.rating.reading import read_as, read_bytes, read_document
from interlock.rating.usage import BUCKETS_MAX, EVENTS_MAX, METERS_MAX, PRORATED_MAX, Bucket, Event, Usage

FILE_BYTES_MAX = 16 << 20
ROWS_MAX = 100_000
COUNT_MAX = 10**12
DAYS_MAX = 10**9
"""Seconds of a period are days here, for who bills to the second."""
_COLUMNS = ("charge", "quantity", "bucket", "meter", "event")


def read_usage(document: object) -> dict[str, Usage]:
    """Charge id to its usage, from a decoded document.

    Raises: LocalError: `invalid_request`; `field` is the place, as `tokens.buckets[3].quantity`.
    """
    if not isinstance(document, Mapping):
        raise LocalError("the usage is not an object of charges", field="usage")
    _most(len(document), ROWS_MAX, "usage")
    found = {}
    for name, one in document.items():
        given = one if isinstance(one, Mapping) else {"quantity": one}
        usage = found[name] = read_as(given, Usage, "usage", f"{name[:100]}.")
        check_usage(usage, f"{name[:100]}.")
    return found


def read_usage_file(path: Path) -> dict[str, Usage]:
    """From a `.csv` file of quantities (columns charge, quantity, and bucket, meter or event), or a JSON or TOML one.

    Raises: LocalError: as `read_usage`; OSError.
    """
    if path.suffix.lower() == ".csv":
        return _rows(read_bytes(path, "usage", FILE_BYTES_MAX))
    return read_usage(read_document(path, "usage", FILE_BYTES_MAX))


def check_usage(usage: Usage, at: str = "") -> None:
    """Raises: LocalError: more than can be rated, or days that are none."""
    _most(len(usage.events), EVENTS_MAX, f"{at}events")
    _most(len(usage.buckets), BUCKETS_MAX, f"{at}buckets")
    _most(len(usage.meters), METERS_MAX, f"{at}meters")
    _most(sum(event.prorated is not None for event in usage.events), PRORATED_MAX, f"{at}events with prorated")
    if usage.event_count is not None and not 0 <= usage.event_count <= COUNT_MAX:
        raise LocalError(f"{at}event_count: expected 0 to {COUNT_MAX}", field=f"{at}event_count")
    if usage.days is not None and not 0 <= usage.days.billed <= usage.days.period <= DAYS_MAX:
        raise LocalError(f"{at}days: expected 0 <= billed <= period <= {DAYS_MAX}", field=f"{at}days")
    if usage.days is not None and not usage.days.period:
        raise LocalError(f"{at}days.period: expected at least 1", field=f"{at}days.period")


def _most(count: int, most: int, at: str) -> None:
    if count > most:
        raise LocalError(f"{at}: found {count}; expected at most {most}", field=at)


def _rows(data: bytes) -> dict[str, Usage]:
    try:
        reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        names = reader.fieldnames or ()
        if "charge" not in names or "quantity" not in names or set(names) - set(_COLUMNS):
            raise LocalError(f"the header is {','.join(_COLUMNS)}; charge and quantity are required", field="usage")
        rows = list(zip(range(ROWS_MAX + 1), reader, strict=False))
    except (UnicodeDecodeError, csv.Error) as error:
        raise LocalError(f"the usage is not CSV in UTF-8: {error}", field="usage") from error
    _most(len(rows), ROWS_MAX, "rows")
    gathered: dict[str, _Gathered] = {}
    for index, row in rows:
        at = f"row {index + 2}"
        if None in row or None in row.values():
            raise LocalError(f"{at}: not as many cells as the header", field=at)
        try:
            quantity = exact(row["quantity"].strip())
        except ValueError as error:
            raise LocalError(f"{at}: quantity: {error}", field=f"{at}: quantity") from error
        gathered.setdefault(row["charge"], _Gathered()).add(row, quantity, at)
    return {name: one.usage() for name, one in gathered.items()}


class _Gathered:
    """The rows of one charge."""

    def __init__(self) -> None:
        self.sums: list[Fraction] = []
        self.buckets: dict[str, Fraction] = {}
        self.meters: dict[str, Fraction] = {}
        self.events: list[Event] = []
        self.kind: str | None = None

    def add(self, row: Mapping[str, str], quantity: Fraction, at: str) -> None:
        kinds = [kind for kind in ("bucket", "meter", "event") if row.get(kind)]
        kind = kinds[0] if kinds else ""
        if self.kind not in (None, kind):
            raise LocalError(f"{at}: the rows of a charge are all of one kind: bucket, meter, event or none", field=at)
        self.kind = kind
        match kinds:
            case []:
                self.sums.append(quantity)
            case ["bucket"]:
                self.buckets[row["bucket"]] = self.buckets.get(row["bucket"], Fraction(0)) + quantity
            case ["meter"]:
                self.meters[row["meter"]] = self.meters.get(row["meter"], Fraction(0)) + quantity
            case ["event"]:
                self.events.append(Event(value=quantity))
            case _:
                raise LocalError(f"{at}: fill one of bucket, meter and event, not {' and '.join(kinds)}", field=at)

    def usage(self) -> Usage:
        buckets = tuple(Bucket(name=name, quantity=quantity) for name, quantity in self.buckets.items())
        usage = Usage(
            quantity=sum(self.sums, Fraction(0)) if self.sums else None,
            buckets=buckets,
            meters=self.meters,
            events=tuple(self.events),
        )
        check_usage(usage)
        return usage
