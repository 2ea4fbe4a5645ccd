"""[[quotas]]: limits on what calls use; [reserve]; [server.sharing], [server.webhook]: who counts, who is told;
[credits]: of which balances."""

from typing import get_args

from interlock.config.addresses import VALKEY, VALKEY_RULE, read_address
from interlock.config.credentials import Places, read_reference
from interlock.config.prices import nanousd
from interlock.config.reading import NAME, NAME_RULE, Table
from interlock.limits import Limit, Measure, Scope, Window, problems
from interlock.limits.settings import Sharing, Warned
from interlock.units import INT64_MAX

QUOTAS_MAX = 256
TOKENS_MAX = 1 << 40
BELOW_MAX = 8
MEASURES: dict[str, Measure] = {
    "requests": "requests",
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "tokens": "tokens",
    "concurrency": "concurrency",
    "usd": "nanousd",
}
SCOPES: dict[str, Scope] = {name: name for name in get_args(Scope)}
WINDOWS: dict[str, Window] = {name: name for name in get_args(Window) if name != "ever"}
DEFAULT_RESERVE = 4_096


def read_quotas(root: Table) -> tuple[Limit, ...]:
    """All of them; every one that applies to a call must admit it."""
    value = root.take("quotas")
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > QUOTAS_MAX or not all(isinstance(item, dict) for item in value):
        root.wrong("quotas", f"at most {QUOTAS_MAX} tables, each written as [[quotas]]")
        return ()
    found = [_quota(Table(item, (*root.at("quotas"), index), root.notes)) for index, item in enumerate(value)]
    for problem in problems(found) if len({one.name for one in found}) < len(found) else ():
        root.problem("quotas", problem)
    return tuple(found)


def _quota(table: Table) -> Limit:
    name = table.text("name", rule=NAME_RULE, check=NAME.fullmatch)
    table.require("name", "a name, for headers and warnings")
    measure = MEASURES[table.choice("measure", "requests", tuple(MEASURES))]
    table.require("measure", f"what is counted: {', '.join(MEASURES)}")
    window = table.choice("window", "", tuple(WINDOWS))
    limit = Limit(
        name=name,
        measure=measure,
        amount=_amount(table, "amount", money=measure == "nanousd") or 0,
        window=WINDOWS.get(window),
        per=tuple(SCOPES[one] for one in _names(table, "per", SCOPES) if one in SCOPES),
        tenants=_names(table, "tenants"),
        principals=_names(table, "principals"),
        deployments=_names(table, "deployments"),
        models=_names(table, "models"),
        overdraft=_amount(table, "overdraft", money=measure == "nanousd") or 0,
        warn_at=_percentages(table),
    )
    table.require("amount", "how much of it is allowed")
    if name:
        for problem in problems([limit]):
            table.notes.problem(table.path, problem.partition(": ")[2])
    table.done()
    return limit


def _names(table: Table, key: str, known: dict[str, Scope] | None = None) -> tuple[str, ...]:
    if known is None:
        return table.strings(key, rule="a name", check=bool) or ()
    rule = f"one of {', '.join(known)}"
    return table.strings(key, rule=rule, check=known.__contains__, close=known) or ()


def _amount(table: Table, key: str, *, money: bool) -> int | None:
    if not money:
        return table.integer(key, None, 0, INT64_MAX, "of the measure")
    value = table.take(key)
    if value is None:
        return None
    try:
        return nanousd(value)
    except ValueError:
        table.wrong(key, 'dollars, e.g. "250.00", to a billionth, below 9,000,000,000')
        return None


def _percentages(table: Table) -> tuple[int, ...]:
    value = table.take("warn_at")
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(one, int) and not isinstance(one, bool) for one in value):
        table.wrong("warn_at", "an array of ascending percentages, e.g. [80, 100]")
        return ()
    return tuple(value)


def read_reserve(table: Table) -> dict[str, int]:
    """Output tokens by tier; `default` for those without one."""
    found = {}
    for name in list(table.values):
        tokens = table.integer(name, None, 0, TOKENS_MAX, "output tokens")
        if tokens is not None:
            found["" if name == "default" else name] = tokens
    table.done()
    return {"": DEFAULT_RESERVE, **found}


def read_sharing(table: Table, places: Places) -> Sharing | None:
    """`[server.sharing]`: the authority that divides limits among machines; None: this machine alone."""
    if not table.values:
        return None
    url = _url(table, "url", VALKEY, f"{VALKEY_RULE}, a host, perhaps a port and a database")
    table.require("url", "the address of a Valkey or Redis server")
    machine = table.text("machine", rule=f"a name that no other machine has: {NAME_RULE}", check=NAME.fullmatch)
    value = Sharing(url=url, machine=machine, credential=read_reference(table, "credential", places))
    table.done()
    return value


def read_webhook(table: Table, places: Places) -> Warned | None:
    """`[server.webhook]`: who is warned; None: nobody."""
    if not table.values:
        return None
    url = _url(table, "url", ("http", "https"), "http:// or https://, a host, perhaps a path")
    table.require("url", "where warnings are sent")
    secret = read_reference(table, "secret", places)
    table.require("secret", 'what they are signed with: { env = "NAME" } or { file = "PATH" }')
    table.done()
    return Warned(url=url, secret=secret) if secret is not None else None


def read_credits(table: Table) -> tuple[int, ...]:
    """`[credits]`: below which balances, in nano-USD and descending, somebody is warned."""
    value = table.take("warn_below")
    rule = f'at most {BELOW_MAX} amounts of dollars, each less than the one before, e.g. ["10", "1"]'
    try:
        given = value if isinstance(value, list) else [value]
        found = tuple(nanousd(one) for one in given) if value is not None else ()
    except ValueError:
        found = (0,)
    if len(found) > BELOW_MAX or list(found) != sorted({*found} - {0}, reverse=True):
        table.wrong("warn_below", rule)
        found = ()
    table.done()
    return found


def _url(table: Table, key: str, schemes: tuple[str, ...], rule: str) -> str:
    value = table.take(key)
    if value is None:
        return ""
    why = read_address(value, schemes)[1] if isinstance(value, str) else "it is not a string"
    if why:
        table.problem(key, f"{why}; expected {rule}")  # the value may hold a password or a token: never shown
    return "" if why else str(value)
