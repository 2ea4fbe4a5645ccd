"""The table of moves: every pair of state and move is either in it, or refused by name."""

from itertools import product

import pytest

from interlock.billing.lifecycle import MOVES, MOVES_OF, SETTLED, STATES, Move, State, done_already, move
from interlock.errors import LocalError


@pytest.mark.parametrize(("state", "wanted"), list(product([None, *STATES], MOVES)))
def test_what_is_not_in_the_table_is_refused_by_name(state: State | None, wanted: Move) -> None:
    if (state, wanted) in MOVES_OF:
        assert move(state, wanted, "i") == MOVES_OF[state, wanted]
        return
    with pytest.raises(LocalError) as caught:
        move(state, wanted, "acme:2026-11:1")
    assert caught.value.code == "wrong_state" and "acme:2026-11:1" in caught.value.message
    assert (state or "not on record") in caught.value.message
    for name in (name for of, name in MOVES_OF if of == state):
        assert name in caught.value.message


def test_the_ends() -> None:
    assert [state for state in STATES if not any(of == state for of, _ in MOVES_OF)] == sorted(SETTLED)
    reached = {None, *MOVES_OF.values()}
    assert reached == {None, *STATES}


def test_asked_again_is_known() -> None:
    assert {(s, m) for s, m in product(STATES, MOVES) if done_already(s, m)} == {
        ("in_review", "review"),
        ("approved", "approve"),
        ("final", "approve"),
        ("returned", "return"),
        ("final", "finalize"),
        ("voided", "void"),
    }
