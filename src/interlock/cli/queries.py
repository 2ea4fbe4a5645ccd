"""`interlock usage`, `savings` and `explain`: asked of the server, or of a data directory if no server runs."""

import os
from collections.abc import Awaitable, Callable
from typing import Any

from interlock.cli.client import NoServer, call, data_dir, segment, url
from interlock.cli.explaining import lines
from interlock.cli.output import Column, complain, money, number, say, say_csv, say_json, table

_SUMS = ("requests", "attempts", "open", "input", "cache_read", "cache_write", "output", "reasoning")
_SHOWN_IF_ANY = ("unpriced", "estimated", "lost", "cache_hits")
_COMPARED = ("requests", "attempts", "actual_nanousd", "baseline_nanousd", "saved_nanousd")
_LEFT_OUT = ("open", "unpriced", "baseline_unpriced", "no_baseline")


def usage(args: Any) -> int:
    """One row a combination; amounts exact."""
    params = {"by": args.by, "since": args.since, "until": args.until, "tenant": args.tenant}
    found = ask(args, "/v1/usage", params, "usage")
    by, rows = found["by"], found["rows"]
    if args.format == "json":
        say_json(found)
    elif args.format == "csv":
        say_csv((*by, *_SUMS, "amount_nanousd", *_SHOWN_IF_ANY), [{**row, **row["dimensions"]} for row in rows])
    else:
        shown = [name for name in _SHOWN_IF_ANY if any(row[name] for row in rows)]
        columns = [*map(Column, by), *(Column(name.replace("_", " "), True) for name in (*_SUMS, "cost", *shown))]
        say(*table(columns, [_usage_cells(row, by, shown) for row in rows]))
    return status(found)


def savings(args: Any) -> int:
    """Both figures and their difference, by tier and in all."""
    params = {"since": args.since, "until": args.until, "tenant": args.tenant}
    found = ask(args, "/v1/savings", params, "savings")
    rows = [*found["tiers"], {**found, "tier": "total"}]
    if args.format == "json":
        say_json(found)
    elif args.format == "csv":
        say_csv(("tier", *_COMPARED, *_LEFT_OUT), rows)
    else:
        titles = ("requests", "attempts", "actual", "baseline", "saved")
        cells = [
            [row["tier"] or "-", *map(number, (row["requests"], row["attempts"])), *map(money, _amounts(row))]
            for row in rows
        ]
        say(*_baselines(found), "")
        say(*table([Column("tier"), *(Column(title, True) for title in titles)], cells))
        left_out = [f"{found[name]} {name.replace('_', ' ')}" for name in _LEFT_OUT if found[name]]
        if left_out:
            say("", f"attempts left out: {', '.join(left_out)}")
    return status(found)


def explain(args: Any) -> int:
    """Everything about one request."""
    found = ask(args, f"/v1/explain/{segment(args.request_id)}", {}, "explain")
    if args.format == "json":
        say_json(found)
    else:
        say(*lines(found))
    return status(found)


def ask(args: Any, path: str, params: dict[str, str | None], question: str) -> dict[str, Any]:
    """The answer from the server; from the directory if `--data` alone says where to look, or
    no server answers there."""
    if args.data and not os.environ.get("INTERLOCK_URL"):
        return _offline(args, params, question)
    try:
        found: dict[str, Any] = call(args, "GET", path, params=params)
        return found
    except NoServer:
        if os.environ.get("INTERLOCK_URL") and not args.data:
            raise
        found = _offline(args, params, question)
        complain(f"no server at {url()}: read from {data_dir(args)}")
        return found


def _offline(args: Any, params: dict[str, str | None], question: str) -> dict[str, Any]:
    from interlock.cli.offline import ask
    from interlock.clock import SystemClock
    from interlock.control import views

    given = {name: value for name, value in params.items() if value is not None}
    tenant, clock = given.pop("tenant", None), SystemClock()
    questions: dict[str, Callable[[Any], Awaitable[dict[str, Any]]]] = {
        "usage": lambda ledger: views.usage(ledger, given, tenant, clock),
        "costs": lambda ledger: views.costs(ledger, given, tenant, clock),
        "savings": lambda ledger: views.savings(ledger, given, tenant, clock),
        "explain": lambda ledger: views.explain(ledger, args.request_id, tenant),
    }
    return ask(data_dir(args), questions[question], tenant)


def status(found: dict[str, Any]) -> int:
    """The exit status: 1 if the answer is not complete, which is said."""
    if found["problem"]:
        complain(f"not complete: {found['problem']}")
    return int(bool(found["problem"]))


def _usage_cells(row: dict[str, Any], by: list[str], shown: list[str]) -> list[str]:
    sums = [number(row[name]) for name in _SUMS]
    return [
        *(row["dimensions"][name] or "-" for name in by),
        *sums,
        money(row["amount_nanousd"]),
        *(number(row[n]) for n in shown),
    ]


def _baselines(found: dict[str, Any]) -> list[str]:
    """What the baseline is and where its price is from. `override`: in the configuration."""
    if found["baselines"]:
        named = (f"{one['name']} (price: {_source(one['price_source'])})" for one in found["baselines"])
        return [
            f"baseline: {', '.join(named)}",
            "the same tokens at its prices; nobody knows how many it would have used",
        ]
    return ["baseline: none" if found["no_baseline"] else "nothing to compare yet"]


def _source(text: str) -> str:
    return "the configuration" if text == "override" else text or "source not told"


def _amounts(row: dict[str, Any]) -> list[Any]:
    return [row[name] for name in ("actual_nanousd", "baseline_nanousd", "saved_nanousd")]
