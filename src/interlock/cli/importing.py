"""`interlock ledger import`: what a person says, sees and gets back. The work is `interlock.importing`'s."""

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from interlock.cli.client import refusal, url
from interlock.cli.output import Column, complain, number, safe, say, say_json, table
from interlock.client import BATCH_MAX, EventsPort, Unanswered
from interlock.clock import SystemClock
from interlock.errors import InterlockError, LocalError, TransientError
from interlock.importing import RESULTS, GaveUp, Import, Mapping, Problem, Sender, Times, open_source

DEFAULT_URL = "http://127.0.0.1:8081"
PROGRESS_AFTER_S, PROGRESS_S, PROGRESS_LINE_S = 2.0, 0.5, 10.0
"""The first line; then on a terminal, and elsewhere."""
SHOWN = 3
"""Events that `--dry-run` prints."""


def run(args: Any) -> int:
    """Status 1: a row was not counted, or a file not read to its end."""
    mapping = _mapping(args)
    open_ = partial(open_source, needed=mapping.needed, format=args.format_in, delimiter=args.delimiter)
    with ExitStack() as stack:
        port = None if args.dry_run else _port()
        rejects = stack.enter_context(_rejects(args.rejects, args.files)) if args.rejects else None
        importing = Import(args.files, open_, mapping, rejects)
        if port is None:
            return _dry_run(importing, args)
        try:
            _send(importing, port, args)
        except KeyboardInterrupt:
            complain(f"interrupted after {_counts(importing)}: run the same command again")
            raise
        except (GaveUp, Unanswered) as error:
            if importing.total.keys() & set(RESULTS):
                _show(importing, args)
            raise _ended(error, args) from error
        _show(importing, args)
        return int(not importing.is_good)


def _mapping(args: Any) -> Mapping:
    if args.id and args.id_from_row:
        raise LocalError(
            "--id and --id-from-row: an id comes from a column or from the row, not from both", field="--id"
        )
    if args.files.count("-") > 1:
        raise LocalError("standard input can be read once only", field="FILE")
    try:
        zone = ZoneInfo(args.zone) if args.zone else None
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise LocalError(f"{args.zone!r} is no time zone; write a name like Europe/Berlin", field="--zone") from error
    return Mapping(
        type=args.type,
        source=args.source,
        id=args.id,
        time=args.time,
        subject=args.subject,
        data=args.columns,
        texts=frozenset(args.text),
        numbers=frozenset(args.number),
        id_from_row=args.id_from_row,
        times=Times(zone=zone, fold=args.fold, unit=args.time_unit),
    )


def _port() -> EventsPort:
    key = os.environ.get("INTERLOCK_EVENTS_KEY", "")
    if not key:
        how = "interlock keys issue --tenant T --name import --scope events:write"
        raise LocalError(f"no key: set INTERLOCK_EVENTS_KEY to one of: {how}", code="key_missing")
    try:
        return EventsPort(url("INTERLOCK_EVENTS_URL", DEFAULT_URL), key, proxies=False)
    except ValueError as error:
        raise LocalError("the key holds characters that no key has", code="key_unknown") from error


@contextmanager
def _rejects(path: str, files: Sequence[str]) -> Iterator[IO[bytes]]:
    for file in files:
        if Path(path).exists() and Path(file).exists() and Path(path).samefile(file):
            raise LocalError(f"{path} is one of the files that are read", field="--rejects")
    with Path(path).open("wb") as opened:
        yield opened


def _send(importing: Import, port: EventsPort, args: Any) -> None:
    clock = SystemClock()
    rate = args.limit_rate
    with _Progress(importing, clock, asked=args.progress) as progress:
        sender = Sender(
            port.post,
            importing.answered,
            clock,
            patience_s=args.patience,
            events_per_s=rate,
            waiting=progress.waiting,
        )
        try:
            for batch in importing.batches(min(BATCH_MAX, rate) if rate else BATCH_MAX):
                sender.put(batch)
            sender.finish()
        finally:
            sender.stop()


def _dry_run(importing: Import, args: Any) -> int:
    with _Progress(importing, SystemClock(), asked=args.progress):
        events = (event for batch in importing.batches() for event in batch.events)
        first = list(islice(events, SHOWN))
        would = len(first) + sum(1 for _ in events)
    if args.format == "json":
        say_json({**_result(importing), "would_send": would, "first": [msgspec.Raw(event) for event in first]})
    else:
        say(*(event.decode() for event in first), *([""] if first else []))
        say(f"{number(would)} of {number(importing.total['rows'])} rows would be sent; nothing was")
        _say_problems(importing)
    return int(not importing.is_good)


def _ended(error: GaveUp | Unanswered, args: Any) -> InterlockError:
    base = url("INTERLOCK_EVENTS_URL", DEFAULT_URL)
    if isinstance(error, GaveUp):
        again = "what was counted stays counted: run the same command again"
        return TransientError(f"{base} took nothing for {args.patience:g} s ({error}); {again}")
    found = refusal(base, error.status, error.body)
    if found.code in ("not_found", "method_not_allowed", "upstream_invalid"):
        return InterlockError(f"{found.message}: is INTERLOCK_EVENTS_URL the api port?", code=found.code)
    return found


def _show(importing: Import, args: Any) -> None:
    if args.format == "json":
        say_json(_result(importing))
        return
    rows = [[one.file, number(one.rows), *(number(one.results[name]) for name in RESULTS)] for one in importing.files]
    if len(rows) > 1:
        total = importing.total
        rows.append(["total", number(total["rows"]), *(number(total[name]) for name in RESULTS)])
    say(*table([Column("file"), Column("rows", True), *(Column(name, True) for name in RESULTS)], rows))
    _say_problems(importing)


def _say_problems(importing: Import) -> None:
    for one in importing.files:
        if one.problem:
            complain(one.problem)
        elif not one.rows:
            complain(f"{one.file} has no rows")
    for problem in importing.named:
        complain(_told(problem))
    total = importing.total
    more = total["refused"] + total["conflict"] - len(importing.named)
    if more > 0:
        complain(f"and {number(more)} more: --rejects FILE writes each")


def _told(problem: Problem) -> str:
    place = f":{problem.line}" if problem.line is not msgspec.UNSET else f", row {problem.row}"
    field = f"{problem.field}: " if problem.field else ""
    return f"{problem.file}{place}: {problem.result}: {field}{problem.message} [{problem.code}]"


def _result(importing: Import) -> dict[str, Any]:
    """As JSON has it."""
    total = importing.total
    return {
        **{name: total[name] for name in ("rows", *RESULTS)},
        "files": [
            {
                "file": one.file,
                "rows": one.rows,
                **{name: one.results[name] for name in RESULTS},
                "problem": one.problem or None,
            }
            for one in importing.files
        ],
        "problems": [msgspec.structs.replace(one, read=msgspec.UNSET, event=msgspec.UNSET) for one in importing.named],
    }


def _counts(importing: Import) -> str:
    total = importing.total
    counts = ", ".join(f"{number(total[name])} {name}" for name in RESULTS if total[name] or name == "counted")
    return f"{number(total['rows'])} rows: {counts}"


class _Progress:
    """How far an import is, on stderr: a line that changes on a terminal; lines, if asked, elsewhere."""

    def __init__(self, importing: Import, clock: SystemClock, *, asked: bool) -> None:
        self._importing = importing
        self._clock = clock
        self._terminal = sys.stderr.isatty()
        self._shown = self._terminal or asked
        self._ended = threading.Event()
        self._waiting_since = ""
        self._start_ns = clock.monotonic_ns()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def __enter__(self) -> "_Progress":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def waiting(self, why: str) -> None:
        """A batch has to be sent again: said once a reason, whoever looks."""
        if why != self._waiting_since:
            self._waiting_since = why
            self._clear()
            complain(f"not taken, trying again: {why}")

    def _run(self) -> None:
        wait_s, drawn = PROGRESS_AFTER_S, False
        while self._shown and not self._ended.wait(wait_s):
            wait_s, drawn = PROGRESS_S if self._terminal else PROGRESS_LINE_S, True
            line = safe(self._line())
            before, after = ("\r\x1b[K", "") if self._terminal else ("", "\n")
            print(f"{before}{line}", end=after, file=sys.stderr, flush=True)
        if drawn:
            self._clear()

    def _clear(self) -> None:
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _line(self) -> str:
        total, share = self._importing.total, self._importing.share
        seconds = (self._clock.monotonic_ns() - self._start_ns) / 1e9
        done = sum(total[name] for name in RESULTS)
        percent = f", {share:.0%} read" if share is not None else ""
        return f"{_counts(self._importing)}, {number(int(done / seconds))} a second{percent}"
