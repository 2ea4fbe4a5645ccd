"""All of the limits admit a call, or none does; the answer names the one that refuses for longest."""

from hypothesis import given
from hypothesis import strategies as st

from interlock.limits import Limit, Standing
from interlock.limits.decide import SOON_NS, denied, retry_after_ns, short
from interlock.limits.limit import NEVER_NS
from interlock.units import INT64_MAX

NOW_NS = 1_700_000_000_000_000_000
AMOUNTS = st.one_of(st.integers(0, 12), st.integers(0, INT64_MAX))


def standing(
    asked: int, used: int, held: int, amount: int, ends_ns: int = NOW_NS + 5, others: int = 0, name: str = "a"
) -> Standing:
    window = None if ends_ns == NEVER_NS else "day"
    measure = "concurrency" if ends_ns == NEVER_NS else "requests"
    limit = Limit(name=name, measure=measure, amount=amount, window=window)  # type: ignore[arg-type]  # of the lists
    return Standing(limit, asked, used, held, amount, others, ends_ns)


STANDINGS = st.builds(
    standing, AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS, st.sampled_from((NOW_NS + 5, NOW_NS + 10**12, NEVER_NS))
)


@given(st.lists(STANDINGS, max_size=4))
def test_a_call_is_short_exactly_where_it_would_exceed(standings: list[Standing]) -> None:
    missing = short(standings)
    for one in standings:
        remains = one.capacity - one.used - one.held
        assert (one in missing) == (one.asked > remains)


@given(st.lists(STANDINGS, min_size=1, max_size=4))
def test_whoever_waits_as_told_is_not_refused_by_another_for_longer(standings: list[Standing]) -> None:
    missing = short(standings)
    if not missing:
        return
    answer = denied(missing, standings, NOW_NS)
    waits = [retry_after_ns(one, NOW_NS) for one in missing]
    if None in waits:
        assert (answer.reason, answer.retry_after_ns) == ("too_large", None)
    else:
        assert answer.reason == "exceeded"
        assert answer.retry_after_ns == max(wait for wait in waits if wait is not None)
        assert answer.retry_after_ns >= 1


def test_what_is_only_held_may_be_free_soon_and_what_is_used_when_the_window_ends() -> None:
    assert retry_after_ns(standing(1, 9, 0, 10), NOW_NS) == SOON_NS  # it fits
    assert retry_after_ns(standing(1, 9, 1, 10), NOW_NS) == SOON_NS
    assert retry_after_ns(standing(1, 10, 0, 10), NOW_NS) == 5
    assert retry_after_ns(standing(1, 4, 0, 10, others=6), NOW_NS) == 5
    assert retry_after_ns(standing(11, 0, 0, 10), NOW_NS) is None
    assert retry_after_ns(standing(1, 0, 10, 10, NEVER_NS), NOW_NS) == SOON_NS


def test_the_answer_says_what_was_left() -> None:
    one = standing(5, 3, 4, 10, others=1)
    answer = denied([one], [one], NOW_NS)
    assert (answer.limit, answer.measure, answer.asked, answer.left) == ("a", "requests", 5, 2)
    over = standing(5, 30, 4, 10)
    assert denied([over], [over], NOW_NS).left == 0


def test_an_authority_that_is_away_is_blamed_only_where_it_could_have_helped() -> None:
    fits, exhausted, hopeless = standing(1, 3, 0, 10), standing(1, 10, 0, 10), standing(11, 0, 0, 10)
    assert denied([fits], [fits], NOW_NS, away=True).reason == "away"
    assert denied([exhausted], [exhausted], NOW_NS, away=True).reason == "exceeded"
    assert denied([hopeless], [hopeless], NOW_NS, away=True).reason == "too_large"
    assert denied([fits], [fits], NOW_NS, away=True).code == "limits_unavailable"
