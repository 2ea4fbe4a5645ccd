"""The worker's own entries, against a plain model of them."""

from hypothesis import given
from hypothesis import strategies as st
from tests.caching.entries import entry

from interlock.caching.keeping import OVERHEAD_BYTES
from interlock.caching.memory import Memory

KEYS = st.sampled_from([bytes([n]) * 32 for n in range(6)])
STEPS = st.one_of(
    st.tuples(st.just("put"), KEYS, st.integers(0, 6), st.integers(1, 20)),
    st.tuples(st.just("get"), KEYS),
    st.tuples(st.just("drop"), KEYS),
    st.tuples(st.just("expire"), st.integers(0, 20)),
    st.tuples(st.just("resize"), st.integers(0, 5)),
)
UNIT = 10_000


@given(st.lists(STEPS, max_size=60))
def test_it_is_a_bounded_list_of_what_was_used_last(steps: list[tuple[object, ...]]) -> None:
    memory, bound = Memory(4 * UNIT), 4 * UNIT
    model: dict[bytes, tuple[int, int]] = {}  # key: (size, until), the one used last at the end

    def shrink() -> None:
        while sum(size for size, _ in model.values()) > bound:
            model.pop(next(iter(model)))

    for step in steps:
        match step:
            case "put", bytes() as key, int() as units, int() as until:
                made = entry(key, body=bytes(max(units * UNIT - OVERHEAD_BYTES, 0)), lines=b"")
                memory.put(made, until)
                model.pop(key, None)
                if made.size <= bound:
                    model[key] = made.size, until
                shrink()
            case "get", bytes() as key:
                found = memory.get(key)
                assert (found is not None) is (key in model)
                if found is not None:
                    assert (found.key, found.size) == (key, model[key][0])
                    model[key] = model.pop(key)
            case "drop", bytes() as key:
                memory.drop(key)
                model.pop(key, None)
            case "expire", int() as now:
                memory.expire(now)
                model = {key: (size, until) for key, (size, until) in model.items() if until > now}
            case "resize", int() as units:
                bound = units * UNIT
                memory.resize(bound)
                shrink()
        assert memory.bytes == sum(size for size, _ in model.values()) <= bound
        assert len(memory) == len(model)


def test_what_was_asked_for_last_stays() -> None:
    memory = Memory(3 * entry().size)
    keys = [bytes([n]) * 32 for n in range(4)]
    for key in keys[:3]:
        memory.put(entry(key), 10)
    memory.get(keys[0])
    memory.put(entry(keys[3]), 10)
    assert [memory.get(key) is not None for key in keys] == [True, False, True, True]


def test_an_entry_that_was_made_anew_lives_its_own_time() -> None:
    memory = Memory(UNIT)
    memory.put(entry(), 10)
    memory.put(entry(), 20)
    memory.expire(10)
    assert len(memory) == 1
    memory.expire(20)
    assert (len(memory), memory.bytes) == (0, 0)


def test_ends_of_entries_that_are_gone_do_not_pile_up() -> None:
    memory = Memory(10 * UNIT)
    for n in range(5000):
        memory.put(entry(n.to_bytes(32, "big")), until_ns=10_000_000)
    assert len(memory._ends) < 500
