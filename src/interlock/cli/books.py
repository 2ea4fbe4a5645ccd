"""Options of `reconcile`, as parser.py has the others'."""

import argparse
from typing import TYPE_CHECKING

from interlock.cli import readers
from interlock.cli.parsing import Add

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

_RECONCILE = """hold a provider's usage or cost export against what was metered: row by row, at the provider's own
granularity and rounding. A row matches, differs, or is on one side only, and each difference has a class: lost,
estimated, price, cached_split, shifted, rounding, credit, refund, tax, fee, duplicate, currency (explained); quantity,
amount, unpriced, not_billed, not_metered (not explained). Nothing is written, unless --apply is given: then lost and
estimated calls get their true figures and the rest of the difference is booked as entries, so that the books say what
the bill says. Give a report of usage and one of costs together. Exit status: 0 all match (or are booked), 3 some do
not, 1 or 2 a mistake."""
_EPILOG = """Examples:
  interlock reconcile --provider openai usage.json costs.json
  interlock reconcile --provider csv --of mistral --columns start=Day,input=Prompt,amount=Cost bill.csv"""


def reconcile(commands: "Commands", add: Add) -> None:
    """A provider's bill and our books."""
    parser = add(commands, "reconcile", "hold a provider's bill against what was metered", "reconciling:run")
    parser.description, parser.epilog = _RECONCILE, _EPILOG
    parser.add_argument("files", metavar="FILE", nargs="+", help="JSON pages, CSV (or .gz), Parquet: as exported")
    formats = ("openai", "anthropic", "aws", "focus", "csv")
    parser.add_argument("--provider", choices=formats, required=True, help="whose export it is")
    parser.add_argument(
        "--of", metavar="NAME", action="append", default=[], help="whose usage, as deployments name it; repeatable "
        "(default: openai, anthropic, bedrock)"
    )  # fmt: skip
    parser.add_argument("--since", metavar="WHEN", help="only rows wholly from then on; a day, a time, or 24h, 30d")
    parser.add_argument("--until", metavar="WHEN", help="exclusive")
    parser.add_argument("--apply", action="store_true", help="book the difference (needs the server)")
    parser.add_argument("--all", action="store_true", help="show rows that match too")
    parser.add_argument(
        "--columns", metavar="FIELD=COLUMN,…", type=_pairs, default=[],
        help="of csv: start, end, model, kind, quantity, amount, currency, category, id, or a kind (input=Prompt)",
    )  # fmt: skip
    parser.add_argument(
        "--bucket", choices=("hour", "day", "month"), default="day", help="of csv rows without an end (default: day)"
    )
    parser.add_argument(
        "--places", metavar="N", type=readers.count, help="to which amounts are rounded (default: as the finest is)"
    )
    parser.add_argument(
        "--map", metavar="OURS=THEIRS", type=_pair, action="append", default=[], help="a model's names; repeatable"
    )


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _pairs(text: str) -> list[tuple[str, str]]:
    return [_pair(one) for one in text.split(",")]
