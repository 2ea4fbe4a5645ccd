"""The same conversation, the same deployment; and no more conversations move than must."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from interlock.gateway.spread import spread

NAMES = st.lists(st.sampled_from("abcdefgh"), min_size=1, unique=True)


@given(NAMES, st.data())
def test_only_members_of_a_group_change_places(names: list[str], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(names) - 1))
    end = data.draw(st.integers(start + 1, len(names)))
    group = {name: data.draw(st.integers(1, 5)) for name in names[start:end]}
    order = spread(names, [group], data.draw(st.text(max_size=5)))
    assert list(order[:start]) == names[:start] and list(order[end:]) == names[end:]
    assert sorted(order[start:end]) == sorted(names[start:end])


@given(NAMES, st.text(max_size=9))
def test_who_leaves_moves_only_its_own(names: list[str], conversation: str) -> None:
    order = spread(names, [dict.fromkeys(names, 1)], conversation)
    for gone in names:
        rest = [name for name in names if name != gone]
        left = spread(rest, [dict.fromkeys(rest, 1)] if rest else [], conversation)
        assert left == tuple(name for name in order if name != gone)


def test_weights_share_them_out() -> None:
    """Of 7,000 conversations 4,000, 2,000 and 1,000 are expected; five standard deviations are 206."""
    weights = {"a": 4, "b": 2, "c": 1}
    first = Counter(spread(list(weights), [weights], f"conv-{n}")[0] for n in range(7_000))
    assert all(abs(first[name] - 1_000 * weight) < 206 for name, weight in weights.items()), first


def test_as_it_was_for_ever() -> None:
    """A replay years later finds these orders."""
    group = {"a": 1, "b": 3}
    found = ["".join(spread("xab", [group], f"c{n}")) for n in range(6)]
    assert found == ["xab", "xab", "xab", "xba", "xba", "xab"]
