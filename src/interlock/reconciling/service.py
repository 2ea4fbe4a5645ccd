"""A statement compared with a ledger's view, and booked: the order of the steps, and nothing else.

Booking is optimistic: it is reckoned from the view as of a head of the stream of adjustments, and written only if that
is still its head. What is written says what the bill says, so doing it again finds nothing to book.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from fractions import Fraction
from hashlib import sha256
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from interlock.clock import Clock
from interlock.errors import LocalError, TransientError
from interlock.ledger import Adjusted, Ledger
from interlock.log import Conflict, Log, Record
from interlock.reconciling.figures import decimal_text
from interlock.reconciling.matching import Comparison
from interlock.reconciling.report import Plan, Report, exact_usd, totals
from interlock.reconciling.resolving import plan
from interlock.reconciling.statement import Statement, within
from interlock.units import NANO

STREAM = "adjustments"
TRIES = 5
BOOKED_MAX = 10**15
"""Tokens that one booking may change in all: the ledger's sums are of 64 bits, and nothing that is booked is ever
changed, so what does not fit is not let in."""
BOOKED_NANOUSD_MAX = 10**18
"""The same in money: a billion dollars."""
RECORDS = 5_000
"""Of one append, at most. More are several, each of which a whole comparison would go on from."""


class Window(NamedTuple):
    """[since_ns, until_ns); None: as the statement has it."""

    since_ns: int | None = None
    until_ns: int | None = None


ALL = Window()


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """A statement that was booked. Type `statement.imported`."""

    format: str
    providers: tuple[str, ...]
    sha256: str
    """Of the files' hashes."""
    files: tuple[dict[str, Any], ...]
    since_ns: int
    until_ns: int
    lines: int
    theirs_nanousd: str | None
    """In all, of what is in USD; exact. None: it has no money."""


class Booked(msgspec.Struct, frozen=True, kw_only=True):
    """What was written."""

    attempts: int
    entries: int
    nanousd: int
    head: int
    """Of the stream, afterwards."""


def compare(ledger: Ledger, statement: Statement, window: Window = ALL, *, now_ns: int, head: int = 0) -> Report:
    """The statement against the view as it stands.

    Args:
        window: only rows that are wholly in that time.
        head: of the stream of adjustments.
    Raises: LocalError: nothing is in that time, periods overlap.
    """
    since_ns, until_ns = window
    lines, outside = within(statement.lines, since_ns, until_ns)
    if not lines:
        raise LocalError("no row of the export is in that time", field="since")
    since = since_ns if since_ns is not None else min(line.starts_ns for line in lines)
    until = until_ns if until_ns is not None else max(line.ends_ns for line in lines)
    with ledger.metered(statement.providers, since_ns=since, until_ns=until) as entries:
        found = Comparison(statement, lines, entries, since, until)
    notes = list(statement.notes)
    if outside:
        notes.append(f"{outside} lines of the export are not wholly in that time, and left out")
    if until > now_ns:
        notes.append("that time is not over: neither side may have counted all of it")
    if not found.sides.books.calls:
        whose = ", ".join(statement.providers)
        notes.append(f"nothing was metered of {whose} then: --of says whose usage it is, as deployments name providers")
    opened = sum(found.sides.books.open.values())
    if opened:
        notes.append(f"{opened} of our calls in that time are not settled yet")
    id = f"sha256:{statement.sha256}"
    if id in found.sides.books.booked:
        attempts, own, nanousd = found.sides.books.booked[id]
        usd = exact_usd(Fraction(nanousd))
        notes.append(f"already booked of this export: calls with true figures {attempts}, entries {own} ({usd} USD)")
    return Report(
        statement=id,
        providers=statement.providers,
        since_ns=since,
        until_ns=until,
        rows=found.rows,
        plan=plan(found, id, head),
        open=opened,
        notes=tuple(notes),
    )


async def book(
    ledger: Ledger,
    log: Log,
    clock: Clock,
    fold: Callable[[], Awaitable[None]],
    statement: Statement,
    window: Window = ALL,
) -> tuple[Report, Booked]:
    """Compare, and write what is to be booked. Durable when it returns; done again it books nothing.

    Args:
        fold: brings the view up to date, or raises: from a part of it nothing is booked.
    Raises: as `compare`. LocalError: more than can be booked. TransientError `busy`: others book all the time. What
        the log raises.
    """
    for _ in range(TRIES):
        head = await log.head(STREAM)  # before the fold: what is written in between is not in the view, and conflicts
        await fold()
        report = await asyncio.to_thread(compare, ledger, statement, window, now_ns=clock.now_ns(), head=head)
        _check(report.plan)
        written = await _write(log, clock, statement, report, head)
        if written is not None:
            await fold()
            return report, written
    raise TransientError("others book adjustments at the same time: try again", code="busy")


def _check(told: Plan) -> None:
    """Raises: LocalError: it is no bill of this world, or not in the units that its reader was told."""
    quantity = nanousd = 0
    for change in told.changes:
        quantity += sum(abs(count) for count in change.usage.values())
        nanousd += abs(change.amount_nanousd or 0)
        if quantity > BOOKED_MAX or nanousd > BOOKED_NANOUSD_MAX:
            what = f"at most {BOOKED_MAX:,} tokens and {BOOKED_NANOUSD_MAX // NANO:,} USD are booked at once"
            raise LocalError(f"{change.row}: {what}: are its units right? Nothing was booked", field="statement")


async def _write(log: Log, clock: Clock, statement: Statement, report: Report, head: int) -> Booked | None:
    """Append what the plan says; None: the stream has moved on, so it is to be reckoned again."""
    at = head
    for records in _appends(statement, report, head, clock.now_ns()):
        answer = await log.append(STREAM, records, expect=at)
        if isinstance(answer, Conflict):
            return None
        at = answer.head
    told: Plan = report.plan
    return Booked(attempts=told.attempts, entries=len(told.changes) - told.attempts, nanousd=told.nanousd, head=at)


def _appends(statement: Statement, report: Report, head: int, now_ns: int) -> Iterator[list[Record]]:
    """What the plan says, in appends of whole rows: of one that was cut in two the rest is divided otherwise. Only one
    that is larger than an append goes in several."""
    records: list[Record] = []
    for n, (_, changes) in enumerate(groupby(report.plan.changes, key=attrgetter("row"))):
        row = [] if n else [_imported(statement, report, now_ns)]
        row += [_record(change, head, now_ns) for change in changes]
        if records and len(records) + len(row) > RECORDS:
            yield records
            records = []
        records += row
        while len(records) > RECORDS:
            yield records[:RECORDS]
            records = records[RECORDS:]
    if records:
        yield records


def _imported(statement: Statement, report: Report, now_ns: int) -> Record:
    theirs = totals(report.rows).theirs_nanousd
    content = Imported(
        format=statement.format,
        providers=statement.providers,
        sha256=statement.sha256,
        files=tuple(msgspec.structs.asdict(file) for file in statement.files),
        since_ns=report.since_ns,
        until_ns=report.until_ns,
        lines=len(statement.lines),
        theirs_nanousd=None if theirs is None else decimal_text(theirs),
    )
    payload = msgspec.json.encode(content)
    # By its content: the same files are one record for each time that was taken of them.
    id = f"statement/{sha256(payload).hexdigest()[:32]}"
    return Record(id=id, type="statement.imported", at_ns=now_ns, payload=payload)


def _record(change: Adjusted, head: int, now_ns: int) -> Record:
    id = change.request_id if change.tenant else f"{change.request_id}/{change.attempt}/adjusted/{head}"
    return Record(id=id, type="usage.adjusted", at_ns=now_ns, payload=msgspec.json.encode(change))
