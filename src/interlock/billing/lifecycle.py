"""What may happen to an invoice, as a table. Pure.

    nothing --review--> in_review --approve--> approved --finalize--> final --void--> voided
                            |                     |                     |
                            +------return---------+--> returned         +--credit--> final

A draft is no state: it is reckoned whenever somebody asks, and nothing is written. A returned or voided invoice stays
on record for ever; what is reviewed next for the same period is another invoice. Nothing is ever edited.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, get_args

from interlock.errors import LocalError

State = Literal["in_review", "approved", "returned", "final", "voided"]
"""in_review: a frozen draft that waits for a person. approved: its hash was. returned: it will not be sent. final: it
has a number and is a demand for payment. voided: it was final and is reversed."""
Move = Literal["review", "approve", "return", "finalize", "void", "credit"]

STATES: tuple[State, ...] = get_args(State)
MOVES: tuple[Move, ...] = get_args(Move)

MOVES_OF: Mapping[tuple[State | None, Move], State] = MappingProxyType(
    {
        (None, "review"): "in_review",
        ("in_review", "approve"): "approved",
        ("in_review", "return"): "returned",
        ("approved", "return"): "returned",
        ("approved", "finalize"): "final",
        ("final", "void"): "voided",
        ("final", "credit"): "final",
    }
)
"""Everything that may happen; what is not here may not."""

SETTLED: frozenset[State] = frozenset({"returned", "voided"})
"""Where the period is free for another invoice."""

_PAST: Mapping[Move, State] = MappingProxyType(
    {"review": "in_review", "approve": "approved", "return": "returned", "finalize": "final", "void": "voided"}
)


def move(state: State | None, wanted: Move, invoice: str) -> State:
    """The state after a move. Raises: LocalError `wrong_state`: it may not happen now; the message says what may."""
    found = MOVES_OF.get((state, wanted))
    if found is None:
        may = [name for (of, name), _ in MOVES_OF.items() if of == state]
        what = f"what may happen to it: {', '.join(may)}" if may else "nothing more can happen to it"
        at = "is not on record" if state is None else f"is {state}"
        message = f"{wanted} is not possible, since invoice {invoice!r} {at}: {what}"
        raise LocalError(message, code="wrong_state", field="invoice")
    return found


def done_already(state: State | None, wanted: Move) -> bool:
    """Whether a move was made before, so that asking again is answered with what stands.

    A credit note is told by its own id, so never here.
    >>> done_already("final", "approve"), done_already("final", "finalize"), done_already("voided", "finalize")
    (True, True, False)
    """
    if state is None or wanted == "credit":
        return False
    if wanted == "approve":
        return state in ("approved", "final")
    return state == _PAST[wanted]
