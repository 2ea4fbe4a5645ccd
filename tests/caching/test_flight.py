"""One call, many clients: who hears what, who is slow, who leaves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.caching.listening import Calling, Holding, Landings, Listening

from interlock.caching import Flight, Seat, Told
from interlock.caching.flight import LAG_BYTES_MAX, PIECE_BYTES

GOOD = Told(request_id="req_1", deployment="d0", good=True)
LINES = b"content-type: text/event-stream\r\n"


def flying(bytes_max: int = 1 << 20, most: int = 1 << 40) -> tuple[Flight, Calling, Holding, Landings]:
    hold, landed = Holding(most), Landings()
    flight = Flight(hold, bytes_max, landed)
    flight.tell = lambda: GOOD
    return flight, Calling(), hold, landed


def test_a_whole_answer_is_told_to_all() -> None:
    flight, call, hold, landed = flying()
    listeners = [Listening() for _ in range(3)]
    for listener in listeners:
        flight.join(listener)
    flight.take(call)
    flight.respond(200, b"content-type: application/json\r\n", b"{}")
    assert [(one.ended, one.heard, one.told) for one in listeners] == [("whole", b"{}", GOOD)] * 3
    assert (landed.bodies, flight.joinable, hold.held, call.did) == ([b"{}"], False, 0, [])


def test_who_joins_late_hears_what_was_said_and_the_rest() -> None:
    flight, call, hold, landed = flying()
    first, late, later = Listening(), Listening(), Listening()
    flight.join(first)
    flight.take(call)
    flight.start(200, LINES)
    flight.send(b"one ")
    flight.join(late)
    assert late.heard == b"one "
    flight.send(b"two ")
    flight.join(later)
    flight.send(b"three")
    flight.end()
    assert {(one.ended, one.heard) for one in (first, late, later)} == {("finished", b"one two three")}
    assert (landed.bodies, hold.held, call.did) == ([b"one two three"], 0, [])


def test_a_listener_that_opens_late_is_sent_all_even_after_the_end() -> None:
    flight, _, hold, _ = flying()
    waits = Listening(opens=False)
    flight.join(waits)
    flight.start(200, LINES)
    flight.send(b"one ")
    flight.send(b"two")
    flight.end()
    assert (waits.heard, waits.ended, hold.held) == (b"", "", 0), "what is kept counts as an entry"
    assert waits.seat is not None
    waits.seat.open()
    assert (waits.heard, waits.ended, hold.held) == (b"one two", "finished", 0)


def test_a_slow_client_slows_nobody_and_a_call_that_nobody_reads_is_paused() -> None:
    flight, call, _, _ = flying()
    slow, fast = Listening(), Listening()
    seat, other = flight.join(slow), flight.join(fast)
    flight.take(call)
    flight.start(200, LINES)
    seat.pause()
    flight.send(b"one ")
    assert (slow.heard, fast.heard, call.did) == (b"", b"one ", [])
    other.pause()
    other.pause()
    assert call.did == ["pause"]
    flight.send(b"two ")
    seat.resume()
    assert (slow.heard, call.did) == (b"one two ", ["pause", "resume"])
    seat.cancel()
    assert call.did == ["pause", "resume", "pause"], "only one is left, and it does not read"
    other.resume()
    assert (fast.heard, call.did[3:]) == (b"one two ", ["resume"])


def test_a_call_that_is_sent_to_nobody_who_reads_begins_paused() -> None:
    flight, call, _, _ = flying()
    flight.join(Listening()).pause()
    flight.take(call)
    assert call.did == ["pause"]


def test_a_call_goes_on_for_whoever_is_left_and_ends_with_the_last() -> None:
    flight, call, hold, landed = flying()
    first, second = Listening(), Listening()
    seat, other = flight.join(first), flight.join(second)
    flight.take(call)
    flight.start(200, LINES)
    flight.send(b"one ")
    seat.cancel()
    seat.cancel()
    assert call.did == []
    flight.send(b"two")
    other.cancel()
    assert (first.heard, first.ended) == (b"one ", "")
    assert (second.heard, second.ended, call.did) == (b"one two", "", ["cancel"])
    assert (flight.joinable, landed.bodies, hold.held) == (False, [None], 0)
    flight.send(b"what a call that is cancelled may still say")
    flight.end()
    assert (len(landed.bodies), hold.held) == (1, 0)


def test_a_call_that_nobody_waits_for_before_it_is_sent_lands_at_once() -> None:
    flight, call, _, landed = flying()
    flight.join(Listening()).cancel()
    flight.take(call)
    assert (flight.done, landed.bodies, call.did) == (True, [None], [])


def test_an_answer_that_is_too_large_passes_and_is_not_kept_nor_joined() -> None:
    flight, call, hold, landed = flying(bytes_max=10)
    first = Listening()
    flight.join(first)
    flight.take(call)
    flight.start(200, LINES)
    flight.send(b"x" * 11)
    assert not flight.joinable
    for _ in range(8):
        flight.send(b"y" * PIECE_BYTES)
        assert hold.held <= PIECE_BYTES + 11
    flight.end()
    assert (len(first.heard), landed.bodies, hold.held) == (11 + 8 * PIECE_BYTES, [None], 0)
    whole, *_, landed = flying(bytes_max=10)
    whole.join(second := Listening())
    whole.respond(200, b"", b"x" * 11)
    assert (second.ended, landed.bodies) == ("whole", [None])


def test_no_more_is_held_than_all_answers_together_may_take() -> None:
    flight, _, hold, landed = flying(most=10)
    flight.join(Listening())
    flight.start(200, LINES)
    hold.held = 5  # of another flight
    flight.send(b"x" * 6)
    assert not flight.joinable
    flight.end()
    assert (landed.bodies, hold.held) == ([None], 5)


def test_who_is_too_far_behind_others_in_a_large_answer_is_broken_off() -> None:
    flight, call, hold, _ = flying(bytes_max=10)
    slow, fast = Listening(), Listening()
    seat = flight.join(slow)
    flight.join(fast)
    flight.take(call)
    flight.start(200, LINES)
    seat.pause()
    sent = 0
    while not slow.ended:
        flight.send(b"x" * 100_000)
        sent += 100_000
        assert hold.held <= LAG_BYTES_MAX + PIECE_BYTES + 100_000
    assert (slow.ended, sent > LAG_BYTES_MAX, call.did) == ("broken off", True, [])
    flight.end()
    assert (fast.ended, len(fast.heard), hold.held) == ("finished", sent, 0)


def test_where_all_are_behind_nobody_is_broken_off() -> None:
    flight, call, _, _ = flying(bytes_max=10)
    only = Listening()
    seat = flight.join(only)
    flight.take(call)
    flight.start(200, LINES)
    seat.pause()
    for _ in range(20):
        flight.send(b"x" * 100_000)
    seat.resume()
    flight.end()
    assert (only.ended, len(only.heard), call.did) == ("finished", 2_000_000, ["pause", "resume"])


def test_a_seat_that_catches_up_may_pause_in_between() -> None:
    flight, _, _, _ = flying(bytes_max=10 * PIECE_BYTES)

    class Slow(Listening):
        def send(self, data: bytes) -> None:
            super().send(data)
            assert self.seat is not None
            self.seat.pause()

    slow = Slow()
    seat = flight.join(slow)
    flight.join(Listening())
    flight.start(200, LINES)
    seat.pause()
    for n in range(5):
        flight.send(bytes([n]) * PIECE_BYTES)
    flight.end()
    for n in range(5):
        assert len(slow.heard) == n * PIECE_BYTES
        seat.resume()
    assert slow.ended == ""
    seat.resume()
    assert slow.ended == "finished"


@pytest.mark.parametrize("stream", [False, True])
def test_a_listener_with_a_defect_costs_nobody_else(stream: bool, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Listening):
        def whole(self, *args: object) -> None:
            raise ZeroDivisionError

        def start(self, *args: object) -> None:
            raise ZeroDivisionError

    flight, call, _, landed = flying()
    broken, sound = Broken(), Listening()
    flight.join(broken)
    flight.join(sound)
    flight.take(call)
    if stream:
        flight.start(200, LINES)
        flight.send(b"{}")
        flight.end()
    else:
        flight.respond(200, LINES, b"{}")
    assert (broken.ended, sound.heard, landed.bodies) == ("broken off", b"{}", [b"{}"])
    assert "ZeroDivisionError" in caplog.text


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("join"), st.booleans()),
        st.tuples(st.just("send"), st.integers(1, 9)),
        st.tuples(st.sampled_from(["pause", "resume", "open", "cancel"]), st.integers(0, 7)),
    ),
    max_size=50,
)


@given(STEPS, st.booleans(), st.integers(0, 120))
def test_however_they_come_and_go_each_hears_a_beginning_and_who_stays_hears_all(
    steps: list[tuple[str, int]], stays: bool, bytes_max: int
) -> None:
    flight, call, hold, landed = flying(bytes_max=bytes_max)
    listeners, seats = [], []
    said, number = b"", 0
    left: set[int] = set()

    def join(opens: bool) -> None:
        listeners.append(listener := Listening(opens=opens))
        seats.append(flight.join(listener))

    join(True)
    flight.take(call)
    flight.start(200, LINES)
    for what, which in steps:
        if what == "join" and flight.joinable:
            join(bool(which))
        elif what == "send" and not flight.done:
            said += (part := bytes([65 + number % 26]) * which)
            number += 1
            flight.send(part)
        elif what in ("pause", "resume", "open", "cancel") and which < len(seats) and (which or not stays):
            listener = listeners[which]
            if which not in left and (what != "open" or not listener.opens):
                listener.opens = listener.opens or what == "open"
                left |= {which} if what == "cancel" else set()
                act(seats[which], what)
        staying = [seat for n, seat in enumerate(seats) if n not in left]
        assert flight.done is (not staying)
        asleep = (call.did or [""])[-1] == "pause"
        assert flight.done or asleep is all(seat.paused for seat in staying)
        for n, (seat, listener) in enumerate(zip(seats, listeners, strict=True)):
            current = listener.opens and not seat.paused and n not in left
            assert listener.heard == said if current else said.startswith(listener.heard)
    deserted = flight.done
    flight.end()
    for n, (seat, listener) in enumerate(zip(seats, listeners, strict=True)):
        if n not in left:
            seat.resume()
            if not listener.opens:
                seat.open()
            assert (listener.ended, listener.heard) == ("finished", said)
    assert landed.bodies == [None if deserted or len(said) > bytes_max else said]
    assert hold.held == 0


def act(seat: Seat, what: str) -> None:
    getattr(seat, what)()


@pytest.mark.parametrize("status", [400, 503])
def test_an_error_is_everybody_s(status: int) -> None:
    flight, _, _, _ = flying()
    flight.tell = lambda: Told(request_id="req_1", error="upstream_error")
    listeners = [Listening(), Listening()]
    for listener in listeners:
        flight.join(listener)
    flight.respond(status, b"", b'{"error":{}}')
    assert [(one.head and one.head.status, one.told and one.told.error) for one in listeners] == [
        (status, "upstream_error")
    ] * 2
