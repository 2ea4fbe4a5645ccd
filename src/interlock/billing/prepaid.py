"""What prepaid credit posts: what was granted, and what of it was forfeited. Pure.

What invoices took stands on the invoices. What calls burn is no record: it is what they cost, which the ledger's view
knows, so whoever has one adds it (`books.of_burn`).
"""

import msgspec

from interlock.billing import books
from interlock.credits.records import TYPES, Burned, Expired, Forgiven, Granted, Recurred, Restored, Voided
from interlock.errors import TransientError
from interlock.log import Stored


class PrepaidBooks:
    """A fold of the stream `credits` to postings."""

    def __init__(self) -> None:
        self.seq = 0
        self.postings: list[books.Posting] = []
        self._tenants: dict[str, str] = {}
        """Of grants (`grant/ID`), and of what invoices took (`burn/ID`)."""
        self._given: dict[str, Granted] = {}

    def apply(self, stored: Stored) -> None:
        """Fold the next record; one that was folded before is skipped. Raises: TransientError: it cannot be read."""
        if stored.seq <= self.seq:
            return
        kind = TYPES.get(stored.record.type)
        try:
            if kind is not None:
                self._post(msgspec.json.decode(stored.record.payload, type=kind), stored.record.at_ns)
        except (msgspec.DecodeError, KeyError) as error:
            what = f"record {stored.seq} of credits cannot be posted: {error}"
            raise TransientError(what, code="view_unavailable") from error
        self.seq = stored.seq

    def _post(self, event: object, at_ns: int) -> None:
        match event:
            case Granted(id=id, tenant=tenant, amount_nanousd=amount):
                self._tenants[f"grant/{id}"] = tenant
                self._given[id] = event
                self.postings += books.of_grant(tenant, amount)
            case Voided(grant=id, at_ns=over_ns):
                given = self._given[id]
                over_ns = over_ns if given.applies == "usage" else at_ns
                if (given.effective_at_ns or 0) >= over_ns:  # it never begins, so that no end of it is written
                    self.postings += books.of_expiry(given.tenant, given.amount_nanousd)
            case Recurred(grant=id, amount_nanousd=amount):
                self.postings += books.of_grant(self._tenants[f"grant/{id}"], amount)
            case Expired(grant=id, forfeited_nanousd=forfeited, reset=reset):
                account = books.RESETS if reset else books.BREAKAGE
                self.postings += books.of_expiry(self._tenants[f"grant/{id}"], forfeited, account)
            case Forgiven(tenant=tenant, nanousd=forgiven):
                self.postings += books.of_forgiven(tenant, forgiven)
            case Burned(id=id, tenant=tenant):
                self._tenants[f"burn/{id}"] = tenant
            case Restored(id=id, lost_nanousd=lost):  # its grant was over: what was given back is forfeited
                self.postings += books.of_expiry(self._tenants[f"burn/{id}"], lost)
