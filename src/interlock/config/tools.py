"""[tools] and [[tools.servers]]: the servers behind /mcp, and who may use what of them."""

from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from interlock.config.addresses import read_address
from interlock.config.credentials import Places, read_reference
from interlock.config.reading import Table, shown
from interlock.config.sections import SECONDS_MAX, is_file
from interlock.credentials import Credential
from interlock.door import SERVER, Allow, OAuth, Tools, ToolServer
from interlock.door.settings import HEADER, RESOURCES
from interlock.runtime.hands import Resources

SERVERS_MAX = 256
WORDS_MAX = 64
RULES_MAX = 64
RESULT_BYTES_MIN, RESULT_BYTES_MAX = 1024, 64 << 20
CPUS, PROCESSES = (0.01, 1024.0), (1, 1 << 20)
MEMORY_BYTES, DISK_BYTES = (8 << 20, 1 << 42), (1 << 20, 1 << 42)
OWN = ("/dev", "/proc", "/sys")
"""A program has the first two of its own; what is below them on this machine is a way to much more than was meant."""
READ_RULE = "an absolute path, not below " + ", ".join(OWN)
NAME_RULE = "1 to 31 of a-z 0-9 -, beginning with a letter"
_PLACES = ("{tenant}", "{principal}")


def read_tools(table: Table, places: Places) -> Tools:
    """[tools]"""
    found = table.take("servers")
    servers: list[ToolServer] = []
    if found is not None and not (isinstance(found, list) and len(found) <= SERVERS_MAX):
        table.wrong("servers", f"at most {SERVERS_MAX} tables [[tools.servers]]")
        found = []
    for index, item in enumerate(found or []):
        path = (*table.at("servers"), index)
        if not isinstance(item, dict):
            table.notes.problem(path, f"found {shown(item)}; expected a table")
            continue
        server = _server(Table(item, path, table.notes), places)
        if server.name in [other.name for other in servers]:
            table.notes.problem((*path, "name"), f"{shown(server.name)} names two servers")
        if server.prefix is not None and server.prefix in [other.prefix for other in servers]:
            table.notes.problem((*path, "prefix"), "another server has the same")
        servers.append(server)
    seen = table.choice("first_seen", "approve", ("approve", "ask"))
    value = Tools(
        servers=tuple(servers),
        first_seen="ask" if seen == "ask" else "approve",
        origins=table.strings("origins", rule="an origin, e.g. https://console.example", check=_is_origin) or (),
    )
    table.done()
    return value


def _server(table: Table, places: Places) -> ToolServer:
    name = table.text("name", rule=NAME_RULE, check=SERVER.fullmatch)
    table.require("name", "what its tools are listed under")
    url = _url(table, "url")
    command = _words(table)
    if bool(url) == bool(command):
        table.problem("url", "expected one of `url` and `command`")
    prefix = table.take("prefix")
    if prefix is not None and not (isinstance(prefix, str) and len(prefix) <= 32 and _is_prefix(prefix)):
        table.wrong("prefix", 'at most 32 of A-Z a-z 0-9 _ -, or "" for none')
        prefix = None
    oauth = table.table("oauth")
    server = ToolServer(
        name=name,
        allow=_rules(table),
        url=url,
        command=command,
        read=table.strings("read", rule=READ_RULE, check=_is_shown) or (),
        env=_env(table),
        resources=_resources(table.table("resources")),
        credential=_credential(table, "credential", places),
        header=table.text("header", HEADER, rule='"name: what stands before the key"', check=_is_header),
        oauth=_oauth(oauth, places) if "oauth" in table.values else None,
        prefix=prefix,
        timeout_s=table.seconds("timeout_s", 60.0, 0.001, SECONDS_MAX),
        result_bytes=table.integer("result_bytes", 1 << 20, RESULT_BYTES_MIN, RESULT_BYTES_MAX, "bytes") or 1 << 20,
        ca_bundle=_ca_bundle(table, places),
    )
    _check(table, server)
    table.done()
    return server


def _check(table: Table, server: ToolServer) -> None:
    if server.credential is not None and server.oauth is not None:
        table.problem("credential", "found beside `oauth`; expected one of the two")
    for key in ("credential", "oauth", "header", "ca_bundle"):
        if server.command and key in table.values:
            table.problem(key, "is for a server with a `url`: a program in a sandbox is given no secret")
    for key in ("read", "env", "resources"):
        if server.url and key in table.values:
            table.problem(key, "is for a server with a `command`")


def _rules(table: Table) -> tuple[Allow, ...]:
    table.require("allow", "who may use it: [{}] is everybody whose key holds the scope tools")
    value = table.take("allow")
    if value is None:
        return ()
    if not isinstance(value, list) or not 0 < len(value) <= RULES_MAX:
        table.wrong("allow", f"an array of 1 to {RULES_MAX} tables")
        return ()
    rules = []
    for index, item in enumerate(value):
        if not isinstance(item, dict):
            table.notes.problem((*table.at("allow"), index), f"found {shown(item)}; expected a table")
            continue
        inner = Table(item, (*table.at("allow"), index), table.notes)
        rule = "a name, in which * stands for anything"
        found = {
            key: inner.strings(key, rule=rule, check=str.isprintable) or ("*",)
            for key in ("tenants", "principals", "tools")
        }
        inner.done()
        rules.append(Allow(**found))
    return tuple(rules)


def _url(table: Table, key: str) -> str:
    """What stands there is not shown: it may hold a password."""
    value = table.take(key)
    if value is None:
        return ""
    _, why = read_address(value, ("http", "https")) if isinstance(value, str) else (None, "it is no string")
    if why:
        table.problem(key, f"not a good address (not shown): {why}")
        return ""
    return str(value)


def _words(table: Table) -> tuple[str, ...]:
    value = table.take("command")
    if value is None:
        return ()
    good = isinstance(value, list) and 0 < len(value) <= WORDS_MAX
    if not good or not all(isinstance(word, str) and 0 < len(word) <= 4096 and word.isprintable() for word in value):
        table.problem("command", f"expected an array of 1 to {WORDS_MAX} words (not shown)")
        return ()
    return tuple(value)


def _env(table: Table) -> dict[str, str]:
    value = table.take("env")
    if value is None:
        return {}
    good = isinstance(value, dict) and len(value) <= WORDS_MAX
    if not good or not all(_is_variable(key, item) for key, item in value.items()):
        table.problem("env", "expected a table of names and strings (not shown); a secret does not belong there")
        return {}
    return dict(value)


def _resources(table: Table) -> Resources:
    value = Resources(
        cpus=table.number("cpus", RESOURCES.cpus, *CPUS, "cores"),
        memory_bytes=table.integer("memory_bytes", RESOURCES.memory_bytes, *MEMORY_BYTES, "bytes") or 0,
        processes=table.integer("processes", RESOURCES.processes, *PROCESSES, "processes and threads") or 0,
        disk_bytes=table.integer("disk_bytes", RESOURCES.disk_bytes, *DISK_BYTES, "bytes") or 0,
    )
    table.done()
    return value


def _is_shown(text: str) -> bool:
    path = Path(text)
    return path.is_absolute() and ".." not in path.parts and not any(map(path.is_relative_to, OWN))


def _is_variable(key: str, value: Any) -> bool:
    named = key.replace("_", "a").isalnum() and key.isascii() and not key[0].isdigit()
    return named and isinstance(value, str) and len(value) <= 4096 and value.isprintable()


def _oauth(table: Table, places: Places) -> OAuth:
    for key, what in (("token_url", "where tokens are had"), ("client_id", "who asks"), ("client_secret", "its key")):
        table.require(key, what)
    grant: Literal["client_credentials", "token_exchange"] = "client_credentials"
    if table.choice("grant", grant, ("client_credentials", "token_exchange")) == "token_exchange":
        grant = "token_exchange"
        table.require("subject", "where the user's own token is")
    value = OAuth(
        token_url=_url(table, "token_url"),
        client_id=table.text("client_id"),
        client_secret=read_reference(table, "client_secret", places) or Credential(),
        grant=grant,
        audience=table.text("audience"),
        scope=table.text("scope"),
        subject=_credential(table, "subject", places),
    )
    table.done()
    return value


def _credential(table: Table, key: str, places: Places) -> Credential | None:
    """As a deployment's; a file's path may have places for who asks: then nobody can say yet whether it is there."""
    value = table.values.get(key)
    file = value.get("file") if isinstance(value, dict) and len(value) == 1 else None
    if isinstance(file, str) and any(place in file for place in _PLACES):
        table.take(key)
        if len(file) > 1024 or not file.isprintable():
            table.problem(key, "not a path (the value is not shown)")
            return None
        return Credential(file=str((places.folder / file).absolute()))
    return read_reference(table, key, places)


def _ca_bundle(table: Table, places: Places) -> str:
    path = table.text("ca_bundle", rule="the path of a PEM file")
    if path and not is_file(places.folder / path):
        table.problem("ca_bundle", "names a file that is not there; relative paths start at the configuration's folder")
    return str((places.folder / path).absolute()) if path else ""


def _is_prefix(text: str) -> bool:
    return all(c.isascii() and (c.isalnum() or c in "_-") for c in text)


def _is_header(text: str) -> bool:
    name, _, before = text.partition(":")
    plain = name.strip().replace("-", "a").isalnum() and text.isascii()
    return plain and name.strip().lower() not in _TAKEN and len(before) <= 64


_TAKEN = frozenset({"host", "content-length", "transfer-encoding", "connection", "content-type", "accept"})


def _is_origin(text: str) -> bool:
    try:
        url = urlsplit(text)
    except ValueError:
        return False
    return url.scheme in ("http", "https") and bool(url.hostname) and text == f"{url.scheme}://{url.netloc}"
