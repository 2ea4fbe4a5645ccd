"""What an agent may be: each bound holds at its edges, and the error names the field."""

from typing import Any

import msgspec
import pytest

from interlock.errors import LocalError
from interlock.runtime.hands import Resources
from interlock.runtime.sessions.agent import Agent, Budget, Rules
from interlock.runtime.sessions.checks import check_agent, check_labels, check_name, check_text

NAN, INF = float("nan"), float("inf")
GOOD: list[dict[str, Any]] = [
    {},
    {"model": "m" * 256},
    {"instructions": "line\n\tline\r\n" + "x" * 1000},
    {"tools": ("mcp(a.b)",) * 128},
    {"tools": ()},
    {"rules": Rules(deny=("shell(rm *)",) * 256)},
    {"hands": "gvisor-2.x_y"},
    {"context_tokens": 1000},
    {"max_output": 1},
    {"approval_s": 1.0},
    {"program": ("a\nb",) * 64},
    {"budget": Budget(tokens=0, amount_nanousd=10**18, steps=None, wall_s=0.0, denials=0)},
    {"resources": Resources(cpus=0.01, memory_bytes=8 << 20, processes=1, output_bytes=0, egress=("*.a.b:*",) * 64)},
]
BAD: list[tuple[dict[str, Any], str]] = [
    ({"model": ""}, "agent.model"),
    ({"model": "m" * 257}, "agent.model"),
    ({"model": "a\nb"}, "agent.model"),
    ({"instructions": "x" * (256 * 1024 + 1)}, "agent.instructions"),
    ({"instructions": "a\0"}, "agent.instructions"),
    ({"instructions": "\ud800"}, "agent.instructions"),
    ({"tools": ("a",) * 129}, "agent.tools"),
    ({"tools": ("",)}, "agent.tools"),
    ({"tools": ("a" * 257,)}, "agent.tools"),
    ({"rules": Rules(deny=("a",) * 257)}, "agent.rules.deny"),
    ({"rules": Rules(ask=("a" * 1025,))}, "agent.rules.ask"),
    ({"rules": Rules(allow=("",))}, "agent.rules.allow"),
    ({"hands": "../x"}, "agent.hands"),
    ({"hands": ""}, "agent.hands"),
    ({"context_tokens": 999}, "agent.context_tokens"),
    ({"max_output": 0}, "agent.max_output"),
    ({"approval_s": 0.5}, "agent.approval_s"),
    ({"approval_s": INF}, "agent.approval_s"),
    ({"approval_s": NAN}, "agent.approval_s"),
    ({"program": ("a",) * 65}, "agent.program"),
    ({"program": ("a\0b",)}, "agent.program"),
    ({"budget": Budget(tokens=-1)}, "agent.budget.tokens"),
    ({"budget": Budget(amount_nanousd=10**18 + 1)}, "agent.budget.amount_nanousd"),
    ({"budget": Budget(steps=-1)}, "agent.budget.steps"),
    ({"budget": Budget(wall_s=NAN)}, "agent.budget.wall_s"),
    ({"budget": Budget(denials=-1)}, "agent.budget.denials"),
    ({"resources": Resources(cpus=0.0)}, "agent.resources.cpus"),
    ({"resources": Resources(cpus=NAN)}, "agent.resources.cpus"),
    ({"resources": Resources(memory_bytes=0)}, "agent.resources.memory_bytes"),
    ({"resources": Resources(processes=0)}, "agent.resources.processes"),
    ({"resources": Resources(disk_bytes=-1)}, "agent.resources.disk_bytes"),
    ({"resources": Resources(output_bytes=1 << 40)}, "agent.resources.output_bytes"),
    ({"resources": Resources(time_s=INF)}, "agent.resources.time_s"),
    ({"resources": Resources(egress=("a:1",) * 65)}, "agent.resources.egress"),
]


@pytest.mark.parametrize("fields", GOOD)
def test_an_agent_within_its_bounds(fields: dict[str, Any]) -> None:
    check_agent(Agent(**fields))


@pytest.mark.parametrize(("fields", "field"), BAD)
def test_an_agent_beyond_a_bound(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(LocalError) as error:
        check_agent(Agent(**fields))
    assert (error.value.code, error.value.field) == ("invalid_request", field)
    assert len(error.value.message) < 200, "it does not repeat all that was sent"


def test_no_field_of_an_agent_is_unbounded() -> None:
    """A field that is added has to be added to the checks: each is here, or can only be one of a few values."""
    closed = {"wire", "mode", "constrained", "on_unknown", "compaction"}
    for kind, prefix in ((Agent, "agent."), (Budget, "agent.budget."), (Resources, "agent.resources.")):
        fields = {field.name for field in msgspec.structs.fields(kind)} - closed - {"budget", "resources", "rules"}
        assert fields == {name.removeprefix(prefix).split(".")[0] for _, name in BAD if name.startswith(prefix)} - {
            "budget",
            "resources",
            "rules",
        }


def test_sizes_are_counted_in_bytes() -> None:
    check_text("say", "é" * 5, 10)
    with pytest.raises(LocalError):
        check_text("say", "é" * 5, 9)
    check_name("by", "é" * 128)
    with pytest.raises(LocalError):
        check_name("by", "é" * 129)


@pytest.mark.parametrize("labels", [{"": "x"}, {"a b": "x"}, {"a" * 65: "x"}, {"a": "x\ny"}, {"a": "\ud800"}])
def test_labels_beyond_their_bounds(labels: dict[str, str]) -> None:
    check_labels({"team/a.b-c_D": "any thing", "empty": ""})
    with pytest.raises(LocalError) as error:
        check_labels(labels)
    assert error.value.field and error.value.field.startswith("labels")
