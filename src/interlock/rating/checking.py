"""Whether a plan makes sense: bounds, order of tiers, names that are there, parameters that do not contradict. Pure."""

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction

from msgspec import UNSET

from interlock.errors import LocalError
from interlock.rating.currencies import PLACES, PLACES_MAX
from interlock.rating.plan import (
    BlockTier,
    Charge,
    Conversion,
    Discount,
    Dynamic,
    EntitledLimit,
    Entitlements,
    Graduated,
    GraduatedBlocks,
    GraduatedPercentage,
    GraduatedProrated,
    Package,
    Percentage,
    PercentTier,
    Plan,
    Price,
    Source,
    Taxes,
    Tier,
    Volume,
    VolumeBlocks,
    Window,
    Windowed,
    WindowRule,
    Windows,
)
from interlock.units import INT64_MAX, NANO

CHARGES_MAX = 1_000
TIERS_MAX = 1_000
NAMES_MAX = 100
TEXT_CHARS_MAX = 256
DISCOUNTS_MAX = 20
TAXES_MAX = 20
COUNT_MAX = 10**12
VERSION_MAX = 10**9
MODELS_MAX = 256
FEATURES_MAX = 64
LIMITS_MAX = 8
"""Of one plan: a call is held to 18 limits at the most (`limits.page.PARTS_MAX`), and ten are left to the
configuration's own and to prepaid accounts."""
WARN_AT_MAX = 16
DUE_DAYS_MAX = 366
HOURS = 24
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")
_CURRENCY = re.compile(r"[A-Z][A-Z0-9]{1,15}")
_HUNDRED = 100


def check_plan(plan: Plan) -> None:
    """Raises: LocalError: `invalid_request`; `field` is the place."""
    _id(plan.name, "name")
    _within(plan.version, 1, VERSION_MAX, "version")
    _refuse(not _CURRENCY.fullmatch(plan.currency), "currency", "expected ISO 4217, or 2 to 16 capitals and digits")
    unknown = plan.places is None and plan.currency not in PLACES
    _refuse(unknown, "places", f"ISO 4217 does not know {plan.currency}: say how many places it has")
    for places, field in ((plan.places, "places"), (plan.rounding.places, "rounding.places")):
        if places is not None:
            _within(places, 0, PLACES_MAX, field)
    _refuse(not 0 < len(plan.charges) <= CHARGES_MAX, "charges", f"expected 1 to {CHARGES_MAX}")
    _unlike([charge.id for charge in plan.charges], "charges", "id")
    taxes = {tax.name for tax in plan.taxes.rates}
    for index, charge in enumerate(plan.charges):
        check_charge(charge, f"charges[{index}]", taxes)
    ids = {charge.id for charge in plan.charges}
    _discounts(plan.discounts, "discounts", ids)
    if plan.commitment is not None:
        _not_negative(plan.commitment.minimum, "commitment.minimum")
        _named(plan.commitment.charges, ids, "commitment.charges", "charge")
    _taxes(plan.taxes)
    if plan.due_days is not UNSET:
        _within(plan.due_days, 0, DUE_DAYS_MAX, "due_days")
    if plan.entitlements is not None:
        _entitlements(plan.entitlements)
    _unlike(plan.order, "order", "stage")
    for stage, present in (("discounts", plan.discounts), ("commitment", plan.commitment), ("taxes", plan.taxes.rates)):
        _refuse(bool(present) and stage not in plan.order, "order", f"the plan has {stage}: say when they apply")


def check_charge(charge: Charge, at: str, taxes: set[str]) -> None:
    """Raises: LocalError."""
    _id(charge.id, f"{at}.id")
    for name in ("description", "unit_name"):
        _text(getattr(charge, name), f"{at}.{name}")
    _price(charge.price, f"{at}.price")
    if charge.source is not None:
        _source(charge.source, f"{at}.source")
    if charge.sources is not UNSET:
        _sources(charge, charge.sources, f"{at}.sources")
    if charge.windows is not UNSET:
        _windows(charge, charge.windows, f"{at}.windows")
    if charge.convert is not None:
        _conversion(charge.convert, f"{at}.convert")
    if charge.round is not None:
        _within(charge.round.places, 0, PLACES_MAX, f"{at}.round.places")
    _not_negative(charge.free_units, f"{at}.free_units")
    for name in ("minimum", "maximum"):
        if (bound := getattr(charge, name)) is not None:
            _not_negative(bound, f"{at}.{name}")
    if charge.minimum is not None and charge.maximum is not None:
        _refuse(charge.minimum > charge.maximum, f"{at}.minimum", "is above the maximum")
    _discounts(charge.discounts, f"{at}.discounts", None)
    if charge.taxes is not None:
        _named(charge.taxes, taxes, f"{at}.taxes", "tax")
    level = isinstance(charge.price, Volume) and charge.price.tier_by == "level"
    weighed = charge.aggregate != "sum" and not (charge.bucketed or charge.convert is not None or charge.free_units)
    what = 'goes with aggregate = "weighted_sum", and no buckets, conversion or free_units'
    _refuse(level and not weighed, f"{at}.price.tier_by", what)
    whole = isinstance(charge.price, Percentage | GraduatedProrated | Windowed)
    _refuse(charge.bucketed and whole, f"{at}.bucketed", "this price has its own events or windows")
    alone = bool(getattr(charge.price, "meters", None)) and (charge.bucketed or bool(charge.free_units))
    _refuse(alone, f"{at}.price.meters", "each meter is priced alone: no buckets, and no free_units of them together")
    per_event = charge.convert is not None or charge.free_units or charge.aggregate != "sum"
    _refuse(whole and bool(per_event), f"{at}.price", "goes with no conversion, free_units or weighted sum")


def _price(price: Price, at: str) -> None:
    match price:
        case Graduated() | Volume() | GraduatedProrated() | GraduatedPercentage():
            _tiers(price.tiers, f"{at}.tiers")
        case Package():
            _positive(price.size, f"{at}.size")
            _not_negative(price.free_units, f"{at}.free_units")
        case Percentage():
            _within(price.free_events, 0, COUNT_MAX, f"{at}.free_events")
            for name in ("free_amount", "per_event_min", "per_event_max"):
                if (value := getattr(price, name)) is not None:
                    _not_negative(value, f"{at}.{name}")
            if price.per_event_min is not None and price.per_event_max is not None:
                _refuse(price.per_event_min > price.per_event_max, f"{at}.per_event_min", "is above per_event_max")
        case Dynamic():
            _positive(price.divide_by, f"{at}.divide_by")
        case GraduatedBlocks() | VolumeBlocks():
            both = bool(price.tiers) == bool(price.meters)
            _refuse(both, f"{at}.tiers", "give either tiers, or the tiers of each meter in meters")
            _refuse(len(price.meters) > NAMES_MAX, f"{at}.meters", f"expected at most {NAMES_MAX}")
            for name in price.meters:
                _text(name, f"{at}.meters")
            for name, tiers in {"": price.tiers, **price.meters}.items():
                if tiers or name:
                    _blocks(tiers, f"{at}.meters.{name[:100]}" if name else f"{at}.tiers")
        case Windowed():
            _refuse(not 0 < len(price.classes) <= NAMES_MAX, f"{at}.classes", f"expected 1 to {NAMES_MAX}")
            for name, window in price.classes.items():
                _text(name, f"{at}.classes")
                _window(window, f"{at}.classes.{name[:100]}")


def _tiers(tiers: Sequence[Tier | PercentTier], at: str) -> None:
    _refuse(not 0 < len(tiers) <= TIERS_MAX, at, f"expected 1 to {TIERS_MAX} tiers")
    below = Fraction(0)
    for index, tier in enumerate(tiers):
        place = f"{at}[{index}].up_to"
        if tier.up_to is None:
            _refuse(index + 1 < len(tiers), place, "only the last tier may be without an end")
            continue
        _refuse(tier.up_to <= below, place, "each tier ends above the one before, and the first above 0")
        below = tier.up_to


def _blocks(tiers: Sequence[BlockTier], at: str) -> None:
    _refuse(not 0 < len(tiers) <= TIERS_MAX, at, f"expected 1 to {TIERS_MAX} tiers")
    for index, tier in enumerate(tiers):
        _positive(tier.block_size, f"{at}[{index}].block_size")
        if tier.max_blocks is None:
            _refuse(index + 1 < len(tiers), f"{at}[{index}].max_blocks", "only the last tier may be without an end")
        else:
            _within(tier.max_blocks, 1, COUNT_MAX, f"{at}[{index}].max_blocks")


def _window(window: Window, at: str) -> None:
    _price(window.price, f"{at}.price")
    level = isinstance(window.price, Volume) and window.price.tier_by == "level"
    _refuse(level, f"{at}.price.tier_by", "a window has a quantity alone")
    both = window.commitment is not None and window.commitment_units is not None
    _refuse(both, f"{at}.commitment", "give an amount or units, not both")
    for name in ("commitment", "commitment_units"):
        if (value := getattr(window, name)) is not None:
            _not_negative(value, f"{at}.{name}")
    _not_negative(window.overage_factor, f"{at}.overage_factor")


def _conversion(conversion: Conversion, at: str) -> None:
    _positive(conversion.multiply_by, f"{at}.multiply_by")
    _positive(conversion.divide_by, f"{at}.divide_by")
    _within(conversion.places, 0, PLACES_MAX, f"{at}.places")


def _source(source: Source, at: str) -> None:
    _refuse(bool(source.meter) == bool(source.usage), at, "give either meter (a slug) or usage (a measure)")
    _refuse(len(source.by) > NAMES_MAX or len(source.where) > NAMES_MAX, at, f"expected at most {NAMES_MAX} dimensions")
    _unlike(source.by, f"{at}.by", "dimension")
    for name in (source.meter, source.usage, *source.by, *source.where):
        _text(name, at)
    for name, values in source.where.items():
        _refuse(not 0 < len(values) <= NAMES_MAX, f"{at}.where.{name}", f"expected 1 to {NAMES_MAX} values")
        for value in values:
            _text(value, f"{at}.where.{name}")


def _sources(charge: Charge, sources: Mapping[str, Source], at: str) -> None:
    _refuse(charge.source is not None, at, "give either source or sources")
    _refuse(not 0 < len(sources) <= NAMES_MAX, at, f"expected 1 to {NAMES_MAX}")
    by = next(iter(sources.values())).by
    for name, source in sources.items():
        _name(name, at)
        _source(source, f"{at}.{name}")
        _refuse(source.by != by, f"{at}.{name}.by", f"all are grouped alike: expected {list(by)}")
    alone = getattr(charge.price, "meters", None)
    if alone:
        _refuse(sources.keys() != alone.keys(), at, f"the price has the meters {', '.join(sorted(alone))}: name these")


def _windows(charge: Charge, windows: Windows, at: str) -> None:
    classes = charge.price.classes if isinstance(charge.price, Windowed) else {}
    _refuse(not classes and not charge.bucketed, at, "go with a windowed price, or bucketed = true")
    _refuse(len(windows.rules) > NAMES_MAX, f"{at}.rules", f"expected at most {NAMES_MAX}")
    places = {f"{at}.rules[{n}].in_class": rule.in_class for n, rule in enumerate(windows.rules)}
    for place, name in {**places, f"{at}.otherwise": windows.otherwise}.items():
        known = ", ".join(sorted(classes)) or "none, since this price has no classes"
        _refuse(name not in (classes or {""}), place, f"expected a class of the price: {known}")
    for n, rule in enumerate(windows.rules):
        _window_rule(windows, rule, f"{at}.rules[{n}]")


def _window_rule(windows: Windows, rule: WindowRule, at: str) -> None:
    _unlike(rule.days, f"{at}.days", "day")
    _within(rule.from_hour, 0, HOURS - 1, f"{at}.from_hour")
    _within(rule.to_hour, 1, HOURS, f"{at}.to_hour")
    _refuse(rule.from_hour >= rule.to_hour, f"{at}.to_hour", "comes after from_hour; past midnight it is two rules")
    parts = (rule.from_hour, rule.to_hour) != (0, HOURS)
    _refuse(parts and windows.size == "day", f"{at}.from_hour", "a window of a day has no hour: leave hours out")


def _discounts(discounts: Sequence[Discount], at: str, ids: set[str] | None) -> None:
    _refuse(len(discounts) > DISCOUNTS_MAX, at, f"expected at most {DISCOUNTS_MAX}")
    for index, discount in enumerate(discounts):
        place = f"{at}[{index}]"
        _text(discount.name, f"{place}.name")
        one = (discount.percent is None) != (discount.amount is None)
        _refuse(not one, f"{place}.percent", "give percent or amount, one of them")
        if discount.percent is not None:
            _refuse(not 0 <= discount.percent <= _HUNDRED, f"{place}.percent", "expected 0 to 100")
        _not_negative(discount.amount or Fraction(0), f"{place}.amount")
        if ids is None:
            _refuse(bool(discount.charges), f"{place}.charges", "a charge's own discount names no charges")
        else:
            _named(discount.charges, ids, f"{place}.charges", "charge")


def _taxes(taxes: Taxes) -> None:
    _refuse(len(taxes.rates) > TAXES_MAX, "taxes.rates", f"expected at most {TAXES_MAX}")
    _unlike([tax.name for tax in taxes.rates], "taxes.rates", "name")
    for index, tax in enumerate(taxes.rates):
        _id(tax.name, f"taxes.rates[{index}].name")
        _refuse(not 0 <= tax.percent <= _HUNDRED, f"taxes.rates[{index}].percent", "expected 0 to 100")


def _entitlements(wanted: Entitlements) -> None:
    at, models = "entitlements", wanted.models or ()
    _refuse(len(models) > MODELS_MAX, f"{at}.models", f"expected at most {MODELS_MAX}")
    for index, pattern in enumerate(models):
        _refuse(not pattern, f"{at}.models[{index}]", "expected a model's name, or a pattern with *")
        _text(pattern, f"{at}.models[{index}]")
    _unlike(models, f"{at}.models", "pattern")
    _refuse(len(wanted.features) > FEATURES_MAX, f"{at}.features", f"expected at most {FEATURES_MAX}")
    for name, value in wanted.features.items():
        _name(name, f"{at}.features")
        if isinstance(value, str):
            _text(value, f"{at}.features.{name}")
    _refuse(len(wanted.limits) > LIMITS_MAX, f"{at}.limits", f"expected at most {LIMITS_MAX}")
    _unlike([limit.name for limit in wanted.limits], f"{at}.limits", "name")
    for index, limit in enumerate(wanted.limits):
        _entitled_limit(limit, f"{at}.limits[{index}]")


def _entitled_limit(limit: EntitledLimit, at: str) -> None:
    _name(limit.name, f"{at}.name")
    unit = NANO if limit.measure == "usd" else 1
    whole = "a whole number" if unit == 1 else "at most nine decimals"
    _not_negative(limit.amount, f"{at}.amount")
    _refuse((limit.amount * unit).denominator != 1, f"{at}.amount", f"expected {whole}")
    _refuse(limit.amount * unit > INT64_MAX, f"{at}.amount", f"expected at most {INT64_MAX // unit}")
    if limit.measure == "concurrency":
        _refuse(limit.window is not None, f"{at}.window", "concurrency counts the calls that run, and has no window")
    else:
        _refuse(limit.window is None, f"{at}.window", "nothing here; it is required: minute, hour, day or month")
    _unlike(limit.per, f"{at}.per", "scope")
    # Clients make up sessions, and each is a counter until its window ends: all tenants' counters share one page.
    long = limit.window in ("day", "month") and "session" in limit.per
    _refuse(long, f"{at}.per", "a session is counted by the minute or the hour")
    warned = limit.warn_at
    good = list(warned) == sorted(set(warned)) and len(warned) <= WARN_AT_MAX
    good = good and all(1 <= percent <= _HUNDRED for percent in warned)
    _refuse(not good, f"{at}.warn_at", f"expected at most {WARN_AT_MAX} ascending percentages from 1 to 100")


def _name(text: str, at: str) -> None:
    _refuse(not _NAME.fullmatch(text), at, "expected a name of 1 to 64 letters, digits and . _ -")


def _named(names: Sequence[str], known: set[str], at: str, what: str) -> None:
    for index, name in enumerate(names):
        _refuse(name not in known, f"{at}[{index}]", f"the plan has no {what} {name[:100]!r}")


def _unlike(names: Sequence[str], at: str, what: str) -> None:
    seen: set[str] = set()
    for index, name in enumerate(names):
        _refuse(name in seen, f"{at}[{index}]", f"the {what} {name[:100]!r} stands here twice")
        seen.add(name)


def _id(text: str, at: str) -> None:
    _refuse(
        not _ID.fullmatch(text), at, "expected 1 to 100 letters, digits and . _ : -, beginning with a letter or digit"
    )


def _text(text: str, at: str) -> None:
    _refuse(
        len(text) > TEXT_CHARS_MAX or not text.isprintable(),
        at,
        f"expected at most {TEXT_CHARS_MAX} printable characters",
    )


def _within(number: int, low: int, high: int, at: str) -> None:
    _refuse(not low <= number <= high, at, f"found {str(number)[:20]}; expected {low} to {high}")


def _positive(value: Fraction, at: str) -> None:
    _refuse(value <= 0, at, "expected more than 0")


def _not_negative(value: Fraction, at: str) -> None:
    _refuse(value < 0, at, "expected 0 or more")


def _refuse(wrong: bool, at: str, expected: str) -> None:
    if wrong:
        raise LocalError(f"{at}: {expected}", field=at)
