"""What meters answer with, and the rule that nothing is answered from days that have left. Pure."""

from datetime import date, timedelta
from typing import NamedTuple

from interlock.errors import LocalError
from interlock.meters.definition import Version
from interlock.meters.finding import Entry
from interlock.meters.query import Found


class Answer(NamedTuple):
    """What a meter says, and which version said it."""

    version: Version
    found: Found
    first_day: int = 0
    """Since 1970: from which the answer can be whole; what was before has left. 0: nothing has."""


class Listed(NamedTuple):
    """Events, and as `Answer`."""

    found: list[Entry]
    first_day: int


class State(NamedTuple):
    """How far a version is folded."""

    ready: bool
    seq: int
    """The record of the log up to which it is."""


def day_of(days: int) -> date:
    """Of days since 1970."""
    return date(1970, 1, 1) + timedelta(days=days)


def check_there(since: int | None, until: int | None, first: int, first_day: int) -> None:
    """Whether a question can be answered whole. All but `first_day` in one unit, since 1970.

    Args:
        since: None: from the first day that there is.
    Raises: LocalError `not_retained`.
    """
    if (since is not None and since < first) or (until is not None and until <= first):
        what = f"what counts before {day_of(first_day)} (UTC) has left the tables by the ledger's retention"
        raise LocalError(f"{what}; ask from there on, or leave out from", code="not_retained", field="from")
