"""`interlock meters`: define, list, ask and retire, through the server."""

from collections.abc import Sequence
from typing import Any

from interlock.cli.client import call, segment
from interlock.cli.output import Column, complain, say, say_csv, say_json, table

_COLUMNS = ("slug", "version", "aggregation", "event_type", "value", "group_by", "where", "ready", "description")


def define(args: Any) -> int:
    """What stands now: defining the same again changes nothing."""
    body = {
        "slug": args.slug,
        "event_type": args.event_type,
        "aggregation": args.aggregation,
        "value": args.value,
        "group_by": dict(args.group_by),
        "where": _lists(args.where),
        "allow_negative": args.allow_negative,
        "description": args.description,
    }
    meter = call(args, "POST", "/v1/meters", params={"tenant": args.tenant}, body=body)
    if args.format == "json":
        say_json(meter)
    else:
        say(f"{meter['slug']} of {args.tenant} is version {meter['version']}")
    return 0


def show(args: Any) -> int:
    """The newest version of each."""
    found = call(args, "GET", "/v1/meters", params={"tenant": args.tenant})
    if args.format == "json":
        say_json(found)
        return 0
    rows = [
        {**meter, "group_by": _pairs(meter["group_by"]), "where": _pairs(meter["where"])} for meter in found["meters"]
    ]
    if args.format == "csv":
        say_csv(_COLUMNS, rows)
        return 0
    cells = [
        [str(row[name] or "-") if name != "ready" else "yes" if row[name] else "no" for name in _COLUMNS]
        for row in rows
    ]
    say(*table([Column(name.replace("_", " "), name == "version") for name in _COLUMNS], cells))
    return 0


def query(args: Any) -> int:
    """One row a window and combination; values exact."""
    body = {
        "from": args.since,
        "to": args.until,
        "window_size": args.window,
        "zone": args.zone,
        "group_by": args.by.split(",") if args.by else [],
        "filter": _lists(args.filter),
        "version": args.version,
    }
    path = f"/v1/meters/{segment(args.slug)}/query"
    found = call(args, "POST", path, params={"tenant": args.tenant}, body=body)
    by, rows = found["group_by"], found["rows"]
    if args.format == "json":
        say_json(found)
    elif args.format == "csv":
        say_csv(("window_start", "window_end", *by, "value"), [{**row, **row["group_by"]} for row in rows])
    else:
        columns = [Column("from"), Column("to"), *map(Column, by), Column(found["aggregation"].replace("_", " "), True)]
        cells = [
            [row["window_start"], row["window_end"], *(row["group_by"][name] or "-" for name in by), row["value"]]
            for row in rows
        ]
        say(*table(columns, cells))
    if found["unreadable"]:
        complain(f"{found['unreadable']} events of that time came before the meter did and cannot be read by it")
    return 0


def retire(args: Any) -> int:
    """It is not asked and not answered any more."""
    found = call(args, "DELETE", f"/v1/meters/{segment(args.slug)}", params={"tenant": args.tenant})
    if args.format == "json":
        say_json(found)
    else:
        say(f"{found['slug']} is retired")
    return 0


def _lists(pairs: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    lists: dict[str, list[str]] = {}
    for name, value in pairs:
        lists.setdefault(name, []).append(value)
    return lists


def _pairs(found: dict[str, Any]) -> str:
    return " ".join(f"{name}={value if isinstance(value, str) else '|'.join(value)}" for name, value in found.items())
