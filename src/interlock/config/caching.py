"""`cache` of a rule: that answers are given again. [cache]: where they are kept."""

from decimal import Decimal, InvalidOperation

from interlock.caching import Caching
from interlock.caching import Settings as CacheSettings
from interlock.config.addresses import VALKEY, VALKEY_RULE, read_address
from interlock.config.credentials import Places, read_reference
from interlock.config.deployments import read_ca_bundle, read_facts
from interlock.config.reading import Table
from interlock.gateway import Facts
from interlock.units import price_from_usd

TTL_S_MAX = 30 * 86_400
TIMEOUT_MS_MAX = 10_000
WAIT_S_MAX = 900
MEMORY_BYTES = (1 << 20, 1 << 36)
ENTRY_BYTES = (1 << 10, 1 << 28)
URL_RULE = f"{VALKEY_RULE}, perhaps a user, a host, perhaps a port and a database: redis://host:6379/0"
HIT_PRICE_RULE = 'dollars for one answer, e.g. "0.0001", or a share of what it cost to make it, e.g. "10%"'
_PPM_A_PERCENT = 10_000


def read_caching(table: Table) -> Caching | None:
    """`cache` of a rule; None: not there."""
    if table.take("cache") is None:
        return None
    inner = table.table("cache")
    inner.require("ttl_s", "how many seconds an answer may be given again")
    hit_nanousd, hit_ppm = _hit_price(inner)
    value = Caching(
        ttl_s=inner.integer("ttl_s", 1, 1, TTL_S_MAX, "seconds") or 1,
        share="principal" if inner.choice("share", "tenant", ("tenant", "principal")) == "principal" else "tenant",
        hit_nanousd=hit_nanousd,
        hit_ppm=hit_ppm,
    )
    inner.done()
    return value


def _hit_price(table: Table) -> tuple[int, int]:
    """(nano-USD, millionths): one of them is 0."""
    value = table.take("hit_price")
    if value is None or value == "free":
        return 0, 0
    try:
        if isinstance(value, str) and value.endswith("%"):
            ppm = Decimal(value[:-1]) * _PPM_A_PERCENT
            if 0 <= ppm <= 100 * _PPM_A_PERCENT and ppm == ppm.to_integral_value():
                return 0, int(ppm)
        elif isinstance(value, str | int | Decimal) and not isinstance(value, bool):
            return price_from_usd(value), 0
    except (InvalidOperation, ValueError):
        pass
    table.wrong("hit_price", f'{HIT_PRICE_RULE}, or "free"', ("free",))
    return 0, 0


def read_cache(table: Table, places: Places) -> tuple[CacheSettings, Facts]:
    """[cache], and what is declared about where its server is."""
    default = CacheSettings()
    memory_bytes = table.integer("memory_bytes", default.memory_bytes, *MEMORY_BYTES, "bytes a worker") or 1
    most = min(default.entry_bytes, memory_bytes)
    value = CacheSettings(
        url=_url(table),
        credential=read_reference(table, "credential", places),
        ca_bundle=read_ca_bundle(table, places.folder),
        timeout_ms=table.integer("timeout_ms", default.timeout_ms, 1, TIMEOUT_MS_MAX, "milliseconds") or 1,
        wait_ms=round(table.seconds("wait_s", default.wait_ms / 1000, 0, WAIT_S_MAX) * 1000),
        memory_bytes=memory_bytes,
        entry_bytes=table.integer("entry_bytes", most, *ENTRY_BYTES, "bytes an answer") or 1,
    )
    facts = read_facts(table.table("boundary"), "")
    if value.entry_bytes > value.memory_bytes:
        table.wrong("entry_bytes", f"at most memory_bytes ({value.memory_bytes}), or it could not be held")
    for key in ("credential", "ca_bundle", "timeout_ms", "wait_s", "boundary"):
        if key in table.values and not value.url:
            table.problem(key, "is about a server, and there is none; expected `url` beside it")
    table.done()
    return value, facts


def _url(table: Table) -> str:
    value = table.take("url")
    if value is None:
        return ""
    why = _wrong_url(value) if isinstance(value, str) else "it is not a string"
    if why:
        table.problem("url", f"{why}; expected {URL_RULE}")  # the value may hold a password: never shown
    return "" if why else str(value)


def _wrong_url(text: str) -> str:
    parts, why = read_address(text, VALKEY)
    if parts is None:
        return why
    database = parts.path.removeprefix("/")
    if "?" in text or "#" in text or (database and not (database.isdigit() and len(database) <= 4)):
        return "it has a query, a fragment, or a path that is no database's number"
    return ""
