"""Who may use what: rules of servers, narrowed by tokens."""

import pytest

from interlock.door.allowed import matches, may_call, may_reach, may_read
from interlock.door.settings import Allow, ToolServer
from interlock.identity import Bearer


def server(*rules: Allow, name: str = "github") -> ToolServer:
    return ToolServer(name=name, allow=rules, url="http://x/mcp")


def bearer(tools: tuple[str, ...] | None = None, tenant: str = "acme", principal: str = "ada") -> Bearer:
    return Bearer(key_id="k", tenant=tenant, principal=principal, tools=tools)


EVERYBODY = server(Allow())
SOME = server(Allow(tenants=("acme",), tools=("read_*",)), Allow(principals=("ada*",), tools=("write",)))


@pytest.mark.parametrize(
    ("who", "tool", "may"),
    [
        (bearer(), "read_file", True),
        (bearer(), "write", True),
        (bearer(), "delete", False),
        (bearer(tenant="other"), "read_file", False),
        (bearer(tenant="other"), "write", True),
        (bearer(tenant="other", principal="bob"), "write", False),
        (bearer(("github.read_*",)), "read_file", True),
        (bearer(("github.read_*",)), "write", False),
        (bearer(("*",)), "write", True),
        (bearer(("*",)), "delete", False),
        (bearer(()), "read_file", False),
        (bearer(("other.*",)), "read_file", False),
    ],
)
def test_a_call_needs_a_rule_and_the_tokens_pattern(who: Bearer, tool: str, may: bool) -> None:
    assert may_call(who, SOME, tool) is may
    if may:
        assert may_reach(who, SOME), "who may call, may reach"


def test_nobody_is_everybody_without_a_rule() -> None:
    assert not may_reach(bearer(), server())
    assert not may_call(bearer(), server(), "x")
    assert not may_read(bearer(), server())
    assert may_call(bearer(), EVERYBODY, "x") and may_read(bearer(), EVERYBODY)


def test_a_server_is_not_asked_for_tokens_that_name_no_tool_of_it() -> None:
    assert not may_reach(bearer(()), EVERYBODY)
    assert not may_reach(bearer(("gitlab.*", "git.*")), EVERYBODY)
    for pattern in ("github.x", "git*", "*", "g*b.read", "*.read", "github.*"):
        assert may_reach(bearer((pattern,)), EVERYBODY), pattern


def test_prompts_and_resources_need_all_of_a_server() -> None:
    assert may_read(bearer(("github.*",)), EVERYBODY) and may_read(bearer(("*",)), EVERYBODY)
    assert not may_read(bearer(("github.read",)), EVERYBODY)


def test_only_a_star_is_special() -> None:
    assert matches("a?b[c]", "a?b[c]") and not matches("a?b", "axb") and not matches("[ab]", "a")
    assert not matches("read", "READ") and matches("r*d", "read")
