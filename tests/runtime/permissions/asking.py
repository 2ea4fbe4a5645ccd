"""A decision in one line, for tests."""

from collections.abc import Iterable, Mapping
from typing import Any

from interlock.runtime.hands import Strength
from interlock.runtime.permissions import Facts, Request, Ruling, decide
from interlock.runtime.sessions.agent import Mode, Rules
from interlock.runtime.sessions.event import Effect

NAMES = {"shell": "command", "fetch": "url", "read": "path", "edit": "path", "search": "path"}


def ruling(
    argument: str,
    tool: str = "shell",
    *,
    mode: Mode = "default",
    deny: Iterable[str] = (),
    ask: Iterable[str] = (),
    allow: Iterable[str] = (),
    strength: Strength = "kernel",
    denials: int = 0,
    links: Mapping[str, str] | None = None,
    effect: Effect = "once",
) -> Ruling:
    """Decide on one call."""
    arguments: dict[str, Any] = {NAMES[tool]: argument} if tool in NAMES else {"title": argument}
    rules = Rules(deny=tuple(deny), ask=tuple(ask), allow=tuple(allow))
    facts = Facts(mode=mode, rules=rules, strength=strength, denials=denials, denials_max=3, links=links or {})
    return decide(Request(tool=tool, arguments=arguments, effect=effect), facts)


def rows(text: str) -> list[tuple[str, str]]:
    """`verdict | text` a line; `\\n` in a text is a line's end, and lines that begin with `#` are comments."""
    found = []
    for line in text.strip().splitlines():
        if line.strip() and not line.lstrip().startswith("# "):
            verdict, _, rest = line.strip().partition(" | ")
            found.append((verdict, rest.replace("\\n", "\n")))
    return found
