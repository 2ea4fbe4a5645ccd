"""What attempts cost, summed for prepaid accounts. It reads the view; what a sum means is the asker's."""

import sqlite3

from interlock.units import NANO


def burned(db: sqlite3.Connection, tenant: str, principal: str, since_ns: int, until_ns: int) -> tuple[int, int]:
    """Of attempts opened in [since, until): what they cost in nano-USD, and what of that limits counted as they ran.

    Limits count what is sent to an upstream, as it was metered; not an answer given again, nor what a provider's bill
    changed afterwards. Whole dollars and nanos are summed apart: the sum may be past int64.
    Args:
        principal: empty: all of the tenant's.
    """
    named = " AND principal = ?" if principal else ""
    metered = "iif(source = 'cached', 0, metered_nanousd)"
    sums = ", ".join(f"coalesce(sum({what} {part} {NANO}), 0)" for what in ("amount_nanousd", metered) for part in "/%")
    row = db.execute(
        f"SELECT {sums} FROM entries WHERE tenant = ? AND at_ns >= ? AND at_ns < ?{named}",  # noqa: S608 - our own names
        (tenant, since_ns, until_ns, *([principal] if principal else [])),
    ).fetchone()
    whole, nanos, metered_whole, metered_nanos = map(int, row)
    return whole * NANO + nanos, metered_whole * NANO + metered_nanos


def first_open_ns(db: sqlite3.Connection, tenant: str) -> int | None:
    """When the oldest attempt of the tenant's that is still open was opened; None: none is open."""
    row = db.execute("SELECT min(at_ns) FROM entries WHERE tenant = ? AND state = 'open'", (tenant,)).fetchone()
    return None if row[0] is None else int(row[0])


def last_ns(db: sqlite3.Connection, tenant: str, principal: str, since_ns: int) -> int | None:
    """When the newest entry since then is dated; None: there is none.

    Args:
        principal: empty: any of the tenant's.
    """
    named = " AND principal = ?" if principal else ""
    row = db.execute(
        f"SELECT max(at_ns) FROM entries WHERE tenant = ? AND at_ns >= ?{named}",  # noqa: S608 - our own names
        (tenant, since_ns, *([principal] if principal else [])),
    ).fetchone()
    return None if row[0] is None else int(row[0])
