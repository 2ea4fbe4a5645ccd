"""The parameters of a worked case, which know whether they were read, and the small words that cases use."""

from collections.abc import Mapping
from datetime import datetime
from fractions import Fraction
from typing import Any

from interlock.rating import MODES

Answers = dict[str, Any]

NOTES = frozenset({"note", "notes", "comment", "rule", "description", "explanation", "order_note"})


class Unread(Exception):
    """A key that the adapter does not know: a case is never rated with a parameter left out."""


class Keys:
    """A mapping that knows which of its keys were read."""

    def __init__(self, values: Mapping[str, Any], what: str) -> None:
        self.values = {name: value for name, value in values.items() if value is not None}  # null: not given
        self.what = what
        self.read: set[str] = set(NOTES & values.keys())

    def take(self, *names: str, default: Any = None) -> Any:
        """The value of the first name that is there."""
        found = default
        for name in reversed(names):
            if name in self.values:
                self.read.add(name)
                found = self.values[name]
        return found

    def money(self, *names: str, default: Any = None) -> Any:
        """The same for an amount, which may be in cents (`minimum_cents`): then all amounts of the case are."""
        return self.take(
            *(spelt for name in names for spelt in (name, f"{name}_amount", f"{name}_cents", f"{name}_amount_cents")),
            default=default,
        )

    def done(self) -> None:
        """Raises: Unread."""
        left = self.values.keys() - self.read
        if left:
            raise Unread(f"{self.what}: {', '.join(sorted(left))}")


def in_cents(*keys: Keys) -> bool:
    """Whether a case speaks of cents, which have no places."""
    return any(
        name.endswith("_cents") and name not in ("sum_of_precise_amount_cents", "precise_amount_cents")
        for one in keys
        for name in one.values
    )


_MODES = {
    "ceil": "ceiling",
    "half_away": "half_away_from_zero",
    "round": "half_away_from_zero",
    "nearest": "half_away_from_zero",
    "half_up_away_from_zero": "half_away_from_zero",
    "bankers": "half_even",
    "half_to_even": "half_even",
    "truncate": "down",
    "trunc": "down",
}


def mode_of(text: Any) -> str | None:
    """A rounding mode by any of its names; None: none is meant, or it is told in words. Raises: Unread."""
    told = str(text or "").strip().lower()
    word = told.replace("-", "_").removeprefix("round_")
    word = _MODES.get(word, word)
    if word in MODES:
        return word
    if not told or " " in told or word in ("none", "false", "line", "invoice"):
        return None
    raise Unread(f"rounding mode {text!r}")


def listed(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def number(value: Any) -> Fraction:
    return Fraction(str(value))


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text if "T" in text else f"{text}T00:00:00+00:00")
