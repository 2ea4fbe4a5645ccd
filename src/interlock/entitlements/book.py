"""What every tenant is entitled to, and from when on: a fold of the stream, and what of it is missing there. Pure."""

from collections.abc import Iterable, Iterator

import msgspec

from interlock.entitlements.records import NEVER_NS, STREAM, TYPE, Known, Standing, decoded
from interlock.errors import InterlockError, LocalError
from interlock.log import Stored


class Book:
    """The fold. Changed only by `apply`; another thread may ask meanwhile."""

    def __init__(self) -> None:
        self.seq = 0
        self.tenants: dict[str, dict[int, Standing]] = {}
        """By the moment from which on each holds."""
        self.counts: dict[str, int] = {}
        """Records of each tenant."""
        self._known: Known = {}

    def apply(self, stored: Stored) -> str | None:
        """Fold the next record; the tenant that it is about. One that was folded before changes nothing.

        Raises: InterlockError `log_corrupt`: not a record that this version knows. What is not understood may restrict
            somebody, so it is not passed over.
        """
        if stored.seq <= self.seq:
            return None
        try:
            if stored.record.type != TYPE:
                raise LocalError(f"type {stored.record.type!r} is not known here")
            one = decoded(stored.record.payload, self._known)
        except (msgspec.DecodeError, LocalError) as error:
            message = f"record {stored.seq} of stream {STREAM!r} is not one that this version knows: {error}"
            raise InterlockError(message, code="log_corrupt") from error
        self.tenants.setdefault(one.tenant, {})[one.since_ns] = one
        self.counts[one.tenant] = self.counts.get(one.tenant, 0) + 1
        self.seq = stored.seq
        return one.tenant

    def current(self, tenant: str, now_ns: int) -> Standing | None:
        """What holds now; None: the tenant never had a plan, or has none yet."""
        known = self.tenants.get(tenant, {})
        begun = [since_ns for since_ns in list(known) if since_ns <= now_ns]
        return known[max(begun)] if begun else None

    def next_change_ns(self, tenant: str, now_ns: int) -> int:
        """When the time alone changes that; NEVER_NS: it does not."""
        return min((at_ns for at_ns in list(self.tenants.get(tenant, {})) if at_ns > now_ns), default=NEVER_NS)


def missing(book: Book, wanted: Iterable[Standing]) -> Iterator[Standing]:
    """What has to be written so that the book says what is wanted; of two for one moment the later one is.

    What the book has beside it is not taken back: a subscription is replaced, and never goes away.
    """
    last = {(one.tenant, one.since_ns): one for one in wanted}
    for (tenant, since_ns), one in last.items():
        if book.tenants.get(tenant, {}).get(since_ns) != one:
            yield one
