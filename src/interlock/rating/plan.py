"""What a plan is: charges on meters, and every parameter that changes what they come to. Each default stands here.

Amounts, prices and quantities are exact: decimals in a file, `fractions.Fraction` in these values. Nothing here rates
(rate.py), adds up (total.py) or reads a file (reading.py).
"""

from fractions import Fraction
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

ZERO = Fraction(0)
ONE = Fraction(1)

Mode = Literal["half_away_from_zero", "half_even", "half_up", "half_down", "up", "down", "ceiling", "floor"]
"""`up` is away from zero, `down` towards it. `half_up` is `half_away_from_zero` under the name that Java and Python's
decimal have for it, and `half_down` its opposite; neither looks at the sign."""
PastLast = Literal["refuse", "last_tier"]
"""What a quantity past the last tier is: an error, or priced as the last tier."""


Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class Value(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every part of a plan is: frozen, and read without a key that it does not know.

    A field that plans once did not have is `UNSET` where nothing is said, and then left out of the plan's record: what
    was hashed before hashes so still.
    """


class Tier(Value, frozen=True):
    """Units up to and with `up_to` (None: all that are left)."""

    up_to: Fraction | None = None
    unit: Fraction = ZERO
    """The price of one unit in the tier."""
    flat: Fraction = ZERO
    """Once, when the tier is reached."""


class PercentTier(Value, frozen=True):
    """Amounts up to and with `up_to`."""

    up_to: Fraction | None = None
    rate_percent: Fraction = ZERO
    flat: Fraction = ZERO


class BlockTier(Value, frozen=True):
    """At most `max_blocks` blocks of `block_size` units; a block that is begun counts whole."""

    block_size: Fraction
    price_per_block: Fraction
    max_blocks: int | None = None


class Flat(Value, frozen=True, tag_field="model", tag="flat"):
    """A fee that does not depend on usage."""

    amount: Fraction


class PerUnit(Value, frozen=True, tag_field="model", tag="per_unit"):
    """quantity × unit."""

    unit: Fraction


class Graduated(Value, frozen=True, tag_field="model", tag="graduated"):
    """Each unit at the price of the tier that it falls into."""

    tiers: tuple[Tier, ...]
    first_flat_at_zero: bool = True
    """Whether the first tier's flat fee is due where nothing was used."""
    past_last: PastLast = "refuse"


class Volume(Value, frozen=True, tag_field="model", tag="volume"):
    """All units at the price of the tier that the whole quantity falls into. Not monotone: more may cost less."""

    tiers: tuple[Tier, ...]
    first_flat_at_zero: bool = True
    past_last: PastLast = "refuse"
    tier_by: Literal["quantity", "level"] = "quantity"
    """`level`: of a weighted sum, the level that the period ends with picks the tier, not its mean over time."""


class Package(Value, frozen=True, tag_field="model", tag="package"):
    """Whole packages of `size` units, after the free units."""

    size: Fraction
    price: Fraction
    free_units: Fraction = ZERO
    round: Mode = "up"
    """What a part of a package is."""


class Percentage(Value, frozen=True, tag_field="model", tag="percentage"):
    """A share of amounts, and a fixed fee for each event. Free is what the earlier of the two allowances covers."""

    rate_percent: Fraction
    fixed_per_event: Fraction = ZERO
    free_events: int = 0
    free_amount: Fraction | None = None
    per_event_min: Fraction | None = None
    per_event_max: Fraction | None = None


class GraduatedPercentage(Value, frozen=True, tag_field="model", tag="graduated_percentage"):
    """Each part of the amount at the rate of its tier."""

    tiers: tuple[PercentTier, ...]
    first_flat_at_zero: bool = False
    past_last: PastLast = "refuse"


class Dynamic(Value, frozen=True, tag_field="model", tag="dynamic"):
    """Amounts that came with the events: amount × multiplier × (100 + markup_percent) / 100 / divide_by."""

    multiplier: Fraction = ONE
    markup_percent: Fraction = ZERO
    divide_by: Fraction = ONE
    """100 where the events tell cents, 1000000000 where they tell nano-units."""


class GraduatedBlocks(Value, frozen=True, tag_field="model", tag="graduated_blocks"):
    """Blocks of the first tier until it is full, then of the next; by meter, each meter alone."""

    tiers: tuple[BlockTier, ...] = ()
    meters: dict[str, tuple[BlockTier, ...]] = {}
    """Instead of `tiers`: the tiers of each meter that the charge counts."""
    past_last: PastLast = "last_tier"


class VolumeBlocks(Value, frozen=True, tag_field="model", tag="volume_blocks"):
    """All units in blocks of the tier that the whole quantity falls into; by meter, each meter alone."""

    tiers: tuple[BlockTier, ...] = ()
    meters: dict[str, tuple[BlockTier, ...]] = {}
    past_last: PastLast = "last_tier"


class GraduatedProrated(Value, frozen=True, tag_field="model", tag="graduated_prorated_per_event"):
    """Units that come and go within the period: each change is priced for the days it counts, in the tier it fills."""

    tiers: tuple[Tier, ...]
    past_last: PastLast = "refuse"


QuantityPrice = Flat | PerUnit | Graduated | Volume | Package


class Window(Value, frozen=True):
    """What one class of windows costs: its price, and what is committed of it in each window."""

    price: QuantityPrice
    commitment: Fraction | None = None
    """An amount in each window."""
    commitment_units: Fraction | None = None
    """Or units, worth what the price makes of them."""
    overage_factor: Fraction = ONE
    """What lies above the commitment costs this many times its price."""
    true_up: bool = False
    """Whether a window below the commitment is billed as the commitment."""


class Windowed(Value, frozen=True, tag_field="model", tag="windowed"):
    """Windows of time (buckets) each priced alone, by the class that it is in (peak hours and others)."""

    classes: dict[str, Window]


Price = (
    Flat | PerUnit | Graduated | Volume | Package | Percentage | GraduatedPercentage | Dynamic
    | GraduatedBlocks | VolumeBlocks | GraduatedProrated | Windowed
)  # fmt: skip


class Conversion(Value, frozen=True):
    """Metered quantity to billed quantity: × multiply_by / divide_by, then rounded."""

    multiply_by: Fraction = ONE
    divide_by: Fraction = ONE
    round: Mode | None = None
    """None: not rounded."""
    places: int = 0


class Rounding(Value, frozen=True):
    """How an amount becomes one that can be paid."""

    level: Literal["line", "invoice", "total", "none"] = "line"
    """`line`: each line, then summed. `invoice`: the sum, and what that changes is spread over the lines. `total`: the
    total with its taxes and nothing before it. `none`: nothing at all, for a look ahead."""
    mode: Mode = "half_away_from_zero"
    places: int | None = None
    """None: the currency's."""


class AmountRounding(Value, frozen=True):
    """A charge's amount rounded before its minimum and maximum apply. Left out: exact until the line."""

    places: int
    mode: Mode = "half_away_from_zero"


class Discount(Value, frozen=True):
    """A coupon: percent of what the ones before it left, or a fixed amount; never below zero."""

    name: str
    percent: Fraction | None = None
    amount: Fraction | None = None
    charges: tuple[str, ...] = ()
    """Of an invoice's discount: the charges that it applies to; none named: all."""


class Source(Value, frozen=True):
    """What a charge counts: a tenant's meter by its slug, or a measure of the gateway's own usage."""

    meter: str = ""
    usage: str = ""
    by: tuple[str, ...] = ()
    """Dimensions: each combination of their values is a bucket."""
    where: dict[str, tuple[str, ...]] = {}
    """Dimension to the values that count; all of them have to hold."""


class WindowRule(Value, frozen=True):
    """Windows that begin on one of these days, from an hour on until before another, on the zone's clock."""

    in_class: str
    days: tuple[Weekday, ...] = ()
    """None named: all."""
    from_hour: int = 0
    to_hour: int = 24
    """Exclusive."""


class Windows(Value, frozen=True):
    """How time is cut where each window is a bucket, and which class each is in."""

    size: Literal["hour", "day"]
    """Of the clock of the tenant's zone."""
    rules: tuple[WindowRule, ...] = ()
    """The first that fits says the class."""
    otherwise: str = ""
    """The class of a window that no rule fits."""


class Charge(Value, frozen=True):
    """One thing that is billed. The order of its parameters here is the order in which they apply."""

    id: str
    price: Price
    description: str = ""
    unit_name: str = ""
    """What one unit is called on an invoice: `token`, `GB`."""
    source: Source | None = None
    sources: dict[str, Source] | UnsetType = UNSET
    """Instead of `source`: several, by name. Their sum is priced, or each alone by its tiers in `price.meters`."""
    windows: Windows | UnsetType = UNSET
    """What of it is one bucket of a windowed price, or of `bucketed`: each window of time, whether used or not."""
    negative_quantity: Literal["refuse", "rate", "zero"] = "refuse"
    aggregate: Literal["sum", "weighted_sum"] = "sum"
    """`weighted_sum`: changes of a level, each for the part of the period that it lasts."""
    convert: Conversion | None = None
    free_units: Fraction = ZERO
    """Of the converted quantity, in each period; not priced."""
    bucketed: bool = False
    """Each bucket (of time, or group) is converted and priced alone, then summed."""
    round: AmountRounding | None = None
    discounts: tuple[Discount, ...] = ()
    maximum: Fraction | None = None
    minimum: Fraction | None = None
    prorate: tuple[Literal["flat", "price", "minimum", "maximum", "free_units"], ...] = ("flat", "minimum")
    """What shrinks where fewer days are billed than the period has: a flat charge's fee, any charge's price, bounds."""
    interim: Literal["rate", "wait"] = "rate"
    """Whether a run before the period's last one bills, or leaves all to the last one."""
    negative_delta: Literal["book", "zero"] = "book"
    """What a run books where the period now comes to less than what is booked: the difference, or nothing."""
    taxes: tuple[str, ...] | None = None
    """Names of the plan's taxes that apply; None: all."""

    @property
    def counts(self) -> dict[str, Source]:
        """All that it counts, by name; a single `source` has none (empty)."""
        if self.sources:
            return self.sources
        return {} if self.source is None else {"": self.source}


class Commitment(Value, frozen=True):
    """What a period costs at the least; the difference is a line of its own, on the last invoice of the period."""

    minimum: Fraction
    prorate: bool = True
    charges: tuple[str, ...] = ()
    """Whose amounts count towards it; none named: all."""


class Tax(Value, frozen=True):
    """One tax."""

    name: str
    percent: Fraction


class Taxes(Value, frozen=True):
    """The taxes of an invoice and how they are computed."""

    rates: tuple[Tax, ...] = ()
    inclusive: bool = False
    """Whether prices hold the taxes already."""
    compound: bool = False
    """Whether each tax is also on those before it."""
    level: Literal["line", "invoice"] = "invoice"
    """Where a tax is rounded: on each line, or once on the sum of the lines it applies to."""
    round_first: Literal["tax", "net"] = "tax"
    """Of inclusive prices: which of the two is rounded; the other is what is left."""


class EntitledLimit(Value, frozen=True):
    """So much of a measure in each window, and no more. Calls are held to it, and nothing is priced by it."""

    name: str
    measure: Literal["requests", "input_tokens", "output_tokens", "tokens", "concurrency", "usd"]
    amount: Fraction
    window: Literal["minute", "hour", "day", "month"] | None = None
    """None: `concurrency`, which counts the calls that run."""
    per: tuple[Literal["key", "principal", "session", "model"], ...] = ()
    """Of the tenant's: each has the amount to itself; none: the whole tenant shares it."""
    warn_at: tuple[int, ...] = ()
    """Per cent of the amount, ascending."""


class Entitlements(Value, frozen=True):
    """What the plan lets a tenant use. Rating ignores it."""

    models: tuple[str, ...] | None = None
    """Patterns in which `*` stands for any text; None: all models."""
    features: dict[str, bool | str] = {}
    """What else comes with the plan, for programs that ask: whether, or which."""
    limits: tuple[EntitledLimit, ...] = ()


Stage = Literal["discounts", "commitment", "credits", "taxes"]


class Plan(Value, frozen=True):
    """A price list under a name and a version. A version never changes."""

    name: str
    currency: str
    """ISO 4217, or any code of 2 to 16 capitals and digits whose `places` are given."""
    charges: tuple[Charge, ...]
    version: int = 1
    places: int | None = None
    """Of the currency; None: by ISO 4217."""
    rounding: Rounding = Rounding()
    order: tuple[Stage, ...] = ("discounts", "commitment", "taxes", "credits")
    discounts: tuple[Discount, ...] = ()
    commitment: Commitment | None = None
    taxes: Taxes = Taxes()
    due_days: int | UnsetType = UNSET
    """An invoice is to be paid by so many days after that of its issue. Rating ignores it."""
    entitlements: Entitlements | None = None
    """None: nothing is restricted. It is left out of the plan's record, so that older records stay what they were."""
