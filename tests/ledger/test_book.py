"""Partition, price and entry against an oracle of fractions."""

from fractions import Fraction

from hypothesis import assume, example, given
from hypothesis import strategies as st
from tests.ledger.logs import FREE, SONNET, opened, settled

from interlock.ledger import KINDS, PARENTS, Price, Step, consistent, entry, partition, price
from interlock.ledger.book import QUANTITY_MAX, totals
from interlock.units import INT64_MAX

QUANTITIES = st.integers(0, 300_000)
EXCLUSIVE = st.dictionaries(st.sampled_from(KINDS), QUANTITIES)
PRICES = st.one_of(
    st.integers(0, 100_000_000_000),
    st.sampled_from([0, 1, 250_000, 500_000, 750_000, 1_000_000, 1_500_000]),  # these make ties
)


def inclusive(exclusive: dict[str, int]) -> dict[str, int]:
    """The same tokens as a provider's adapter tells them: kinds counted within their parents."""
    usage = dict(exclusive)
    for kind, parent in PARENTS.items():
        if kind in exclusive:
            usage[parent] = usage.get(parent, 0) + exclusive[kind]
    return usage


def nearest_even(exact: Fraction) -> int:
    """Fraction rounds half to even by itself: an oracle that shares no code with ours."""
    return round(exact)


def test_the_worked_case() -> None:
    """100k read from the cache, 1k written to it, 10 not cached, 5 answered: $0.033855 by hand."""
    usage = {"input": 101_010, "cache_read": 100_000, "cache_write_5m": 1_000, "output": 5}
    by_hand = 100_000 * 300 + 1_000 * 3_750 + 10 * 3_000 + 5 * 15_000  # nano-USD: price a token in nano-USD
    assert by_hand == 33_855_000
    amount = price(usage, SONNET)
    assert amount.amount_nanousd == by_hand
    assert [(line.kind, line.quantity) for line in amount.lines] == [
        ("input", 10),
        ("cache_read", 100_000),
        ("cache_write_5m", 1_000),
        ("output", 5),
    ]


@given(EXCLUSIVE)
def test_partition_undoes_inclusion(exclusive: dict[str, int]) -> None:
    usage = inclusive(exclusive)
    assert consistent(usage)
    assert partition(usage) == {kind: count for kind, count in exclusive.items() if count}


@given(st.dictionaries(st.sampled_from([*KINDS, "image_output"]), st.integers(-5, 50)))
def test_partition_sums_back(usage: dict[str, int]) -> None:
    parts = partition(usage)
    assert all(count > 0 for count in parts.values())
    for parent in ("input", "output"):
        children = [kind for kind in PARENTS if PARENTS[kind] == parent]
        inside = sum(max(usage.get(kind, 0), 0) for kind in children)
        whole = max(usage.get(parent, 0), inside)
        assert totals(price(usage, None).lines)[parent] == whole
        assert all(parts.get(kind, 0) == max(usage.get(kind, 0), 0) for kind in children)
    assert list(parts) == sorted(parts, key=[*KINDS, "image_output"].index)


@given(st.dictionaries(st.sampled_from(KINDS), st.integers(-2, 12)))
def test_consistent_says_whether_the_figures_can_be_true(usage: dict[str, int]) -> None:
    families = {
        parent: sum(count for kind, count in usage.items() if PARENTS.get(kind) == parent)
        for parent in PARENTS.values()
    }
    true = min(usage.values(), default=0) >= 0 and all(usage.get(p, 0) >= inside for p, inside in families.items())
    assert consistent(usage) == true


def test_figures_out_of_range_are_clamped_and_flagged() -> None:
    assert partition({"input": 10**30}) == {"input": QUANTITY_MAX}
    assert not consistent({"input": QUANTITY_MAX + 1})
    assert not consistent({"web_search": -1})


@given(EXCLUSIVE, st.dictionaries(st.sampled_from(KINDS), PRICES))
@example({"input": 1}, {"input": 500_000})  # a tie that goes down to 0
@example({"input": 3}, {"input": 500_000})  # a tie that goes up to 2
@example({"input": 1, "output": 1}, {"input": 500_000, "output": 500_000})  # two halves are 1: one division
@example({"reasoning": 5}, {"output": 250_000})
def test_price_is_the_exact_sum_rounded_once(exclusive: dict[str, int], per_mtok: dict[str, int]) -> None:
    exact = Fraction(0)
    unpriced = False
    for kind, count in exclusive.items():
        each = per_mtok.get(kind, per_mtok.get(PARENTS.get(kind, "")))
        unpriced |= bool(count) and each is None
        exact += Fraction(count * (each or 0), 10**6)
    amount = price(inclusive(exclusive), Price(per_mtok=per_mtok))
    if unpriced:
        assert (amount.amount_nanousd, amount.unpriced) == (None, "kind_unpriced")
    else:
        assert (amount.amount_nanousd, amount.unpriced) == (nearest_even(exact), "")
        assert sum(line.numerator or 0 for line in amount.lines) == exact * 10**6


@given(st.integers(0, 10**6), st.sampled_from([250_000, 500_000, 1_500_000, 2_500_000]))
def test_ties_go_to_the_even_neighbour(quantity: int, each: int) -> None:
    exact = Fraction(quantity * each, 10**6)
    assume(exact.denominator == 2)
    amount = price({"input": quantity}, Price(per_mtok={"input": each})).amount_nanousd
    assert amount is not None
    assert amount % 2 == 0
    assert abs(exact - amount) == Fraction(1, 2)


@given(
    st.integers(0, 60),
    st.lists(st.integers(1, 50), unique=True, max_size=4).map(sorted),
    st.integers(0, 20),
)
def test_the_last_step_exceeded_by_the_whole_input_applies(input_: int, thresholds: list[int], cached: int) -> None:
    steps = tuple(Step(input_tokens=at, per_mtok={"input": at * 10**6, "output": at * 10**6}) for at in thresholds)
    usage = {"input": input_ + cached, "cache_read": cached, "output": 1}
    amount = price(usage, Price(per_mtok={"input": 0, "output": 0}, above=steps))
    exceeded = [at for at in thresholds if at < input_ + cached]
    each = exceeded[-1] if exceeded else 0
    assert amount.amount_nanousd == (input_ + cached + 1) * each
    assert amount.above_input_tokens == (exceeded[-1] if exceeded else None)


def test_unpriced_is_never_0() -> None:
    for usage in ({}, {"input": 1}, {"output": 0}):
        amount = price(usage, None)
        assert (amount.amount_nanousd, amount.unpriced) == (None, "no_price")
    searched = price({"input": 1, "output": 1, "web_search": 1}, SONNET)
    assert (searched.amount_nanousd, searched.unpriced) == (None, "kind_unpriced")
    assert [line.kind for line in searched.lines if line.numerator is None] == ["web_search"]
    assert price({"input": 1, "image_output": 1}, SONNET).amount_nanousd is None


def test_priced_0_on_purpose_is_0() -> None:
    assert price({"input": 1_000, "cache_read": 10, "output": 9}, FREE).amount_nanousd == 0
    assert price({"input": 1, "web_search": 0}, FREE).amount_nanousd == 0


def test_an_amount_past_int64_is_unpriced() -> None:
    amount = price({"input": QUANTITY_MAX}, Price(per_mtok={"input": INT64_MAX}))
    assert (amount.amount_nanousd, amount.unpriced) == (None, "out_of_range")


def test_a_line_says_whose_price_it_has() -> None:
    lines = price({"input": 5, "audio_input": 2, "output": 9, "reasoning": 4}, SONNET).lines
    assert [(line.kind, line.priced_as, line.quantity) for line in lines] == [
        ("input", "input", 3),
        ("audio_input", "input", 2),
        ("output", "output", 5),
        ("reasoning", "output", 4),
    ]


def test_entry_keeps_who_what_and_how_it_is_known() -> None:
    counted = settled(source="counted", rule="o200k/1", outcome="cancelled", usage={"input": 5, "cache_read": 6})
    made = entry(opened(session="s", mode="plan"), counted, SONNET)
    assert (made.state, made.outcome, made.source, made.rule) == ("settled", "cancelled", "counted", "o200k/1")
    assert (made.tenant, made.principal, made.session, made.mode, made.tier) == ("acme", "ada", "s", "plan", "strong")
    assert made.inconsistent
    assert made.amount == price({"input": 5, "cache_read": 6}, SONNET)


def test_an_open_entry_has_no_amount_and_is_not_unpriced() -> None:
    made = entry(opened(), None, None)
    assert (made.state, made.outcome, made.source, made.usage) == ("open", "", "", {})
    assert (made.amount.amount_nanousd, made.amount.unpriced) == (None, "")
