"""CSV: a spreadsheet takes nothing in it for a formula, and a program reads the figures."""

import csv
import io
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.billing.rig import TOKENS, VAT, Rig

from interlock.billing import focus_csv, lines_csv
from interlock.billing.exports.sheet import LINE_COLUMNS, cell

FORMULAS = ("=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\u00a0=1")


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_text(text: str) -> None:
    assert cell(text) == f"'{text}"


@given(st.text(max_size=20))
def test_no_text_begins_as_a_formula(text: str) -> None:
    shown = cell(text)
    assert shown.removeprefix("'") == text.removeprefix("'") and not shown.startswith(("=", "+", "-", "@", "\t", "\r"))


def test_names_from_outside_in_both_files() -> None:
    rig = Rig().subscribed(TOKENS | {"description": "=1+1", "source": {"usage": "output", "by": ["model"]}}, taxes=VAT)
    rig.usage.add("2026-11-05", 7, model='=HYPERLINK("x"),\n"')
    document = rig.whole(rig.final())
    for text in (lines_csv(document), focus_csv(document)):
        for row in csv.reader(io.StringIO(text)):
            for shown in row:
                assert not shown.startswith(("=", "+", "@")), shown
                if shown.startswith("-"):
                    Decimal(shown)


def test_several_sources_and_the_day_to_pay() -> None:
    sources = {"out": {"usage": "output"}, "cost": {"usage": "input"}}
    rig = Rig().subscribed(TOKENS | {"source": None, "sources": sources}, due_days=30)
    rig.usage.add("2026-11-05", 7)
    [row] = csv.DictReader(io.StringIO(lines_csv(rig.whole(rig.final()))))
    assert (row["sources"], row["due"], len(row["sha256"].split())) == ("usage/output usage/input", "2027-01-02", 2)


def test_figures_sum() -> None:
    rig = Rig().subscribed(TOKENS | {"price": {"model": "per_unit", "unit": "0.3333"}}, taxes=VAT)
    rig.usage.add("2026-11-05", 7)
    document = rig.whole(rig.final())
    found = list(csv.DictReader(io.StringIO(lines_csv(document))))
    assert list(found[0]) == list(LINE_COLUMNS)
    [row] = found
    assert Decimal(row["amount"]) + Decimal(row["rounded_off"]) == Decimal(row["exact"]) == Decimal("2.3331")
    assert Decimal(row["net"]) + Decimal(row["tax"]) == Decimal(document.header.total) / 10**9
