"""Usage from outside: JSON and CSV, bounded; a mistake names its row or field."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from tests.rating.properties import plan_with

from interlock.errors import LocalError
from interlock.rating import Bucket, Days, Event, Usage, rate, read_usage, read_usage_file
from interlock.rating.usage import PRORATED_MAX


def test_json() -> None:
    events = [{"value": "2", "at": "2026-11-01T00:00:00Z"}]
    found = read_usage(
        {
            "a": 5,
            "b": "0.5",
            "c": {"events": events, "days": {"billed": 1, "period": 30}},
        }
    )
    assert [found["a"].quantity, found["b"].quantity] == [Fraction(5), Fraction(1, 2)]
    assert found["c"].days == Days(billed=1, period=30)


def test_csv(tmp_path: Path) -> None:
    path = tmp_path / "u.csv"
    path.write_text(
        "\ufeffcharge,quantity,bucket,meter,event\na,1,,,\na,2.5,,,\nb,3,x,,\nb,4,x,,\nb,1,y,,\nc,5,,m,\nd,7,,,1\nd,8,,,2\n"
    )
    assert read_usage_file(path) == {
        "a": Usage(quantity=Fraction("3.5")),
        "b": Usage(buckets=(Bucket(name="x", quantity=Fraction(7)), Bucket(name="y", quantity=Fraction(1)))),
        "c": Usage(meters={"m": Fraction(5)}),
        "d": Usage(events=(Event(value=Fraction(7)), Event(value=Fraction(8)))),
    }


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("charge\na\n", "usage"),
        ("charge,quantity,colour\n", "usage"),
        ("charge,quantity\na\n", "row 2"),
        ("charge,quantity\na,1,2\n", "row 2"),
        ("charge,quantity\na,1\na,NaN\n", "row 3: quantity"),
        ("charge,quantity\na,1e999999999\n", "row 2: quantity"),
        ("charge,quantity,bucket,meter\na,1,x,y\n", "row 2"),
        ("charge,quantity,bucket\na,1,x\na,1,\n", "row 3"),
        ('charge,quantity\n"a,1\n', "usage"),
        ("charge,quantity\n" + "a,1\n" * 100_001, "rows"),
    ],
)
def test_csv_that_is_refused(tmp_path: Path, text: str, field: str) -> None:
    path = tmp_path / "u.csv"
    path.write_text(text)
    with pytest.raises(LocalError) as caught:
        read_usage_file(path)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ([], "usage"),
        ({"a": {"quantity": "x"}}, "a.quantity"),
        ({"a": {"amount": "1"}}, "a.amount"),
        ({"a": {"days": {"billed": 2, "period": 1}}}, "a.days"),
        ({"a": {"days": {"billed": 0, "period": 0}}}, "a.days.period"),
        ({"a": {"event_count": -1}}, "a.event_count"),
        ({"a": {"events": [{"value": "1", "at": "2026-11-01T00:00:00"}]}}, "a.events[0].at"),
        ({"a": {"events": [{"value": "1", "prorated": "1"}] * (PRORATED_MAX + 1)}}, "a.events with prorated"),
    ],
)
def test_usage_that_is_refused(document: Any, field: str) -> None:
    with pytest.raises(LocalError) as caught:
        read_usage(document)
    assert caught.value.field == field


def test_rating_checks_what_was_made_by_hand() -> None:
    charge = plan_with([{"id": "a", "price": {"model": "flat", "amount": "1"}}]).charges[0]
    with pytest.raises(LocalError, match="billed <= period"):
        rate(charge, Usage(days=Days(billed=5, period=4)))
