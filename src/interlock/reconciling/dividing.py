"""Among whom an amount of a row is divided: tenants first, then their teams, principals and sessions. Pure.

Every division is by largest remainder, so the parts sum to the amount. What a row's entries should be is reckoned anew
each time, from all that bills have changed there, and booked is what that differs from what they are: so it does not
matter in how many runs a bill was booked, or whether an earlier one said something else.
"""

from collections.abc import Mapping
from typing import NamedTuple

from interlock.units import spread


class Group(NamedTuple):
    """Whose calls went where."""

    tenant: str
    deployment: str
    provider: str


class Whose(NamedTuple):
    """Of a tenant's, whose; empty: nobody said so, or too many did."""

    team: str = ""
    principal: str = ""
    session: str = ""


NOBODY = Whose()
Share = tuple[Group, Whose]

WHOSE_MAX = 100
"""Sessions, and then again principals, that a part of one row is divided among for each group: those that cost most."""
DIVIDED_MAX = 200_000
"""The same of a whole bill: each of its rows has an equal share of them, and one at least."""


def most_of(rows: int) -> int:
    """How many are named in each group of a row, of a bill of so many rows."""
    return max(min(WHOSE_MAX, DIVIDED_MAX // max(rows, 1)), 1)


def changed(amount: int, weights: Mapping[Share, int], held: Mapping[Share, int], most: int) -> dict[Share, int]:
    """What is to be booked so that entries come to `amount` more, each with its part of what they come to then.

    Args:
        weights: what was metered; none is below 0.
        held: what earlier entries come to.
        most: how many are named in each group.
    Returns: parts that are not 0; they sum to `amount`. None if it is 0: what stands is left as it is.
    """
    if not amount:
        return {}
    due = divided(amount + sum(held.values()), weights, most)
    parts = {share: due.get(share, 0) - held.get(share, 0) for share in sorted(due.keys() | held.keys())}
    return {share: part for share, part in parts.items() if part}


def divided(amount: int, weights: Mapping[Share, int], most: int) -> dict[Share, int]:
    """The amount by weights: among groups, and in each among those that are named."""
    groups: dict[Group, dict[Whose, int]] = {}
    for (group, whose), weight in sorted(weights.items()):
        groups.setdefault(group, {})[whose] = weight
    found: dict[Share, int] = {}
    sums = [sum(inside.values()) for inside in groups.values()]
    for (group, inside), part in zip(groups.items(), spread(amount, sums), strict=True):
        named = bounded(inside, most)
        for whose, own in zip(named, spread(part, list(named.values())), strict=True):
            found[group, whose] = own
    return found


def bounded(weights: Mapping[Whose, int], most: int) -> dict[Whose, int]:
    """The heaviest by name; the others without their session, of these again the heaviest; what is left is NOBODY's."""
    found: dict[Whose, int] = {}
    left = dict(weights)
    for by_session in (True, False):
        merged: dict[Whose, int] = {}
        for whose, weight in left.items():
            name = whose if by_session else whose._replace(session="")
            merged[name] = merged.get(name, 0) + weight
        order = sorted(merged, key=lambda one: (-merged[one], one))
        for whose in order[:most]:
            found[whose] = found.get(whose, 0) + merged[whose]
        left = {whose: merged[whose] for whose in order[most:]}
    if left:
        found[NOBODY] = found.get(NOBODY, 0) + sum(left.values())
    return found
