"""What a plan lets a tenant use: on record from a day on, in every worker's memory, and held like any other limit."""

from interlock.entitlements.book import Book
from interlock.entitlements.records import NEVER_NS, STREAM, Standing
from interlock.entitlements.service import Entitling
from interlock.entitlements.shared import SharedPlans, entitled_of, plans_of

__all__ = [
    "NEVER_NS",
    "STREAM",
    "Book",
    "Entitling",
    "SharedPlans",
    "Standing",
    "entitled_of",
    "plans_of",
]
