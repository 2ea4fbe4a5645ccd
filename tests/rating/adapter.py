"""From a worked case's parameters to a plan and usage, as the readers of interlock.rating take them."""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any

import msgspec
from tests.rating.keys import Keys, Unread, listed, mode_of, moment, number

from interlock.rating import PLACES, Booked, Bucket, Days, Event, Plan, Usage, read_plan


def rounding(params: Keys, parts: set[str], cents: bool) -> tuple[str, int, dict[str, Any]]:
    """Currency, places and the rounding of a plan."""
    currency = params.take("currency", default="USD").upper()
    places = params.take("places", "currency_places", "round_places", "precision")
    if places is None:
        places = 0 if cents else PLACES.get(currency, 2)
    told_mode = mode_of(params.take("mode", "rounding_mode", "rounding"))
    if told_mode is None and not {"size", "package_size", "divide_by", "multiply_by"} & params.values.keys():
        told_mode = mode_of(params.take("round"))  # or it tells in words what the others say
    mode = told_mode or "half_away_from_zero"
    precise = "precise" in parts or {"credit", "note"} <= parts  # a credit note rounds what it comes to, and no sooner
    level = params.take("rounding_level", "round_level", "level", default="total" if precise else "line")
    level = level if level in ("line", "invoice", "total", "none") else "line"
    return currency, int(places), {"mode": mode, "places": int(places), "level": level}


_TIER = {
    **dict.fromkeys(("unit_price", "unit_amount", "per_unit", "per_unit_amount"), "unit"),
    **dict.fromkeys(("flat_price", "flat_amount", "flat_fee"), "flat"),
    **dict.fromkeys(("rate", "percent"), "rate_percent"),
    **dict.fromkeys(("to", "to_value", "upto"), "up_to"),
}
_NO_END = (None, "", "inf", "infinity", "unlimited")


def tiers(listed: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Tiers by the names that a plan has for their parts, without what says nothing."""
    named = [{_TIER.get(key, key): value for key, value in tier.items()} for tier in listed]
    return [{key: value for key, value in tier.items() if value not in _NO_END} for tier in named]


def exactly(document: Any) -> Any:
    """A document with its floats as the decimals that they are written as."""
    if isinstance(document, Mapping):
        return {key: exactly(value) for key, value in document.items()}
    if isinstance(document, list):
        return [exactly(value) for value in document]
    return f"{Decimal(str(document)):f}" if isinstance(document, float) else document


_PRICES = (
    ({"graduated", "percentage"}, "graduated_percentage"),
    ({"graduated", "prorated"}, "graduated_prorated_per_event"),
    ({"graduated", "blocks"}, "graduated_blocks"),
    ({"volume", "blocks"}, "volume_blocks"),
    ({"graduated"}, "graduated"),
    ({"slab"}, "graduated"),
    ({"volume"}, "volume"),
    ({"bulk"}, "volume"),
    ({"package"}, "package"),
    ({"percentage"}, "percentage"),
    ({"dynamic"}, "dynamic"),
    ({"flat"}, "flat"),
    ({"unit"}, "per_unit"),
    ({"standard"}, "per_unit"),
)


def price_model(parts: set[str], params: Keys) -> str:
    """Which price the parts of a model's name mean, or the parameters where they do not say."""
    if "discount" in parts:
        parts = parts - {"percentage"}  # it is the discount that is a percentage
    for names, model in _PRICES:
        if names <= parts:
            return model
    if "tiers" in params.values:
        return "graduated_blocks" if "block_size" in params.values["tiers"][0] else "graduated"
    if "size" in params.values:
        return "package"
    if "block_size" in params.values:
        return "graduated_blocks"
    if "multiplier" in params.values:
        return "dynamic"
    if "rate_percent" in params.values:
        return "percentage"
    return "per_unit"


def price(model: str, params: Keys, parts: set[str]) -> dict[str, Any]:
    """The price of a charge, from a case's parameters."""
    found: dict[str, Any] = {"model": model}
    if model in ("graduated", "volume", "graduated_percentage", "graduated_prorated_per_event"):
        found["tiers"] = tiers(params.take("tiers"))
        first = params.take("first_flat_at_zero_usage", "first_flat_at_zero")
        if first is not None:
            found["first_flat_at_zero"] = first
    elif model.endswith("_blocks"):
        size = params.take("block_size")
        if size is not None:
            found["tiers"] = [{"block_size": size, "price_per_block": params.take("price_per_block")}]
        elif "tiers" in params.values:
            found["tiers"] = tiers(params.take("tiers"))
        else:
            meters = [
                name
                for name, value in params.values.items()
                if isinstance(value, list) and value and "block_size" in value[0]
            ]
            found["meters"] = {name: tiers(params.take(name)) for name in meters}
    elif model == "package":
        found |= {
            "size": params.take("size", "package_size"),
            "price": params.take("price", "package_price", "amount", default="0"),
        }
        found["free_units"] = params.take("free_units", default="0")
        found["round"] = mode_of(params.take("round")) or "up"
    elif model == "percentage":
        found["rate_percent"] = params.take("rate_percent", "percent", default="0")
        for name in ("fixed_per_event", "free_events", "free_amount", "per_event_min", "per_event_max"):
            value = params.take(name)
            if value is not None:
                found[name] = int(value) if name == "free_events" else value
    elif model == "dynamic":
        found["multiplier"] = params.take("multiplier", default="1")
        found["markup_percent"] = params.take("markup_percent", default="0")
        found["divide_by"] = 100 if params.take("unit_of_input") == "cents" else 1
    elif model == "flat":
        found["amount"] = params.money("amount", "flat", "fee", "price")
    else:
        found["unit"] = params.take("unit", "unit_cents", "unit_price", "unit_amount", "price", "amount")
    if found.get("unit", found.get("amount", "")) is None:
        if {"usage", "discount"} <= parts:
            found["unit"] = "0"  # only the quantity is asked for
        else:
            raise Unread("params: no price")
    past = str(params.take("past_last_tier", "past_last", default=""))
    if past:
        found["past_last"] = "last_tier" if "last" in past else "refuse"
    elif model in ("graduated", "volume", "graduated_percentage"):
        found["past_last"] = "last_tier"
    return found


def charge(id_: str, model: str, params: Keys, parts: set[str], places: int | None = None) -> dict[str, Any]:
    """A charge with whatever a case says of it."""
    found: dict[str, Any] = {"id": id_, "price": price(model, params, parts), **modifiers(params)}
    free = params.take("free_units", "usage_discount", "free_quantity")
    if free is not None and model != "package":
        found["free_units"] = free
    if "divide_by" in params.values or "multiply_by" in params.values:
        found["convert"] = conversion(params)
    if places is not None:
        found["round"] = {
            "places": places,
            "mode": mode_of(params.take("mode", "rounding_mode")) or "half_away_from_zero",
        }
    if "bucketed" in parts:
        found["bucketed"] = True
    if "prorated" in parts and "flat" not in parts and "event" not in parts:
        found["prorate"] = ["price", "minimum"]
    if "weighted" in parts:
        found["aggregate"] = "weighted_sum"
    if {"volume", "prorated"} <= parts:  # units that count for a part of the period, in the tier of them all
        found |= {"aggregate": "weighted_sum", "price": found["price"] | {"tier_by": "level"}, "prorate": []}
    below_zero = params.take("negative_quantity", "allow_negative")
    if below_zero is not None:
        found["negative_quantity"] = below_zero if isinstance(below_zero, str) else "rate" if below_zero else "refuse"
    negative = params.take("negative", "negative_delta", "clamp_negative")
    if negative is not None:
        found["negative_delta"] = "book" if negative in (True, "book", "allowed") and negative is not True else "zero"
    return found


def modifiers(params: Keys) -> dict[str, Any]:
    """Bounds and discounts, which any charge may have."""
    found: dict[str, Any] = {}
    for name in ("minimum", "maximum"):
        value = params.money(name, f"{name}_spend")
        if value is not None:
            found[name] = value
    percent = params.take("discount_percent", "percentage_discount")
    if percent is not None:
        found["discounts"] = [{"name": "discount", "percent": percent}]
    return found


def conversion(params: Keys) -> dict[str, Any]:
    """A conversion of quantities."""
    found = {name: params.take(name) for name in ("divide_by", "multiply_by") if name in params.values}
    mode = mode_of(params.take("round", "rounding", "mode"))
    places = params.take("places", "precision", default=0)
    return found | ({"round": mode, "places": int(places)} if mode else {})


def taxes(params: Keys, parts: set[str]) -> dict[str, Any]:
    """The taxes of a plan."""
    listed = params.take("tax_percents", "taxes", "tax_rates", default=[])
    one = params.take("tax_percent", "tax_rate")
    rates = [
        entry if isinstance(entry, Mapping) else {"percent": entry}
        for entry in [*([] if one is None else [one]), *listed]
    ]
    named = [
        {"name": str(entry.get("name", f"tax-{index}")), "percent": entry.get("percent", entry.get("rate_percent"))}
        for index, entry in enumerate(rates, 1)
    ]
    found: dict[str, Any] = {"rates": named}
    inclusive = params.take("inclusive", "tax_inclusive", default="inclusive" in parts)
    compound = params.take("compound", default="compound" in parts)
    first = params.take(
        "round_first", "rounded_first", default="net" if "inclusive" in parts and "net" in parts else "tax"
    )
    level = params.take("tax_level", default="invoice")
    return found | {
        "inclusive": bool(inclusive),
        "compound": bool(compound),
        "round_first": "net" if "net" in str(first) else "tax",
        "level": level,
    }


_STAGES = (
    ("discounts", r"discount|coupon"),
    ("commitment", r"commitment|minimum"),
    ("taxes", r"tax"),
    ("credits", r"credit|wallet"),
)


def order(params: Keys) -> list[str]:
    """The stages in the order that a case tells, in a list or in words.

    The others as they are in the sources (Lago, Flexprice): a commitment is held against fees before coupons.
    """
    told = params.take("order", "sequence", default="")
    text = " ".join(map(str, told)) if isinstance(told, list) else str(told)
    places = {stage: found.start() for stage, pattern in _STAGES if (found := re.search(pattern, text))}
    default = ["commitment", "discounts", "taxes", "credits"]
    if len(places) < 2:
        return default
    told_order = sorted(places, key=lambda stage: places[stage])
    rest = [stage for stage in default if stage not in places]
    return (
        [stage for stage in rest if stage in ("discounts", "commitment")]
        + told_order
        + [stage for stage in rest if stage in ("taxes", "credits")]
    )


def discounts(params: Keys) -> list[dict[str, Any]]:
    """The coupons of a plan."""
    found: list[dict[str, Any]] = []
    tables = params.take("coupons", "discounts", "invoice_coupons", "subscription_coupons", default=[])
    alone = ("coupon", "subscription_coupon", "invoice_coupon", "discount")
    tables = tables + [params.take(name) for name in alone if isinstance(params.values.get(name), Mapping)]
    for entry in tables:
        percent = entry.get("percent", entry.get("percentage"))
        found.append(
            {"percent": percent} if percent is not None else {"amount": entry.get("fixed", entry.get("amount"))}
        )
    found += [
        {"percent": value}
        for value in listed(
            params.take(
                *("coupons_percent", "discount_percents", "percent", "coupon_percent", "discount_percent"),
                *("invoice_coupon_percent", "subscription_coupon_percent"),
            )
        )
    ]
    fixed = params.money(
        *("coupons_fixed", "coupon_fixed", "fixed", "coupon", "discount", "discount_fixed", "fixed_discount"),
        *("invoice_coupon_fixed", "subscription_coupon_fixed", "invoice_coupon", "subscription_coupon"),
    )
    found += [{"amount": value} for value in listed(fixed) if not isinstance(value, Mapping)]
    return [{"name": f"coupon-{index}", **one} for index, one in enumerate(found, 1)]


def plan_of(charges: list[dict[str, Any]], params: Keys, parts: set[str], cents: bool, **more: Any) -> Plan:
    """A plan through the reader: strings in, as from a file."""
    currency, places, rounded = rounding(params, parts, cents)
    document = {"name": "case", "currency": currency, "places": places, "charges": charges, "rounding": rounded}
    document |= {"taxes": taxes(params, parts), "order": order(params)} | more
    return read_plan(msgspec.json.decode(msgspec.json.encode(exactly(document))))


def days_of(params: Keys) -> Days | None:
    """The days that are billed."""
    billed = params.take(
        "days_billed",
        "days_unused",
        "days_left",
        "billed_days",
        "days_used",
        "seconds_billed",
        "seconds_left",
        "seconds_used",
    )
    period = params.take("days_in_period", "period_days", "days_total", "seconds_in_period", "days_in_month")
    return None if period is None or billed is None else Days(billed=int(billed), period=int(period))


LAST = ("last_line_of_period", "last_line", "last_of_period", "final", "final_run", "last_run_is_final")
"""What says that this is the last line or run of its period, where a minimum is topped up."""


def usage_of(usage: Keys, model: str, days: Days | None, parts: set[str], params: Keys) -> Usage:
    """One charge's usage."""
    last = params.take(*LAST, default=True)
    common: dict[str, Any] = {"days": days, "last_of_period": bool(last) and not parts & {"interim", "mid"}}
    if model == "graduated_prorated_per_event":
        pairs = zip(usage.take("unit_changes"), usage.take("prorated_changes"), strict=True)
        return Usage(events=tuple(Event(value=number(units), prorated=number(part)) for units, part in pairs), **common)
    if (full := usage.take("full_units", "full_units_number", "full_quantity")) is not None:
        part = number(usage.take("quantity", "prorated_units", "prorated_quantity"))
        return Usage(events=(Event(value=number(full), prorated=part),), **common)
    if "buckets" in usage.values or "groups" in usage.values:
        return Usage(buckets=tuple(buckets(usage.take("buckets", "groups"))), **common)
    if "changes" in usage.values:
        begin, end = (moment(text) for text in params.take("period"))
        opening = number(params.take("opening_units", default=usage.take("opening_units", default="0")))
        events = tuple(Event(value=number(value), at=moment(at)) for at, value in usage.take("changes"))
        return Usage(events=events, opening=opening, begin=begin, end=end, **common)
    running = usage.take("running_total", default=[])
    events = usage.take("events", "event_amounts", "transactions")
    if isinstance(events, list):
        return Usage(events=tuple(Event(value=number(value)) for value in events), event_count=len(events), **common)
    amounts = [number(now) - number(before) for before, now in zip(["0", *running], running, strict=False)]
    quantity = usage.take(
        "quantity",
        "amount",
        "metered_amount",
        "sum_of_precise_amount_cents",
        "units",
        "precise_amount_cents",
        "amounts",
    )
    if quantity is None and (meters := [name for name, value in params.values.items() if name in usage.values]):
        return Usage(meters={name: number(usage.take(name)) for name in meters}, **common)
    return Usage(
        quantity=sum((number(value) for value in listed(quantity)), Fraction(0)),
        events=tuple(Event(value=value) for value in amounts),
        event_count=None if events is None else int(events),
        **common,
    )


def buckets(given: Iterable[Any] | Mapping[str, Any]) -> Iterable[Bucket]:
    """Buckets from quantities, or from (name, quantity)."""
    for index, one in enumerate(given.items() if isinstance(given, Mapping) else given, 1):
        if isinstance(one, Mapping):
            one = (one.get("name", index), one.get("quantity"))
        name, quantity = one if isinstance(one, list | tuple) else (index, one)
        yield Bucket(name=str(name), quantity=number(quantity))


def booked_of(params: Keys, model: str) -> Booked | None:
    """What is billed already; None: nothing was."""
    amount = params.money("already_billed")
    quantity = params.take("already_billed_quantity", "already_used", "pre_line_quantity", default="0")
    if amount is None and not number(quantity):
        return None
    return Booked(amount=None if amount is None else number(amount), quantity=number(quantity))


def flats(values: Iterable[Any]) -> list[dict[str, Any]]:
    """Lines that are amounts already."""
    return [
        {"id": f"line-{index}", "price": {"model": "flat", "amount": str(value)}}
        for index, value in enumerate(values, 1)
    ]
