"""How one plan rounds its amounts, and spreads what belongs to an invoice over its lines. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from interlock.rating.currencies import PLACES
from interlock.rating.exact import round_to
from interlock.rating.plan import ZERO, Mode, Plan
from interlock.rating.splitting import apportion
from interlock.rating.steps import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounder:
    """Rounds to the places of a plan; or not at all, where the plan says `none`, or `total` and it is not yet one."""

    places: int
    mode: Mode
    rounds: bool

    @classmethod
    def of(cls, plan: Plan) -> "Rounder":
        """The plan's own places, else its currency's."""
        return cls(places=places_of(plan), mode=plan.rounding.mode, rounds=plan.rounding.level in ("line", "invoice"))

    def round(self, value: Fraction) -> Fraction:
        """A multiple of the smallest unit."""
        return round_to(value, self.places, self.mode) if self.rounds else value

    def step(self, name: str, value: Fraction, work: Work) -> Fraction:
        """The same, written down where it changes anything."""
        if not self.rounds or value == round_to(value, self.places, self.mode):
            return value
        return work.do(name, f'round(amount, {self.places}, "{self.mode}")', amount=value)

    def apportion(self, shares: Sequence[Fraction], target: Fraction) -> list[Fraction]:
        """Exact shares at the plan's places, so that they sum to `target`: their sum, rounded."""
        return apportion(shares, target, self.places) if self.rounds else list(shares)

    def spread(self, amount: Fraction, weights: Sequence[Fraction]) -> list[Fraction]:
        """An amount over lines in proportion to theirs, which may be negative; all to the first if they sum to 0."""
        whole = sum(weights, ZERO)
        if not whole:
            return [amount if not index else ZERO for index in range(len(weights))]
        return self.apportion([amount * weight / whole for weight in weights], amount)


def places_of(plan: Plan) -> int:
    """How many places a payable amount has."""
    if plan.rounding.places is not None:
        return plan.rounding.places
    return PLACES[plan.currency] if plan.places is None else plan.places
