"""What holds of every month, whatever is planted: the tests ask it, and the mutants must break it."""

import random
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from tests.ledger.logs import run
from tests.reconciling.shapes import SHAPES
from tests.reconciling.worlds import DAY_S, FIRST_S, PLANTS, Found, Stand, World, plant, stand

from interlock.ledger import Ledger
from interlock.reconciling import Report, Row, totals
from interlock.reconciling.figures import half_even

BOOKED = tuple(kind for kind in PLANTS if kind != "duplicate")
"""What is booked: not a row that stands twice."""


def differing(report: Report) -> list[Row]:
    """Rows that do not match."""
    return [row for row in report.rows if row.status != "matched"]


def places(report: Report) -> Found:
    """Day and model of what differs, and why."""
    found: dict[tuple[int, str], set[str]] = {}
    for row in differing(report):
        day = (row.starts_ns // 10**9 - FIRST_S) // DAY_S
        found.setdefault((day, row.model), set()).update(row.classes)
    return {place: "+".join(sorted(classes)) for place, classes in found.items()}


def billed_nanousd(one: World) -> Fraction:
    """What the bill says in all, without what stands twice."""
    other = sum((Fraction(amount) for _, amount, currency in one.others if currency == "USD"), Fraction(0))
    return (sum((one.amount(row, kind) for row in one.rows() for kind in row.kinds), Fraction(0)) + other) * 10**9


def rebuilt(books: Stand, place: Path) -> bytes:
    """The view, made again from the logs."""
    ledger = Ledger(place / "rebuilt.sqlite")
    try:
        run(ledger.catch_up(books.usage, books.log))
        return ledger.dump()
    finally:
        ledger.close()


def others(shape: str, one: World, chance: random.Random) -> Found:
    """Rows that are no usage, where a shape has them (its own words for each); what has to be found of them."""
    if shape not in ("aws", "aws 2", "focus", "plain") or chance.random() < 0.3:
        return {}
    kinds = chance.sample(("Tax", "Credit", "Refund", "currency"), chance.randrange(1, 5))
    signs = {"Credit": -1, "Refund": -1}
    for kind in kinds:
        amount = Decimal(chance.randrange(1, 10**6) * signs.get(kind, 1)).scaleb(-6)
        one.others.append(("Tax" if kind == "currency" else kind, amount, "EUR" if kind == "currency" else "USD"))
    return {(0, ""): "+".join(sorted(kind.lower() for kind in kinds))}


def check_right(shape: str, seed: int, place: Path) -> None:
    """A bill of what was metered matches wholly."""
    one = SHAPES[shape].world(seed)
    with stand(one, place / "stand") as books:
        report = books.compare(SHAPES[shape].read(one, place))
    assert differing(report) == []
    assert len(report.rows) >= 2 * 4 * 3
    assert totals(report.rows).theirs_nanousd == billed_nanousd(one)


def check_planted(shape: str, seed: int, place: Path) -> None:
    """What was planted is found where it is, and nothing else; the sums are exact."""
    chance = random.Random(f"{shape} {seed}")
    one = SHAPES[shape].world(seed)
    wanted = plant(one, chance, chance.sample(PLANTS, chance.randrange(1, 6)))
    wanted |= others(shape, one, chance)
    with stand(one, place / "stand") as books:
        report = books.compare(SHAPES[shape].read(one, place))
        ours = books.nanousd(one.provider)
    found = places(report)
    assert found == wanted, f"{shape} {seed}: found {found}, planted {wanted}"
    summed = totals(report.rows)
    assert summed.ours_nanousd == ours
    assert summed.theirs_nanousd is not None
    assert ours + summed.explained_nanousd + summed.unexplained_nanousd == summed.theirs_nanousd


def check_booked(shape: str, seed: int, place: Path) -> None:
    """Once booked, the books say what the bill says; a second time books nothing; a rebuild is the same."""
    chance = random.Random(f"{shape} {seed}")
    one = SHAPES[shape].world(seed)
    plant(one, chance, chance.sample(BOOKED, chance.randrange(1, 6)))
    others(shape, one, chance)
    one.others = [other for other in one.others if other[2] == "USD"]
    statement = SHAPES[shape].read(one, place)
    with stand(one, place / "stand") as books:
        before = books.nanousd(one.provider)
        report, booked = books.book(statement)
        after = books.nanousd(one.provider)
        assert after - before == booked.nanousd == report.plan.nanousd
        assert abs(after - billed_nanousd(one)) <= Fraction(len(report.rows), 2), "half a nano-dollar a row"
        again = books.compare(statement)
        assert differing(again) == [], differing(again)
        for row in again.rows:
            if row.theirs_nanousd is not None:
                assert row.ours_nanousd == half_even(row.theirs_nanousd), row
        assert (again.plan.changes, books.book(statement)[1].head) == ((), booked.head)
        assert rebuilt(books, place) == books.ledger.dump()
