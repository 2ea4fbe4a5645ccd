"""Worked cases from elsewhere come out to the last digit; what is left out is named, with the reason."""

import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.rating import cases
from tests.rating.keys import NOTES, Unread

FILE = Path(os.environ.get("INTERLOCK_TEST_PRICING_CASES", cases.HOLDS))
OURS = FILE == cases.HOLDS
CASES = cases.load(FILE) + (cases.load(cases.FURTHER) if OURS else [])
RATED = [case for case in CASES if not cases.reason_out(case)]

LEFT_OUT: dict[str, tuple[str, int]] = {}
"""Model to why it is not rated here, and how many cases that are."""


@pytest.mark.parametrize("case", RATED, ids=lambda case: f"{case['id']}-{case['model']}")
def test_a_worked_case(case: cases.Case) -> None:
    assert not cases.check(case), case


def test_what_is_left_out_is_named() -> None:
    left = [case for case in CASES if cases.reason_out(case)]
    assert len({case["id"] for case in CASES}) == len(CASES) == len(left) + len(RATED)
    if OURS:
        counted = Counter(case["model"] for case in left)
        assert {model: (cases.reason_out({"model": model}), n) for model, n in counted.items()} == LEFT_OUT


def as_numbers(value: Any) -> Any:
    """Decimals as the numbers of JSON, as far as a float holds them."""
    if isinstance(value, dict):
        return {key: as_numbers(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [as_numbers(inner) for inner in value]
    if not isinstance(value, str) or not re.fullmatch(r"-?\d+(\.\d+)?", value) or len(value) > 14:
        return value
    return float(value) if "." in value else int(value)


def without_nothing(value: Any) -> Any:
    """Without what says nothing: flat fees of zero, tiers that have no end."""
    if isinstance(value, dict):
        kept = {key: inner for key, inner in value.items() if inner is not None and (key, inner) != ("flat", "0")}
        return {key: without_nothing(inner) for key, inner in kept.items()}
    return [without_nothing(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize("written", [as_numbers, without_nothing])
def test_a_case_may_be_written_otherwise(written: Callable[[Any], Any]) -> None:
    for case in RATED:
        otherwise = {**case, "params": written(case["params"]), "usage": written(case["usage"])}
        assert not cases.check(otherwise), case["id"]


def test_a_wrong_figure_is_seen() -> None:
    """Every expected number of every case decides: one more in its last place, and the case fails."""
    for case in RATED:
        for key, value in case["expected"].items():
            if key in NOTES or key in cases.REFUSED or not isinstance(value, str):
                continue
            wrong = {**case, "expected": {**case["expected"], key: f"{value}1" if "." in value else f"{value}.1"}}
            assert cases.check(wrong), (case["id"], key)


def test_an_unread_parameter_is_seen() -> None:
    """No parameter is passed over: one that the adapter does not know is an error, whatever the model."""
    for case in (case for case in RATED if not cases.REFUSED & case["expected"].keys()):
        with pytest.raises(Unread):
            cases.check({**case, "params": {**case["params"], "surcharge_of_tuesdays": "1"}})
