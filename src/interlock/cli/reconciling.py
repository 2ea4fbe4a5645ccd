"""`interlock reconcile`: a provider's export held against what was metered; with --apply the difference is booked."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from interlock.cli.client import LONG_S, NoServer, call, data_dir, url
from interlock.cli.output import Column, complain, number, say, say_csv, say_json, table
from interlock.clock import SystemClock
from interlock.errors import LocalError
from interlock.instants import instant_ns

if TYPE_CHECKING:
    from interlock.reconciling import Statement

DIFFERS = 3
"""Exit status: the two sides are not the same."""
_CSV = (
    *("starts", "ends", "model", "kind", "status", "classes", "explained"),
    *("ours_quantity", "theirs_quantity", "difference_quantity"),
    *("ours_nanousd", "theirs_nanousd", "difference_nanousd", "currency", "detail", "places"),
)


def run(args: Any) -> int:
    """0: all rows match, or what differed is booked. 3: some do not."""
    from interlock.reconciling import read

    statement = read(
        args.provider,
        [Path(name) for name in args.files],
        providers=args.of,
        named=args.columns,
        width=args.bucket,
        amount_places=args.places,
        models=dict(args.map),
    )
    found = _ask(args, statement, *_window(args))
    report, booked = found["report"], found["booked"]
    if args.format == "json":
        say_json(found)
    elif args.format == "csv":
        say_csv(_CSV, [_flat(row) for row in report["rows"]])
    else:
        say(*_lines(report, booked, all_rows=args.all))
    if found["problem"]:
        complain(f"not complete: {found['problem']}")
        return 1
    left = [row for row in report["rows"] if row["status"] != "matched" and not (booked and _bookable(row))]
    return DIFFERS if left else 0


def _window(args: Any) -> tuple[int | None, int | None]:
    now_ns = SystemClock().now_ns()
    since_ns = instant_ns(args.since, now_ns, "--since") if args.since else None
    until_ns = instant_ns(args.until, now_ns, "--until") if args.until else None
    if since_ns is not None and until_ns is not None and since_ns >= until_ns:
        raise LocalError("--since is not before --until", field="--since")
    return since_ns, until_ns


def _ask(args: Any, statement: "Statement", since_ns: int | None, until_ns: int | None) -> dict[str, Any]:
    """From the server; without one from the directory, unless it is to be booked."""
    import os

    if args.data and not os.environ.get("INTERLOCK_URL") and not args.apply:
        return _offline(args, statement, since_ns, until_ns)
    body = {"statement": statement, "since_ns": since_ns, "until_ns": until_ns, "apply": args.apply}
    try:
        found: dict[str, Any] = call(args, "POST", "/v1/reconciliations", body=body, timeout_s=LONG_S)
        return found
    except NoServer:
        if args.apply or (os.environ.get("INTERLOCK_URL") and not args.data):
            raise
        found = _offline(args, statement, since_ns, until_ns)
        complain(f"no server at {url()}: read from {data_dir(args)}")
        return found


def _offline(args: Any, statement: "Statement", since_ns: int | None, until_ns: int | None) -> dict[str, Any]:
    from interlock.cli.offline import ask
    from interlock.ledger import Ledger
    from interlock.reconciling import Window, compare, to_api

    async def question(ledger: Ledger) -> dict[str, Any]:
        now_ns = SystemClock().now_ns()
        report = compare(ledger, statement, Window(since_ns, until_ns), now_ns=now_ns)
        return {"report": to_api(report), "booked": None}

    return ask(data_dir(args), question)


def _bookable(row: dict[str, Any]) -> bool:
    return not {"duplicate", "currency"} & set(row["classes"])


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"classes": " ".join(row["classes"]), "places": "; ".join(row["places"])}


def _lines(report: dict[str, Any], booked: dict[str, Any] | None, *, all_rows: bool) -> list[str]:
    rows = [row for row in report["rows"] if all_rows or row["status"] != "matched"]
    totals, plan = report["totals"], report["plan"]
    said = [f"{', '.join(report['providers'])}, {report['since'][:16]}Z to {report['until'][:16]}Z", ""]
    if rows:
        said += [*_table(rows), ""]
    said.append(f"{number(totals['matched'])} of {number(totals['rows'])} rows match" + _classes(totals["classes"]))
    if totals["theirs_nanousd"] is not None:
        said.append(
            f"theirs {_usd(totals['theirs_nanousd'])} = ours {_usd(totals['ours_nanousd'])} "
            f"+ explained {_usd(totals['explained_nanousd'])} + unexplained {_usd(totals['unexplained_nanousd'])}"
        )
    said += [f"note: {note}" for note in report["notes"]]
    calls = f"{plan['attempts']} {'call' if plan['attempts'] == 1 else 'calls'} with true figures"
    entries = f"{plan['entries']} {'entry' if plan['entries'] == 1 else 'entries'}"
    what = f"{calls} ({_usd(plan['attempts_nanousd'])}), {entries}"
    by = ", ".join(f"{tenant} {_usd(nanousd)}" for tenant, nanousd in plan["tenants"].items())
    if int(plan["unnamed_nanousd"]):
        by += f" ({_usd(plan['unnamed_nanousd'])} of it of no team, principal or session)"
    if booked:
        said.append(f"booked: {what}{f': {by}' if by else ''}")
    elif plan["attempts"] or plan["entries"]:
        said.append(f"--apply would book {what}{f': {by}' if by else ''}")
    return said


def _classes(classes: dict[str, int]) -> str:
    return f" ({', '.join(f'{count} {name}' for name, count in classes.items())})" if classes else ""


def _table(rows: list[dict[str, Any]]) -> list[str]:
    columns = [Column("from"), Column("model"), Column("kind"), Column("status"), Column("class")]
    columns += [
        Column(name, True) for name in ("ours", "theirs", "difference", "ours usd", "theirs usd", "difference usd")
    ]
    cells = [
        [
            row["starts"][:16].removesuffix("T00:00"),
            row["model"] or "-",
            row["kind"] or "-",
            row["status"].replace("_", " "),
            " ".join(row["classes"]) or "-",
            *(_count(row[f"{side}_quantity"]) for side in ("ours", "theirs", "difference")),
            *(_money(row[f"{side}_nanousd"], row["currency"]) for side in ("ours", "theirs", "difference")),
        ]
        for row in rows
    ]
    told = table(columns, cells)
    details = [f"  {row['starts'][:10]} {row['model']} {row['kind']}: {row['detail']}" for row in rows if row["detail"]]
    return [*told, *([""] if details else []), *details]


def _count(text: str | None) -> str:
    if text is None:
        return "-"
    whole, point, part = text.partition(".")
    return f"{int(whole):,}{point}{part}"


def _money(nanousd: str | None, currency: str) -> str:
    if nanousd is None:
        return "-"
    return _usd(nanousd) if currency == "USD" else f"{_usd(nanousd).replace('$', '')} {currency}"


def _usd(nanousd: str) -> str:
    """Every digit: theirs may be finer than a nano-dollar."""
    from fractions import Fraction

    from interlock.reconciling.report import exact_usd

    text = exact_usd(Fraction(nanousd))
    return f"-${text[1:]}" if text.startswith("-") else f"${text}"
