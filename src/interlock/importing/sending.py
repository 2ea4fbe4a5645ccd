"""Batches of events to the server: a few at once, each again until all of it is answered, or for too long.

More than one at once lets the server commit several with one sync. A batch whose answer was lost is sent again as it
was: what of it was counted is then a duplicate.
"""

import queue
import random
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol

from interlock.client import PAUSE_S, PAUSE_S_MAX, Item, Unanswered
from interlock.clock import Clock

IN_FLIGHT = 4
PATIENCE_S = 300.0
_AGAIN = frozenset({0, 408, 425, 429})
"""Statuses (0: no answer) after which the same request may succeed; and all from 500 on."""


class Post(Protocol):
    """As `EventsPort.post`."""

    def __call__(self, events: Sequence[bytes], /) -> list[Item]: ...


class Batch(NamedTuple):
    """Events of one file that are sent together."""

    file: int
    places: list[int]
    """Of each event's row."""
    events: list[bytes]


class GaveUp(Exception):
    """The server has not taken a batch for as long as it was given; the message says why."""


class Sender:
    """Used by one thread: `put` each batch, then `finish`; `stop` whatever happened."""

    def __init__(
        self,
        post: Post,
        answered: Callable[[Batch, list[Item]], None],
        clock: Clock,
        *,
        patience_s: float = PATIENCE_S,
        events_per_s: int = 0,
        waiting: Callable[[str], None] = lambda why: None,
    ) -> None:
        """
        Args:
            answered: told each answer once, by any thread; none of the items is `unavailable`.
            events_per_s: at most so many are sent; 0: as many as the server takes.
            waiting: told why a batch has to be sent again.
        """
        self._post = post
        self._answered = answered
        self._clock = clock
        self._patience_s = patience_s
        self._events_per_s = events_per_s
        self._waiting = waiting
        self._due_ns = clock.monotonic_ns()
        self._queue: queue.Queue[Batch | None] = queue.Queue(maxsize=1)
        self._stop = threading.Event()
        self._failed: BaseException | None = None
        self._threads = [threading.Thread(target=self._run, name="import", daemon=True) for _ in range(IN_FLIGHT)]
        for thread in self._threads:
            thread.start()

    def put(self, batch: Batch) -> None:
        """Hand a batch on; it waits while enough are on their way, and for the rate.

        Raises: what ended a sender: GaveUp; Unanswered: the server refuses all that is sent so; what `answered` raised.
        """
        if self._events_per_s:
            now_ns = self._clock.monotonic_ns()
            self._stop.wait(max(self._due_ns - now_ns, 0) / 1e9)
            self._due_ns = max(self._due_ns, now_ns) + len(batch.events) * 1_000_000_000 // self._events_per_s
        self._hand_on(batch)

    def finish(self) -> None:
        """Until all that was put is answered. Raises: as `put`."""
        for _ in self._threads:
            self._hand_on(None)
        for thread in self._threads:
            thread.join()
        self._check()

    def stop(self) -> None:
        """Send no more. What is on its way may be counted or not."""
        self._stop.set()
        self._wake()

    def _hand_on(self, batch: Batch | None) -> None:
        while True:
            self._check()
            try:
                self._queue.put(batch, timeout=0.1)
                return
            except queue.Full:
                continue

    def _check(self) -> None:
        if self._failed:
            raise self._failed

    def _run(self) -> None:
        try:
            while not self._stop.is_set() and (batch := self._queue.get()) is not None:
                self._send(batch)
        except BaseException as error:  # whoever puts the next batch hears of it
            self._failed = self._failed or error
            self._stop.set()
        finally:
            self._wake()

    def _wake(self) -> None:
        """Once it is to stop: the next of the threads that wait for a batch."""
        if self._stop.is_set():
            with suppress(queue.Full):
                self._queue.put_nowait(None)

    def _send(self, batch: Batch) -> None:
        """Until each of a batch's events is answered, or nobody wants to know any more."""
        since_ns, pause_s = self._clock.monotonic_ns(), PAUSE_S
        while not self._stop.is_set():
            asked_s = 0.0
            try:
                items = self._post(batch.events)
                done, batch = _divided(batch, items)
                if done[0].events:
                    self._answered(*done)
                    since_ns, pause_s = self._clock.monotonic_ns(), PAUSE_S
                if not batch.events:
                    return
                why = next(item.message for item in items if item.result == "unavailable")
            except Unanswered as error:
                if error.status not in _AGAIN and error.status < 500:
                    raise
                why, asked_s = str(error), error.retry_after_s
            wait_s = max(pause_s * random.uniform(0.5, 1.0), asked_s)  # noqa: S311 - so that senders do not come together
            if (self._clock.monotonic_ns() - since_ns) / 1e9 + wait_s > self._patience_s:
                raise GaveUp(why)
            self._waiting(why)
            self._stop.wait(wait_s)
            pause_s = min(2 * pause_s, PAUSE_S_MAX)


def _divided(batch: Batch, items: list[Item]) -> tuple[tuple[Batch, list[Item]], Batch]:
    """What is answered, and what has to be sent again."""
    again = [n for n, item in enumerate(items) if item.result == "unavailable"]
    if not again:
        return (batch, items), Batch(batch.file, [], [])
    done = [n for n, item in enumerate(items) if item.result != "unavailable"]
    return (_of(batch, done), [items[n] for n in done]), _of(batch, again)


def _of(batch: Batch, numbers: list[int]) -> Batch:
    return Batch(batch.file, [batch.places[n] for n in numbers], [batch.events[n] for n in numbers])
