"""Every planted difference is found where it is, and none is invented: random months, each provider's own shape."""

import random
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from tests.reconciling import bills
from tests.reconciling.properties import billed_nanousd, check_planted, check_right, differing
from tests.reconciling.shapes import SHAPES, aws, focus, openai, openai_usage, plain
from tests.reconciling.worlds import BEDROCK, DAY_S, FIRST_S, OPENAI, World, number, plant, stand, world, write

from interlock.errors import LocalError
from interlock.identity import UNATTRIBUTED
from interlock.reconciling import Report, Statement, read, totals
from interlock.reconciling.statement import DAY_NS, HOUR_NS


@pytest.mark.parametrize("shape", SHAPES)
def test_a_bill_that_is_right_matches_wholly(shape: str, tmp_path: Path) -> None:
    check_right(shape, 1, tmp_path)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_planted_is_found_and_nothing_else(shape: str, seed: int, tmp_path: Path) -> None:
    check_planted(shape, seed, tmp_path)


def found(report: Report) -> dict[tuple[str, str], tuple[str, ...]]:
    """Model and kind of what differs to its classes."""
    return {(row.model, row.kind): row.classes for row in differing(report)}


# granularity


def by_the_day_alone(one: World, place: Path) -> Statement:
    """Costs that are grouped by nothing: an amount a day."""
    days: dict[int, Fraction] = {}
    for row in one.rows():
        days[row.day] = days.get(row.day, Fraction(0)) + sum(one.amount(row, kind) for kind in row.kinds)
    buckets = [
        {
            "start_time": FIRST_S + day * DAY_S,
            "end_time": FIRST_S + (day + 1) * DAY_S,
            "results": [{"amount": {"value": number(amount), "currency": "usd"}, "line_item": None}],
        }
        for day, amount in sorted(days.items())
    ]
    return read("openai", [write(place / "days.json", buckets), bills.openai_usage(one, place / "usage.json")])


def test_money_by_the_day_and_tokens_by_the_model_are_both_compared(tmp_path: Path) -> None:
    one = world("openai", OPENAI, 1)
    with stand(one, tmp_path / "right") as books:
        report = books.compare(by_the_day_alone(one, tmp_path))
        assert differing(report) == []
        assert {row.model for row in report.rows if row.theirs_nanousd is not None} == {""}
    plant(one, random.Random(2), ["lost", "extra"])
    with stand(one, tmp_path / "wrong") as books:
        statement = by_the_day_alone(one, tmp_path)
        report = books.compare(statement)
        money = {row.classes for row in differing(report) if row.theirs_nanousd is not None}
        assert {one for classes in money for one in classes} == {"lost", "quantity"}
        books.book(statement)
        assert books.compare(statement).matched
        assert abs(books.nanousd("openai") - billed_nanousd(one)) <= 4


def test_a_report_by_the_hour_fits_into_one_by_the_day(tmp_path: Path) -> None:
    one = world("openai", OPENAI, 4)
    buckets = []
    for call in one.calls:
        start = call.at_s - call.at_s % 3600
        result = {"input_tokens": call.usage["input"], "input_cached_tokens": call.usage["cache_read"]}
        result |= {"output_tokens": call.usage["output"]}
        named: dict[str, Any] = {**result, "model": call.model.billed, "num_model_requests": 1}
        buckets.append({"start_time": start, "end_time": start + 3600, "results": [named]})
    hours, days = write(tmp_path / "hours.json", buckets), bills.openai_costs(one, tmp_path / "days.json")
    with stand(one, tmp_path / "stand") as books:
        both = books.compare(read("openai", [hours, days]))
        assert differing(both) == []
        assert {row.ends_ns - row.starts_ns for row in both.rows} == {DAY_NS}
        alone = books.compare(read("openai", [hours]))
        assert differing(alone) == []
        assert {row.ends_ns - row.starts_ns for row in alone.rows} == {HOUR_NS}


def test_periods_that_overlap_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bill.csv"
    path.write_text("a,b,n\n2026-09-01,2026-09-03,1\n2026-09-02,2026-09-04,1\n")
    statement = read("csv", [path], providers=["openai"], named=[("start", "a"), ("end", "b"), ("input", "n")])
    with stand(world("openai", OPENAI, 1), tmp_path / "stand") as books, pytest.raises(LocalError, match="overlap"):
        books.compare(statement)


def test_a_bill_by_the_month(tmp_path: Path) -> None:
    one = world("openai", OPENAI, 6)
    path = bills.table(tmp_path / "bill.csv", bills.plain_rows(one))
    with stand(one, tmp_path / "stand") as books:
        report = books.compare(read("csv", [path], providers=["openai"], named=bills.COLUMNS, width="month"))
        wrong = books.compare(read("csv", [path], providers=["nobody"], named=bills.COLUMNS, width="month"))
    assert differing(report) == []
    assert {row.ends_ns - row.starts_ns for row in report.rows} == {30 * DAY_NS}
    assert not any("--of" in note for note in report.notes)
    assert any("nothing was metered of nobody then: --of" in note for note in wrong.notes)


def test_only_rows_within_the_time_asked_for(tmp_path: Path) -> None:
    one = world("openai", OPENAI, 8)
    plant(one, random.Random(1), ["lost", "price", "missing", "extra", "estimated"])
    statement = openai(one, tmp_path)
    with stand(one, tmp_path / "stand") as books:
        whole = books.compare(statement)
        since_ns = (FIRST_S + DAY_S) * 10**9
        part = books.compare(statement, since_ns=since_ns, until_ns=since_ns + 2 * DAY_NS)
        assert part.rows == tuple(row for row in whole.rows if since_ns <= row.starts_ns < since_ns + 2 * DAY_NS)
        assert any("not wholly in that time" in note for note in part.notes)
        with pytest.raises(LocalError, match="no row"):
            books.compare(statement, since_ns=since_ns + 100 * DAY_NS)


def test_calls_on_a_day_of_which_the_bill_has_nothing(tmp_path: Path) -> None:
    """The day's bucket is there, empty; or (a table) it is not there at all."""
    for shape in (openai, aws):
        provider, models = ("openai", OPENAI) if shape is openai else ("bedrock", BEDROCK)
        one = world(provider, models, 11)
        gone = [i for i, call in enumerate(one.calls) if call.day == 1]
        one.calls = [replace(call, billed=i not in gone) for i, call in enumerate(one.calls)]
        with stand(one, tmp_path / provider) as books:
            statement = shape(one, tmp_path)
            report = books.compare(statement)
            assert {(row.status, row.classes) for row in differing(report)} == {("ours_only", ("not_billed",))}
            assert {row.model for row in differing(report)} == {
                model.answered or model.asked for model in models if shape is openai
            } | {model.billed for model in models}
            books.book(statement)
            assert books.compare(statement).matched


# reasons


def test_a_price_that_changed_is_told_with_its_day(tmp_path: Path) -> None:
    one = world("openai", OPENAI, 12)
    model = OPENAI[1]
    for day in (2, 3):
        one.rates[day, model.billed, "output"] = Fraction(11, 10)
    with stand(one, tmp_path / "stand") as books:
        rows = differing(books.compare(openai(one, tmp_path)))
    assert [(row.kind, row.classes) for row in rows] == [("output", ("price",))] * 2
    assert {row.detail for row in rows} == {"$11.00 a million from 2026-09-03 on, $10.00 on record"}


def test_a_call_that_ran_over_midnight(tmp_path: Path) -> None:
    """It is in the next day at the provider; another that is missing there is not taken for one."""
    one = world("openai", OPENAI, 20)
    first = next(i for i, call in enumerate(one.calls) if call.day == 1)
    late = one.calls[first] = replace(one.calls[first], at_s=FIRST_S + 2 * DAY_S - 1)
    with stand(one, tmp_path / "stand") as books:
        one.calls[first] = replace(late, at_s=late.at_s + DAY_S)
        statement = openai(one, tmp_path)
        rows = differing(books.compare(statement))
        assert {(row.model, row.classes) for row in rows} == {(late.model.billed, ("shifted",))}
        assert {(row.starts_ns // 10**9 - FIRST_S) // DAY_S for row in rows} == {1, 2}
        other = next(i for i, call in enumerate(one.calls) if call.day == 0 and call.model is late.model)
        one.calls[first] = late
        early = one.calls[other]
        one.calls[other] = replace(early, at_s=early.at_s + DAY_S)
        assert {row.classes for row in differing(books.compare(openai(one, tmp_path)))} == {("quantity",)}, (
            "none ran over"
        )
        one.calls[other], one.calls[first] = early, replace(late, billed=False)
        assert {row.classes for row in differing(books.compare(openai(one, tmp_path)))} == {("quantity",)}
        books.book(statement)
        assert books.compare(statement).matched


@pytest.mark.parametrize("shape", [aws, plain, focus])
def test_what_is_no_usage_is_named_and_booked_to_nobody(shape: Any, tmp_path: Path) -> None:
    one = world("openai" if shape is plain else "bedrock", OPENAI if shape is plain else BEDROCK, 13)
    one.others = [("Tax", Decimal("1.23"), "USD"), ("Credit", Decimal("-0.5"), "USD"), ("Tax", Decimal("9"), "EUR")]
    one.others += [("Refund", Decimal("-0.25"), "USD")]
    wanted = {("", "tax"): ("tax",), ("", "credit"): ("credit",), ("", "refund"): ("refund",)}
    with stand(one, tmp_path / "stand") as books:
        statement = shape(one, tmp_path)
        report = books.compare(statement)
        euros = [row for row in differing(report) if row.currency == "EUR"]
        [euro] = euros
        assert euro.classes == ("currency",)
        assert (euro.theirs_nanousd, euro.ours_nanousd) == (Fraction(9 * 10**9), None)
        others = {(row.model, row.kind): row.classes for row in differing(report) if row.currency == "USD"}
        assert others == wanted
        assert totals(report.rows).unexplained_nanousd == 0
        books.book(statement)
        again = differing(books.compare(statement))
        assert again == euros, "what is not in dollars is never booked"
        rows = {row.dimensions["tenant"]: row.amount_nanousd for row in books.ledger.usage(["tenant"])}
        assert rows[UNATTRIBUTED] == 480_000_000


def test_a_credit_of_openai(tmp_path: Path) -> None:
    one = world("openai", OPENAI, 14)
    one.others = [("promotional credit", Decimal("-2.5"), "USD")]
    with stand(one, tmp_path / "stand") as books:
        assert found(books.compare(openai(one, tmp_path))) == {("", "credit"): ("credit",)}


def test_a_model_without_a_price(tmp_path: Path) -> None:
    one = world("openai", OPENAI, 15)
    unpriced = replace(OPENAI[0], deployment="free")
    one.calls = [replace(call, model=unpriced) if call.model is OPENAI[0] else call for call in one.calls]
    with stand(one, tmp_path / "stand") as books:
        statement = openai(one, tmp_path)
        report = books.compare(statement)
        assert {row.classes for row in differing(report)} == {("unpriced",)}
        assert {row.model for row in differing(report)} == {unpriced.billed}
        assert {row.kind for row in differing(report)} == {"input", "cache_read", "output"}
        books.book(statement)
        assert books.compare(statement).matched
        assert abs(books.nanousd("openai") - billed_nanousd(one)) <= 12


def test_a_lost_call_is_no_reason_where_the_bill_has_more_calls_than_ours(tmp_path: Path) -> None:
    one = world("openai", OPENAI, 16)
    plant(one, random.Random(3), ["lost"])
    lost = next(call for call in one.calls if call.metered == "lost")
    one.calls.append(replace(lost, number=5000, metered="not"))
    with stand(one, tmp_path / "stand") as books:
        statement = openai(one, tmp_path)
        report, booked = books.book(statement)
        assert {row.classes for row in differing(report)} == {("quantity",)}
        assert booked.attempts == 0, "another program's call is not given to a tenant's"
        assert books.compare(statement).matched


def test_an_export_in_cents_hides_half_a_cent_and_no_more(tmp_path: Path) -> None:
    one = world("openai", OPENAI, 17, places=2)
    with stand(one, tmp_path / "stand") as books:
        report = books.compare(plain(one, tmp_path))
        assert differing(report) == []
        assert any(row.difference_nanousd for row in report.rows)
        one.others = []
        row = one.rows()[0]
        one.rates[row.day, row.model.billed, "output"] = Fraction(50_000_000)
        assert {row.classes for row in differing(books.compare(plain(one, tmp_path)))} == {("price",)}


# reports of usage alone


def test_what_a_report_of_usage_counts_beyond_ours_is_booked_at_the_price_on_record(tmp_path: Path) -> None:
    one = world("openai", OPENAI, 18)
    plant(one, random.Random(4), ["missing", "extra", "not_billed"])
    with stand(one, tmp_path / "stand") as books:
        statement = openai_usage(one, tmp_path)
        report, booked = books.book(statement)
        assert totals(report.rows).theirs_nanousd is None
        assert booked.entries > 0
        assert books.compare(statement).matched
        assert differing(books.compare(openai(one, tmp_path))) == [], "the bill that comes later agrees"


def test_what_nobody_has_a_price_for_is_booked_without_one(tmp_path: Path) -> None:
    one = world("openai", OPENAI, 19)
    alien = replace(OPENAI[0], billed="o9-2026-01-01")
    one.calls.append(replace(one.calls[0], number=5000, metered="not", model=alien))
    with stand(one, tmp_path / "stand") as books:
        statement = openai_usage(one, tmp_path)
        books.book(statement)
        assert books.compare(statement).matched
        [row] = [row for row in books.ledger.usage(["model"]) if row.dimensions["model"] == alien.billed]
        assert (row.amount_nanousd, row.output) == (None, one.calls[0].usage["output"])
        assert row.unpriced == 3, "input, cached input, output"


def test_what_an_export_does_not_tell_of_a_lost_call_stays_an_estimate(tmp_path: Path) -> None:
    one = world("openai", OPENAI, 22)
    plant(one, random.Random(6), ["lost"])
    lost = next(call for call in one.calls if call.metered == "lost")
    path = tmp_path / "outputs.csv"
    rows = [f"2026-09-{row.day + 1:02d},{row.model.billed},{row.kinds['output']}" for row in one.rows()]
    path.write_text("\n".join(["day,model,out", *rows, ""]))
    named = [("start", "day"), ("model", "model"), ("output", "out")]
    with stand(one, tmp_path / "stand") as books:
        statement = read("csv", [path], providers=["openai"], named=named)
        assert {row.kind for row in books.compare(statement).rows} == {"output"}
        books.book(statement)
        assert books.compare(statement).matched
        explained = books.ledger.explain(f"req_{lost.number:032x}")
        assert explained is not None
        [attempt] = explained.attempts
        assert attempt.entry is not None
        assert attempt.entry.usage == {"input": lost.usage["input"] // 2 + 1, "output": lost.usage["output"]}


def test_a_lost_call_that_the_provider_never_saw_used_nothing(tmp_path: Path) -> None:
    one = world("openai", OPENAI, 23)
    day, model = one.calls[0].day, one.calls[0].model
    one.calls = [
        replace(call, metered="lost", billed=False) if (call.day, call.model) == (day, model) else call
        for call in one.calls
    ]
    with stand(one, tmp_path / "stand") as books:
        statement = openai(one, tmp_path)
        report, booked = books.book(statement)
        assert {row.classes for row in differing(report)} == {("lost",)}
        assert booked.attempts == len([call for call in one.calls if call.metered == "lost"])
        assert books.compare(statement).matched
        assert abs(books.nanousd("openai") - billed_nanousd(one)) <= Fraction(len(report.rows), 2)
