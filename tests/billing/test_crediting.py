"""Credit notes: parts equal the whole, tax and all; never more than the line."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.billing.rig import BASE, TOKENS, Rig, catches
from tests.examples import at_least

from interlock.billing import Document, crediting
from interlock.billing.books import balances, imbalance
from interlock.billing.checking import check_invoice, postings
from interlock.billing.value import CreditLine, CreditNote, Line
from interlock.errors import LocalError
from interlock.rating import round_to, to_nano

TWO = {"rates": [{"name": "GST", "percent": "5"}, {"name": "QST", "percent": "9.975"}]}
CENT = 10**7
FEW = settings(max_examples=at_least(40), deadline=None)


def invoice(quantity: int = 77) -> tuple[Rig, Document]:
    rig = Rig().subscribed(BASE, TOKENS | {"price": {"model": "per_unit", "unit": "0.13"}}, taxes=TWO)
    rig.usage.add("2026-11-05", quantity)
    return rig, rig.whole(rig.final())


def note(lines: Sequence[CreditLine], n: int) -> CreditNote:
    subtotal, taxes, total = crediting.sums(lines)
    return CreditNote(
        id=f"c{n}", invoice="i", number=f"CN-{n}", year=2026, sequence=n, issued_ns=0, reason="r", by="a",
        lines=tuple(lines), subtotal=subtotal, taxes=taxes, total=total,
    )  # fmt: skip


RIG, WHOLE = invoice()


def parts_are_the_whole(cents: Sequence[int]) -> None:
    """Amounts of line 2 given back one after the other, and then the rest."""
    line = WHOLE.lines[1]
    notes: list[CreditNote] = []
    for amount in cents:
        left = line.net - sum(one.amount for of in notes for one in of.lines)
        if 0 < amount * CENT <= left:
            given = crediting.credit_lines(WHOLE.lines, notes, {2: amount * CENT}, 2)
            assert all(one.amount >= 0 and one.amount % CENT == 0 for one in given[0].taxes)
            notes.append(note(given, len(notes) + 1))
    if sum(one.amount for of in notes for one in of.lines) < line.net:
        notes.append(note(crediting.credit_lines(WHOLE.lines, notes, {2: None}, 2), len(notes) + 1))
    back, taxes = crediting.credited(notes)[2]
    assert back == line.net
    assert {name: amount for name, amount in taxes.items() if amount} == {one.name: one.amount for one in line.taxes}
    assert sum(of.total for of in notes) == line.net + sum(one.amount for one in line.taxes)
    with pytest.raises(LocalError, match="nothing is left"):
        crediting.credit_lines(WHOLE.lines, notes, {2: None}, 2)


SAMPLES = [[1] * 10, [333, 333, 334], [500], [7, 900], [1000, 1]]


@FEW
@given(st.lists(st.integers(1, 1001), max_size=6))
def test_parts_equal_the_whole(cents: list[int]) -> None:
    parts_are_the_whole(cents)


def share_of_the_part(line: Line, given: int, before: Any, places: int) -> Any:
    """The tax of a part reckoned by itself: rounded as often as there are parts."""
    amount = given - before.get("", 0)
    return tuple(
        type(one)(name=one.name, amount=to_nano(round_to(Fraction(one.amount * amount, line.net) / 10**9, 2)))
        for one in line.taxes
    )


def test_a_tax_that_is_reckoned_by_parts_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crediting, "_taxes", share_of_the_part)
    assert catches(parts_are_the_whole, SAMPLES)


def test_a_note_without_a_bound_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crediting, "_check", lambda n, amount, left, places: None)
    assert catches(over, [None])


def over(_: None) -> None:
    with pytest.raises(LocalError):
        crediting.credit_lines(WHOLE.lines, [], {2: WHOLE.lines[1].net + CENT}, 2)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({9: None}, "no line 9"),
        ({2: 0}, "above 0"),
        ({2: -CENT}, "above 0"),
        ({2: CENT // 10}, "at most 2 places"),
        ({2: 1002 * CENT}, "more than the 10.01"),
    ],
)
def test_what_is_refused(asked: dict[int, int | None], said: str) -> None:
    with pytest.raises(LocalError, match=said):
        crediting.credit_lines(WHOLE.lines, [], asked, 2)


def test_the_whole_invoice_and_again() -> None:
    rig, whole = invoice()
    assert whole.held is not None
    id = whole.header.id
    made, new = rig.do(rig.billing.credit("c1", id, {2: 3 * CENT}, "outage", "ann"))
    assert (new, made.number, made.subtotal) == (True, "INV-CN-2026-000001", 3 * CENT)
    assert rig.do(rig.billing.credit("c1", id, {2: 3 * CENT}, "outage", "bob")) == (made, False)
    for asked, reason in (({2: 4 * CENT}, "outage"), ({2: 3 * CENT}, "other"), ({1: None}, "outage")):
        with pytest.raises(LocalError) as caught:
            rig.do(rig.billing.credit("c1", id, asked, reason, "ann"))
        assert caught.value.code == "conflict"
    rest, _ = rig.do(rig.billing.credit("c2", id, {}, "goodwill", "ann"))
    assert made.total + rest.total == whole.header.total
    held = rig.accounts.find(id)
    assert check_invoice(held, whole.lines) == [] and imbalance(postings(held)) == {}
    left = balances(postings(held))
    assert left["USD", "receivable/acme"] == 0 and left["USD", "tax/GST"] == 0
    with pytest.raises(LocalError, match="nothing is left"):
        rig.do(rig.billing.credit("c3", id, {}, "more", "ann"))
    with pytest.raises(LocalError, match="has credit notes"):
        rig.do(rig.billing.void(id, "wrong", "ann"))


def test_a_credit_note_is_not_charged_again() -> None:
    rig, whole = invoice()
    rig.do(rig.billing.credit("c1", whole.header.id, {}, "goodwill", "ann"))
    rig.at("2027-01-02")
    assert not any(line.correction for line in rig.document("2026-12").lines)


def test_only_what_is_final_is_credited() -> None:
    rig = Rig().subscribed()
    held, _ = rig.do(rig.billing.review("acme", "2026-11", "ann"))
    with pytest.raises(LocalError) as caught:
        rig.do(rig.billing.credit("c1", held.header.id, {}, "r", "ann"))
    assert caught.value.code == "wrong_state"
