"""Modes and rules together, and what users of such systems have complained about."""

import pytest
from tests.runtime.permissions.asking import rows, ruling

from interlock.errors import LocalError
from interlock.runtime.permissions import Facts, Request, Ruleset, decide, paths_of
from interlock.runtime.sessions.agent import Mode, Rules

MODES: list[Mode] = ["plan", "default", "accept-edits", "auto", "bypass"]
# tool, argument, then the verdict of each mode in that order; no rule is set
TABLE = [
    ("read", "src/a.py", "allow allow allow allow allow"),
    ("read", ".git/config", "allow allow allow allow allow"),
    ("read", "../x", "deny deny deny deny deny"),
    ("read", "/etc/passwd", "deny deny deny deny deny"),
    ("read", "~/.ssh/id_rsa", "deny deny deny deny deny"),
    ("search", "src", "allow allow allow allow allow"),
    ("edit", "src/a.py", "deny ask allow deny allow"),
    ("edit", "./src/../a.py", "deny ask allow deny allow"),
    ("edit", "/workspace/src/a.py", "deny ask allow deny allow"),
    ("edit", "/workspace/../etc/passwd", "deny deny deny deny deny"),
    ("edit", "/workspaces/a", "deny deny deny deny deny"),
    ("edit", "../a.py", "deny deny deny deny deny"),
    ("edit", ".git/hooks/pre-commit", "deny ask ask deny allow"),
    ("edit", "sub/.git/config", "deny ask ask deny allow"),
    ("edit", "./.git//config", "deny ask ask deny allow"),
    ("edit", ".bashrc", "deny ask ask deny allow"),
    ("edit", ".ssh/config", "deny ask ask deny allow"),
    ("edit", ".gitignore", "deny ask allow deny allow"),
    ("shell", "git status", "allow allow allow allow allow"),
    ("shell", "npm test", "deny ask ask deny allow"),
    ("shell", "echo x > src/a", "deny ask allow deny allow"),
    ("shell", "npm test > log", "deny ask ask deny allow"),
    ("shell", "echo x > .git/hooks/pre-commit", "deny ask ask deny allow"),
    ("shell", "echo x > ../a", "deny deny deny deny allow"),
    ("shell", "$X", "deny ask ask deny allow"),
    ("fetch", "https://example.org/", "deny ask ask deny allow"),
    ("mcp(github.create_issue)", "x", "deny ask ask deny allow"),
    ("mcp(github.create_issue", "x", "deny deny deny deny deny"),
    ("teleport", "x", "deny deny deny deny deny"),
]


@pytest.mark.parametrize(("tool", "argument", "verdicts"), TABLE)
def test_modes_without_rules(tool: str, argument: str, verdicts: str) -> None:
    for mode, verdict in zip(MODES, verdicts.split(), strict=True):
        given = ruling(argument, tool, mode=mode)
        assert given.verdict == verdict, (mode, given)
        assert given.why


@pytest.mark.parametrize("strength", ["process", "namespace"])
def test_bypass_is_refused_without_a_kernel_of_its_own(strength: str) -> None:
    given = ruling("ls", mode="bypass", strength=strength, allow=["shell(*)"])  # type: ignore[arg-type]  # one of two
    assert given.verdict == "deny"
    assert "kernel" in given.why


def test_bypass_still_keeps_deny_and_ask() -> None:
    assert ruling("npm publish", mode="bypass", deny=["shell(npm publish:*)"]).verdict == "deny"
    assert ruling("npm publish", mode="bypass", ask=["shell(npm publish:*)"]).verdict == "ask"
    assert ruling("src/a", "edit", mode="bypass", deny=["edit(src/**)"]).verdict == "deny"
    assert ruling("src/a", "edit", mode="bypass", ask=["edit(src/**)"]).verdict == "ask"


def test_auto_denies_what_no_rule_names_until_its_budget_is_spent_then_asks() -> None:
    for denials, verdict in ((0, "deny"), (2, "deny"), (3, "ask"), (4, "ask")):
        given = ruling("npm test", mode="auto", denials=denials)
        assert given.verdict == verdict
    assert "2 more before a person is asked" in ruling("npm test", mode="auto").why
    assert ruling("npm test", mode="auto", allow=["shell(npm test)"]).verdict == "allow"
    assert ruling("npm test", mode="auto", ask=["shell(npm test)"]).verdict == "ask"
    assert ruling("rm x", mode="auto", denials=9, deny=["shell(rm:*)"]).verdict == "deny"


@pytest.mark.parametrize("effect", ["pure", "idempotent", "once"])
def test_plan_takes_a_tools_word_for_it_only_with_a_rule_or_a_person(effect: str) -> None:
    for tool, argument, rule in (("mcp(a.b)", "x", "mcp(a.b)"), ("fetch", "https://a.org/", "fetch(a.org)")):
        given = ruling(argument, tool, mode="plan", effect=effect)  # type: ignore[arg-type]  # one of three
        allowed = ruling(argument, tool, mode="plan", effect=effect, allow=[rule])  # type: ignore[arg-type]  # the same
        assert (given.verdict, allowed.verdict) == (("ask", "allow") if effect == "pure" else ("deny", "deny"))


# Complaints: each test names the threads that it comes from. Evasions of deny rules: test_evasions.py.


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("order", [("deny", "ask", "allow"), ("allow", "ask", "deny")])
def test_deny_denies(mode: Mode, order: tuple[str, ...]) -> None:
    """claude-code#6631, #4570, #27547: deny rules were not enforced, or fell through to a question."""
    for tool, argument, rule in (
        ("shell", "npm publish --dry-run", "shell(npm publish:*)"),
        ("shell", "ls", "shell"),
        ("read", "secrets/key.pem", "read(secrets/**)"),
        ("read", "secrets/key.pem", "read(*.pem)"),
        ("search", "secrets/deep", "read(secrets/)"),
        ("edit", "src/a.py", "edit"),
        ("fetch", "https://evil.example/x", "fetch(*.example)"),
        ("mcp(github.create_issue)", "x", "mcp(github.*)"),
        ("mcp(github.create_issue)", "x", "mcp(*)"),
    ):
        given = ruling(argument, tool, mode=mode, **{name: [rule] for name in order})  # type: ignore[arg-type]  # rules
        assert given.verdict == "deny", given
        assert rule in given.why


@pytest.mark.parametrize("mode", ["default", "accept-edits", "auto", "bypass"])
def test_ask_asks(mode: Mode) -> None:
    """claude-code#81041: ask rules were shown, and never enforced."""
    for tool, argument, rule in (
        ("shell", "ls; git push", "shell(git push:*)"),
        ("shell", "ls", "shell(ls)"),
        ("read", "src/a.py", "read(src/**)"),
        ("search", ".", "read(.env)"),
        ("edit", "src/a.py", "edit(src/**)"),
        ("shell", "echo x > src/a.py", "edit(src/**)"),
        ("fetch", "https://a.org/", "fetch(*)"),
        ("mcp(a.b)", "x", "mcp(a.b)"),
    ):
        given = ruling(argument, tool, mode=mode, ask=[rule], allow=[rule, tool if "(" not in tool else "mcp(*)"])
        assert given.verdict == "ask", given
        assert rule in given.why


def test_every_question_has_a_rule_that_answers_it() -> None:
    """claude-code#91848, #47086: prompts came back that no rule could allow, in bypass mode, too."""
    for command, allow in (
        ("echo x > .git/hooks/pre-commit", ["edit(.git/hooks/**)"]),
        ("echo x > .bashrc", ["edit(.bashrc)"]),
        ("chmod +x .git/hooks/pre-commit", ["shell(chmod:*)", "edit(.git/hooks/*)"]),
        ("FOO=1 npm test", ["shell(FOO=1 npm test)"]),
        ("PATH=. make", ["shell(PATH=. make:*)"]),
        ("export PATH=x; make", ["shell(export PATH=x)", "shell(make)"]),
        ("env FOO=1 npm test", ["shell(FOO=1 npm test)"]),
        ("cat /etc/passwd", ["shell(cat /etc/passwd)"]),
        ("cd /etc && ls", ["shell(cd:*)", "shell(ls)"]),
        ("sudo apt-get update", ["shell(sudo apt-get update)"]),
        ("cat > /tmp//x", ["edit(/tmp/**)"]),
        ("find . -name x -delete", ["shell(find:*)"]),
        ("ls | xargs wc -l", ["shell(wc:*)"]),
        ("bash run.sh x", ["shell(bash run.sh:*)"]),
        (". ./env", ["shell(. ./env)"]),
        ("./run.sh", ["shell(./run.sh)"]),
    ):
        assert ruling(command).verdict == "ask", command
        assert ruling(command, allow=allow).verdict == "allow", (command, ruling(command, allow=allow))
        assert ruling(command, mode="auto", allow=allow).verdict == "allow", command
    for path in (".git/config", ".ssh/config", "a/.git/hooks/x", ".vscode/tasks.json"):
        parts = next(part for part in path.split("/") if part.startswith("."))
        assert ruling(path, "edit", mode="accept-edits", allow=["edit(**)", "edit"]).verdict == "ask", path
        assert ruling(path, "edit", mode="accept-edits", allow=[f"edit({path})"]).verdict == "allow", path
        assert ruling(path, "edit", mode="accept-edits", allow=[f"edit({parts}/)"]).verdict == "allow", path
        assert ruling(path, "edit", mode="bypass").verdict == "allow", path


def test_links_are_followed() -> None:
    links = {"out": "", "out/x": "", "in/x": "src/x", "hook": ".git/hooks/x", "secret": "secrets/key", "a/../b": ""}
    assert ruling("out/x", "edit", links=links, allow=["edit(**)"]).verdict == "deny"
    assert ruling("out/x", "read", links=links).verdict == "deny"
    assert ruling("a/../b", "read", links=links).verdict == "deny"
    assert ruling("in/x", "edit", links=links, allow=["edit(src/**)"]).verdict == "allow"
    assert ruling("in/x", "edit", links=links, allow=["edit(in/**)"]).verdict == "ask"
    assert ruling("in/x", "edit", links=links, allow=["edit(src/**)"], deny=["edit(in/**)"]).verdict == "deny"
    assert ruling("hook", "edit", links=links, mode="accept-edits").verdict == "ask"
    assert ruling("secret", "read", links=links, deny=["read(secrets/**)"]).verdict == "deny"
    assert ruling("cat secret", links=links, deny=["read(secrets/**)"]).verdict == "deny"
    assert ruling("cat out/x", links=links).verdict == "ask"
    assert ruling("cd out && cat x", links=links).verdict == "ask"
    assert ruling("echo x > out/x", links=links, mode="accept-edits").verdict == "deny"
    assert ruling("cat in/x", links=links).verdict == "allow"


def test_paths_of_a_call() -> None:
    def paths(tool: str, **arguments: object) -> tuple[str, ...]:
        return paths_of(Request(tool=tool, arguments=arguments))

    assert paths("read", path="a/../b") == ("a/../b",)
    assert paths("search") == (".",)
    assert paths("edit", path="/etc/passwd") == ()
    assert paths("edit", path="/workspace/x") == ("/workspace/x",)
    assert paths("shell", command="cd src && cat ../a -n --x=b > c < /etc/d") == ("src", "src/../a", "src/b", "src/c")
    assert paths("shell", command="cat $X *.py") == ()
    assert paths("fetch", url="https://a.org/b") == ()
    assert paths("shell", command="x" * 200_000) == paths("shell") == paths("read", path=1) == ()


@pytest.mark.parametrize("arguments", [{}, {"command": 1}, {"command": "a\0b"}, {"command": None}])
def test_arguments_that_are_none(arguments: dict[str, object]) -> None:
    for tool in ("shell", "read", "edit", "fetch"):
        facts = Facts(mode="bypass", strength="kernel")
        assert decide(Request(tool=tool, arguments=arguments), facts).verdict == "deny"


def test_bounds_are_refusals() -> None:
    for command in (
        "a" * 131_073,
        "(" * 131_073,
        "é" * 70_000,
        "a;" * 1001,
        "$(" * 40 + "a" + ")" * 40,
        "env " * 40 + "a",
        "a " * 20_001,
        "eval " * 20_000,
        "eval " * 10 + "a" * 100_000,
        ">a " * 1001,
    ):
        given = ruling(command, mode="bypass")
        assert given.verdict == "deny", command[:20]
        assert given.why.startswith("not read:")
    assert ruling("a" * 131_072, mode="bypass").verdict == "allow"
    assert ruling("x" * 4097, "read").verdict == "deny"


URLS = rows("""
allow | https://docs.python.org/3/
allow | http://docs.python.org/
allow | https://DOCS.python.org/
allow | https://docs.python.org:443/
allow | https://docs.python.org./
allow | https://a.b.example.org/x?y=z
allow | https://wiki.local:8443/
ask | https://docs.python.org:8443/
ask | https://docs.python.org.evil.com/
ask | https://evil.com/docs.python.org
ask | https://example.org/
ask | https://xexample.org/
ask | https://docs.python.org@evil.com/
ask | https://evil.com\\\\@docs.python.org/
ask | https://wiki.local/
deny | https://bad.org/
deny | https://bad.org:99/
deny | https://x@bad.org/
deny | file:///etc/passwd
deny | ftp://docs.python.org/
deny | docs.python.org
deny | https://
deny | https://a:b/
""")


@pytest.mark.parametrize(("verdict", "url"), URLS)
def test_fetch(verdict: str, url: str) -> None:
    allow = ["fetch(docs.python.org)", "fetch(*.example.org)", "fetch(wiki.local:8443)", "fetch(domain:a.org)"]
    assert ruling(url, "fetch", allow=allow, deny=["fetch(bad.org)"]).verdict == verdict


def test_a_rule_that_does_not_parse_is_said() -> None:
    with pytest.raises(LocalError) as caught:
        decide(
            Request(tool="read", arguments={"path": "a"}),
            Facts(mode="default", rules=Rules(deny=("rm",)), strength="kernel"),
        )
    assert caught.value.field == "rules.deny[0]"
    parsed = Facts(mode="default", rules=Ruleset.parse(Rules(deny=("read",))), strength="kernel")
    assert decide(Request(tool="read", arguments={"path": "a"}), parsed).verdict == "deny"
