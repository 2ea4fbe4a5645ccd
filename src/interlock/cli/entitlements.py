"""`interlock entitlements`: what tenants' plans let them use, and how much of it is left."""

from typing import Any

from interlock.cli.client import call
from interlock.cli.output import Column, say, say_json, table

_PLANS = ("tenant", "plan", "version", "since", "models", "features")
_LIMITS = ("tenant", "limit", "for", "measure", "window", "used", "held", "amount", "left", "ends")
WIDTH = 60
_NUMBERS = frozenset(("version", "used", "held", "amount", "left"))


def show(args: Any) -> int:
    """One table of plans, one of their limits."""
    found = call(args, "GET", "/v1/entitlements", params={"tenant": args.tenant})
    if args.format == "json":
        say_json(found)
        return 0
    plans = [{**one, "models": _models(one), "features": _features(one)} for one in found["entitlements"]]
    limits = [
        {**row, "tenant": one["tenant"], "limit": row["name"], "for": _for(row["scope"])}
        for one in found["entitlements"]
        for row in one["limits"]
    ]
    say(*_table(_PLANS, plans))
    if limits:
        say("", *_table(_LIMITS, limits))
    if found["more"]:
        say(f"… and {found['more']} more")
    return 0


def _models(one: dict[str, Any]) -> str:
    return "all" if one["models"] is None else _some(one["models"], " ") or "none"


def _features(one: dict[str, Any]) -> str:
    named = one["features"].items()
    return _some([name if value is True else f"{name}={value}" for name, value in named if value is not False], ", ")


def _some(words: list[str], between: str) -> str:
    """As many as a column has room for: a plan may say 64 KiB of them, and every line is as wide as the widest."""
    shown = words[:1]
    for word in words[1:]:
        if len(between.join([*shown, word])) > WIDTH:
            break
        shown.append(word)
    left = len(words) - len(shown)
    return between.join(shown)[:WIDTH] + (f" … and {left} more" if left else "")


def _for(scope: dict[str, str]) -> str:
    """Whose counter it is, within the tenant."""
    return " ".join(f"{name}={value}" for name, value in scope.items() if name != "tenant")


def _table(names: tuple[str, ...], rows: list[dict[str, Any]]) -> list[str]:
    cells = [[str(row[name] if row[name] not in (None, "") else "-") for name in names] for row in rows]
    return table([Column(name, name in _NUMBERS) for name in names], cells)
