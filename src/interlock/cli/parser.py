"""Every command and option. It runs nothing: a command is named by `MODULE:FUNCTION` and imported when it is called."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

import interlock
from interlock.cli import readers
from interlock.cli.bills import invoices, plans, subscriptions
from interlock.cli.books import reconcile
from interlock.cli.funds import credits
from interlock.cli.help import Help
from interlock.cli.parsing import corrections
from interlock.cli.planes import (
    anomalies,
    audit,
    budgets,
    costs,
    doctor,
    entitlements,
    quotas,
    rate,
    replay,
    tenants,
    tools,
    withdrawals,
)
from interlock.cli.runs import agents, sessions

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

AGGREGATIONS = ("sum", "count", "unique_count", "min", "max", "avg", "latest")
PASSED_ON = "local:serve"
WHEN = "24h, 7d, 2026-11-01 or RFC 3339"


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options; `run` names the command. Raises: SystemExit: 2 for wrong usage, 0 for --help."""
    parser = make_parser()
    args, rest = parser.parse_known_args(argv)
    if rest and args.run != PASSED_ON:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    args.rest = rest
    return args


def make_parser() -> argparse.ArgumentParser:
    """The parser of every command."""
    parser = argparse.ArgumentParser(prog="interlock", description="The control plane for AI agents.", epilog=_EPILOG)
    parser.add_argument("--version", action="version", version=f"interlock {interlock.__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _serve(commands)
    agents(commands, _add)
    sessions(_group(commands, "sessions", "list sessions of agents, talk to them, fork and cancel them"), _add)
    _keys(commands)
    _queries(commands)
    replay(commands, _add)
    rate(commands, _add)
    reconcile(commands, _add)
    withdrawals(commands, _add)
    audit(commands, _add)
    quotas(commands, _add)
    entitlements(commands, _add)
    credits(_group(commands, "credits", "prepaid balances: give credit, list it, void it, see what is left"), _add)
    costs(commands, _add)
    budgets(commands, _add)
    anomalies(commands, _add)
    tenants(_group(commands, "tenants", "create tenants, and say which terms they have accepted"), _add)
    plans(_group(commands, "plans", "price lists: adopt, list and show them"), _add)
    subscriptions(_group(commands, "subscriptions", "which tenant is billed by which plan"), _add)
    invoices(_group(commands, "invoices", "draft, review, finalize, void, export and check invoices"), _add)
    tools(_group(commands, "tools", "what tool servers describe: list, look, approve"), _add)
    _ledger(commands)
    _meters(commands)
    _backup(commands)
    _proof(commands)
    _config(commands)
    _local(commands)
    _add(commands, "status", "what runs, and how it is", "server:status", formats=("table", "json"))
    doctor(commands, _add)
    version = commands.add_parser("version", help="print the version")
    version.set_defaults(run="server:version")
    return parser


_EPILOG = """Commands talk to the control port at INTERLOCK_URL (default http://127.0.0.1:8082) with INTERLOCK_KEY,
or the admin.key in the data directory. usage, costs, savings, explain, reconcile (without --apply), invoices check and
books, verify and checkpoint also work without a server; rate and doctor never need one. audit, prove, replay, export,
backup and rebuild read the data directory itself: of INTERLOCK_URL the first four ask no more than where that is."""


def _add(
    commands: "Commands", name: str, help_: str, run: str, *, formats: tuple[str, ...] = ("table", "json", "csv")
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=help_, description=help_, formatter_class=Help)
    parser.add_argument("--data", metavar="DIR", help="data directory (default: interlock in the XDG data home)")
    parser.add_argument("--format", choices=formats, default="table")
    parser.set_defaults(run=run)
    return parser


def _group(commands: "Commands", name: str, help_: str) -> "Commands":
    return commands.add_parser(name, help=help_, description=help_).add_subparsers(required=True, metavar="COMMAND")


def _port(text: str) -> int:
    port = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else -1
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port (0 to 65535)")
    return port


def _workers(text: str) -> int:
    workers = int(text) if text.isascii() and text.isdigit() and len(text) < 4 else 0
    if not 1 <= workers <= 256:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of workers (1 to 256)")
    return workers


def _label(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _serve(commands: "Commands") -> None:
    parser = commands.add_parser("serve", help="run the server", description="run the server in the foreground")
    parser.add_argument("--config", metavar="F", help="interlock.toml (default: the built-in one, the local model)")
    parser.add_argument("--data", metavar="DIR", help="data directory (default: interlock in the XDG data home)")
    parser.add_argument(
        "--host", metavar="H", default="127.0.0.1", help="of the data and api ports (default: %(default)s)"
    )
    parser.add_argument("--port", type=_port, default=8080, help="data: what agents call (default: %(default)s)")
    parser.add_argument("--api-port", type=_port, default=8081, help="api: for tenant keys (default: %(default)s)")
    parser.add_argument("--control-port", type=_port, default=8082, help="control, on loopback (default: %(default)s)")
    parser.add_argument(
        "--workers", type=_workers, metavar="N", help="gateway processes (default: the server's choice)"
    )
    parser.set_defaults(run="server:serve")


def _keys(commands: "Commands") -> None:
    group = _group(commands, "keys", "issue, list and revoke API keys")
    issue = _add(group, "issue", "issue a key and print it, once", "keys:issue", formats=("table", "json"))
    issue.add_argument("--tenant", metavar="T", required=True, help="created if it is new")
    issue.add_argument("--name", metavar="N", required=True)
    issue.add_argument("--principal", metavar="P", default="", help="person or agent, by opaque id (default: the name)")
    issue.add_argument(
        "--scope",
        metavar="S",
        action="append",
        dest="scopes",
        help="inference (default), usage:read, events:write, events:correct, periods:close, events:erase, "
        "meters:write, sessions:run, sessions:approve, tools or admin; repeatable",
    )
    issue.add_argument("--boundary", metavar="B", default="", help="a profile of the policy")
    issue.add_argument("--expires", metavar="30d", default="", help="90m, 12h or 30d from now (default: never)")
    issue.add_argument(
        "--subject",
        metavar="C",
        action="append",
        dest="subjects",
        default=[],
        help="a customer that events may be sent for, * at the end for any ending (default: all); repeatable",
    )
    issue.add_argument("--label", metavar="NAME=VALUE", type=_label, action="append", default=[], help="repeatable")
    listing = _add(group, "list", "list all keys", "keys:show")
    listing.add_argument("--tenant", metavar="T", help="of this tenant only")
    revoke = _add(
        group, "revoke", "revoke a key: admitted nowhere once this returns", "keys:revoke", formats=("table", "json")
    )
    revoke.add_argument("id", metavar="ID")
    revoke.add_argument("--reason", metavar="TEXT", default="")


def _queries(commands: "Commands") -> None:
    usage = _add(commands, "usage", "tokens and cost", "queries:usage")
    usage.add_argument("--by", type=readers.by, metavar="COLUMNS", help=f"comma-separated, of {', '.join(readers.BY)}")
    explain = _add(
        commands, "explain", "all that happened to one request", "queries:explain", formats=("table", "json")
    )
    explain.add_argument("request_id", metavar="REQUEST_ID")
    savings = _add(commands, "savings", "the same tokens at the baseline's prices", "queries:savings")
    for parser in (usage, savings):
        parser.add_argument("--since", metavar="WHEN", help=WHEN)
        parser.add_argument("--until", metavar="WHEN", help=f"exclusive; {WHEN}")
        parser.add_argument("--tenant", metavar="T", help="of this tenant only")


def _proof(commands: "Commands") -> None:
    verify = _add(
        commands,
        "verify",
        "check every hash chain of the log, and every checkpoint against it",
        "verify:verify",
        formats=("table", "json"),
    )
    verify.add_argument(
        "--checkpoint",
        metavar="FILE",
        help="a checkpoint kept elsewhere: finds records and checkpoints that were cut off together",
    )
    verify.add_argument(
        "--public-key", metavar="HEX", help="the only key that may have signed (default: checkpoint.pub)"
    )
    checkpoint = commands.add_parser(
        "checkpoint",
        help="print the newest signed checkpoint, to keep elsewhere",
        description="Print the newest signed checkpoint, one line of JSON. Keep it as it is, on another machine, and "
        "later give it to `interlock verify --checkpoint FILE`. A running server writes a new one first.",
    )
    checkpoint.add_argument("--data", metavar="DIR", help="data directory (default: interlock in the XDG data home)")
    checkpoint.set_defaults(run="verify:checkpoint")
    _export(commands)
    rebuild = _add(
        commands,
        "rebuild",
        "throw the views away, so that the next start makes them from the log; --check: only compare them with it",
        "proof:rebuild",
        formats=("table", "json"),
    )
    rebuild.add_argument(
        "--check", action="store_true", help="make each view again in a temporary place and compare; a server may run"
    )
    rebuild.add_argument("--config", metavar="F", help="where it says the tables stand (default: DIR/interlock.toml)")


def _export(commands: "Commands") -> None:
    export = _add(
        commands,
        "export",
        "write a bundle by which a customer verifies what was counted, without Interlock",
        "proof:export",
        formats=("table", "json"),
    )
    export.add_argument("--tenant", metavar="T", help="whose events; nobody else's are in the bundle")
    export.add_argument("--period", metavar="2026-11", help="a month in UTC, by the events' own time")
    export.add_argument("--since", metavar="WHEN", help=f"instead of --period; {WHEN}")
    export.add_argument("--until", metavar="WHEN", help=f"exclusive (default: now); {WHEN}")
    export.add_argument(
        "--output", metavar="PATH", help="a directory that is not there yet, or a file that ends in .tar"
    )
    export.add_argument(
        "--verifier", action="store_true", help="print the script that verifies bundles, and do nothing else"
    )


_IMPORT = """send the events in files to the api port (INTERLOCK_EVENTS_URL, default http://127.0.0.1:8081) with a key
that holds the scope events:write (INTERLOCK_EVENTS_KEY). Each counts once, whatever else sends it, however often
the command runs: if it was interrupted, run it again."""
_IMPORT_EPILOG = """Lines of JSON that are CloudEvents go as they are. Any other row becomes one: columns named id,
time, subject, type and source are these attributes, all others are data. In a CSV file a cell that is written as a JSON
number is that number, digit for digit, an empty one is nothing, and any other is text. Example:
  interlock ledger import --type tokens --source shop --id order --time sold_at --zone Europe/Berlin january.csv"""


def _ledger(commands: "Commands") -> None:
    group = _group(commands, "ledger", "events: import, list, correct them, close periods, let them go")
    _ledger_events(group)
    corrections(group, _add)
    kept = _add(group, "retention", "what leaves the tables by policy, and what has left", "retention:show")
    kept.add_argument("--table", choices=("events", "rollups"), help="what another rule would do: to this table")
    kept.add_argument("--keep-days", metavar="N", type=readers.count, help="the same: after so many days")
    kept.add_argument("--tenant", metavar="T", help="the same: to this tenant's rows only")
    parser = group.add_parser(
        "import", help="send files of past events", description=_IMPORT, epilog=_IMPORT_EPILOG, formatter_class=Help
    )
    parser.set_defaults(run="importing:run")
    parser.add_argument(
        "files", metavar="FILE", nargs="+", help=".csv, .ndjson, .jsonl (or these and .gz), .parquet, or -"
    )
    parser.add_argument("--format-in", choices=("csv", "ndjson", "parquet"), help="default: by the file's name")
    parser.add_argument(
        "--delimiter", metavar="C", type=readers.character, default=",", help="of CSV (default: a comma)"
    )
    events = parser.add_argument_group("what rows become")
    events.add_argument("--type", metavar="T", default="", help="of all events (default: column type)")
    events.add_argument("--source", metavar="S", default="", help="of all events (default: column source)")
    events.add_argument("--id", metavar="COLUMN", default="", help="where each event's id is (default: id)")
    events.add_argument(
        "--id-from-row",
        action="store_true",
        help="an id of the row's whole content and its number among equal rows of the file; an edited row is another",
    )
    events.add_argument("--time", metavar="COLUMN", default="", help="where it says when (default: time)")
    events.add_argument(
        "--subject", metavar="COLUMN", default="", help="the customer (default: subject, if it is there)"
    )
    events.add_argument(
        "--data",
        metavar="COLUMNS",
        type=readers.columns,
        dest="columns",
        help="these only; COLUMN=NAME renames: a,b=tokens",
    )
    events.add_argument(
        "--text", metavar="COLUMNS", type=readers.names, default=[], help="text, whatever they look like"
    )
    events.add_argument(
        "--number", metavar="COLUMNS", type=readers.names, default=[], help="numbers, or the row is refused"
    )
    events.add_argument("--zone", metavar="Z", default="", help="of times that name none: Europe/Berlin")
    events.add_argument(
        "--fold", choices=("earlier", "later"), default="", help="of an hour that came twice (default: refused)"
    )
    events.add_argument("--time-unit", choices=("s", "ms", "us", "ns"), help="of times that are numbers, since 1970")
    work = parser.add_argument_group("how it is done")
    work.add_argument("--dry-run", action="store_true", help="read all, show the first events, send nothing")
    work.add_argument("--rejects", metavar="FILE", help="write each row that is not counted there, with the reason")
    work.add_argument(
        "--limit-rate", metavar="N", type=readers.count, default=0, help="events a second (default: no limit)"
    )
    work.add_argument(
        "--patience",
        metavar="S",
        type=readers.count,
        default=300,
        help="give up after so long with no answer (default: 300 s)",
    )
    work.add_argument("--progress", action="store_true", help="on stderr even if that is no terminal")
    work.add_argument("--format", choices=("table", "json"), default="table")


def _ledger_events(group: "Commands") -> None:
    events = _add(group, "events", "a tenant's events as they count, the latest first", "events:show")
    for name, help_ in (("type", ""), ("subject", "the customer"), ("source", ""), ("id", "")):
        events.add_argument(f"--{name}", metavar=name[0].upper(), help=help_ or f"of this {name} only")
    events.add_argument("--from", "--since", dest="since", metavar="WHEN", help=f"by where they count; {WHEN}")
    events.add_argument("--to", "--until", dest="until", metavar="WHEN", help=f"exclusive; {WHEN}")
    events.add_argument(
        "--limit", metavar="N", type=readers.count, default=100, help="at most 1000 (default: %(default)s)"
    )
    events.add_argument("--tenant", metavar="T", default="default", help="whose (default: %(default)s)")


def _meters(commands: "Commands") -> None:
    group = _group(commands, "meters", "what counted events come to, by window, customer and group")
    define = _add(group, "define", "define a meter, or its next version", "meters:define", formats=("table", "json"))
    define.add_argument("--event-type", metavar="T", required=True, help="of the events that it reads")
    define.add_argument("--aggregation", metavar="A", required=True, help=f"one of {', '.join(AGGREGATIONS)}")
    define.add_argument("--value", metavar="PLACE", default="", help="where the quantity stands: $.tokens")
    define.add_argument("--group-by", metavar="NAME=PLACE", type=_label, action="append", default=[], help="repeatable")
    define.add_argument(
        "--where", metavar="PLACE=VALUE", type=_label, action="append", default=[], help="events that count; repeatable"
    )
    define.add_argument("--allow-negative", action="store_true", help="take quantities below zero")
    define.add_argument("--description", metavar="TEXT", default="")
    listing = _add(group, "list", "list a tenant's meters", "meters:show")
    query = _add(group, "query", "what a meter says", "meters:query")
    query.add_argument("--from", "--since", dest="since", metavar="WHEN", default="", help=f"a whole minute; {WHEN}")
    query.add_argument("--to", "--until", dest="until", metavar="WHEN", default="", help=f"exclusive; {WHEN}")
    query.add_argument("--window", choices=("minute", "hour", "day", "month"), help="default: one over all")
    query.add_argument("--zone", metavar="ZONE", default="UTC", help="of the windows: Europe/Berlin (default: UTC)")
    query.add_argument("--by", metavar="NAMES", help="comma-separated: the meter's groups, subject, corrects")
    query.add_argument(
        "--filter", metavar="NAME=VALUE", type=_label, action="append", default=[], help="of the same; repeatable"
    )
    query.add_argument(
        "--version", metavar="N", type=readers.count, help="of the meter (default: the newest that is ready)"
    )
    retire = _add(group, "retire", "take a meter away; its records stay", "meters:retire", formats=("table", "json"))
    for parser in (define, query, retire):
        parser.add_argument("slug", metavar="SLUG")
    for parser in (define, listing, query, retire):
        parser.add_argument("--tenant", metavar="T", default="default", help="whose meters (default: %(default)s)")


def _backup(commands: "Commands") -> None:
    backup = _add(
        commands, "backup", "copy a data directory, while a server runs on it", "backup:make", formats=("table", "json")
    )
    backup.add_argument("file", metavar="FILE", help="a tar file that is not there yet, or - for stdout; it holds keys")
    restore = _add(commands, "restore", "make a data directory of a backup", "backup:take", formats=("table", "json"))
    restore.add_argument("file", metavar="FILE", help="or - for stdin; --data names a directory that is not there yet")


def _config(commands: "Commands") -> None:
    group = _group(commands, "config", "check, import, show and reload the configuration")
    check = _add(group, "check", "check a file; every error at once", "config:check", formats=("table", "json"))
    check.add_argument("file", metavar="FILE", nargs="?", default="interlock.toml")
    importing = _group(group, "import", "turn another gateway's configuration into ours")
    litellm = _add(
        importing, "litellm", "print interlock.toml for a LiteLLM file", "config:litellm", formats=("table", "json")
    )
    litellm.add_argument("file", metavar="FILE")
    _add(group, "show", "the policy in force", "config:show", formats=("table", "json"))
    _add(group, "reload", "have the server load its file now", "config:reload", formats=("table", "json"))


def _local(commands: "Commands") -> None:
    group = _group(commands, "local", "the local model")
    _add(group, "fetch", "fetch the local model, checksum verified", "local:fetch", formats=("table", "json"))
    # Its options are those of `python -m interlock.local`, --help among them: they are passed on unread.
    serve = group.add_parser("serve", help="serve the local model alone", add_help=False)
    serve.set_defaults(run=PASSED_ON)
