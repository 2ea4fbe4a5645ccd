"""Options of `interlock ledger`, as parser.py has the others'."""

import argparse
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


class Add(Protocol):
    """`parser._add`."""

    def __call__(
        self, commands: "Commands", name: str, help_: str, run: str, *, formats: tuple[str, ...] = ...
    ) -> argparse.ArgumentParser: ...


def corrections(group: "Commands", add: Add) -> None:
    """What becomes of events that were counted."""
    correct = add(
        group,
        "correct",
        "take back an event that was counted; with --replacement count another in its place",
        "ledger:correct",
        formats=("table", "json"),
    )
    correct.add_argument("--source", metavar="S", required=True, help="of the event that was counted")
    correct.add_argument("--id", metavar="I", required=True, help="the same")
    correct.add_argument("--reason", metavar="TEXT", required=True, help="why; it stays in the log")
    correct.add_argument(
        "--replacement", metavar="FILE", help="a CloudEvent in JSON, with an id of its own; - reads standard input"
    )
    close = add(
        group,
        "close",
        "close a period and all before it, for good: what comes later is counted at the time it came",
        "ledger:close",
        formats=("table", "json"),
    )
    close.add_argument("--period", metavar="P", required=True, help="a month, 2026-10, or a day, 2026-10-31")
    close.add_argument(
        "--zone", metavar="Z", default="UTC", help="whose month: UTC (default), Europe/Berlin or another IANA name"
    )
    periods = add(group, "periods", "list the periods that were closed", "ledger:periods")
    erase = add(
        group,
        "erase",
        "erase customers: their usage stays, under a name that says nothing; who they were goes, from log and tables",
        "ledger:erase",
        formats=("table", "json"),
    )
    erase.add_argument("subjects", metavar="SUBJECT", nargs="+", help="as events name it")
    erase.add_argument("--reason", metavar="TEXT", required=True, help="it stays in the log: a case number, no name")
    erase.add_argument(
        "--forget",
        metavar="PLACE",
        action="append",
        default=[],
        help="a place that meters group by whose values go too: $.user; repeatable",
    )
    erase.add_argument("--no-wait", action="store_true", help="return when it is written down, not when it is done")
    erasures = add(group, "erasures", "list what was erased, and how far it is", "ledger:erasures")
    for parser in (correct, close, periods, erase, erasures):
        parser.add_argument("--api-url", metavar="URL", help="default: INTERLOCK_EVENTS_URL, or http://127.0.0.1:8081")
        parser.epilog = (
            "INTERLOCK_EVENTS_KEY is a tenant's key that holds events:correct (correct), periods:close or "
            "events:erase (erase)."
        )
