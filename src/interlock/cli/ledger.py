"""`interlock ledger`: corrections, closed periods and erasures, asked of the api port with a tenant's key."""

import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from interlock.cli.client import call_api, segment
from interlock.cli.output import Column, Progress, complain, number, say, say_csv, say_json, table
from interlock.errors import LocalError
from interlock.strictjson import loads

EVENT_BYTES_MAX = 512 * 1024
POLL_S = 0.2
CORRECT, CLOSE, ERASE = "events:correct", "periods:close", "events:erase"
"""What the key has to hold."""

_COLUMNS = ("period", "zone", "since", "until", "closed_at", "seq", "principal", "key_id")


def correct(args: Any) -> int:
    """Status 1 if nothing was taken back."""
    asked: dict[str, Any] = {"source": args.source, "id": args.id, "reason": args.reason}
    if args.replacement is not None:
        asked["replacement"] = _event(args.replacement)
    [item] = call_api(args, "POST", "/v1/corrections", CORRECT, body=[asked])["items"]
    if args.format == "json":
        say_json(item)
    elif item["result"] == "counted":
        what = "replaced" if args.replacement is not None else "taken back"
        say(f"{args.source} {args.id} is {what}, in record {item['seq']}")
    elif item["result"] == "duplicate":
        say(f"{args.source} {args.id} was corrected so already, in record {item['seq']}")
    if "code" not in item:
        return 0
    field = f" ({item['field']})" if item.get("field") else ""
    complain(f"{item['result']}: {item['message']}{field} [{item['code']}]")
    return 1


def close(args: Any) -> int:
    """A period that is closed already is as good."""
    found = call_api(args, "POST", "/v1/periods", CLOSE, body={"period": args.period, "zone": args.zone})
    if args.format == "json":
        say_json(found)
    else:
        so = "is closed" if found["result"] == "closed" else "was closed already"
        say(f"{found['period']} ({found['zone']}) {so}: all before {found['until']}, in record {found['seq']}")
    return 0


def periods(args: Any) -> int:
    """In the order in which they were closed."""
    found = call_api(args, "GET", "/v1/periods", CLOSE)["periods"]
    if args.format == "json":
        say_json({"periods": found})
    elif args.format == "csv":
        say_csv(_COLUMNS, found)
    else:
        titles = ("period", "zone", "since", "until", "closed_at", "principal")
        rows = [[*(one[name] for name in titles), number(one["seq"])] for one in found]
        say(*table([*(Column(title.removesuffix("_at")) for title in titles), Column("record", True)], rows))
    return 0


def erase(args: Any) -> int:
    """Returns when it is done, or with `--no-wait` when it is certain to be."""
    asked = {"subjects": args.subjects, "reason": args.reason, "forget": args.forget}
    found = call_api(args, "POST", "/v1/erasures", ERASE, body=asked)
    if not args.no_wait:
        with Progress("erasing") as progress:
            while found["state"] != "done":
                progress.tell(found["problem"] or "searched", found["searched"])
                time.sleep(POLL_S)
                found = call_api(args, "GET", f"/v1/erasures/{segment(found['id'])}", ERASE)
    if args.format == "json":
        say_json(found)
    elif found["state"] == "done":
        say(f"{found['id']} is done: {number(found['events'])} events in {number(found['records'])} records")
    else:
        say(f"{found['id']} is written down and will be done; `interlock ledger erasures` shows when")
    return 0


def erasures(args: Any) -> int:
    """In the order in which they were asked for."""
    found = call_api(args, "GET", "/v1/erasures", ERASE)["erasures"]
    if args.format == "json":
        say_json({"erasures": found})
    elif args.format == "csv":
        say_csv(("id", "state", "asked_at", "done_at", "subjects", "events", "records", "reason", "key_id"), found)
    else:
        texts, numbers = ("id", "state", "asked_at", "done_at"), ("subjects", "events")
        rows = [
            [*(one[name] or "" for name in texts), *(number(one[name]) for name in numbers), one["reason"]]
            for one in found
        ]
        titles = ("erasure", "state", "asked", "done")
        say(*table([*map(Column, titles), *(Column(name, True) for name in numbers), Column("reason")], rows))
    return 0


def _event(place: str) -> msgspec.Raw:
    """The event as it is written there, digit by digit. Raises: LocalError: it is no JSON, or too long. OSError."""
    if place == "-":
        text = sys.stdin.buffer.read(EVENT_BYTES_MAX + 1)
    else:
        with Path(place).open("rb") as file:
            text = file.read(EVENT_BYTES_MAX + 1)
    if len(text) > EVENT_BYTES_MAX:
        raise LocalError(f"{place} is larger than {EVENT_BYTES_MAX} bytes", field="--replacement")
    try:
        loads(text, what=place)
    except LocalError as error:
        raise LocalError(error.message.removeprefix("the "), field="--replacement") from error
    return msgspec.Raw(text)
