"""Worked cases of pricing from elsewhere, each turned into a plan and usage and rated through the public API.

A case's model is read by its parts (`bucketed:volume`, `graduated+tax`), and its parameters by their names whatever
the model is. A parameter, usage or expected key that nobody reads is an error, so nothing is passed over in silence.
`check` compares to the last digit.
"""

import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
from tests.credits.cases import CASES
from tests.rating.commitments import cumulative
from tests.rating.keys import NOTES, Answers, Keys, Unread, in_cents
from tests.rating.kinds import HANDLERS, billed, credit_notes, flat_part, invoice, ordered, priced, windowed

from interlock.errors import LocalError
from interlock.rating import round_to

HOLDS = Path(__file__).parent.parent / "data" / "pricing" / "pricing_cases.json"

FURTHER = HOLDS.with_name("further_cases.json")
Case = dict[str, Any]

OF_CREDITS: dict[str, Callable[[Case], Answers]] = dict(CASES)
"""Model to the function that answers a case about prepaid credit."""

CREDITS_BY_KEY = (
    ("grants", "grant_burn"),
    ("used_before_reset", "grant_reset_rollover"),
    ("collect", "credit_burn"),
    ("sources", "credit_burn"),
    ("restore", "credit_correction_reopen"),
    ("plan", "credit_breakage"),
    ("plans", "credit_breakage"),
)
"""Of credits, where the model's name is new: the first key that is there tells which of them it is."""

READINGS = (priced, billed, flat_part, credit_notes, invoice, ordered, cumulative, windowed)
"""What a case may be, whatever its model is called."""

NOT_RATED: dict[str, str] = {}
"""Model to why it is out of scope."""

REFUSED = frozenset({"error", "refused", "invalid", "rejected"})
"""An expected key that means: this is an error."""


def load(path: Path = HOLDS) -> list[Case]:
    """The cases of a file."""
    found: list[Case] = msgspec.json.decode(path.read_bytes())
    return found


def reason_out(case: Case) -> str:
    """Why a case is not rated here; empty: it is."""
    return NOT_RATED.get(case["model"], "")


def answers(case: Case) -> Answers:
    """Everything that rating a case gives.

    The first way to read it that leaves no parameter unread and answers every key that is expected; never chosen by
    whether the figures are right. Raises: Unread; LocalError.
    """
    if of_credits := answered_by_credits(case):
        return of_credits(case)
    parts = set(re.split(r"[^a-z0-9]+", case["model"].lower()))
    first = [answer for names, answer in HANDLERS if any(name <= parts for name in names)][:1]
    problem: Exception | None = None
    readings = list(dict.fromkeys([*first, *READINGS]))
    for answer in readings[:1] if REFUSED & case["expected"].keys() else readings:
        params, usage = Keys(case["params"], "params"), Keys(case["usage"], "usage")
        try:
            found = answer(params, usage, parts)
            params.done()
            usage.done()
            unanswered = [key for key in case["expected"].keys() - NOTES if spelt(key, found) is None]
            if unanswered:
                raise Unread(f"expected: {', '.join(unanswered)}; answered are {', '.join(sorted(found))}")
            return found
        except (Unread, LocalError, TypeError, LookupError, ValueError) as error:
            unread = isinstance(error, Unread) and not isinstance(problem, Unread)
            problem = error if unread else problem or error
    assert problem is not None
    raise problem


def answered_by_credits(case: Case) -> Callable[[Case], Answers] | None:
    """The function of prepaid credit that answers a case, by its model or by what it holds; None: none does."""
    model, params, usage = case["model"], case["params"], case["usage"]
    if model in OF_CREDITS or not model.startswith(("credit_", "grant_")):
        return OF_CREDITS.get(model)
    held = {**params, **usage}
    named = next((name for key, name in CREDITS_BY_KEY if key in held), "")
    return OF_CREDITS.get(named)


def spelt(key: str, found: Answers) -> str | None:
    """The answer's name for an expected key; None: nobody answers it."""
    return next((name for name in (key, re.sub(r"_(cents|amount|amount_cents)$", "", key)) if name in found), None)


def check(case: Case) -> list[str]:
    """What is not as expected, one line each. Raises: Unread; LocalError."""
    expected = case["expected"]
    if REFUSED & expected.keys():
        try:
            found = answers(case)
        except LocalError:
            return []
        return [f"expected a refusal, found {found}"]
    found = answers(case)
    wrong = []
    for key, value in expected.items():
        name = None if key in NOTES else spelt(key, found)
        if name == "shares" and isinstance(value, dict):
            found[name] = found.get("shares_by_key", found[name])
        if name == "shares" and isinstance(value, list) and isinstance(found[name], dict):
            found[name] = list(found[name].values())
        if name == "shares" and isinstance(value, list) and len(value) < len(found[name]):
            found[name] = [share for share in found[name] if share]  # some sources leave out who gets nothing
        if name == "shares" and isinstance(value, dict):
            found[name] = {key: share for key, share in found[name].items() if share or key in value}
        if name is None:
            continue
        if key.endswith("_cents") and not in_cents(Keys(case["params"], "params"), Keys(case["usage"], "usage")):
            found[name] = told_in_cents(
                found[name], whole=not re.match("precise|raw|exact|unrounded", key)
            )  # only what comes out is told in cents
        if not same(value, found[name]):
            wrong.append(f"{key}: expected {value}, found {found[name]}")
    return wrong


def told_in_cents(found: Any, *, whole: bool) -> Any:
    """An amount of a currency of two places in cents; whole ones are rounded as a line is."""
    if isinstance(found, list):
        return [told_in_cents(one, whole=whole) for one in found]
    return (round_to(found, 2) if whole else found) * 100


def same(expected: Any, found: Any) -> bool:
    """To the last digit, whatever the writing; the one of a list of one may stand alone."""
    if isinstance(found, list | tuple) and len(found) == 1 and not isinstance(expected, list):
        return same(expected, found[0])
    if isinstance(expected, list):
        return isinstance(found, list | tuple) and len(expected) == len(found) and all(map(same, expected, found))
    if isinstance(expected, dict):
        return (
            isinstance(found, dict)
            and expected.keys() == found.keys()
            and all(same(v, found[k]) for k, v in expected.items())
        )
    if isinstance(expected, bool) or isinstance(found, str | dict | None) or expected is None:
        return bool(expected == found)
    return Fraction(str(expected)) == Fraction(found)
