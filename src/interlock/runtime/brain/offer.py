"""What tools a session's model is offered: as values, so that decisions can be made without a tool at hand."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from interlock.errors import LocalError
from interlock.runtime.brain.arguments import read_arguments
from interlock.runtime.sessions.event import Call, Effect

NAMES_SHOWN = 40


def _any(arguments: dict[str, Any]) -> str:
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One tool. `check`: why arguments are refused, in words for the model; empty: they are good."""

    name: str
    description: str
    schema: dict[str, Any] = field(default_factory=dict)
    """JSON schema of the arguments."""
    effect: Effect = "once"
    check: Callable[[dict[str, Any]], str] = _any


Offers = Mapping[str, Offer]


def why_invalid(call: Call, offers: Offers) -> str:
    """Why the call is none, in words for the model; empty: it is one."""
    offer = offers.get(call.name)
    if offer is None:
        known = ", ".join(list(offers)[:NAMES_SHOWN]) or "none"
        return f"There is no tool of the name {call.name[:80]!r}. The tools: {known}."
    try:
        wrong = offer.check(read_arguments(call.arguments))
    except (LocalError, UnicodeError) as error:
        return f"The arguments of {call.name} were not understood: {error}"
    return f"The arguments of {call.name} were not understood: {wrong}" if wrong else ""
