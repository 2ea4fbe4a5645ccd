"""Wrong implementations, planted one at a time: a bill that is right looks wrong, or one that is wrong looks right."""

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from tests.reconciling.properties import check_booked, check_planted, check_right

from interlock.errors import InterlockError
from interlock.ledger import metered
from interlock.reconciling import books, dividing, figures, matching, resolving, sides, statement
from interlock.reconciling.books import Books, Buckets
from interlock.reconciling.exports import anthropic, aws, openai

Patch = pytest.MonkeyPatch
SEEDS = 4
CHECKS = (check_right, check_planted, check_booked)


def _float_sums(patch: Patch) -> None:
    patch.setattr(sides, "nano", lambda amount: Fraction(float(amount) * 1e9))


def _float_numbers(patch: Patch) -> None:
    patch.setattr(statement, "plus", lambda a, b: Decimal(repr(float(a) + float(b))))


def _dollars_for_cents(patch: Patch) -> None:
    patch.setattr(anthropic, "_CENT", Decimal(1))


def _cents_for_dollars(patch: Patch) -> None:
    exact = figures.exact
    patch.setattr(openai, "exact", lambda *given, **more: exact(*given, **more) / 100)


def _tokens_for_thousands(patch: Patch) -> None:
    patch.setattr(aws, "_PER", {})
    named = aws.usage_type
    patch.setattr(aws, "usage_type", lambda text: named(text)._replace(per=1))


def _a_bucket_too_far(patch: Patch) -> None:
    of = Buckets.of
    patch.setattr(Buckets, "of", lambda self, at_ns: of(self, at_ns + 86_400 * 10**9))


def _end_inclusive(patch: Patch) -> None:
    """A call at the first moment of a day counts in the day before."""
    of = Buckets.of
    patch.setattr(Buckets, "of", lambda self, at_ns: of(self, at_ns - at_ns % (3600 * 10**9) - 1))


def _cached_twice(patch: Patch) -> None:
    tokens = openai._tokens

    def wrong(result: Any) -> dict[str, Decimal]:
        found = tokens(result)
        return found | {"input": found["input"] + found["cache_read"]}

    patch.setattr(openai, "_tokens", wrong)


def _estimates_are_sure(patch: Patch) -> None:
    attempt = Books._attempt

    def wrong(self: Books, entry: Any, *given: Any) -> None:
        attempt(self, entry._replace(source="reported"), *given)

    patch.setattr(books.Books, "_attempt", wrong)
    patch.setattr(matching.Comparison, "unsure", lambda self, bucket, model: [])


def _remainder_lost(patch: Patch) -> None:
    def wrong(amount: int, weights: list[int]) -> list[int]:
        total = sum(weights) or len(weights)
        return [amount * (weight if any(weights) else 1) // total for weight in weights]

    patch.setattr(resolving, "spread", wrong)
    patch.setattr(dividing, "spread", wrong)


def _each_kind_rounded(patch: Patch) -> None:
    shares = metered.shares

    def wrong(*given: Any) -> list[tuple[str, int, int, int]]:
        return [(kind, n, numerator, round(numerator / 10**6)) for kind, n, numerator, _ in shares(*given)]

    patch.setattr(books, "shares", wrong)


def _repeats_count(patch: Patch) -> None:
    patch.setattr(sides.Theirs, "add", sides.Theirs.add_figures)


MUTANTS: dict[str, tuple[Callable[[Patch], None], str]] = {
    "float sums": (_float_sums, "openai"),
    "floats added": (_float_numbers, "aws"),
    "dollars for cents": (_dollars_for_cents, "anthropic"),
    "cents for dollars": (_cents_for_dollars, "openai"),
    "tokens for thousands": (_tokens_for_thousands, "aws"),
    "a bucket too far": (_a_bucket_too_far, "openai"),
    "an end that is inclusive": (_end_inclusive, "openai"),
    "cached tokens twice": (_cached_twice, "openai"),
    "estimates are sure": (_estimates_are_sure, "openai"),
    "a remainder lost": (_remainder_lost, "anthropic"),
    "each kind rounded": (_each_kind_rounded, "anthropic"),
    "repeats count": (_repeats_count, "aws"),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_wrong_implementation_is_seen(name: str, tmp_path: Path, monkeypatch: Patch) -> None:
    break_it, shape = MUTANTS[name]
    break_it(monkeypatch)
    seen = ""
    for number, (check, seed) in enumerate((check, seed) for seed in range(SEEDS) for check in CHECKS):
        try:
            place = tmp_path / str(number)
            place.mkdir()
            check(shape, seed, place)
        except (AssertionError, InterlockError, ValueError) as error:
            seen = f"{check.__name__}: {error}"
            break
    assert seen, f"nobody saw {name}"
