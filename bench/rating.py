"""CPU time of rating: `python bench/rating.py`. One graduated price of five tiers, and an invoice of ten such lines.

Beside it, the same amount by a plain loop over `decimal`, which keeps no steps, books no difference and rounds nothing.
"""

import time
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

from interlock.rating import Usage, rate, read_plan, total

TIERS = [("1000", "0.05"), ("10000", "0.04"), ("100000", "0.03"), ("1000000", "0.02"), (None, "0.0125")]
TIMES = 2_000


def by_decimal(quantity: Decimal) -> Decimal:
    """The plain way."""
    below, amount = Decimal(0), Decimal(0)
    for up_to, unit in TIERS:
        end = quantity if up_to is None else min(quantity, Decimal(up_to))
        if end > below:
            amount += (end - below) * Decimal(unit)
            below = end
    return amount


def microseconds(what: Callable[[], object], times: int) -> float:
    """CPU time of one call: the best of five rounds."""
    best = float("inf")
    for _ in range(5):
        began = time.process_time_ns()
        for _ in range(times):
            what()
        best = min(best, (time.process_time_ns() - began) / times / 1000)
    return best


def main() -> None:
    """Print the figures."""
    tiers = [{"unit": unit, **({} if up_to is None else {"up_to": up_to})} for up_to, unit in TIERS]
    charges = [{"id": f"c{index}", "price": {"model": "graduated", "tiers": tiers}} for index in range(10)]
    taxes = {"rates": [{"name": "vat", "percent": "19"}]}
    plan = read_plan({"name": "bench", "currency": "EUR", "charges": charges, "taxes": taxes})
    usage = Usage(quantity=Fraction(2_345_678))
    rated = [rate(charge, usage) for charge in plan.charges]
    assert rated[0].amount == Fraction(by_decimal(Decimal(2_345_678)))
    print(f"rate, graduated over 5 tiers: {microseconds(lambda: rate(plan.charges[0], usage), TIMES):.0f} us")
    print(f"total of 10 lines and a tax: {microseconds(lambda: total(plan, rated), TIMES // 10):.0f} us")
    print(f"decimal, the amount alone: {microseconds(lambda: by_decimal(Decimal(2_345_678)), TIMES):.1f} us")


if __name__ == "__main__":
    main()
