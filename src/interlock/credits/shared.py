"""A worker's accounts: at every admission as new as the last change that anybody was told of (docs/adr/0035)."""

from interlock.credits.book import Account, Book
from interlock.credits.burning import NEVER_NS
from interlock.credits.records import STREAM, Owner
from interlock.identity import CREDITS, Following, Generation, Tail
from interlock.limits import Limit
from interlock.units import INT64_MAX

PREFIX = "credit/"
"""Of the names of accounts among limits. A policy's own limits may be named so, but none has the window `ever`."""


def limit_of(account: Account, now_ns: int) -> Limit:
    """What an account may use in all, as a limit."""
    tenant, principal = account.owner
    return Limit(
        name=PREFIX + account.owner.name,
        measure="nanousd",
        amount=min(max(account.capacity(now_ns), 0), INT64_MAX),
        window="ever",
        tenants=(tenant,),
        principals=(principal,) if principal else (),
    )


def limits_of(book: Book, now_ns: int) -> list[tuple[Account, Limit]]:
    """Those of all accounts that calls burn."""
    begun = [account for account in book.accounts.values() if account.begin_ns is not None]
    return [(account, limit_of(account, now_ns)) for account in begun]


class SharedAccounts(Following[Owner, Limit]):
    """For one worker; the port `limits.Funds`."""

    def __init__(self, log: Tail, generation: Generation) -> None:
        """Nothing is read before the first admission."""
        self.book = Book()
        super().__init__(log, generation, CREDITS, STREAM, self.book)

    def look(self, owner: Owner, now_ns: int) -> tuple[Limit | None, int]:
        """See `Following`. Of an account that no call burns there is nothing to know."""
        account = self.book.accounts[owner]
        if account.begin_ns is None:
            return None, NEVER_NS
        return limit_of(account, now_ns), account.next_change_ns(now_ns)
