"""The decision against an oracle that remembers everything."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.intake.events import event

from interlock.intake import Event
from interlock.intake.decide import Known, conflict_key, decide

EVENTS = [event(f"e{n}", data={"v": v}) for n in range(4) for v in range(3)]


def oracle(events: list[Event], known: dict[bytes, Known]) -> list[str]:
    first = {key: one.content for key, one in known.items()}
    results = []
    for one in events:
        if one.key not in first:
            first[one.key] = one.content
            results.append("counted")
        else:
            results.append("duplicate" if first[one.key] == one.content else "conflict")
    return results


@given(st.lists(st.sampled_from(EVENTS), max_size=20), st.lists(st.sampled_from(EVENTS), max_size=4))
def test_as_the_oracle(events: list[Event], before: list[Event]) -> None:
    known = {one.key: Known(one.content, 1) for one in before}
    again = [
        msgspec.structs.replace(one, content=bytes(bytearray(one.content))) for one in events
    ]  # equal, not the same
    assert decide(again, known) == oracle(events, known)


def test_a_conflict_is_known_by_what_it_says() -> None:
    keys = {conflict_key(one) for one in EVENTS}
    assert len(keys) == len(EVENTS)
    assert not keys & {one.key for one in EVENTS}
