"""The printed page: whole, escaped, and no script in it whatever a name holds."""

import re
from html.parser import HTMLParser

import pytest
from tests.billing.rig import BASE, TOKENS, VAT, Rig

from interlock.billing import Document, Party, Wanted, note_page, page
from interlock.billing.exports.document import money
from interlock.billing.exports.page import grouped

EVIL = "<script>alert('x')</script>\"&' onload=\"x"
TAGS = {
    *("html", "head", "meta", "title", "style", "body", "main", "header", "h1", "h2", "dl", "dt", "dd", "section"),
    *("div", "strong", "table", "thead", "tbody", "tr", "th", "td", "p", "footer"),
}
VOID = {"meta"}


class Read(HTMLParser):
    """Tags, attributes and text; that what is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data + " "


def evil() -> Document:
    rig = Rig(acme=10**9).subscribed(
        BASE | {"description": EVIL}, TOKENS | {"unit_name": EVIL[:60], "source": {"usage": "output", "by": ["model"]}},
        taxes={"rates": [{"name": "VAT", "percent": "19"}]},
    )  # fmt: skip
    party = Party(name=EVIL, address=(EVIL,), tax_ids=(EVIL,), email=EVIL, notes=(EVIL,))
    rig.do(rig.billing.set_issuer(party, "ann"))
    wanted = Wanted(plan="gold", since="2026-02-01", buyer=party, reference=EVIL)
    rig.do(rig.billing.subscribe("acme", wanted, "ann"))
    rig.usage.add("2026-11-05", 7, model=EVIL)
    held = rig.final()
    rig.do(rig.billing.credit("c1", held.header.id, {1: 10**9}, EVIL, "ann"))
    return rig.whole(rig.accounts.find(held.header.id))


def test_nothing_from_outside_is_markup() -> None:
    text = page(evil())
    read = Read(text)
    assert read.tags <= TAGS
    assert read.attributes <= {"lang", "charset", "name", "content", "class", "colspan"}
    assert read.text.count("<script>") >= 10  # shown as text
    assert not re.search(r"url\(|@import|https?:|javascript:", text)


def test_what_a_person_of_finance_looks_for() -> None:
    rig = Rig(acme=10**13).subscribed(
        BASE,
        TOKENS | {"price": {"model": "per_unit", "unit": "0.333"}},
        taxes=VAT,
        discounts=[{"name": "launch", "percent": "10"}],
    )
    rig.usage.add("2026-11-05", 12345)
    rig.final("2026-11")
    rig.usage.add("2026-11-06", 4)
    rig.at("2027-01-02")
    text = Read(page(rig.whole(rig.final("2026-12")))).text
    for said in (
        "INV-2027-000001", "2027-01-02", "2026-12-01 – 2026-12-31", "Acme GmbH", "Tax ID DE123456789", "Base fee",
        "Corrections of 2026-11", "VAT 19 % of", "Discount launch", "Paid from the prepaid balance", "Amount due, USD",
        "What that added to these lines together is exactly", "gold version 1",
    ):  # fmt: skip
        assert said in text, said


@pytest.mark.parametrize("state", ["draft", "in_review", "approved", "returned", "voided"])
def test_what_is_no_invoice_says_so(state: str) -> None:
    rig = Rig().subscribed()
    document = rig.document()
    if state != "draft":
        held, _ = rig.do(rig.billing.review("acme", "2026-11", "ann"))
        id = held.header.id
        if state in ("approved", "voided"):
            rig.do(rig.billing.approve(id, held.sha256, "bob"))
        if state == "returned":
            rig.do(rig.billing.send_back(id, "no", "bob"))
        if state == "voided":
            rig.do(rig.billing.finalize(id, "bob"))
            rig.do(rig.billing.void(id, "wrong", "bob"))
        document = rig.whole(rig.accounts.find(id))
    text = page(document)
    assert 'class="mark"' in text and ("VOID" in text) == (state == "voided")


def test_prices_that_people_can_follow() -> None:
    rig = Rig().subscribed()
    rig.usage.add("2026-11-05", 1500)
    assert "1,000 × 0.01 + 500 × 0.005" in Read(page(rig.document())).text
    packed = {**TOKENS, "price": {"model": "package", "size": "1000", "price": "2"}}
    rig = Rig().subscribed(packed)
    rig.usage.add("2026-11-05", 1500)
    assert "2 packages × 2" in Read(page(rig.document())).text


def test_what_each_meter_counted() -> None:
    sources = {"reads": {"usage": "output"}, "writes": {"usage": "input"}}
    charge = TOKENS | {"source": None, "sources": sources, "price": {"model": "per_unit", "unit": "2"}}
    rig = Rig().subscribed(charge)
    rig.usage.add("2026-11-05", 1500)
    rig.usage.add("2026-11-05", 7, measure="input")
    first = rig.final()
    assert "1,507 × 2 · 1,500 reads + 7 writes" in Read(page(rig.whole(first))).text
    rig.usage.add("2026-11-05", 1)
    rig.at("2027-01-02")
    assert "reads" not in Read(page(rig.whole(rig.final("2026-12")))).text.partition("Corrections of")[2]


def test_a_windows_price_is_no_product() -> None:
    window = {"price": {"model": "per_unit", "unit": "2"}, "commitment": "3", "overage_factor": "2"}
    charge = {"price": {"model": "windowed", "classes": {"": window}}, "windows": {"size": "day"}}
    rig = Rig().subscribed(TOKENS | charge)
    rig.usage.add("2026-11-05", 7)
    text = Read(page(rig.document())).text
    assert "25.00" in text and "×" not in text  # 3 and twice 11, not 7 × 2


def test_the_day_to_pay() -> None:
    rig = Rig().subscribed(BASE, due_days=30)
    assert "Payment due" not in Read(page(rig.document())).text
    held = rig.final()
    assert re.search(r"Payment due\s*2027-01-02", Read(page(rig.whole(held))).text)
    rig.do(rig.billing.void(held.header.id, "wrong", "bob"))
    assert "Payment due" not in Read(page(rig.whole(held))).text


def test_thousands() -> None:
    assert [grouped(text) for text in ("1234567", "-1000.5", "0.25", "1/3")] == ["1,234,567", "-1,000.5", "0.25", "1/3"]


def test_a_voided_invoice_demands_nothing() -> None:
    rig = Rig(acme=10**9).subscribed(BASE, taxes=VAT)
    held = rig.final("2026-11")
    rig.do(rig.billing.void(held.header.id, "wrong", "bob"))
    text = Read(page(rig.whole(rig.accounts.find(held.header.id)))).text
    assert held.final is not None and held.final.payable
    assert "Was due before it was voided" in text and re.search(r"Amount due, USD\s*0\.00", text)


def test_a_credit_note_by_itself_and_what_is_left_of_its_invoice() -> None:
    rig = Rig().subscribed(BASE, taxes=VAT)
    held = rig.final("2026-11")
    note, _ = rig.do(rig.billing.credit("c", held.header.id, {1: 10**10}, "<b>outage</b>", "bob"))
    document = rig.whole(rig.accounts.find(held.header.id))
    alone, whole = Read(note_page(document, note)), Read(page(document))
    for said in ("Credit note", note.number, document.number, "<b>outage</b>", "−10.00", "VAT 19 %", "−1.90", "−11.90"):
        assert said in alone.text, said
    assert "Amount due" not in alone.text and alone.tags <= TAGS
    assert held.final is not None
    left = money(held.final.payable - note.total, 2)
    assert re.search(rf"Due after credit notes, USD\s*{re.escape(left)}", whole.text)


def test_what_rounding_did_has_no_sign() -> None:
    for unit, said in (("0.333", "took off"), ("0.337", "added to")):
        rig = Rig().subscribed({**TOKENS, "price": {"model": "per_unit", "unit": unit}})
        rig.usage.add("2026-11-05", 1)
        text = Read(page(rig.document())).text
        assert f"What that {said} these lines together is exactly 0.003 USD" in text
