"""What a dead worker left open, and how it is settled. Pure: the supervisor reads the stream and appends the answer.

It does not find the true figure; it records that the attempt is lost, with an estimate that names its rule. If the
worker's own record stands after all, the fold keeps the one that stands first and counts the other as a conflict.
"""

from collections.abc import Iterable

import msgspec

from interlock.ledger.event import Opened, Settled
from interlock.ledger.reading import decode
from interlock.log import Record, Stored

OUTPUT_RULE = "none/1"
"""Nobody saw how much was answered, so the output is put at 0: a floor, not a guess."""

LOST_ERROR = "internal"
"""The upstream is not to blame when our own process dies, so none of the `upstream_*` codes is used."""


def track(opened: dict[str, Opened], stored: Stored) -> None:
    """Take one more record of a stream into account: `opened` holds what is open so far, by `REQUEST_ID/ATTEMPT`.

    Records that cannot be read change nothing here; the ledger counts them.
    """
    match decode(stored.record):
        case Opened() as attempt:
            opened[attempt_key(attempt)] = attempt
        case Settled() as attempt:
            opened.pop(attempt_key(attempt), None)


def open_attempts(records: Iterable[Stored]) -> dict[str, Opened]:
    """Attempts opened and not settled, by `REQUEST_ID/ATTEMPT`, in the order they were opened.

    Args:
        records: of one stream, in order, from its start (a worker opens and settles in its own stream).
    """
    opened: dict[str, Opened] = {}
    for stored in records:
        track(opened, stored)
    return opened


def attempt_key(attempt: Opened | Settled) -> str:
    """`REQUEST_ID/ATTEMPT`, what the ids of the attempt's records begin with."""
    return f"{attempt.request_id}/{attempt.attempt}"


def lost(opened: Opened) -> Settled:
    """The settlement of an attempt whose worker died: the input by the rule it was opened with, no output.

    Where nothing was sent, nothing was used either.
    """
    if opened.answer_of:
        return Settled(
            request_id=opened.request_id,
            attempt=opened.attempt,
            outcome="lost",
            usage={},
            source="none",
            error=LOST_ERROR,
        )
    return Settled(
        request_id=opened.request_id,
        attempt=opened.attempt,
        outcome="lost",
        usage={"input": opened.input_estimate, "output": 0},
        source="estimated",
        rule=f"{opened.estimate_rule}+{OUTPUT_RULE}",
        error=LOST_ERROR,
    )


def lost_record(opened: Opened, now_ns: int) -> Record:
    """`lost` as a record. Made again it has the same id and content, so appending it twice settles once."""
    return Record(
        id=f"{attempt_key(opened)}/settled",
        type="usage.settled",
        at_ns=now_ns,
        payload=msgspec.json.encode(lost(opened)),
    )
