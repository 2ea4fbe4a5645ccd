"""The shelf's contract, and the plain one in memory that it was written against."""

import asyncio
from collections.abc import Callable
from typing import Any

from interlock.caching import Shelf
from interlock.caching.ports import LEASE_MS, Claim

Run = Callable[..., Any]
KEY, OTHER = b"k" * 32, b"o" * 32
ONE, TWO = b"1" * 16, b"2" * 16


class MemoryShelf:
    """What several caches of one process share. Its time is moved by hand."""

    def __init__(self) -> None:
        self.now_ms = 0
        self.away = False
        self.closed = False
        self.claims = 0
        self.kept: dict[tuple[str, bytes], tuple[bytes, int]] = {}
        self.leads: dict[tuple[str, bytes], tuple[bytes, int]] = {}

    async def claim(self, tenant: str, key: bytes, token: bytes) -> bytes | Claim:
        await asyncio.sleep(0)
        self.claims += 1
        if self.away:
            return "away"
        data, until_ms = self.kept.get((tenant, key), (b"", 0))
        if until_ms > self.now_ms:
            return data
        _, until_ms = self.leads.get((tenant, key), (b"", 0))
        if until_ms > self.now_ms:
            return "wait"
        self.leads[tenant, key] = token, self.now_ms + LEASE_MS
        return "lead"

    async def renew(self, tenant: str, key: bytes, token: bytes) -> None:
        await asyncio.sleep(0)
        if self._leads(tenant, key, token):
            self.leads[tenant, key] = token, self.now_ms + LEASE_MS

    async def put(self, tenant: str, key: bytes, token: bytes, data: bytes, lifetime_ms: int) -> None:
        await asyncio.sleep(0)
        if not self.away:
            self.kept[tenant, key] = data, self.now_ms + lifetime_ms
            await self.give_up(tenant, key, token)

    async def give_up(self, tenant: str, key: bytes, token: bytes) -> None:
        await asyncio.sleep(0)
        if self._leads(tenant, key, token):
            del self.leads[tenant, key]

    async def close(self) -> None:
        await asyncio.sleep(0)
        self.closed = True

    def _leads(self, tenant: str, key: bytes, token: bytes) -> bool:
        holder, until_ms = self.leads.get((tenant, key), (b"", 0))
        return not self.away and holder == token and until_ms > self.now_ms


class ShelfContract:
    """What every shelf does. `on_shelf(run, test)` runs `test(shelf, wait_ms)` with a new, empty one."""

    def on_shelf(self, run: Run, test: Callable[[Shelf, Callable[[int], Any]], Any]) -> None:
        raise NotImplementedError

    def test_one_leads_and_the_others_wait_for_its_answer(self, run: Run) -> None:
        async def test(shelf: Shelf, wait_ms: Callable[[int], Any]) -> None:
            assert await shelf.claim("acme", KEY, ONE) == "lead"
            assert await shelf.claim("acme", KEY, TWO) == "wait"
            await shelf.put("acme", KEY, ONE, b"\x00answer\r\n\xff", 60_000)
            assert await shelf.claim("acme", KEY, TWO) == b"\x00answer\r\n\xff"

        self.on_shelf(run, test)

    def test_tenants_and_keys_are_apart(self, run: Run) -> None:
        async def test(shelf: Shelf, wait_ms: Callable[[int], Any]) -> None:
            await shelf.put("acme", KEY, b"", b"acme's", 60_000)
            assert await shelf.claim("other", KEY, ONE) == "lead"
            assert await shelf.claim("acme", OTHER, ONE) == "lead"
            await shelf.put("other", KEY, ONE, b"other's", 60_000)
            assert await shelf.claim("acme", KEY, TWO) == b"acme's"

        self.on_shelf(run, test)

    def test_of_all_who_ask_at_once_one_leads(self, run: Run) -> None:
        async def test(shelf: Shelf, wait_ms: Callable[[int], Any]) -> None:
            async with asyncio.TaskGroup() as tasks:
                claims = [tasks.create_task(shelf.claim("acme", KEY, bytes([n]) * 16)) for n in range(100)]
            assert sorted(str(claim.result()) for claim in claims) == ["lead"] + ["wait"] * 99

        self.on_shelf(run, test)

    def test_who_gives_up_lets_another_lead(self, run: Run) -> None:
        async def test(shelf: Shelf, wait_ms: Callable[[int], Any]) -> None:
            await shelf.claim("acme", KEY, ONE)
            await shelf.give_up("acme", KEY, TWO)
            await shelf.give_up("acme", KEY, b"")
            assert await shelf.claim("acme", KEY, TWO) == "wait"
            await shelf.give_up("acme", KEY, ONE)
            assert await shelf.claim("acme", KEY, TWO) == "lead"

        self.on_shelf(run, test)

    def test_an_answer_of_one_who_does_not_lead_is_kept_and_the_one_who_does_leads_on(self, run: Run) -> None:
        async def test(shelf: Shelf, wait_ms: Callable[[int], Any]) -> None:
            await shelf.claim("acme", KEY, ONE)
            await shelf.put("acme", KEY, TWO, b"two's", 200)
            assert await shelf.claim("acme", KEY, TWO) == b"two's"
            await wait_ms(250)
            assert await shelf.claim("acme", KEY, TWO) == "wait"

        self.on_shelf(run, test)

    def test_a_lead_that_is_not_renewed_ends_and_one_that_is_does_not(self, run: Run) -> None:
        async def test(shelf: Shelf, wait_ms: Callable[[int], Any]) -> None:
            await shelf.claim("acme", KEY, ONE)
            await shelf.claim("acme", OTHER, ONE)
            await wait_ms(LEASE_MS // 2)
            await shelf.renew("acme", KEY, ONE)
            await shelf.renew("acme", OTHER, TWO)
            await wait_ms(LEASE_MS // 2 + 200)
            assert await shelf.claim("acme", KEY, TWO) == "wait"
            assert await shelf.claim("acme", OTHER, TWO) == "lead"
            await shelf.renew("acme", OTHER, ONE)
            await shelf.give_up("acme", OTHER, ONE)
            assert await shelf.claim("acme", OTHER, ONE) == "wait"

        self.on_shelf(run, test)

    def test_an_answer_goes_when_its_time_is_over(self, run: Run) -> None:
        async def test(shelf: Shelf, wait_ms: Callable[[int], Any]) -> None:
            await shelf.put("acme", KEY, b"", b"old", 60_000)
            await shelf.put("acme", KEY, b"", b"new", 200)
            assert await shelf.claim("acme", KEY, ONE) == b"new"
            await wait_ms(250)
            assert await shelf.claim("acme", KEY, ONE) == "lead"

        self.on_shelf(run, test)

    def test_a_large_answer_is_kept(self, run: Run) -> None:
        async def test(shelf: Shelf, wait_ms: Callable[[int], Any]) -> None:
            large = bytes(range(256)) * (16 * 1024)
            await shelf.put("acme", KEY, b"", large, 60_000)
            assert await shelf.claim("acme", KEY, ONE) == large

        self.on_shelf(run, test)
