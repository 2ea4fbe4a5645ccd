"""The cache of one worker: what it holds itself, the shelf it shares with others, and the calls that are on their way.

    find       an answer in memory, given at once
    joinable   an equal call on its way: its answer will do
    send       neither: the call is sent, but only after the shelf was asked (if there is one, and the call may be kept
               there): it may hold the answer, and it says who of several workers is to send the call

It does not know what a call is: whoever asks hands in how one is sent, and listeners for its answer.
"""

import asyncio
import contextlib
import logging
import os
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from interlock.caching.directives import Directives
from interlock.caching.flight import Flight, Listener, Seat, Told
from interlock.caching.keeping import Entry, fresh, from_bytes, lifetime_ms, new_entry, to_bytes, until_ns
from interlock.caching.memory import Memory
from interlock.caching.ports import LEASE_MS, Claim, Shelf
from interlock.caching.settings import Settings
from interlock.clock import Clock

_log = logging.getLogger(__name__)
POLL_S, POLL_S_MAX = 0.01, 0.1
"""How often the shelf is asked for an answer that another worker makes: at first, and after a while."""


class Question(msgspec.Struct, frozen=True):
    """A call that may be answered from the cache."""

    key: bytes
    """`key.key_of`."""
    tenant: str
    ttl_s: int
    asked: Directives
    shelved: bool
    """Whether its answer may leave this worker."""


class Cache:
    """One worker's. All methods are called on the loop."""

    def __init__(self, clock: Clock, spawn: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        """`spawn` runs a coroutine beside the loop's callbacks; it ends by itself."""
        self.answers: Counter[tuple[str, str]] = Counter()
        """Given, by format and how: hit, shared, miss, bypass. Whoever gives them counts them."""
        self.memory = Memory(Settings().memory_bytes)
        self.shelf: Shelf | None = None
        self.clock = clock
        self.spawn = spawn
        self.settings = Settings()
        self.flights: dict[bytes, Flight] = {}
        """Calls on their way, or waiting for another worker's, that equal ones may join."""
        self._held = 0

    def adopt(self, settings: Settings, shelf: Shelf | None) -> None:
        """Go by these from now on. `shelf` replaces the one before, which is closed."""
        old, self.shelf = self.shelf, shelf
        if old is not None and old is not shelf:
            self.spawn(old.close())
        self.settings = settings
        self.memory.resize(settings.memory_bytes)

    async def close(self) -> None:
        """Let go of the shelf's connections."""
        shelf, self.shelf = self.shelf, None
        if shelf is not None:
            await shelf.close()

    def find(self, question: Question) -> Entry | None:
        """The answer, if this worker has one that may be given now."""
        if question.asked.no_cache:
            return None
        entry = self.memory.get(question.key)
        return entry if entry is not None and self.fresh(entry, question) else None

    def joinable(self, question: Question) -> Flight | None:
        """The call on its way whose answer will do."""
        flight = self.flights.get(question.key)
        return flight if flight is not None and flight.joinable and not question.asked.no_cache else None

    def send(self, question: Question, listener: Listener, lead: Callable[[Flight], None]) -> Seat:
        """Have the call made, and its answer kept if it is good.

        Args:
            listener: of the one who asks. `Told.cached_at_ns` tells it whether the call was made after all.
            lead: makes the call; it must end in the flight's `respond` or `end`, and not raise.
        """
        sending = _Sending(self, question)
        seat = sending.flight.join(listener)
        if not question.asked.no_cache:
            self.flights[question.key] = sending.flight
        sending.begin(lead)
        return seat

    def hold(self, size: int) -> bool:
        """So many bytes more (or fewer) of answers on their way are held; whether that is within bounds. They go
        before the answers kept, which are let go of to make room."""
        self._held += size
        self.memory.resize(max(self.settings.memory_bytes - self._held, 0))
        return self._held <= self.settings.memory_bytes

    def keep(self, entry: Entry, question: Question) -> None:
        """Hold an answer in memory for as long as the question says."""
        self.memory.put(entry, until_ns(entry, question.ttl_s))

    def sweep(self) -> None:
        """Let go of what has had its time. Called now and then."""
        self.memory.expire(self.clock.now_ns())

    def fresh(self, entry: Entry, question: Question) -> bool:
        """Whether an entry answers a question now."""
        return fresh(entry, self.clock.now_ns(), question.ttl_s, question.asked)


class _Sending:
    """One call that is sent: its flight, and what becomes of the answer."""

    def __init__(self, cache: Cache, question: Question) -> None:
        self._cache = cache
        self._question = question
        self._shelf = cache.shelf if question.shelved else None
        self._entry: Entry | None = None
        self._consults = False
        self._landing = asyncio.Event()
        self.flight = Flight(cache.hold, cache.settings.entry_bytes, self._landed)

    def begin(self, lead: Callable[[Flight], None]) -> None:
        if self._shelf is None or self._question.asked.no_cache:
            lead(self.flight)
        else:
            self._consults = True
            self._cache.spawn(self._consult(self._shelf, lead))

    def _landed(self, flight: Flight) -> None:
        cache, question = self._cache, self._question
        if cache.flights.get(question.key) is flight:
            del cache.flights[question.key]
        told, head = flight.told, flight.head
        if flight.kept and told.good and not told.cached_at_ns and head is not None and head.status == 200:
            self._entry = new_entry(
                question.key,
                question.tenant,
                made_at_ns=cache.clock.now_ns(),
                request_id=told.request_id,
                deployment=told.deployment,
                stream=head.stream,
                lines=head.lines,
                body=flight.body,
                usage=told.usage,
                finish_reason=told.finish_reason,
            )
            cache.keep(self._entry, question)
        self._landing.set()
        if self._shelf is not None and not self._consults:
            cache.spawn(self._put(self._shelf, b""))

    async def _put(self, shelf: Shelf, token: bytes) -> None:
        key, tenant = self._question.key, self._question.tenant
        if self._entry is not None:
            left_ms = lifetime_ms(key, self._question.ttl_s)
            await shelf.put(tenant, key, token, to_bytes(self._entry), left_ms)
        elif token:
            await shelf.give_up(tenant, key, token)

    async def _consult(self, shelf: Shelf, lead: Callable[[Flight], None]) -> None:
        """Ask the shelf, wait for another worker's answer if there is to be one, else make the call."""
        token, flight = os.urandom(16), self.flight
        try:
            found = await self._claim(shelf, token)
        except Exception:  # a defect of ours: it must cost a hit, not the calls that wait
            _log.exception("the cache's server could not be asked")
            found = "away"
        if isinstance(found, Entry):
            self._cache.keep(found, self._question)
            if not flight.done:
                flight.tell = lambda: told_of(found)
                flight.respond(200, found.lines, found.body)
            return
        token = token if found == "lead" else b""
        if not flight.done:
            lead(flight)
        while not self._landing.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LEASE_MS / 3000):
                    await self._landing.wait()
            if token and not self._landing.is_set():
                await shelf.renew(self._question.tenant, self._question.key, token)
        await self._put(shelf, token)

    async def _claim(self, shelf: Shelf, token: bytes) -> Entry | Claim:
        """The answer, at once or when another worker has made it; else whether to make it with the shelf's leave."""
        cache, question = self._cache, self._question
        until_ns = cache.clock.monotonic_ns() + cache.settings.wait_ms * 1_000_000
        pause_s = POLL_S
        while True:
            found = await shelf.claim(question.tenant, question.key, token)
            if isinstance(found, bytes):
                entry = from_bytes(found, question.key, question.tenant)
                return entry if entry is not None and cache.fresh(entry, question) else "away"
            if found != "wait" or self.flight.done or cache.clock.monotonic_ns() >= until_ns:
                return found
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, POLL_S_MAX)


def told_of(entry: Entry) -> Told:
    """What an entry tells of the call that it is from."""
    return Told(
        request_id=entry.request_id,
        deployment=entry.deployment,
        good=True,
        usage=entry.usage,
        finish_reason=entry.finish_reason,
        cached_at_ns=entry.made_at_ns,
    )
