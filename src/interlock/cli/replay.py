"""`interlock replay`: past calls decided again, from a data directory's log or from a file of token counts."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from interlock.cli.client import log_dir
from interlock.cli.output import Column, Progress, complain, money, number, say, say_csv, say_json, table
from interlock.clock import SystemClock
from interlock.errors import InterlockError, LocalError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from interlock.gateway import Policy
    from interlock.ledger import Ledger
    from interlock.replay import Report, Traffic

MOVES_SHOWN = 12
_FIGURES = ("attempts", "changed", "actual_nanousd", "replayed_nanousd", "difference_nanousd", "cache_nanousd")


def run(args: Any) -> int:
    """Status 0, whatever it found."""
    policy = _policy(args.policy)
    against = _policy(args.against) if args.against else None
    with Progress("replaying") as progress:
        report, problem = (_traffic if args.csv else _ledger)(args, policy, against, progress)
    if args.format == "json":
        say_json({**_json(report), "problem": problem})
    elif args.format == "csv":
        say_csv(("rule", "tier", *_FIGURES), [_row(rule) for rule in report.rules])
    else:
        say(*_lines(report))
    if problem:
        complain(problem)
    return 0


def _policy(path: str) -> "Policy":
    from interlock import config

    loaded = config.resolve_prices(config.load(Path(path)), now_ns=SystemClock().now_ns())
    complain(*(each for each in loaded.warnings if each not in loaded.credentials))  # nothing is sent anywhere
    return loaded.policy


def _traffic(args: Any, policy: "Policy", against: "Policy | None", progress: Progress) -> tuple["Report", str | None]:
    from interlock.replay import baseline_of, read_traffic, replay_traffic

    named = {what: getattr(args, f"{what}_column") for what in ("input", "output", "mode", "model")}
    path = Path(args.csv)
    calls: Iterable[Traffic] = _told(read_traffic(path, named), progress, path.name)
    if against:
        return replay_traffic(calls, policy, against).report(policy.version, against.version), None
    baseline = baseline_of(policy)
    return replay_traffic(calls, policy, baseline).report(policy.version, baseline.name), None


def _ledger(args: Any, policy: "Policy", against: "Policy | None", progress: Progress) -> tuple["Report", str | None]:
    from interlock.cli.offline import ask, check_order
    from interlock.instants import instant_ns
    from interlock.replay import Replay

    if against is not None:
        raise LocalError("--against goes with --csv: of the ledger it is known what was", field="--against")
    now_ns = SystemClock().now_ns()
    window = {
        "since_ns": instant_ns(args.since, now_ns, "--since") if args.since else None,
        "until_ns": instant_ns(args.until, now_ns, "--until") if args.until else None,
        "tenant": args.tenant,
    }
    check_order(window["since_ns"], window["until_ns"])
    boundaries = _boundaries(args)
    reports: list[Report] = []

    async def question(ledger: "Ledger") -> dict[str, Any]:
        replay = Replay(policy, boundaries)
        with ledger.past(**window) as rows:
            replay.feed(_told(rows, progress, "attempts"))
        reports.append(replay.sums.report(policy.version, "as it was"))
        return {}

    found = ask(log_dir(args), question, args.tenant)
    return reports[0], found["problem"]


def _boundaries(args: Any) -> Callable[[str, str], tuple[str, ...]]:
    """The profiles of each tenant and key, by the directory as it is now."""
    from contextlib import closing

    from interlock.cli.offline import check_data_dir
    from interlock.identity import Directory
    from interlock.log.sqlite import SqliteLog

    directory = Directory()
    with closing(SqliteLog(check_data_dir(log_dir(args)).log)) as log:
        for stored in log.read_after("identity", 0):
            directory.apply(stored)
    known: dict[tuple[str, str], tuple[str, ...]] = {}

    def of(tenant: str, key_id: str) -> tuple[str, ...]:
        found = known.get((tenant, key_id))
        if found is None:
            key = directory.keys.get(key_id)
            if key is None:
                raise InterlockError(f"key {key_id} of a recorded call was never issued", code="log_corrupt")
            found = known[tenant, key_id] = directory.boundaries(key)
        return found

    return of


def _told(rows: "Iterator[Any]", progress: Progress, what: str) -> "Iterator[Any]":
    for count, row in enumerate(rows, 1):
        if count % 10_000 == 0:
            progress.tell(what, count)
        yield row


def _json(report: "Report") -> dict[str, Any]:
    """Amounts as strings, as in every answer of the API."""

    def told(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: str(inner) if key.endswith("_nanousd") else told(inner) for key, inner in value.items()}
        return [told(inner) for inner in value] if isinstance(value, list | tuple) else value

    found: dict[str, Any] = told(msgspec.to_builtins(report))
    return found


def _row(rule: Any) -> dict[str, Any]:
    return {name: getattr(rule, name) for name in ("rule", "tier", *_FIGURES)}


def _lines(report: "Report") -> list[str]:
    columns = [
        Column("rule"),
        Column("tier"),
        *(Column(title, True) for title in ("attempts", "changed", "actual", "replayed", "difference", "caches")),
    ]
    rows = [[rule.rule, rule.tier or "-", *_cells(rule)] for rule in report.rules]
    lines = [f"policy {report.policy}, against {report.against}", ""]
    lines += table(columns, [*rows, ["total", "", *_cells(report)]])
    if report.moves:
        moved = [
            [one.rule, one.was, one.would_be, number(one.attempts), _signed(one.difference_nanousd), one.example]
            for one in report.moves[:MOVES_SHOWN]
        ]
        titles = [*map(Column, ("rule", "from", "to")), Column("attempts", True), Column("difference", True)]
        lines += ["", *table([*titles, Column("for example")], moved)]
        if len(report.moves) > MOVES_SHOWN:
            lines.append(f"… and {len(report.moves) - MOVES_SHOWN} more (--format json)")
    for one in report.refused[:MOVES_SHOWN]:
        lines += ["", f"refused: {number(one.attempts)} by rule {one.rule} ({one.code}): {one.why}; {one.example}"]
    left = [
        f"{number(getattr(report, name))} {name.replace('_', ' ')}"
        for name in ("open", "unpriced", "replay_unpriced", "given_again", "unread")
        if getattr(report, name)
    ]
    return [*lines, *(["", f"attempts left out: {', '.join(left)}"] if left else [])]


def _cells(one: Any) -> list[str]:
    return [
        number(one.attempts),
        number(one.changed),
        money(one.actual_nanousd),
        money(one.replayed_nanousd),
        _signed(one.difference_nanousd),
        _signed(one.cache_nanousd),
    ]


def _signed(nanousd: int) -> str:
    return f"-{money(-nanousd)}" if nanousd < 0 else f"+{money(nanousd)}" if nanousd else "-"
