"""`interlock serve`, `status` and `version`."""

from typing import Any

import interlock
from interlock.cli.client import call
from interlock.cli.output import Column, say, say_json, table

_PARTS = ("ledger", "events", "erasing", "meters", "retention", "checkpoints")


def serve(args: Any) -> int:
    """Run until stopped."""
    from interlock import wiring

    return wiring.serve(args)


def version(args: Any) -> int:
    """One line."""
    say(f"interlock {interlock.__version__}")
    return 0


def status(args: Any) -> int:
    """What runs. Status 1 if something is not as it should be."""
    found = call(args, "GET", "/v1/status")
    names = ("config_rejected", *(f"{name}_problem" for name in _PARTS))
    problems = any(found[name] for name in names)
    wrong = problems or not all(one["up"] for one in found["workers"])
    if args.format == "json":
        say_json(found)
        return int(bool(wrong))
    say(f"data    {found['data']}", f"policy  {found['policy']}")
    if found["checkpoint"]:
        say(
            f"signed  checkpoint {found['checkpoint']} of {found['checkpoint_at']}", f"        by {found['public_key']}"
        )
    for one in found["workers"]:
        say(f"worker  {one['worker']} {'up' if one['up'] else 'DOWN'}")
    words = {True: "ready", False: "not ready", None: "unknown"}
    rows = [[one["name"], one["provider"], one["model"], words[one["ready"]]] for one in found["deployments"]]
    say("", *table([Column(title) for title in ("deployment", "provider", "model", "state")], rows))
    if found["config_rejected"]:
        say("", "the configuration file has mistakes and is not in force: interlock config show")
    if found["ledger_problem"]:
        say("", f"the ledger is not complete: {found['ledger_problem']}")
    if found["events_problem"]:
        say("", f"events are not taken: {found['events_problem']}")
    for name in ("meters", "retention"):
        if found[f"{name}_problem"]:
            say("", found[f"{name}_problem"])
    if found["erasing_problem"]:
        say("", f"what was asked to be erased is not yet: {found['erasing_problem']}")
    if found["checkpoints_problem"]:
        say("", f"checkpoints are not written: {found['checkpoints_problem']}")
    return int(bool(wrong))
