"""The ledger: usage events to priced entries, and the questions asked of them."""

from interlock.ledger.event import NULL, Format, Opened, Outcome, Refused, Settled, Source
from interlock.ledger.pricing import KINDS, PARENTS, Price, Step

__all__ = ["KINDS", "NULL", "PARENTS", "Format", "Opened", "Outcome", "Price", "Refused", "Settled", "Source", "Step"]
