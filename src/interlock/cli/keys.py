"""`interlock keys`: all three go through the server, which alone writes the log."""

from typing import Any

from interlock.cli.client import call, segment
from interlock.cli.output import Column, complain, say, say_csv, say_json, table
from interlock.identity import SCOPES

_COLUMNS = ("id", "tenant", "name", "principal", "scopes", "boundary", "state", "created_at", "expires_at")


def issue(args: Any) -> int:
    """The secret alone on stdout, so that it can be captured; the rest on stderr."""
    body = {
        "tenant": args.tenant,
        "name": args.name,
        "principal": args.principal,
        "scopes": args.scopes or ["inference"],
        "boundary": args.boundary,
        "expires": args.expires,
        "labels": dict(args.label),
        "subjects": args.subjects,
    }
    key = call(args, "POST", "/v1/keys", body=body)
    if args.format == "json":
        say_json(key)
    else:
        say(key["secret"])
        complain(f"{key['id']} for tenant {key['tenant']}: keep the key, it is not shown again")
    return 0


def show(args: Any) -> int:
    """All keys, oldest first."""
    keys = call(args, "GET", "/v1/keys", params={"tenant": args.tenant})["keys"]
    if args.format == "json":
        say_json({"keys": keys})
        return 0
    for key in keys:
        key["scopes"] = " ".join(key["scopes"])
    if args.format == "csv":
        say_csv(_COLUMNS, keys)
        return 0
    for key in keys:
        key["scopes"] = "all" if key["scopes"] == " ".join(SCOPES) else key["scopes"]
    titles = ("id", "tenant", "name", "principal", "scopes", "boundary", "state", "expires_at")
    rows = [[str(key[name] or "-") for name in titles] for key in keys]
    say(*table([Column(title.removesuffix("_at")) for title in titles], rows))
    return 0


def revoke(args: Any) -> int:
    """Answers when no process of the server admits the key any more."""
    revoked = call(args, "DELETE", f"/v1/keys/{segment(args.id)}", params={"reason": args.reason or None})
    if args.format == "json":
        say_json(revoked)
    else:
        say(f"{revoked['id']} is revoked")
    return 0
