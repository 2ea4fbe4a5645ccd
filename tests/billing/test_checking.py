"""The check finds what does not hold: every figure of an invoice, changed by itself."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from msgspec.structs import replace
from tests.billing.rig import BASE, TOKENS, VAT, Rig

from interlock.billing import Document, Held
from interlock.billing.checking import check_invoice, check_numbers
from interlock.billing.value import Line

CENT = 10**7


def whole() -> tuple[Rig, Document]:
    rig = Rig(acme=123_456_789).subscribed(
        BASE,
        TOKENS | {"price": {"model": "per_unit", "unit": "0.333"}},
        taxes=VAT,
        discounts=[{"name": "d", "percent": "7"}],
        due_days=14,
    )
    rig.usage.add("2026-11-05", 77)
    held = rig.final()
    rig.do(rig.billing.credit("c1", held.header.id, {2: 100 * CENT}, "r", "ann"))
    return rig, rig.whole(rig.accounts.find(held.header.id))


RIG, WHOLE = whole()


def held(**changes: Any) -> Held:
    """A copy with changes: of the head, or `final__`, `note__` and what of it."""
    of = WHOLE.held
    assert of is not None and of.final is not None
    header = replace(of.header, **{name: value for name, value in changes.items() if "__" not in name})
    final = replace(of.final, **{name[7:]: value for name, value in changes.items() if name.startswith("final__")})
    notes = [replace(of.notes[0], **{name[6:]: value for name, value in changes.items() if name.startswith("note__")})]
    return Held(
        header=header, sha256=of.sha256, lines_seqs=of.lines_seqs, seq=of.seq, state=of.state, approved=of.approved,
        final=final, notes=notes,
    )  # fmt: skip


def test_what_holds() -> None:
    assert check_invoice(held(), WHOLE.lines) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"subtotal": 1}, "subtotal"),
        ({"discount": 1}, "discount"),
        ({"net": 1}, "net"),
        ({"tax": 1}, "tax"),
        ({"total": 1}, "total is not"),
        ({"residue": "0"}, "rounded off"),
        ({"lines_sha256": "0"}, "not those that its head names"),
        ({"periods": ()}, "taxes are not"),
        ({"reference": "x"}, "approved is not its content"),
        ({"final__payable": 1}, "payable"),
        ({"final__due": "2027-01-01"}, "due 2027-01-01, and by its terms 2026-12-17"),
        ({"final__due": ""}, "due never"),
        ({"final__prepaid_nanousd": 2 * 10**11}, "more was taken"),
        ({"final__prepaid": 13 * CENT, "final__payable": WHOLE.header.total - 13 * CENT}, "taken, rounded"),
        ({"final__sha256": "0"}, "became final"),
        ({"note__total": 1}, "not what its lines come to"),
        ({"note__lines": (replace(WHOLE.held.notes[0].lines[0], amount=10**12),)}, "more than"),  # type: ignore[union-attr]  # it has one
        ({"note__lines": (replace(WHOLE.held.notes[0].lines[0], n=9),)}, "no line 9"),  # type: ignore[union-attr]  # as above
    ],
)
def test_a_changed_figure_is_found(changes: dict[str, Any], said: str) -> None:
    problems = check_invoice(held(**changes), WHOLE.lines)
    assert any(said in problem for problem in problems), problems
    assert all(problem.startswith("acme:2026-11:1: ") for problem in problems)


def changed(which: int, **changes: Any) -> Callable[[], list[Line]]:
    return lambda: [replace(line, **changes) if line.n == which else line for line in WHOLE.lines]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (changed(2, amount=1), "places"),
        (changed(2, amount=WHOLE.lines[1].amount + CENT), "do not fit"),
        (changed(2, exact=str(Fraction(WHOLE.lines[1].exact) + 1)), "rounded off"),
        (changed(2, taxes=()), "taxes are not"),
        (changed(2, n=3), "not numbered"),
        (changed(1, period="2026-10"), "says wrongly"),
        (lambda: list(WHOLE.lines[:1]), "not those"),
    ],
)
def test_a_changed_line_is_found(lines: Callable[[], list[Line]], said: str) -> None:
    problems = check_invoice(held(), lines())
    assert any(said in problem for problem in problems), problems


def test_a_gap_in_the_numbers_is_found() -> None:
    rig, document = whole()
    assert check_numbers(rig.accounts) == []
    of = rig.accounts.find(document.header.id)
    assert of.final is not None
    of.final = replace(of.final, sequence=2)
    [problem] = check_numbers(rig.accounts)
    assert "invoices of 2026" in problem
