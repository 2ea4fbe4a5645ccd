"""What stands in the stream `entitlements` of log.sqlite. The control process alone writes it; all else is a fold.

One kind of record, `entitlement.set`, id `TENANT/N`: what a tenant is entitled to from a moment on, until the next
moment for which one is written; of two for the same moment the later one holds. It says nothing that the stream
`billing` does not: it is that stream's part which workers need, without the invoices.
"""

import msgspec

from interlock.rating import Entitlements, plan_record, read_as
from interlock.units import INT64_MAX

STREAM = "entitlements"
TYPE = "entitlement.set"
NEVER_NS = INT64_MAX


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for a tenant from a moment on."""

    tenant: str
    since_ns: int
    plan: str = ""
    """Empty: it has none any more."""
    version: int = 0
    entitlements: Entitlements | None = None
    """None: nothing is restricted."""

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.plan} version {self.version}" if self.plan else "none"


class Set(msgspec.Struct, frozen=True, kw_only=True):
    """The record's content; a `Standing` with the entitlements as a plan's record has them, or null."""

    tenant: str
    since_ns: int
    plan: str
    version: int
    entitlements: msgspec.Raw


Known = dict[bytes, Entitlements]
"""By their JSON: tenants are many, and plans are few."""
_decode = msgspec.json.Decoder(Set).decode


def encoded(one: Standing) -> bytes:
    """As the log keeps it."""
    kept = plan_record(one.entitlements) if one.entitlements is not None else None
    raw = msgspec.Raw(msgspec.json.encode(kept))
    return msgspec.json.encode(
        Set(tenant=one.tenant, since_ns=one.since_ns, plan=one.plan, version=one.version, entitlements=raw)
    )


def decoded(payload: bytes, known: Known) -> Standing:
    """`known` is added to. Raises: msgspec.DecodeError; LocalError: entitlements that this version does not know."""
    one = _decode(payload)
    raw, found = bytes(one.entitlements), None
    if raw != b"null":
        found = known.get(raw)
        if found is None:
            found = known[raw] = read_as(msgspec.json.decode(raw), Entitlements, "entitlements")
    return Standing(tenant=one.tenant, since_ns=one.since_ns, plan=one.plan, version=one.version, entitlements=found)
