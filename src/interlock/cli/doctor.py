"""`interlock doctor`: which sandboxes this machine can have, why not more, and what would help."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from interlock.cli.output import Column, say, say_json, table
from interlock.clock import SystemClock
from interlock.runtime.hands import Hands
from interlock.runtime.hands.bubblewrap import Bubblewrap
from interlock.runtime.hands.doctor import Report, examine
from interlock.runtime.hands.gvisor import Gvisor
from interlock.runtime.hands.process import Process
from interlock.runtime.hands.workspaces import Workspaces


def run(args: Any) -> int:
    """Status 1 if no kind that contains anything can be had."""
    with tempfile.TemporaryDirectory(prefix="interlock-doctor-") as directory:
        report = asyncio.run(examine(kinds(Path(directory)), SystemClock()))
    if args.format == "json":
        say_json(report)
    else:
        say(*lines(report))
    return 0 if any(kind.usable and kind.strength != "process" for kind in report.kinds) else 1


def kinds(directory: Path) -> list[Hands]:
    """Every kind there is."""
    clock = SystemClock()
    return [
        Bubblewrap(Workspaces(directory / "own", clock), clock),
        Gvisor(Workspaces(directory / "kernel", clock), clock),
        Process(Workspaces(directory / "plain", clock, own_users=False), clock),
    ]


def lines(report: Report) -> list[str]:
    """For people: two tables, and below them what is to be done."""
    rows = [
        [
            kind.name,
            kind.strength,
            "usable" if kind.usable else "cannot be had",
            "" if kind.command_ms is None else f"{kind.command_ms:.1f}",
        ]
        for kind in report.kinds
    ]
    said = table([Column("sandbox"), Column("strength"), Column("here"), Column("command ms", right=True)], rows)
    facts = [[fact.name, "ok" if fact.good else "no", fact.found] for fact in report.machine]
    said += ["", *table([Column("machine"), Column(""), Column("found")], facts), ""]
    for kind in report.kinds:
        if kind.name == "bubblewrap":  # what is missing or weaker holds for those alike
            said.append(f"tool servers that are programs run in bubblewrap: {'yes' if kind.usable else 'not here'}")
        said += [f"{kind.name}: {reason}" for reason in kind.missing]
        said += [f"{kind.name}, weaker: {reason}" for reason in kind.weaker]
    said += [f"{fact.name}: {fact.helps}" for fact in report.machine if not fact.good and fact.helps]
    return said[:-1] if said[-1] == "" else said
