"""`interlock verify`: by the server, or on the files of a data directory, running or not. Nothing is written."""

import os
from typing import Any

import msgspec

from interlock.cli.client import NoServer, data_dir, lines, url
from interlock.cli.output import Column, complain, number, say, say_json, table


def verify(args: Any) -> int:
    """Status 1 if any stream does not hold."""
    reports = _reports(args)
    problems = [problem for report in reports for problem in report["problems"]]
    if args.format == "json":
        say_json({"ok": not problems, "streams": reports})
    else:
        rows = [
            [
                one["stream"],
                number(one["records"]),
                number(one["head"]),
                "BROKEN" if one["problems"] else "holds",
                one["chain_hex"][:16],
            ]
            for one in reports
        ]
        say(
            *table(
                [Column("stream"), Column("records", True), Column("head", True), Column("chain"), Column("value")],
                rows,
            )
        )
    complain(*(f"{one['stream']} seq {one['seq']}: {one['what']}" for one in problems))
    return int(bool(problems))


def _reports(args: Any) -> list[dict[str, Any]]:
    named = os.environ.get("INTERLOCK_URL")
    if args.data and not named:
        return _offline(args)
    try:
        return lines(args, "/v1/verify")
    except NoServer:
        if named and not args.data:
            raise
        found = _offline(args)
        complain(f"no server at {url()}: read from {data_dir(args)}")
        return found


def _offline(args: Any) -> list[dict[str, Any]]:
    from interlock.cli.offline import check_data_dir
    from interlock.log.verify import verify as verify_files

    return [msgspec.to_builtins(report) for report in verify_files(check_data_dir(data_dir(args)).root)]
