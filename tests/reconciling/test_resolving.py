"""What is booked is reckoned in one pass: a bill of twice as many rows takes about twice the steps, not four times."""

import contextlib
import sys
from collections.abc import Iterator
from decimal import Decimal
from types import FrameType
from typing import Any, cast

import pytest

from interlock.ledger import Ledger, Metered, price
from interlock.ledger.pricing import Price
from interlock.reconciling import Statement, compare
from interlock.reconciling.statement import HOUR_NS, File, Line

FIRST_NS = 500_000 * HOUR_NS
PRICE = Price(per_mtok={"input": 10**9, "output": 2 * 10**9})


class Hours:
    """A ledger with one call an hour."""

    def __init__(self, count: int, *, lost: bool) -> None:
        self.count, self.lost = count, lost

    @contextlib.contextmanager
    def metered(self, *_: Any, **__: Any) -> Iterator[Iterator[Metered]]:
        usage = {"input": 10, "output": 5}
        amount = price(usage, PRICE).amount_nanousd
        told = ("", "lost", "estimated") if self.lost else ("ours", "completed", "reported")
        yield (
            Metered(
                f"req_{n}",
                1,
                FIRST_NS + n * HOUR_NS,
                FIRST_NS + n * HOUR_NS + 1,
                "settled",
                "acme",
                "d",
                "p",
                "ours",
                *told,
                usage,
                amount,
                PRICE,
                None,
            )
            for n in range(self.count)
        )


def steps(count: int, *, lost: bool) -> int:
    """Lines that run in this part while a bill of so many hours is compared and what to book is reckoned."""
    common: dict[str, Any] = {"currency": "USD", "category": "usage", "repeat": "", "rows": 1, "priced": 1}
    common |= {"model": "ours" if lost else "a name that nobody knows", "places": ("row",), "amount": Decimal(1)}
    lines = tuple(
        Line(starts_ns=start, ends_ns=start + HOUR_NS, kind=kind, quantity=Decimal(11), **common)
        for start in range(FIRST_NS, FIRST_NS + count * HOUR_NS, HOUR_NS)
        for kind in ("input", "output")
    )
    file = File(name="f", sha256="0", size=1)
    statement = Statement(
        format="csv", providers=("p",), files=(file,), lines=lines, kinds=("input", "output"), amount_places=9
    )
    seen = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal seen
        if "/reconciling/" not in frame.f_code.co_filename:
            return None
        seen += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        report = compare(cast("Ledger", Hours(count, lost=lost)), statement, now_ns=FIRST_NS + (count + 9) * HOUR_NS)
    finally:
        sys.settrace(before)
    assert len(report.plan.changes) >= 2 * count
    return seen


@pytest.mark.parametrize("lost", [True, False], ids=["lost", "unknown"])
def test_the_work_grows_as_the_bill_does(lost: bool) -> None:
    assert steps(160, lost=lost) < 2.2 * steps(80, lost=lost)
