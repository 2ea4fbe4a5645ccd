"""[ledger]: where the tables of events stand, and how long rows stay in them. It opens nothing."""

import re
from collections.abc import Callable
from typing import Literal
from urllib.parse import urlsplit

from interlock.config.credentials import Places, read_reference
from interlock.config.reading import NAME, Table, shown
from interlock.errors import LocalError
from interlock.meters import Rule, Settings, Store
from interlock.tables.leaving import check_apart

DAYS_MAX = 36_500
TENANTS_MAX = 1000
CACHE_BYTES_MIN, CACHE_BYTES_MAX = 64 << 20, 1 << 44
_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9!_.*'()=-]+)*/?")
_REGION = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_PLACE = "a directory, or s3://bucket/prefix (letters, digits and ! _ . * ' ( ) = - between slashes)"
_SECRETS = ("access_key_id", "secret_access_key", "session_token")
_OF_STORE = ("endpoint", "region", *_SECRETS, "cache_bytes")


def read_ledger(table: Table, places: Places) -> Settings:
    """[ledger]"""
    value = Settings(
        tables=_store(table.table("tables"), places) or Store(),
        archive=_store(table.table("archive"), places),
        events=_rule(table.table("events")),
        rollups=_rule(table.table("rollups")),
    )
    archived = [name for name in ("events", "rollups") if getattr(value, name).then == "archive"]
    if archived and value.archive is None:
        table.problem("archive", f"nothing here; expected `place`, for {archived[0]} are archived")
    if value.archive and value.tables.place:
        try:
            check_apart(value.tables.place, value.archive.place)
        except LocalError as error:
            table.table("archive").problem("place", error.message)
    table.done()
    return value


def _store(table: Table, places: Places) -> Store | None:
    """None: there is nothing of it."""
    if not table.values:
        return None
    table.require("place", _PLACE)
    place = _address(table, "place", _PLACE, _is_place)
    store = Store(
        place=place if place.startswith("s3://") or not place else str((places.folder / place).absolute()),
        endpoint=_address(table, "endpoint", "http:// or https://, a host, and no path", _is_endpoint),
        region=table.text("region", rule="a region's name, e.g. eu-central-1", check=_REGION.fullmatch),
        access_key_id=read_reference(table, "access_key_id", places),
        secret_access_key=read_reference(table, "secret_access_key", places),
        session_token=read_reference(table, "session_token", places),
        cache_bytes=table.integer("cache_bytes", Store().cache_bytes, CACHE_BYTES_MIN, CACHE_BYTES_MAX, "bytes") or 0,
    )
    if place and not store.remote:
        for key in _OF_STORE:
            if key in table.values:
                table.problem(key, f"a directory has none; expected it only with s3://, and place is {shown(place)}")
    if ("access_key_id" in table.values) != ("secret_access_key" in table.values):
        lacking = "secret_access_key" if "access_key_id" in table.values else "access_key_id"
        table.problem(lacking, "nothing here; expected both halves of a key, or neither")
    table.done()
    return store


def _address(table: Table, key: str, rule: str, check: Callable[[str], bool]) -> str:
    """One with a user or password in it is not shown."""
    value = table.values.get(key)
    if isinstance(value, str) and "://" in value and "@" in value:
        table.take(key)
        table.problem(key, f"found an address with a user or password (not shown); expected {rule}")
        return ""
    return table.text(key, rule=rule, check=check)


def _is_place(text: str) -> bool:
    if text.startswith("s3:"):
        return bool(_BUCKET.fullmatch(text)) and not {".", ".."} & set(text.split("/"))
    return "://" not in text


def _is_endpoint(text: str) -> bool:
    try:
        url = urlsplit(text)
        plain = bool(url.hostname) and url.port != 0
    except ValueError:
        return False
    return plain and url.scheme in ("http", "https") and not (url.username or url.query or url.path.strip("/"))


def _rule(table: Table) -> Rule:
    keep_days = table.integer("keep_days", None, 1, DAYS_MAX, "days")
    words: tuple[Literal["archive", "drop"], ...] = ("archive", "drop")
    then = table.choice("then", "drop", words)
    if keep_days is not None:
        table.require("then", '"archive" or "drop": what becomes of older rows')
    elif "then" in table.values:
        table.problem("keep_days", "nothing here; expected the days after which `then` is done")
    tenants = dict(_tenants(table, keep_days))
    table.done()
    return Rule(keep_days=keep_days, then="archive" if then == "archive" else "drop", tenants=tenants)


def _tenants(table: Table, keep_days: int | None) -> list[tuple[str, int]]:
    """What is said of single tenants: their rows are dropped earlier than the others leave."""
    found = []
    for name, one in table.named("tenants", TENANTS_MAX):
        days = one.integer("drop_after_days", None, 1, DAYS_MAX, "days")
        one.require("drop_after_days", "the days after which this tenant's rows are dropped")
        one.done()
        if days is None:
            continue
        if keep_days is not None and days >= keep_days:
            one.problem(
                "drop_after_days", f"found {days}; expected less than keep_days, {keep_days}: rows left by then"
            )
        if NAME.fullmatch(name):
            found.append((name, days))
    return found
