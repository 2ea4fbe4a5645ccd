"""What was metered, added up: under whom, when an attempt gets other figures, and how many names are kept."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.ledger import Metered, Price, price
from interlock.reconciling import books
from interlock.reconciling.books import Books, Buckets
from interlock.reconciling.dividing import NOBODY, Group, Whose

PRICE = Price(per_mtok={"input": 10**9, "output": 2 * 10**9})
USED = {"input": 10, "output": 5}
TRUE = {"input": 70, "output": 9}


def entry(n: int, whose: Whose, source: str = "estimated") -> Metered:
    return Metered(
        request_id=f"req_{n}",
        attempt=1,
        at_ns=n,
        settled_at_ns=n + 1,
        state="settled",
        tenant="acme",
        deployment="d",
        provider="p",
        model="m",
        upstream_model="",
        outcome="completed",
        source=source,
        usage=USED,
        amount_nanousd=price(USED, PRICE).amount_nanousd,
        price=PRICE,
        adjusted=None,
        **whose._asdict(),
    )


names = st.builds(Whose, st.sampled_from("ab"), st.sampled_from("abcd"), st.sampled_from(("", *"stuvw")))


def summed(found: Books) -> Counter[Whose]:
    """Nano-USD of each, over all kinds."""
    sums: Counter[Whose] = Counter()
    for one in found.sums.values():
        for (group, whose), (_, nanousd) in one.groups.items():
            assert group == Group("acme", "d", "p")
            sums[whose] += nanousd
    return +sums


@given(st.lists(names, min_size=1, max_size=30))
def test_other_figures_are_under_the_same_name(made: list[Whose]) -> None:
    found = Books(Buckets([(0, 1_000)]))
    every = [entry(n, whose) for n, whose in enumerate(made)]
    for one in every:
        found.add(one)
    cost, true = (price(usage, PRICE).amount_nanousd or 0 for usage in (USED, TRUE))
    assert summed(found) == Counter({whose: times * cost for whose, times in Counter(made).items()})
    for one in every:
        found.resolve(one, TRUE, true)
    assert summed(found) == Counter({whose: times * true for whose, times in Counter(made).items()})


@given(st.lists(names, min_size=1, max_size=60), st.integers(0, 12))
def test_names_are_bounded_and_nothing_is_lost(made: list[Whose], most: int) -> None:
    with pytest.MonkeyPatch.context() as few:
        few.setattr(books, "NAMED_MAX", most)
        found = Books(Buckets([(0, 1_000)]))
        every = [entry(n, whose) for n, whose in enumerate(made)]
        for one in every:
            found.add(one)
        for one in every[::2]:
            found.resolve(one, TRUE, price(TRUE, PRICE).amount_nanousd)
    kept = [share for one in found.sums.values() for share in one.groups if share[1] != NOBODY]
    assert len(kept) <= 2 * most and len([whose for _, whose in kept if whose.session]) <= most
    cost, true = (price(usage, PRICE).amount_nanousd or 0 for usage in (USED, TRUE))
    assert sum(summed(found).values()) == true * len(every[::2]) + cost * len(every[1::2])
    assert all(min(figures) >= 0 for one in found.sums.values() for figures in one.groups.values()), "taken where it is"
