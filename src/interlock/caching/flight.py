"""Single flight: one call that is sent, and everybody who is told its answer as it comes.

Whoever makes the call says the answer to a flight as he would say it to a client; it is passed on to the seats, the
first of which is his own client. Who joins late hears what was said so far, then the rest. A seat whose client reads
slowly falls back and reads from what is held; the call itself is told to pause only when nobody reads. What is held is
bounded: an answer that outgrows it is not kept, nobody may join it any more, and a seat that is too far behind the
others is broken off.

It knows no store, no clock and no socket, and nothing here waits.
"""

import logging
from collections.abc import Callable
from typing import Protocol

import msgspec

_log = logging.getLogger(__name__)
LAG_BYTES_MAX = 1 << 20
"""How far a seat may fall behind the others once the answer is not held whole."""
PIECE_BYTES = 256 * 1024
"""A seat that catches up gets so much at once, and may pause in between."""


class Head(msgspec.Struct, frozen=True):
    """How an answer begins."""

    status: int
    lines: bytes
    stream: bool


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the call that an answer is from."""

    request_id: str
    deployment: str = ""
    """Empty: none was asked."""
    good: bool = False
    """It is over, the answer is whole, and no chance was in how it ended: it may be given again."""
    error: str = ""
    """A code, if it is over and did not end well."""
    limited: bool = False
    """A limit refused it. That is about who made it: others may be under another."""
    usage: dict[str, int] = {}
    finish_reason: str = ""
    cached_at_ns: int = 0
    """When the answer was kept, if it is one that was; 0: the call was sent just now."""


class Call(Protocol):
    """The call that is sent: an http.Running."""

    def cancel(self) -> None:
        """Nobody waits any more."""

    def pause(self) -> None:
        """Nobody reads just now."""

    def resume(self) -> None:
        """Somebody reads again."""


class Listener(Protocol):
    """Somebody who is told the answer: `whole`; or `start`, then `send` as often as need be, then `finish`."""

    def whole(self, head: Head, body: bytes, told: Told) -> None:
        """The answer is no stream."""

    def start(self, head: Head, told: Told, seat: "Seat") -> None:
        """A stream begins; it goes on once `seat.open` was called."""

    def send(self, data: bytes) -> None:
        """A part of the stream."""

    def finish(self, told: Told) -> None:
        """The stream is over, and all of it was sent."""

    def broken_off(self) -> None:
        """It fell too far behind: no more will come."""


class Seat:
    """One listener's place in a flight. It does not know the listener, who knows it: that would be a ring."""

    def __init__(self, flight: "Flight") -> None:
        self.paused = False
        self.at = 0
        """Bytes of the stream that it was sent."""
        self._flight = flight
        self._open = False

    def open(self) -> None:
        """The listener can be sent the stream from now on."""
        self._open = True
        self.pump()

    def pump(self) -> None:
        """Send what there is to send, and the end if that was it."""
        flight = self._flight
        while self._open and not self.paused and (listener := flight.seats.get(self)) is not None:
            piece = flight.said(self.at)
            if piece:
                self.at += len(piece)
                listener.send(piece)
            elif flight.done:
                flight.rise(self)
                listener.finish(flight.told)
            else:
                return

    def cancel(self) -> None:
        """Its client hung up: it is told nothing any more."""
        self._flight.rise(self)

    def pause(self) -> None:
        """Its client reads slowly."""
        if not self.paused:
            self.paused = True
            self._flight.paused(1)

    def resume(self) -> None:
        """Its client has caught up."""
        if self.paused:
            self.paused = False
            self._flight.paused(-1)
            self.pump()


class Flight:
    """One call and its seats. Whoever makes the call says `respond`, or `start`, `send` and `end`, as to a client."""

    def __init__(self, hold: Callable[[int], bool], bytes_max: int, landed: Callable[["Flight"], None]) -> None:
        """
        Args:
            hold: counts bytes that are held (negative: no longer); whether there are not too many.
            bytes_max: the largest answer that is kept.
            landed: called once, when all was said or everybody left.
        """
        self.seats: dict[Seat, Listener] = {}
        self.kept = True
        """All that was said so far is at hand."""
        self.done = False
        """All was said, or nobody waits for it."""
        self.head: Head | None = None
        self.tell: Callable[[], Told] = lambda: Told(request_id="")
        """Of the call as it stands; set by whoever makes it."""
        self._hold, self._bytes_max, self._landed = hold, bytes_max, landed
        self._call: Call | None = None
        self._asleep = 0  # seats that are paused
        self._paused = False  # so is the call
        self._said = bytearray()
        self._counted = 0
        self._whole = b""  # an answer that is over, and kept
        self._base = 0  # where `_said` begins
        self._last, self._last_at = b"", -1  # the last part, which most seats are sent next

    # seats

    @property
    def joinable(self) -> bool:
        """Whether somebody who joins now hears all of it."""
        return self.kept and not self.done

    @property
    def told(self) -> Told:
        return self.tell()

    def join(self, listener: Listener) -> Seat:
        """A seat in a flight that is `joinable`."""
        seat = Seat(self)
        self.seats[seat] = listener
        self._balance()
        if self.head is not None:
            listener.start(self.head, self.told, seat)
        return seat

    def rise(self, seat: Seat) -> None:
        """A seat is given up. With the last one, a call that is not over is cancelled."""
        if self.seats.pop(seat, None) is None:
            return
        self._asleep -= seat.paused
        if self.seats:
            self._balance()
        elif self.done:
            self._let_go()
        else:
            self.done, self.kept = True, False
            told, call = self.told, self._call
            self.tell = lambda: told
            if call is not None:
                call.cancel()
            self._let_go()
            self._land()

    def paused(self, more: int) -> None:
        """So many seats more are paused."""
        self._asleep += more
        self._balance()

    def _balance(self) -> None:
        """The call pauses while nobody reads."""
        asleep = bool(self.seats) and self._asleep == len(self.seats)
        if self._call is not None and asleep is not self._paused and not self.done:
            self._paused = asleep
            if asleep:
                self._call.pause()
            else:
                self._call.resume()

    # who makes the call

    def take(self, call: Call) -> None:
        """The call is on its way."""
        if not self.done:
            self._call = call
            self._balance()

    def respond(self, status: int, headers: bytes, body: bytes) -> None:
        """The whole answer."""
        self.head = Head(status, headers, False)
        self.kept = self.kept and len(body) <= self._bytes_max
        self._whole = body if self.kept else b""
        self._end()
        told = self.told
        listeners, self.seats = list(self.seats.values()), {}
        for listener in listeners:
            try:
                listener.whole(self.head, body, told)
            except Exception:  # a defect of ours: it must cost one client alone
                _log.exception("an answer could not be told")
                listener.broken_off()
        self._land()

    def start(self, status: int, headers: bytes) -> None:
        """A stream begins."""
        self.head = Head(status, headers, True)
        told = self.told
        for seat, listener in list(self.seats.items()):
            try:
                listener.start(self.head, told, seat)
            except Exception:  # the same
                _log.exception("an answer could not be told")
                self.rise(seat)
                listener.broken_off()

    def send(self, data: bytes) -> None:
        """A part of it."""
        if not data or self.done:
            return
        within = self._count(len(data))
        self._last, self._last_at = data, self._base + len(self._said)
        self._said += data
        if self.kept and (not within or len(self._said) > self._bytes_max):
            self.kept = False
        for seat in list(self.seats):
            seat.pump()
        if not self.kept:
            self._shorten()

    def end(self) -> None:
        """The stream is over."""
        if self.done:
            return
        self._end()
        if self.kept:  # from here on it is the entry's, which slow seats read on from
            self._whole = bytes(self._said)
            self._let_go()
        self._land()
        for seat in list(self.seats):
            seat.pump()
        if not self.seats:
            self._let_go()

    def _end(self) -> None:
        told = self.told
        self.tell = lambda: told
        self.done = True

    def _land(self) -> None:
        landed, self._landed = self._landed, _nobody
        self._call = None  # which knows its client, this flight: a ring would hold bodies until a collection
        landed(self)

    # what was said

    def said(self, at: int) -> bytes:
        """What comes next for one who was sent `at` bytes; empty: nothing yet."""
        if at == self._last_at:
            return self._last
        start = at - self._base
        with memoryview(self._whole or self._said) as view:
            return bytes(view[start : start + PIECE_BYTES])

    @property
    def body(self) -> bytes:
        """All that was said, while it is `kept`."""
        return self._whole or bytes(self._said)

    def _shorten(self) -> None:
        """Hold no more than the slowest seat needs, and let nobody be the one who makes it much."""
        end = self._base + len(self._said)
        for seat in [seat for seat in self.seats if seat.paused and end - seat.at > LAG_BYTES_MAX]:
            if self._asleep < len(self.seats):
                listener = self.seats[seat]
                self.rise(seat)
                listener.broken_off()
        gone = min((seat.at for seat in self.seats), default=end) - self._base
        if gone > PIECE_BYTES:
            del self._said[:gone]
            self._base += gone
            self._count(-gone)

    def _count(self, size: int) -> bool:
        self._counted += size
        return self._hold(size)

    def _let_go(self) -> None:
        """What is held is freed."""
        self._count(-self._counted)
        self._said = bytearray()


def _nobody(flight: Flight) -> None:
    """Landed already."""
