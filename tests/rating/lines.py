"""The lines of a worked case that are amounts, or a quantity and a price; and the coupons that are on one of them."""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

from tests.rating.keys import Keys, Unread, listed, number

_NAMES = ("id", "name", "line", "charge")
_PERCENT = ("coupon_percent", "discount_percent", "coupon_percentage")
_FIXED = ("coupon_fixed", "discount_fixed", "coupon_amount", "discount_amount")


class Lines:
    """Charges, with the names that a case has for them, and what is counted of those that have a unit price."""

    def __init__(self, value: Any) -> None:
        entries = value.items() if isinstance(value, Mapping) else [("", one) for one in listed(value)]
        self.charges: list[dict[str, Any]] = []
        self.quantities: dict[str, Fraction] = {}
        self.ids: dict[str, str] = {}
        self.coupons: list[dict[str, Any]] = []
        for index, (name, entry) in enumerate(entries, 1):
            self._add(f"line-{index}", name, Keys(entry if isinstance(entry, Mapping) else {"amount": entry}, "lines"))

    def _add(self, id_: str, name: str, entry: Keys) -> None:
        self.ids[str(entry.take(*_NAMES, default=name or id_))] = id_
        unit = entry.take("unit", "unit_price", "price")
        if unit is None:
            amount = str(entry.money("amount", "subtotal", "fee"))
            self.charges.append({"id": id_, "price": {"model": "flat", "amount": amount}})
        else:
            self.charges.append({"id": id_, "price": {"model": "per_unit", "unit": unit}})
            self.quantities[id_] = number(entry.take("quantity", "units"))
        self.coupons += coupon(entry.take(*_PERCENT), entry.take(*_FIXED), [id_])
        entry.done()

    def add_flat(self, id_: str, amount: Any) -> None:
        """One more line."""
        self.charges.append({"id": id_, "price": {"model": "flat", "amount": amount}})


def line_coupons(params: Keys, lines: Lines) -> list[dict[str, Any]]:
    """The coupons that are on some of the lines, however a case tells them. Raises: Unread: no such line."""
    found = list(lines.coupons)
    tables = params.take("line_coupons", "line_item_coupons", "line_discounts", "line_coupon", "line_item_coupon")
    for entry in listed(tables):
        table = Keys(entry, "line_coupons")
        on = table.take("on", "target", "target_line", *_NAMES)
        percent, fixed = table.take("percent", "percentage", *_PERCENT), table.take("fixed", "amount", *_FIXED)
        table.done()
        found += coupon(percent, fixed, _targets(lines, listed(on)))
    on = params.take(*(f"line{item}_coupon_{word}" for item in ("", "_item") for word in ("on", "line", "target")))
    percent = params.take("line_coupon_percent", "line_item_coupon_percent", "line_discount_percent")
    fixed = params.money("line_coupon_fixed", "line_item_coupon_fixed", "line_discount_fixed")
    if isinstance(percent, Mapping):
        return found + [one for name, value in percent.items() for one in coupon(value, None, _targets(lines, [name]))]
    return found + coupon(percent, fixed, _targets(lines, listed(on)) or [one["id"] for one in lines.charges[:1]])


def coupon(percent: Any, fixed: Any, on: list[str]) -> list[dict[str, Any]]:
    """None or one or two."""
    values = ({"percent": percent}, {"amount": fixed})
    return [{**one, "charges": on} for one in values if next(iter(one.values())) is not None]


def _targets(lines: Lines, names: Iterable[Any]) -> list[str]:
    try:
        return [lines.ids[str(name)] for name in names]
    except KeyError as error:
        raise Unread(f"a coupon is on the line {error}, which is not there") from error
