"""What a session runs: the agent's settings, as they stand in the first event of its log."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from interlock.runtime.hands import Resources

Mode = Literal["plan", "default", "accept-edits", "auto", "bypass"]
Wire = Literal["chat", "messages", "responses"]


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """Patterns over tool and argument (docs/permissions.md). Deny wins over ask, ask over allow; none: the mode."""

    deny: tuple[str, ...] = ()
    ask: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """What a session may use in all; None: not bounded here (the gateway's limits still hold)."""

    tokens: int | None = None
    """Input and output of all its model calls."""
    amount_nanousd: int | None = None
    steps: int | None = 200
    """Model calls."""
    wall_s: float | None = None
    """Seconds that brains have worked on it; waiting for people does not count."""
    denials: int = 20
    """Refused calls in mode auto, after which a person is asked."""


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """What a session runs: fixed when it is created, and written with its defaults, which may change."""

    model: str = "auto"
    """A model, tier or alias that the gateway knows."""
    wire: Wire = "messages"
    """The format in which the brain asks the gateway. That of the upstream passes reasoning through untouched."""
    instructions: str = ""
    tools: tuple[str, ...] = ("shell", "read", "edit", "search", "fetch")
    """Built-in tools, and `mcp(server.tool)` patterns of those behind the door."""
    mode: Mode = "default"
    rules: Rules = Rules()
    hands: str = "bubblewrap"
    resources: Resources = Resources()
    budget: Budget = Budget()
    context_tokens: int = 100_000
    """How much of the log the model is shown (estimated); beyond it the oldest turns are cut from the view."""
    compaction: Literal["summary", "window"] = "summary"
    """What stands in the place of turns that are cut: the model's own summary of them, or no more than their number and
    the user's first and last words."""
    max_output: int = 8192
    """Tokens of one answer."""
    constrained: bool = False
    """The model has no tool calls of its own: its answer is held to a grammar that holds either words or one call."""
    on_unknown: Literal["tell", "ask"] = "tell"
    """After a crash in a once-only call: tell the brain `unknown outcome`, or ask a person whether to run it again."""
    approval_s: float = 86_400.0
    """How long a question to a person stands."""
    program: tuple[str, ...] = ()
    """An agent program's argv that runs in the hands instead of the loop (the bridge); empty: the loop."""


BEFORE: Mapping[str, Any] = {"compaction": "window"}
"""Of settings that came later: what was done before there were any, and still is in sessions whose log names none."""
