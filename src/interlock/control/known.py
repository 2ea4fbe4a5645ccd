"""Whether there is a tenant of a name: of one that was mistyped nobody shall read that it used nothing."""

import asyncio
from collections.abc import Container

from interlock.errors import LocalError
from interlock.identity import UNATTRIBUTED, check_tenant
from interlock.ledger import Ledger
from interlock.log import Log, Stored

STREAMS = ("identity", "credits", "billing", "meters")
"""Where tenants are named: credit, plans and meters may be there before the first key."""


async def check_known(name: str, log: Log, ledger: Ledger | None = None, created: Container[str] = ()) -> str:
    """`name`, if such a tenant was created, or the log or the ledger names it.

    Args:
        created: those that are known already, so that the log need not be read.
    Raises: LocalError: `invalid_request`: it can be nobody's name; `not_found`.
    """
    check_tenant(name)
    if name == UNATTRIBUTED or name in created:
        return name
    if ledger is not None:
        called: list[tuple[str, ...]] = await asyncio.to_thread(ledger.callers, 0, ["tenant"], name)
        if called:
            return name
    for stream in STREAMS:
        async for stored in log.read(stream):
            if _names(stored, name):
                return name
    what = f"there is no tenant {name!r}; `interlock tenants list` has those that were created"
    raise LocalError(what, code="not_found", field="tenant")


def _names(stored: Stored, name: str) -> bool:
    """Wherever in a record it stands. A tenant's name needs no escapes, and a quote within a text has one."""
    payload = stored.record.payload
    created = stored.record.type == "tenant.created" and b'"name":"%b"' % name.encode() in payload
    return created or b'"tenant":"%b"' % name.encode() in payload
