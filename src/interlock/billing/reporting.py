"""What all invoices come to together: whether they hold, and the books of them. It reads, and writes nothing."""

import asyncio
from collections.abc import Sequence
from typing import Any

from interlock.billing.books import Posting, balances, imbalance
from interlock.billing.checking import check_booked, check_invoice, check_numbers, postings
from interlock.billing.prepaid import PrepaidBooks
from interlock.billing.preparing import Apart
from interlock.billing.service import Billing
from interlock.credits.records import STREAM as CREDITS
from interlock.log import Log
from interlock.rating import text_of


class Reports:
    """Of one log."""

    def __init__(self, billing: Billing, log: Log, apart: Apart = asyncio.to_thread) -> None:
        """`apart`: as `Billing`."""
        self._billing = billing
        self._log = log
        self._apart = apart
        self._prepaid = PrepaidBooks()

    async def check(self) -> dict[str, Any]:
        """Whether all that stands is consistent: `problems`, a sentence each, says what is not. API JSON."""
        accounts = await self._billing.refresh()
        problems = [*check_numbers(accounts), *check_booked(accounts)]
        for held in list(accounts.invoices.values()):
            problems += await self._apart(check_invoice, held, await self._billing.lines(held))
        return {"invoices": len(accounts.invoices), "credit_notes": len(accounts.notes), "problems": problems}

    async def books(self, calls: Sequence[Posting] = ()) -> dict[str, Any]:
        """The accounts' balances, debits positive; `imbalance` is what does not cancel out, by currency. API JSON.

        Args:
            calls: what the gateway's calls cost and burned, which no record says.
        """
        async for stored in self._log.read(CREDITS, after=self._prepaid.seq):
            self._prepaid.apply(stored)
        every = [one for held in (await self._billing.refresh()).invoices.values() for one in postings(held)]
        every += [*self._prepaid.postings, *calls]
        rows = [
            {"currency": currency, "account": account, "balance": text_of(amount)}
            for (currency, account), amount in sorted(balances(every).items())
        ]
        off = {currency: text_of(amount) for currency, amount in imbalance(every).items()}
        return {"accounts": rows, "imbalance": off}
