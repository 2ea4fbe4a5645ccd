"""`interlock config`: check and import work on files alone; show and reload ask the server."""

import sys
from pathlib import Path
from typing import Any

import msgspec

from interlock.cli.client import call, data_dir
from interlock.cli.output import Column, complain, say, say_json, table
from interlock.errors import ConfigError

FILE_BYTES_MAX = 4 << 20


def check(args: Any) -> int:
    """Every mistake and every warning of one file. Status 1 if it has mistakes."""
    from interlock import config
    from interlock.clock import SystemClock

    try:
        loaded = config.resolve_prices(config.load(Path(args.file), data=data_dir(args)), now_ns=SystemClock().now_ns())
    except ConfigError as error:
        if args.format == "json":
            say_json({"ok": False, "problems": error.problems})
        else:
            print(*error.problems, sep="\n", file=sys.stderr)
            count = len(error.problems)
            complain(f"{args.file}: {count} mistake{'s' if count > 1 else ''} [{error.code}]")
        return 1
    if args.format == "json":
        say_json({"ok": True, "version": loaded.policy.version, "warnings": loaded.warnings})
        return 0
    print(*loaded.warnings, sep="\n", end="\n" if loaded.warnings else "", file=sys.stderr)
    say(f"{args.file} is good: policy {loaded.policy.version}, {_sizes(msgspec.to_builtins(loaded.policy))}")
    return 0


def show(args: Any) -> int:
    """The policy in force. Status 1 if the file was refused since."""
    found = call(args, "GET", "/v1/config")
    if args.format == "json":
        say_json(found)
    else:
        _tell(found)
    return int(bool(found["rejected"]))


def reload(args: Any) -> int:
    """Have the server load its file now. Status 1, with every mistake, if it is refused."""
    found = call(args, "POST", "/v1/config/reload")
    if args.format == "json":
        say_json(found)
    else:
        _tell(found)
    return 0


def _tell(found: dict[str, Any]) -> None:
    policy = found["policy"]
    say(f"policy  {found['version']} ({_sizes(policy)})", f"file    {found['path'] or 'built in'}", "")
    rows = [
        [name, *(f"{i}. {one}" for i, one in enumerate(tier["deployments"], 1))]
        for name, tier in policy["tiers"].items()
    ]
    say(*table([Column("tier"), Column("deployments")], [[row[0], "  ".join(row[1:])] for row in rows]))
    rules = [[str(i), rule["name"], rule["tier"]] for i, rule in enumerate(policy["rules"], 1)]
    if rules:
        say("", *table([Column("", True), Column("rule"), Column("tier")], rules))
    complain(*found["warnings"])
    if found["rejected"]:
        complain(f"the file was refused at {found['rejected']['at']}:", *found["rejected"]["problems"])


def _sizes(policy: dict[str, Any]) -> str:
    return ", ".join(f"{len(policy[name])} {name}" for name in ("deployments", "tiers", "rules", "profiles"))


def litellm(args: Any) -> int:
    """interlock.toml on stdout; what could not be carried over on stderr."""
    from interlock.config.litellm import translate

    made = translate(_text(Path(args.file)))
    if args.format == "json":
        say_json(made)
        return 0
    print(made.toml, end="")
    if made.left_out:
        complain(f"not carried over ({len(made.left_out)}; also listed at the end of the result):", *made.left_out)
    return 0


def _text(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(FILE_BYTES_MAX + 1)
    if len(data) > FILE_BYTES_MAX:
        raise ConfigError([f"{path}: larger than {FILE_BYTES_MAX} bytes"])
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path}: not UTF-8 (byte {error.start})"]) from error
