"""The deadlines of a call, on a clock that the test turns."""

import pytest

from interlock.gateway import Timeouts
from interlock.gateway.deadlines import Deadlines

RULES = Timeouts(connect_s=1, first_byte_s=10, first_token_s=20, idle_s=5, total_s=100, keep_alive_s=3)


def sent(*, stream: bool = True) -> Deadlines:
    made = Deadlines(RULES, 0.0, stream=stream)
    made.sent(0.0)
    return made


@pytest.mark.parametrize(("now_s", "overdue"), [(10.9, ""), (11.0, "first_byte_s"), (100.0, "total_s")])
def test_a_silent_upstream(now_s: float, overdue: str) -> None:
    assert sent(stream=False).overdue(now_s, answering=False) == overdue


def test_a_stream_without_a_word() -> None:
    deadlines = sent()
    for now_s in range(1, 21):
        deadlines.came(float(now_s))
        assert deadlines.passed(now_s) is (now_s in range(3, 21)), "only the comments are due"
        assert deadlines.overdue(now_s, answering=True) == ""
    assert deadlines.overdue(21.0, answering=True) == "first_token_s"


def test_a_stall() -> None:
    deadlines = sent()
    deadlines.heard(1.0)
    deadlines.spoke()
    deadlines.came(4.0)
    deadlines.came(6.5)
    assert not deadlines.passed(7.0)
    assert deadlines.comment_due(9.5), "three seconds after the last event"
    assert deadlines.overdue(11.4, answering=True) == ""
    assert deadlines.overdue(11.5, answering=True) == "idle_s"


def test_a_client_that_does_not_read_is_no_stall() -> None:
    deadlines = sent()
    deadlines.heard(1.0)
    deadlines.spoke()
    deadlines.pause()
    deadlines.came(2.0)  # it was on its way
    assert not deadlines.passed(99.0)
    deadlines.resume(50.0)
    assert deadlines.overdue(54.9, answering=True) == ""
    assert deadlines.overdue(55.0, answering=True) == "idle_s"


def test_a_round_is_waited_for_once() -> None:
    deadlines = sent(stream=False)
    deadlines.wait_for_round(40.0)
    assert not deadlines.passed(39.0)
    assert deadlines.round_due(40.0)
    deadlines.begin_round()
    assert not deadlines.waits_for_round
    assert not deadlines.round_due(41.0)


def test_comments_are_for_streams() -> None:
    assert not sent(stream=False).comment_due(99.0)
    deadlines = sent()
    assert deadlines.comment_due(3.0)
    deadlines.commented(3.0)
    assert not deadlines.comment_due(5.9)
