"""Listeners and calls that write down what they are told."""

from interlock.caching import Flight, Head, Seat, Told


class Listening:
    """A client that hears. `opens`: whether it can be sent a stream at once."""

    def __init__(self, *, opens: bool = True) -> None:
        self.opens = opens
        self.head: Head | None = None
        self.heard = b""
        self.told: Told | None = None
        """Once it is over."""
        self.ended = ""
        """How: whole, finished, broken off."""
        self.seat: Seat | None = None

    def whole(self, head: Head, body: bytes, told: Told) -> None:
        self._end("whole")
        self.head, self.heard, self.told = head, body, told

    def start(self, head: Head, told: Told, seat: Seat) -> None:
        assert self.head is None
        self.head, self.seat = head, seat
        if self.opens:
            seat.open()

    def send(self, data: bytes) -> None:
        assert data and self.head is not None and not self.ended
        self.heard += data

    def finish(self, told: Told) -> None:
        self._end("finished")
        self.told = told

    def broken_off(self) -> None:
        self._end("broken off")

    def _end(self, how: str) -> None:
        assert not self.ended, f"{how} after {self.ended}"
        self.ended = how


class Calling:
    """A call that is sent."""

    def __init__(self) -> None:
        self.did: list[str] = []

    def cancel(self) -> None:
        self.did.append("cancel")

    def pause(self) -> None:
        self.did.append("pause")

    def resume(self) -> None:
        self.did.append("resume")


class Holding:
    """Counts what is held."""

    def __init__(self, most: int = 1 << 40) -> None:
        self.held = 0
        self.most = most

    def __call__(self, size: int) -> bool:
        self.held += size
        return self.held <= self.most


class Landings:
    """Counts landings, and looks at what was at hand."""

    def __init__(self) -> None:
        self.bodies: list[bytes | None] = []

    def __call__(self, flight: Flight) -> None:
        self.bodies.append(flight.body if flight.kept else None)
