"""What was used in a period, what is booked of it already, and what comes out of rating it: values.

A charge takes of a `Usage` what its price needs: a quantity, events, buckets, meters, changes of a level.
"""

from datetime import datetime
from fractions import Fraction
from typing import Annotated, Any, Literal

import msgspec

from interlock.rating.plan import ZERO
from interlock.rating.steps import Step

EVENTS_MAX = 100_000
PRORATED_MAX = 50
"""Changes that bring their own prorated part: each may have another denominator, and exact sums grow with them."""
BUCKETS_MAX = 100_000
METERS_MAX = 100

Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class Event(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One event: an amount, or a change of a level."""

    value: Fraction
    at: Instant | None = None
    prorated: Fraction | None = None
    """Of a change: how much of it counts in the period; None: by `at` and the period."""


class Bucket(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One bucket of time, or one group."""

    quantity: Fraction
    name: str = ""
    in_class: str = ""
    """Of a windowed price: which of its classes."""
    ended: bool = True
    """Of a windowed price: only a window that has ended is topped up to its commitment."""


class Days(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many days of the period are billed; or hours, or seconds: only their ratio counts."""

    billed: int
    period: int


class Booked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What earlier runs of the same period booked."""

    amount: Fraction | None = None
    """None: what `quantity` comes to."""
    quantity: Fraction = ZERO
    """As metered, before conversion and allowances; of a charge on one plain quantity."""
    billed_quantity: Fraction = ZERO
    """Of other charges (events, buckets, windows, meters, a level over time): what they have billed."""


NOTHING = Booked()


class Usage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One charge's usage, of the whole period until now or (`covers = "run"`) since the last run."""

    quantity: Fraction | None = None
    """Units, or the amount of a percentage or dynamic price; None: the sum of events, buckets and meters."""
    events: tuple[Event, ...] = ()
    """In order. Beside a quantity and an event_count, the first ones suffice."""
    event_count: int | None = None
    """None: as many as there are events."""
    buckets: tuple[Bucket, ...] = ()
    meters: dict[str, Fraction] = {}
    opening: Fraction = ZERO
    """Of changes of a level: where it stood when the period began."""
    begin: Instant | None = None
    end: Instant | None = None
    """Exclusive."""
    days: Days | None = None
    """None: the whole period is billed."""
    covers: Literal["period", "run"] = "period"
    last_of_period: bool = True
    """Whether this is the period's last run: only then a minimum is topped up."""
    booked: Booked | None = None
    """By earlier runs, where whoever rates does not say so beside it."""


class Rated(msgspec.Struct, frozen=True, kw_only=True):
    """What a charge comes to in this run."""

    charge: str
    model: str
    quantity: Fraction
    """Billed by this run: converted, without what is free."""
    gross: Fraction
    """Of this run, before the charge's discounts, maximum and minimum."""
    discount: Fraction
    """Taken off `gross` by discounts and maximum; negative where a run takes an earlier discount back."""
    true_up: Fraction
    """Added to reach the minimum, >= 0."""
    withheld: Fraction
    """What `negative_delta = "zero"` or `interim = "wait"` kept from being booked; else 0."""
    amount: Fraction
    """What this run books, exactly: gross - discount + true_up - withheld."""
    amount_nano: int
    """The same in nano-units, half to even, once."""
    period_amount: Fraction
    """What the period comes to with this run: what was booked before and `amount`."""
    period_quantity: Fraction
    """Billed in the period until now."""
    steps: tuple[Step, ...]
    """How it came about; each can be computed again from its own text (`steps.holds`)."""
    parameters: dict[str, Any]
    """The charge as it was applied, defaults and all."""
    taxes: tuple[str, ...] | None = None
    description: str = ""
