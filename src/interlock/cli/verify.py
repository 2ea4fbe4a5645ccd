"""`interlock verify` and `checkpoint`: by the server, or on the files of a data directory. verify writes nothing."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from interlock.cli.client import NoServer, data_dir, lines, text, url
from interlock.cli.output import Column, Progress, complain, number, say, say_json, table
from interlock.errors import LocalError

KEPT_BYTES_MAX = 1 << 20
T = TypeVar("T")


def verify(args: Any) -> int:
    """Status 1 if any stream does not hold."""
    given = _given(args)
    reports = _by_server_or_files(args, lambda: lines(args, "/v1/verify", given or None), lambda: _offline(args, given))
    problems = [problem for report in reports for problem in report["problems"]]
    if args.format == "json":
        say_json({"ok": not problems, "streams": reports})
    else:
        rows = [
            [
                one["stream"],
                number(one["records"]),
                number(one["head"]),
                number(one["attested"]),
                "BROKEN" if one["problems"] else "holds",
                one["chain_hex"][:16],
            ]
            for one in reports
        ]
        numbers = [Column(title, True) for title in ("records", "head", "attested")]
        say(*table([Column("stream"), *numbers, Column("chain"), Column("value")], rows))
    complain(*(f"{one['stream']} seq {one['seq']}: {one['what']}" for one in problems))
    return int(bool(problems))


def checkpoint(args: Any) -> int:
    """Print the newest checkpoint, as it has to be kept."""
    say(_by_server_or_files(args, lambda: text(args, "POST", "/v1/checkpoint"), lambda: _newest(args)).strip())
    return 0


def _by_server_or_files(args: Any, ask: Callable[[], T], read: Callable[[], T]) -> T:
    """From the server; from the directory if `--data` alone says where to look, or no server answers there."""
    named = os.environ.get("INTERLOCK_URL")
    if args.data and not named:
        return read()
    try:
        return ask()
    except NoServer:
        if named and not args.data:
            raise
        found = read()
        complain(f"no server at {url()}: read from {data_dir(args)}")
        return found


def _given(args: Any) -> dict[str, str]:
    """What the user has from elsewhere, as POST /v1/verify takes it."""
    given = {"public_key": args.public_key} if args.public_key else {}
    if args.checkpoint:
        path = Path(args.checkpoint)
        if path.stat().st_size > KEPT_BYTES_MAX:
            raise LocalError(f"{path} is larger than any checkpoint", field="--checkpoint")
        given["checkpoint"] = path.read_bytes().decode(errors="replace")
    return given


def _offline(args: Any, given: dict[str, str]) -> list[dict[str, Any]]:
    from interlock.cli.offline import check_data_dir
    from interlock.proof.check import read_kept
    from interlock.proof.check import verify as verify_files
    from interlock.proof.keys import read_public_key

    root = check_data_dir(data_dir(args)).root
    key = read_public_key(given["public_key"], "--public-key") if "public_key" in given else None
    kept = read_kept(given["checkpoint"]) if "checkpoint" in given else None
    with Progress("verifying") as progress:
        reports = verify_files(root, public_key=key, kept=kept, progress=progress.tell)
        return [msgspec.to_builtins(report) for report in reports]


def _newest(args: Any) -> str:
    from interlock.cli.offline import check_data_dir
    from interlock.proof.writing import newest

    places = check_data_dir(data_dir(args))
    found = newest(places)
    if found is None:
        raise LocalError(f"{places.root} holds no checkpoint: a server writes them", code="not_found", field="data")
    return found.document.decode()
