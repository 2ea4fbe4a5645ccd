"""`interlock audit` and `prove`: on the files of a data directory, whether or not a server runs on it.

A proof does not take a server's word: of the one that INTERLOCK_URL names it asks where the log is, and nothing more.
"""

import asyncio
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from interlock.cli.client import log_dir
from interlock.cli.output import Column, Progress, complain, number, say, say_json, table
from interlock.clock import SystemClock
from interlock.instants import rfc3339

if TYPE_CHECKING:
    from interlock.audit import Crossing, Trail, Window
    from interlock.datadir import DataDir

_COLUMNS = ("at", "request", "tenant", "principal", "source", "deployment", "served by", "verdict", "clause")


def audit(args: Any) -> int:
    """One line a call."""
    with _trail(args) as (_, trail, window):
        if args.format == "json":
            for line in trail.lines(window):
                print(msgspec.json.encode(line).decode())
        else:
            say(*table([Column(title) for title in _COLUMNS], [_cells(line) for line in trail.lines(window)]))
        complain(*trail.broken)
        if trail.unread:
            complain(f"{trail.unread} records cannot be read by this version")
        return int(bool(trail.broken))


def prove(args: Any) -> int:
    """Status 1 if anything left, or the log does not hold."""
    from interlock.audit import prove as prove_it

    with _trail(args) as (places, trail, window), Progress("verifying") as progress:
        proof = prove_it(places, trail, window, progress.tell)
    if args.format == "json":
        say_json(proof)
    else:
        whose = f"of tenant {args.tenant}" if args.tenant else "of any tenant"
        said = ("YES" if proof.left else "no" if proof.attempts else "no (and no call was sent under one)") + (
            "" if proof.holds else ", BUT THE LOG DOES NOT HOLD"
        )
        say(f"did any byte {whose} leave its boundary? {said}", "")
        counts = {
            "under a boundary, and sent": proof.attempts,
            "  inside as declared, and as observed": proof.observed_inside,
            "  inside as declared; nothing observed": proof.declared_inside,
            "  outside": proof.outside,
            "refused: nobody within the boundary": proof.refused,
            "not sent: limits, withdrawn, no connection, or given from a cache": proof.unsent,
            "under no boundary": proof.unbounded,
        }
        rows = [[name, number(count)] for name, count in counts.items()]
        say(*table([Column("calls"), Column("count", True)], rows))
        if proof.regions:
            say("", "served from, as answers said: " + ", ".join(f"{k} {number(n)}" for k, n in proof.regions.items()))
    complain(*(f"{one.request_id}/{one.attempt} {one.deployment}: {one.clause}" for one in proof.crossings))
    complain(*proof.problems)
    if proof.unread:
        complain(f"{proof.unread} records cannot be read by this version, and are not in the answer")
    return int(proof.left or not proof.holds)


@contextmanager
def _trail(args: Any) -> "Iterator[tuple[DataDir, Trail, Window]]":
    from interlock.audit import Trail, Window
    from interlock.cli.offline import check_data_dir, check_order
    from interlock.control.known import check_known
    from interlock.instants import instant_ns
    from interlock.log.sqlite import SqliteLog

    places, now_ns = check_data_dir(log_dir(args)), SystemClock().now_ns()
    window = Window(
        instant_ns(args.since, now_ns, "--since") if args.since else None,
        instant_ns(args.until, now_ns, "--until") if args.until else None,
        args.tenant,
    )
    check_order(window.since_ns, window.until_ns)
    with closing(SqliteLog(places.log)) as log:
        trail = Trail(places, log)
        if args.tenant:
            asyncio.run(check_known(args.tenant, log, created=trail.tenants))
        yield places, trail, window


def _cells(line: "Crossing") -> list[str]:
    seen = " ".join(filter(None, (line.region, line.peer))) or "-"
    return [
        rfc3339(line.at_ns),
        f"{line.request_id}/{line.attempt}" if line.attempt else line.request_id,
        line.tenant,
        line.principal,
        line.source or "-",
        line.deployment or "-",
        seen,
        line.verdict,
        line.clause or ", ".join(line.boundary) or "-",
    ]
