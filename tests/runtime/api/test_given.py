"""A setting that does not exist is refused; what does stands in the log as it was given."""

from typing import Any

import msgspec
import pytest

from interlock.errors import LocalError
from interlock.runtime.api.given import GivenAgent, GivenBudget, agent_of, budget_of, check_tools
from interlock.runtime.hands import Resources
from interlock.runtime.sessions.agent import Agent, Budget, Rules


@pytest.mark.parametrize(
    "given",
    [
        {"mod": "plan"},
        {"rules": {"denied": ["shell"]}},
        {"resources": {"memory": 1}},
        {"budget": {"stepz": 1}},
    ],
)
def test_a_misspelt_setting_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert(given, GivenAgent)


def test_what_was_given_is_what_stands_in_the_log() -> None:
    given = {
        "mode": "plan",
        "rules": {"deny": ["shell(rm:*)"]},
        "resources": {"egress": ["a.example:443"]},
        "budget": {"steps": None, "tokens": 5},
    }
    agent = agent_of(msgspec.convert(given, GivenAgent))
    assert agent == Agent(
        mode="plan",
        rules=Rules(deny=("shell(rm:*)",)),
        resources=Resources(egress=("a.example:443",)),
        budget=Budget(steps=None, tokens=5),
    )
    assert type(agent) is Agent and type(agent.rules) is Rules
    assert agent_of(GivenAgent()) == Agent()
    assert budget_of(GivenBudget(tokens=1)) == Budget(tokens=1)


def test_a_tool_that_there_is_not_is_refused() -> None:
    check_tools((*Agent().tools, "mcp(github.*)", "mcp(github.read_file)"))
    for wrong in ("browse", "mcp(", "mcp()", "mcp", "shell(ls)"):
        with pytest.raises(LocalError) as refused:
            check_tools(("shell", wrong))
        assert refused.value.field == "agent.tools" and repr(wrong) in str(refused.value)
