"""Single events of a tenant, as they count: those in files and those in memory, by DuckDB."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from interlock.errors import LocalError
from interlock.meters.entries import EVENTS

LIMIT_MAX = 1000
KEYED_MAX = 50_000
"""Of a page by key, which only our own code asks for."""
US_MAX = 253_402_300_799_999_999
"""The end of the year 9999."""


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which: all of what is given. Times are where they count, Unix microseconds, [since, until)."""

    since_us: int | None = None
    until_us: int | None = None
    type: str = ""
    subject: str = ""
    source: str = ""
    id: str = ""
    limit: int = 100
    standing: bool = False
    """Without those that were taken back (of the time asked for), and without what takes them back."""
    by_key: bool = False
    """In order of (source, id, seq, n) instead of the latest first."""
    after: tuple[str, str, int, int] | None = None
    """Of a page by key: those after this one."""
    taken_since_us: int | None = None
    """Taken by the log at or after this time."""
    beyond_seq: int | None = None
    """Of records of the log after this one."""
    through_seq: int | None = None
    """Of records of the log up to this one."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One time that an event counts, or is taken back."""

    n: int
    """1 or -1."""
    counts_at_us: int
    corrects: str
    """The closed period that it belongs to, or empty."""
    event: msgspec.Raw
    """The CloudEvent, as it is stored."""
    principal: str
    application: str
    installation: str
    key_id: str
    taken_at_us: int
    """When the log took it."""
    seq: int
    """In which record of events/0."""


def check(wanted: Wanted) -> None:
    """Raises: LocalError."""
    most = KEYED_MAX if wanted.by_key else LIMIT_MAX
    if not 1 <= wanted.limit <= most:
        raise LocalError(f"limit is 1 to {most}", field="limit")
    since_us, until_us = wanted.since_us or 0, US_MAX if wanted.until_us is None else wanted.until_us
    if not 0 <= since_us < until_us <= US_MAX:
        raise LocalError("from has to lie before to, both between 1970 and 9999", field="from")


def find(
    cursor: Any, tenant: str, wanted: Wanted, files: Sequence[str], hot: Mapping[str, Sequence[Any]]
) -> list[Entry]:
    """The latest first. `hot`: as `EVENTS`, of any tenant. Raises: duckdb.Error."""
    from numpy import array, int64

    types = dict(EVENTS.columns)
    names = [name for name in types if name != "day"]
    integers = {name for name in names if types[name] in ("INTEGER", "BIGINT", "TIMESTAMP")}
    cursor.register("hot", {name: array(hot[name], dtype=int64 if name in integers else object) for name in names})
    cells = [
        f"make_timestamp({name}) AS {name}" if types[name] == "TIMESTAMP" else f"{name}::{types[name]} AS {name}"
        for name in names
    ]
    parts, values = [f"SELECT {', '.join(cells)} FROM hot"], list[Any]()
    if files:
        parts.append(f"SELECT {', '.join(names)} FROM read_parquet(?, hive_partitioning = false)")
        values.append(list(files))
    conditions = ["tenant = ?"]
    values.append(tenant)
    for column in ("type", "subject", "source", "id"):
        if given := getattr(wanted, column):
            conditions.append(f"{column} = ?")
            values.append(given)
    for sign, at_us in ((">=", wanted.since_us), ("<", wanted.until_us)):
        if at_us is not None:
            conditions.append(f"counts_at {sign} make_timestamp(?)")
            values.append(at_us)
    if wanted.beyond_seq is not None:
        conditions.append("seq > ?")
        values.append(wanted.beyond_seq)
    if wanted.through_seq is not None:
        conditions.append("seq <= ?")
        values.append(wanted.through_seq)
    if wanted.taken_since_us is not None:
        conditions.append("taken_at >= make_timestamp(?)")
        values.append(wanted.taken_since_us)
    if wanted.after is not None:
        conditions.append("(source, id, seq, n) > (?, ?, ?, ?)")
        values += wanted.after
    order = "source, id, seq, n" if wanted.by_key else "counts_at DESC, seq DESC, id, n DESC"
    standing = "QUALIFY n > 0 AND sum(n) OVER (PARTITION BY source, id) > 0" if wanted.standing else ""
    found = cursor.execute(
        "SELECT n, epoch_us(counts_at), corrects, event, principal, application, installation, key_id, "
        "epoch_us(taken_at), seq "
        f"FROM ({' UNION ALL '.join(parts)}) WHERE {' AND '.join(conditions)} {standing} "
        f"ORDER BY {order} LIMIT {wanted.limit}",
        values,
    ).fetchall()
    return [
        Entry(
            n=n,
            counts_at_us=counts_at_us,
            corrects=corrects,
            event=msgspec.Raw(event.encode()),
            principal=principal,
            application=application,
            installation=installation,
            key_id=key_id,
            taken_at_us=taken_at_us,
            seq=seq,
        )
        for n, counts_at_us, corrects, event, principal, application, installation, key_id, taken_at_us, seq in found
    ]
