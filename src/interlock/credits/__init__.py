"""Prepaid balances: grants that calls burn down, in a written order, and that no crowd of calls can overspend."""

from interlock.credits.book import Account, Book, Resetting, Standing
from interlock.credits.invoices import ForInvoices
from interlock.credits.reading import Wanted, WantedReset, read_usd
from interlock.credits.records import STREAM, Burned, Owner, Restored
from interlock.credits.service import Credits
from interlock.credits.shared import PREFIX, SharedAccounts, limit_of, limits_of
from interlock.credits.usage import Reckoned, Reckoner

__all__ = [
    "PREFIX",
    "STREAM",
    "Account",
    "Book",
    "Burned",
    "Credits",
    "ForInvoices",
    "Owner",
    "Reckoned",
    "Reckoner",
    "Resetting",
    "Restored",
    "SharedAccounts",
    "Standing",
    "Wanted",
    "WantedReset",
    "limit_of",
    "limits_of",
    "read_usd",
]
