"""Batches that are sent until they are answered: what is tried again, what is not, for how long, and how fast."""

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest

from interlock.client import EventsPort, Item, Unanswered
from interlock.clock import SystemClock
from interlock.importing import sending
from interlock.importing.sending import IN_FLIGHT, Batch, GaveUp, Sender

Answer = Callable[[int, Sequence[bytes]], list[Item]]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "PAUSE_S", 0.01)


class Told:
    """What became of each place, and what was said meanwhile."""

    def __init__(self) -> None:
        self.results: dict[int, list[str]] = {}
        self.waited: list[str] = []
        self.tries = 0
        self._lock = threading.Lock()  # protects all of it: senders are threads

    def answered(self, batch: Batch, items: list[Item]) -> None:
        with self._lock:
            for place, item in zip(batch.places, items, strict=True):
                self.results.setdefault(place, []).append(item.result)

    def numbered(self) -> int:
        with self._lock:
            self.tries += 1
            return self.tries


def sent(answer: Answer, batches: int = 3, told: Told | None = None, patience_s: float = 5.0) -> Told:
    """Send batches of two; `answer` gets the try's number."""
    told = told or Told()
    sender = Sender(
        lambda events: answer(told.numbered(), events),
        told.answered,
        SystemClock(),
        patience_s=patience_s,
        waiting=told.waited.append,
    )
    try:
        for number in range(batches):
            places = [2 * number, 2 * number + 1]
            sender.put(Batch(0, places, [str(place).encode() for place in places]))
        sender.finish()
    finally:
        sender.stop()
    return told


def counted(_: int, events: Sequence[bytes]) -> list[Item]:
    return [Item("counted") for _ in events]


def test_every_event_is_answered_once() -> None:
    assert sent(counted, 50).results == {place: ["counted"] for place in range(100)}


@pytest.mark.parametrize("status", [0, 408, 429, 500, 502, 503])
def test_what_may_succeed_later_is_tried_again(status: int) -> None:
    def answer(number: int, events: Sequence[bytes]) -> list[Item]:
        if number % 3:
            raise Unanswered("not now", status=status)
        return counted(number, events)

    told = sent(answer, 10)
    assert told.results == {place: ["counted"] for place in range(20)}
    assert set(told.waited) == {"not now"}


def test_only_what_is_unavailable_is_sent_again() -> None:
    def answer(number: int, events: Sequence[bytes]) -> list[Item]:
        full = number % 2
        return [
            Item("unavailable", message="disk full") if full and n == 1 else Item("counted")
            for n, _ in enumerate(events)
        ]

    told = sent(answer, 1)
    assert told.results == {0: ["counted"], 1: ["counted"]} and told.waited == ["disk full"] and told.tries == 2


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 413])
def test_what_stays_refused_ends_it_at_once(status: int) -> None:
    def answer(number: int, events: Sequence[bytes]) -> list[Item]:
        raise Unanswered("no", status=status)

    told = Told()
    with pytest.raises(Unanswered):
        sent(answer, 100, told)
    assert told.tries <= IN_FLIGHT and not told.results


def test_it_gives_up_in_time() -> None:
    def answer(number: int, events: Sequence[bytes]) -> list[Item]:
        raise Unanswered("nobody there")

    clock = SystemClock()
    start_ns = clock.monotonic_ns()
    with pytest.raises(GaveUp, match="nobody there"):
        sent(answer, 100, patience_s=0.2)
    assert clock.monotonic_ns() - start_ns < 10e9


def test_what_the_answers_meet_is_heard_of() -> None:
    class Full(Told):
        def answered(self, batch: Batch, items: list[Item]) -> None:
            raise OSError("no space for the rejects")

    with pytest.raises(OSError, match="no space"):
        sent(counted, 100, Full())


def test_no_more_than_a_few_are_on_their_way() -> None:
    held, most = 0, 0
    gate, lock = threading.Event(), threading.Lock()

    def answer(number: int, events: Sequence[bytes]) -> list[Item]:
        nonlocal held, most
        with lock:
            held += 1
            most = max(most, held)
            if held == IN_FLIGHT:
                gate.set()
        assert gate.wait(10), "they are not sent beside each other"
        with lock:
            held -= 1
        return counted(number, events)

    sent(answer, IN_FLIGHT * 5)
    assert most == IN_FLIGHT


def test_a_rate_leaves_room() -> None:
    clock, told = SystemClock(), Told()
    sender = Sender(lambda events: counted(0, events), told.answered, clock, events_per_s=100)
    start_ns = clock.monotonic_ns()
    for batch in [Batch(0, list(range(10)), [b"x"] * 10)] * 5:
        sender.put(batch)
    sender.finish()
    sender.stop()
    assert clock.monotonic_ns() - start_ns >= 0.4e9


@contextmanager
def answering(*answers: bytes) -> Iterator[int]:
    """A port that gives these answers, one a connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            for answer in answers:
                connection, _ = listening.accept()
                with connection:
                    request = b""
                    while not request.endswith(b"\r\n\r\n1"):
                        request += connection.recv(1 << 16)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listening.getsockname()[1]
        thread.join(10)


def test_what_the_server_asks_for_is_honoured() -> None:
    """Against bytes on a socket, for our own server does not say Retry-After; what stands before it may."""
    busy = b"HTTP/1.1 503 Busy\r\nretry-after: 1\r\ncontent-length: 2\r\n\r\n{}"
    good = b'{"counts":{"counted":1},"items":[{"result":"counted","seq":2}]}'
    ok = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(good), good)
    clock, told = SystemClock(), Told()
    with answering(busy, ok) as port:
        sender = Sender(
            EventsPort(f"http://127.0.0.1:{port}", "k", proxies=False).post,
            told.answered,
            clock,
            waiting=told.waited.append,
        )
        start_ns = clock.monotonic_ns()
        sender.put(Batch(0, [7], [b"1"]))
        sender.finish()
    assert told.results == {7: ["counted"]} and len(told.waited) == 1
    assert clock.monotonic_ns() - start_ns >= 1e9


def test_a_server_that_asks_for_more_than_there_is_ends_it() -> None:
    busy = b"HTTP/1.1 503 Busy\r\nretry-after: 3600\r\ncontent-length: 2\r\n\r\n{}"
    with answering(busy) as port:
        sender = Sender(
            EventsPort(f"http://127.0.0.1:{port}", "k", proxies=False).post,
            Told().answered,
            SystemClock(),
            patience_s=5,
        )
        sender.put(Batch(0, [7], [b"1"]))
        with pytest.raises(GaveUp):
            sender.finish()
