"""An agent's settings as people send them: a name that there is not is refused, not passed over.

A log's events may grow fields and are read leniently; a setting that was misspelt there would be a wall that is not.
"""

import re

import msgspec

from interlock.errors import LocalError
from interlock.runtime.hands import Resources
from interlock.runtime.sessions.agent import Agent, Budget, Rules

_BEHIND_THE_DOOR = re.compile(r"mcp\([^()]+\)")


class GivenRules(Rules, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As `Rules`."""


class GivenResources(Resources, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As `Resources`."""


class GivenBudget(Budget, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As `Budget`."""


class GivenAgent(Agent, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As `Agent`."""

    rules: GivenRules = GivenRules()
    resources: GivenResources = GivenResources()
    budget: GivenBudget = GivenBudget()


def agent_of(given: GivenAgent) -> Agent:
    """What stands in the log."""
    return msgspec.convert(msgspec.to_builtins(given), Agent)


def budget_of(given: GivenBudget) -> Budget:
    """What stands in the log."""
    return msgspec.convert(msgspec.to_builtins(given), Budget)


def check_tools(names: tuple[str, ...]) -> None:
    """Raises: LocalError: a tool that is neither built in nor a pattern of those behind the door."""
    for name in names:
        if name not in Agent().tools and not _BEHIND_THE_DOOR.fullmatch(name):
            known = ", ".join(Agent().tools)
            message = f"{name[:80]!r} is no tool; there are: {known}, and mcp(server.tool) of those behind the door"
            raise LocalError(message, field="agent.tools")
