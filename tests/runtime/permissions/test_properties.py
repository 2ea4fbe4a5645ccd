"""What holds of every decision, whatever the rules and the call."""

import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import at_least
from tests.runtime.permissions.asking import ruling
from tests.runtime.permissions.test_readers import OTHERS, READS
from tests.runtime.permissions.test_script import SOUP

from interlock.runtime.permissions import Facts, Request, decide, paths_of
from interlock.runtime.permissions.script import TEXT_BYTES_MAX
from interlock.runtime.sessions.agent import Mode, Rules
from interlock.runtime.sessions.event import Verdict

RANK: dict[Verdict, int] = {"allow": 0, "ask": 1, "deny": 2}
MODES: list[Mode] = ["plan", "default", "accept-edits", "auto", "bypass"]
_PATTERNS = """
shell; shell(*); shell(ls:*); shell(cat:*); shell(rm:*); shell(rm -rf:*); shell(git:*);
shell(git push:*); shell(git status); shell(npm test); shell(npm:*); shell(sudo:*);
shell(env:*); shell(FOO=1 ls); shell(bash:*); shell(find:*); shell(cd:*); read; read(*);
read(src/**); read(.env); read(*.pem); read(/etc/**); edit; edit(src/**); edit(*.md);
edit(.git/**); edit(out); search(src); fetch(*); fetch(a.org); mcp(*); mcp(a.b); mcp(a.*)
"""
PATTERNS = [pattern.strip() for pattern in _PATTERNS.split(";")]
COMMANDS = [command for _, command in READS + OTHERS] + [
    "rm x", "rm -rf src", "git push", "git status; rm x", "npm test > out", "sudo rm x", "cat .env key.pem",
    "echo x > src/a", "xargs rm", "$X rm",
]  # fmt: skip
allowable = st.sampled_from([p for p in PATTERNS if "(/etc" not in p])
lists = st.lists(st.sampled_from(PATTERNS), max_size=4)
calls = st.one_of(
    st.tuples(st.just("shell"), st.sampled_from(COMMANDS)),
    st.tuples(
        st.sampled_from(["read", "edit", "search"]),
        st.sampled_from(["src/a", ".env", "../x", "a.md", ".git/config", "key.pem"]),
    ),
    st.tuples(st.just("fetch"), st.sampled_from(["https://a.org/", "http://b.org:81/"])),
    st.tuples(st.sampled_from(["mcp(a.b)", "mcp(c.d)"]), st.just("")),
)
modes = st.sampled_from(MODES)
Made = tuple[str, str]
"""A tool and its argument."""
allows = st.lists(allowable, max_size=4)
many = settings(max_examples=at_least(400), deadline=None)


@many
@given(call=calls, mode=modes, deny=lists, ask=lists, allow=allows, more=st.sampled_from(PATTERNS))
def test_a_deny_rule_never_makes_more_possible(
    call: Made, mode: Mode, deny: list[str], ask: list[str], allow: list[str], more: str
) -> None:
    before = ruling(call[1], call[0], mode=mode, deny=deny, ask=ask, allow=allow)
    after = ruling(call[1], call[0], mode=mode, deny=[*deny, more], ask=ask, allow=allow)
    assert RANK[after.verdict] >= RANK[before.verdict], (before, after)


@many
@given(call=calls, mode=modes, deny=lists, ask=lists, allow=allows, more=allowable)
def test_an_allow_rule_overrides_nothing(
    call: Made, mode: Mode, deny: list[str], ask: list[str], allow: list[str], more: str
) -> None:
    rules = ruling(call[1], call[0], mode="bypass", deny=deny, ask=ask)  # where nothing but rules and bounds speaks
    after = ruling(call[1], call[0], mode=mode, deny=deny, ask=ask, allow=[*allow, more])
    assert RANK[after.verdict] >= RANK[rules.verdict], (rules, after)


@many
@given(data=st.data(), call=calls, mode=modes, deny=lists, ask=lists, allow=allows)
def test_the_order_of_rules_does_not_matter(
    data: st.DataObject, call: Made, mode: Mode, deny: list[str], ask: list[str], allow: list[str]
) -> None:
    before = ruling(call[1], call[0], mode=mode, deny=deny, ask=ask, allow=allow)
    mixed = [data.draw(st.permutations(rules)) for rules in (deny, ask, allow)]
    after = ruling(call[1], call[0], mode=mode, deny=mixed[0], ask=mixed[1], allow=mixed[2])
    assert after.verdict == before.verdict


@many
@given(call=calls, mode=modes, rule=allowable)
def test_of_a_tie_the_stricter_wins(call: Made, mode: Mode, rule: str) -> None:
    only_ask = ruling(call[1], call[0], mode=mode, ask=[rule])
    assert ruling(call[1], call[0], mode=mode, ask=[rule], allow=[rule]).verdict in (only_ask.verdict, "deny")
    if ruling(call[1], call[0], mode="bypass", deny=[rule]).verdict == "deny":
        assert ruling(call[1], call[0], mode=mode, deny=[rule], ask=[rule], allow=[rule]).verdict == "deny"


WRAPS: list[Callable[[str], str]] = [
    text.format
    for text in (
        "{{ {}\n}}", "( {}\n)", "true; {}", "{}\ntrue", "true && {}", "{}\nls | cat", "if true; then {}\nfi",
        "while true; do {}\nbreak; done", "for v in a; do {}\ndone", "case a in a) {}\n;; esac", "echo $({}\n)",
        'echo "$({}\n)"', "cat <({}\n)", "f() {{ {}\n}}; f", "x=$({}\n)", "! {}", "{} &", "cat <<E\n$({}\n)\nE",
        "a=($({}\n))", "[[ -n $({}\n) ]]", "time {}",
    )
]  # fmt: skip
PREFIXES = [
    "env ",
    "nice -n 2 ",
    "timeout 3 ",
    "sudo ",
    "nohup ",
    "command ",
    "exec ",
    "xargs ",
    "env A=b ",
    "stdbuf -oL ",
    "busybox ",
    "time ",
]


def alone(command: str) -> bool:
    """It has no `cd`, which says where other commands are, and opens nothing that it does not close."""
    return not any(odd in command for odd in ("cd", "<<", "pushd", "#")) and not (
        command.endswith("\\") or command in OPEN
    )


OPEN = {"ls 'a", 'ls "a', "ls `a", "ls $(a", "ls; }", "ls)", "if ls", "ls ;; cat a", "fi", "cat <<EOF\na"}
closed = st.sampled_from([command for command in COMMANDS if alone(command)])


@many
@given(
    command=closed,
    wraps=st.lists(st.sampled_from(WRAPS), min_size=1, max_size=3),
    mode=modes,
    allow=allows,
    deny=lists,
)
def test_a_compound_is_never_wider_than_its_parts(
    command: str, wraps: list[Callable[[str], str]], mode: Mode, allow: list[str], deny: list[str]
) -> None:
    text = command
    for wrap in wraps:
        text = wrap(text)
    inner, outer = ruling(command, mode=mode, allow=allow, deny=deny), ruling(text, mode=mode, allow=allow, deny=deny)
    assert RANK[outer.verdict] >= RANK[inner.verdict], (text, inner, outer)


@many
@given(
    prefixes=st.lists(st.sampled_from(PREFIXES), max_size=3),
    wraps=st.lists(st.sampled_from(WRAPS), max_size=5),
    mode=modes,
)
def test_what_is_denied_is_denied_at_any_depth(
    prefixes: list[str], wraps: list[Callable[[str], str]], mode: Mode
) -> None:
    text = "".join(prefixes) + "rm x"
    for wrap in wraps:
        text = wrap(text)
    given_ = ruling(text, mode=mode, deny=["shell(rm:*)"], allow=["shell(*)"])
    assert given_.verdict == "deny", (text, given_)
    assert "shell(rm:*)" in given_.why


texts = st.one_of(
    st.text(max_size=60),
    st.binary(max_size=60).map(lambda raw: raw.decode("latin-1")),
    st.binary(max_size=40).map(lambda raw: raw.decode(errors="surrogateescape")),
    st.lists(st.sampled_from(SOUP), max_size=30).map("".join),
)
tools = st.sampled_from(["shell", "read", "edit", "search", "fetch", "mcp(a.b)", ""])


@settings(max_examples=at_least(600), deadline=None)
@given(text=texts, tool=tools, mode=modes)
def test_any_text_is_decided(text: str, tool: str, mode: Mode) -> None:
    key = {"shell": "command", "fetch": "url"}.get(tool, "path")
    request = Request(tool=tool or text, arguments={key: text})
    rules = Rules(deny=("shell(rm:*)", "read(.env)", "fetch(a.org)"), ask=("edit(a/*)",), allow=("shell(ls:*)",))
    given_ = decide(request, Facts(mode=mode, rules=rules, strength="kernel"))
    assert given_.verdict in RANK
    assert given_.why
    for path in paths_of(request):
        assert path


HOSTILE = [
    "(", "$(", "a;", '"', "{ ", "<<a ", "case a in ", "if ", "a ", "`", "${a", "$(((", "a[", "<(", "a|", ";)", "[[ ",
    '"$(', "\n", "cat <<a\n", "\\`", "a=b ", "env ", "eval ", "{a,", "*/", "../", "cd a;", "cd a && ", "'", "$((1+",
    ">a ", "((", "f() {", "cat <<'a'\n\na\n", "sh -c '", "find -exec ", "!",
]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_time_is_linear(piece: str) -> None:
    """Four times the text is not nine times the work, and the longest is decided."""
    took = []
    facts = Facts(
        mode="bypass", rules=Rules(deny=("read(.env)", "shell(rm:*)"), allow=("shell(*)",)), strength="kernel"
    )
    for size in (TEXT_BYTES_MAX // 4, TEXT_BYTES_MAX):
        text = piece * (size // len(piece))
        request = Request(tool="shell", arguments={"command": text})
        best = float("inf")
        for _ in range(3):
            began = time.process_time()
            decide(request, facts)
            best = min(best, time.process_time() - began)
        took.append(best)
    assert took[1] < max(9 * took[0], 0.05), took
    assert took[1] < 2.0, took
