"""`interlock costs`, `budgets` and `anomalies`: who cost what, how long limits last, and who costs far too much."""

from typing import Any

from interlock.cli.client import call
from interlock.cli.output import Column, money, number, say, say_csv, say_json, table
from interlock.cli.queries import ask, status

_FIGURES = ("amount_nanousd", "share_ppm", "requests", "sessions", "input", "output", "unpriced")
_COMPARED = ("per_request_nanousd", "per_session_nanousd", "previous_nanousd", "change_nanousd", "change_ppm")
_TITLES = ("cost", "share", "requests", "input", "output", "per request", "per session", "before", "change")


def costs(args: Any) -> int:
    """The statement of a window; its rows sum to the total of `interlock usage`."""
    params = {"by": args.by, "since": args.since, "until": args.until, "tenant": args.tenant}
    found = ask(args, "/v1/costs", params, "costs")
    by, rows = found["by"], found["rows"]
    if args.format == "json":
        say_json(found)
    elif args.format == "csv":
        say_csv((*by, *_FIGURES, *_COMPARED), [{**row, **row["dimensions"]} for row in rows])
    else:
        say(f"from {found['since']} to {found['until']}; before: from {found['previous_since']}", "")
        cells = [[*(row["dimensions"][name] or "-" for name in by), *_cells(row)] for row in rows]
        if by:
            cells.append([*("total" if n == 0 else "" for n in range(len(by))), *_cells(found["total"])])
        say(*table([*map(Column, by), *(Column(title, True) for title in _TITLES)], cells))
        for one in found["unattributed"]:
            if int(one["amount_nanousd"]):
                say(f"without a {one['dimension']}: {money(one['amount_nanousd'])} ({percent(one['share_ppm'])})")
        if found["total"]["unpriced"]:
            say(f"not priced: {number(found['total']['unpriced'])} attempts, whose cost is in no figure")
    return status(found)


def percent(ppm: int | None, *, signed: bool = False) -> str:
    """Of millionths, to a hundredth of a per cent; `-` for None.

    >>> percent(123_456), percent(-5), percent(1_500_000, signed=True)
    ('12.35%', '-0.00%', '+150.00%')
    """
    return "-" if ppm is None else f"{'+' if signed and ppm > 0 else ''}{ppm / 10_000:.2f}%"


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        money(row["amount_nanousd"]),
        percent(row["share_ppm"]),
        *(number(row[name]) for name in ("requests", "input", "output")),
        *("-" if row[name] is None else money(row[name]) for name in _COMPARED[:3]),
        percent(row["change_ppm"], signed=True),
    ]


def budgets(args: Any) -> int:
    """How long limits last; what is used up first comes first."""
    found = call(args, "GET", "/v1/budgets", params={"tenant": args.tenant})
    columns = ("name", "for", "measure", "window", "used", "amount", "per_hour", "at_end", "exhausted_at", "state")
    rows = [{**one, **_present(one), "for": scope(one)} for one in found["budgets"]]
    if args.format == "json":
        say_json(found)
    elif args.format == "csv":
        say_csv((*columns, "says"), rows)
    else:
        numbers = ("used", "amount", "per_hour", "at_end")
        cells = [[str(row[name] or "-") for name in columns] for row in rows]
        say(*table([Column(name.replace("_", " "), name in numbers) for name in columns], cells))
        if rows:
            say("", *(f"{' '.join(filter(None, (one['name'], one['for'])))}: {one['says']}" for one in rows))
        if found["more"]:
            say(f"… and {found['more']} that are less urgent")
    return 0


def scope(one: dict[str, Any]) -> str:
    """Whose it is."""
    return " ".join(f"{name}={value}" for name, value in one["scope"].items())


def _present(one: dict[str, Any]) -> dict[str, Any]:
    """The figures of the present rate: that of lately, if it is known."""
    course = one["recent"] or one["average"] or {}
    return {"per_hour": course.get("per_hour"), "at_end": course.get("at_end")}


def anomalies(args: Any) -> int:
    """The latest first."""
    params = {name: getattr(args, name) for name in ("kind", "since", "until", "tenant")}
    found = call(args, "GET", "/v1/anomalies", params=params)
    rows, texts = found["anomalies"], ("until", "kind", "tenant", "team", "mode", "name")
    figures = ("times", "cost", "median", "peers")
    if args.format == "json":
        say_json(found)
    elif args.format == "csv":
        say_csv(("id", *texts, *figures, "since", "factor", "floor"), rows)
    else:
        cells = [[str(row[name] or "-") for name in (*texts, *figures)] for row in rows]
        titles = {"until": "found", "cost": "cost $", "median": "median $"}
        say(*table([Column(titles.get(name, name), name in figures) for name in (*texts, *figures)], cells))
        if found["more"]:
            say(f"… and {found['more']} that are older")
    return 0
