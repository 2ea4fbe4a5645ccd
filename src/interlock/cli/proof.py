"""`interlock export` and `rebuild`: on the files of a data directory, whether or not a server runs on it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from interlock.cli.client import data_dir, log_dir
from interlock.cli.output import Column, Progress, complain, number, say, say_json, table
from interlock.errors import LocalError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interlock.datadir import DataDir
    from interlock.proof.export import Period
    from interlock.proof.views import View


def export(args: Any) -> int:
    """Write a bundle, or print its verifier."""
    from interlock.cli.offline import check_data_dir
    from interlock.proof import export as exporting

    if args.verifier:
        print(exporting.script(), end="")
        return 0
    for name in ("tenant", "output"):
        if not getattr(args, name):
            raise LocalError(f"--{name} is missing", field=f"--{name}")
    period = _period(args)
    with Progress("exporting") as progress:
        done = exporting.export(
            check_data_dir(log_dir(args)), args.tenant, period, Path(args.output), progress=progress.tell
        )
    if done.newer:
        newest = f"checkpoint {done.checkpoint}, the newest"
        complain(
            f"{done.newer} records came after {newest}, and are not in it: `interlock checkpoint` writes a new one"
        )
    if args.format == "json":
        say_json({"output": args.output, **msgspec.to_builtins(done)})
        return 0
    manifest = done.manifest
    rows = [[kind, number(one.records), number(one.events)] for kind, one in manifest.counts.items()]
    say(*table([Column("type"), Column("records", True), Column("events", True)], rows), "")
    say(f"{args.output}: {manifest.tenant}, {manifest.since} to {manifest.until}")
    say(f"records {manifest.first} to {manifest.last} of {manifest.stream}, attested by checkpoint {done.checkpoint}")
    say(f"signed by {manifest.public_key}")
    return 0


def _period(args: Any) -> "Period":
    from interlock.cli.offline import check_order
    from interlock.clock import SystemClock
    from interlock.instants import instant_ns
    from interlock.proof.export import Period, month

    if bool(args.period) == bool(args.since):
        raise LocalError("write either --period 2026-11, or --since and --until", field="--period")
    if args.period:
        if args.until:
            raise LocalError("--until goes with --since, not with --period", field="--until")
        return month(args.period)
    now_ns = SystemClock().now_ns()
    since_s = instant_ns(args.since, now_ns, "--since") // 10**9
    until_s = instant_ns(args.until, now_ns, "--until") // 10**9 if args.until else now_ns // 10**9 + 1
    check_order(since_s, until_s)
    return Period(since_s=since_s, until_s=until_s)


def rebuild(args: Any) -> int:
    """Status 1 if a view is not what the log says."""
    from interlock.cli.offline import check_data_dir
    from interlock.proof import rebuild as rebuilding

    places = check_data_dir(data_dir(args))
    views = _views(args, places)
    if not args.check:
        dropped = rebuilding.drop(places, views=views)
        if args.format == "json":
            say_json({"dropped": dropped})
        else:
            say(f"thrown away: {', '.join(dropped)}; the next start makes them from the log")
        return 0
    with Progress("making again") as progress:
        reports = list(rebuilding.check(places, views=views, progress=progress.tell))
    wrong = [one for one in reports if one.state in ("different", "unreadable")]
    if args.format == "json":
        say_json({"ok": not wrong, "views": msgspec.to_builtins(reports)})
    else:
        rows = [[one.view, one.state, _position(one.position), number(one.rows), one.digest[:16]] for one in reports]
        say(*table([*map(Column, ("view", "state", "position")), Column("rows", True), Column("digest")], rows))
    complain(*(f"{one.view}: {one.problem}" for one in wrong))
    return int(bool(wrong))


def _views(args: Any, places: "DataDir") -> "Sequence[View]":
    """As the configuration has the tables stand. Raises: ConfigError."""
    from interlock.config import load
    from interlock.proof.views import views

    path = Path(args.config) if args.config else places.config if places.config.exists() else None
    return views(load(path).config.ledger.tables)


def _position(position: dict[str, int]) -> str:
    return ", ".join(f"{stream} {seq}" for stream, seq in sorted(position.items())) or "-"
