"""What a meter should say, by plain means: events in lists, UTC windows by cutting the text of a time."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal, getcontext
from typing import Any

from interlock.meters import Query, Version


def text(value: object) -> str | None:
    return None if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def reckoned(version: Version, query: Query, sent: Sequence[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Rows as (start, end, groups…, value), in order."""
    meter = version.meter
    groups: defaultdict[tuple[Any, ...], list[tuple[str, int, Decimal]]] = defaultdict(list)
    minutes = {one["id"]: int(datetime.fromisoformat(one["time"][:16] + "Z").timestamp()) // 60 for one in sent}
    read = [one for one in sent if one["type"] == meter.event_type]
    read = [one for one in read if not meter.where or one["data"]["deep"]["kind"] in meter.where["$.deep.kind"]]
    named = {one["id"]: names_of(one) for one in read}
    inside = [
        one
        for one in read
        if all(named[one["id"]][name] in values for name, values in query.where.items())
        and (query.since is None or minutes[one["id"]] >= query.since)
        and (query.until is None or minutes[one["id"]] < query.until)
    ]
    if not inside:
        return []
    first, last = min(minutes[one["id"]] for one in inside), max(minutes[one["id"]] for one in inside)
    since = first if query.since is None else query.since
    end = last + 1 if query.until is None else query.until
    for place, one in enumerate(inside):
        names = named[one["id"]]
        start, stop = window(query.size, one["time"]) if query.size else (since, end)
        start = max(start, query.since) if query.since is not None else start
        stop = min(stop, query.until) if query.until is not None else stop
        key = (start, stop, *(names[name] for name in query.by))
        groups[key].append((one["time"].rstrip("Z"), place, Decimal(str(one["data"]["q"]))))
    rows = [(*key, aggregate(meter.aggregation, found)) for key, found in groups.items()]
    return sorted(rows, key=lambda row: tuple((cell is None, cell or 0) for cell in row[:-1]))


def names_of(one: dict[str, Any]) -> dict[str, str | None]:
    data = one["data"]
    return {"subject": one["subject"], "model": text(data.get("model")), "kind": data["deep"]["kind"]}


def window(size: str, time: str) -> tuple[int, int]:
    cut = {"minute": 16, "hour": 13, "day": 10, "month": 7}[size]
    whole = time[:cut] + "2026-01-01T00:00"[cut:]
    start = datetime.fromisoformat(whole + "Z")
    if size == "month":
        after = start.replace(month=start.month + 1)
        return int(start.timestamp()) // 60, int(after.timestamp()) // 60
    minutes = {"minute": 1, "hour": 60, "day": 1440}[size]
    return int(start.timestamp()) // 60, int(start.timestamp()) // 60 + minutes


def aggregate(kind: str, found: list[tuple[str, int, Decimal]]) -> Decimal:
    values = [value for _, _, value in found]
    getcontext().prec = 60
    match kind:
        case "sum":
            return sum(values, Decimal(0))
        case "count":
            return Decimal(len(values))
        case "unique_count":
            return Decimal(len({str(value) for value in values}))
        case "min":
            return min(values)
        case "max":
            return max(values)
        case "avg":
            return (sum(values, Decimal(0)) / len(values)).quantize(Decimal("1e-12"))
    latest = max(time for time, _, _ in found)
    return next(value for time, _, value in reversed(found) if time == latest)
