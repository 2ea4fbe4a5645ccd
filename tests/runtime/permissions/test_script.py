"""What is read of a line of shell is what real shells do: every program that bash or dash starts was seen."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st
from tests.examples import at_least
from tests.runtime.permissions.shells import PROGRAMS, Shells, unasked, understood, unnamed, unseen

words = st.sampled_from(
    [
        "x",
        "-n",
        "'a b'",
        '"$v"',
        "$v",
        "\\;",
        "a\\ b",
        '"a"b',
        "*.py",
        "~",
        "{1,2}",
        "${v:-z}",
        '"`beta q`"',
        "$(gamma r)",
        "1",
        "#c",
        "a#b",
        "''",
    ]
)
programs = st.sampled_from([*PROGRAMS, "al\\pha", "'beta'", 'g"amm"a', "del\\\nta"])
redirects = st.sampled_from(
    ["", "", "", " >out", " 2>>err", " </dev/null", " <<<w", " >out 2>&1", " &>all", " 3<>both"]
)
prefixes = st.sampled_from(
    ["", "", "", "V=1 ", "! ", "env A=b ", "nice -n 3 ", "timeout 5 ", "command ", "nohup ", "exec ", "env -u Q nice "]
)


@st.composite
def simple(draw: st.DrawFn) -> str:
    """One command."""
    text = " ".join([draw(prefixes) + draw(programs), *draw(st.lists(words, max_size=3))])
    return text + draw(redirects)


def compound(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Commands made of commands."""
    pair = st.tuples(inner, inner)
    quoted = inner.map(lambda text: text.replace("'", '"'))
    twos = ["{} && {}", "{} || {}", "{}; {}", "{} | {}", "{}\n{}", "{} & {}", "if {}; then {}; fi"]
    loops = ["for v in $({}) k; do {}; done", "while {}; do {}; break; done", "until {}; do {}; break; done"]
    ones = [
        "( {} )", "{{ {}; }}", "case a in b|a) {} ;; *) beta;; esac", "echo $({})", 'echo "$({})"', "time {}",
        "alpha <({})", "cat <<E\n$({})\nE", "cat <<'E' | alpha\n{}\nE", "alpha # {}",
        "echo x | xargs {}", "[ a = a ] && {}", "v=$({})", 'export v="$({})"',
    ]  # fmt: skip
    texts = ["sh -c '{}'", "eval '{}'", "trap '{}' EXIT", "bash -c '{}' gamma"]
    return st.one_of(
        st.tuples(st.sampled_from([*twos, *loops]), pair).map(lambda made: made[0].format(*made[1])),
        st.tuples(st.sampled_from(ones), inner).map(lambda made: made[0].format(made[1])),
        inner.map(lambda text: f"fn{len(text)}() {{ {text}; }}; fn{len(text)}"),  # none that calls itself: names differ
        st.tuples(st.sampled_from(texts), quoted).map(lambda made: made[0].format(made[1])),
    )


lines = st.recursive(simple(), compound, max_leaves=5)
SOUP = [
    " ", " ", " ", " ", ";", "\n", "&&", "||", "|", "&", "(", ")", "{ ", "}", "$(", "`", "'", '"', "\\", "if ",
    "then ", "else ", "fi", "for x in ", "do ", "done", "case a in ", "a)", ";;", "esac", "<<E", "<<'E'",
    "\nE\n", ">f", "<f", "#", "$x", "${x}", "${x:-", "x=1 ", "!", "[[ ", " ]]", "((", "))", "$((", "\\\n", "$'",
    "{a,b}", "time ", "eval ", "env ", "*", "~", "alpha", "beta ", "gamma ", "delta", "sh -c ", "exec ", "2",
    "<(", "[ ", " ]", "xargs ", "in ", "function ", "\t", "a", "-c ", "&>", "|&", "<<<", "=", ",", "nice ",
    "trap ", "--", "-n ", "command ",
]  # fmt: skip
SEEDS = [
    "alpha x && beta y || gamma", "cat <<E\nalpha $(beta)\n`gamma`\nE\ndelta", "cat <<-'E' | alpha\n\tx\n\tE\nbeta",
    "if alpha; then beta; elif gamma; then delta; else alpha 1; fi", 'for x in a $(beta) c; do gamma "$x"; done',
    "case a in a|b) alpha;; (c) beta ;; *) gamma; esac; delta", "{ alpha; beta; } >f 2>&1",
    "( alpha; ( beta ) ) | gamma",
    "sh -c \"alpha 'x y'; beta\"", "bash -c 'alpha; eval \"beta 1\"'",
    "eval 'alpha; beta' gamma", "trap 'alpha x' EXIT; beta",
    "echo a b | xargs -n 1 alpha x", "find . -exec alpha {} \\; -exec beta {} +", "env A=1 nice -n 5 timeout 5 alpha x",
    "x=$(alpha) y=`beta` gamma", 'alpha "$(beta "$(gamma)")" `delta \\`alpha\\``', "alpha <(beta) >(gamma)",
    "alpha \\\n  x \\\n y # beta\ngamma", "[ a = a ] && alpha; test b = b && beta", "[[ a == a ]] && alpha",
    "! alpha | beta & gamma", "while alpha; do beta; break; done <f", "alpha >f 2>>g <h 3>&1",
    'export A=$(alpha) B="x y"; beta $A "$B"', "alpha 'a;b|c' \"d;$(beta)e\" f\\;g",
    "time -p alpha; command -p beta; exec gamma",
    "nohup alpha; setsid -w beta; stdbuf -oL gamma", "alpha ${x:-y} ${#x} $((1+2)) {a,b}{1,2} *.z ~",
    "cat <<A; cat <<B\n1\nA\n$(alpha)\nB\nbeta", "set -e; cd . && alpha; until beta; do break; done",
]  # fmt: skip
"""Lines that are seen through, to be changed a little."""


@st.composite
def changed(draw: st.DrawFn) -> str:
    """A line with pieces put in, left out, or taken from another line."""
    text = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 4))):
        at, kind = draw(st.integers(0, len(text))), draw(st.integers(0, 3))
        if kind < 2:
            text = text[:at] + draw(st.sampled_from(SOUP)) + text[at:]
        elif kind == 2:
            text = text[:at] + text[at + draw(st.integers(1, 3)) :]
        else:
            other = draw(st.sampled_from(SEEDS))
            text = text[:at] + other[draw(st.integers(0, len(other))) :]
    return text


soup = st.lists(st.sampled_from(SOUP), min_size=2, max_size=14).map("".join)


@pytest.fixture(scope="module")
def shells(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shells]:
    yield Shells(Path(tmp_path_factory.mktemp("shells")))


@pytest.mark.parametrize("shell", ["bash", "dash"])
@settings(
    max_examples=at_least(120),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(text=lines)
def test_all_that_a_shell_starts_was_seen(shells: Shells, shell: str, text: str) -> None:
    script = understood(text)
    started, made = shells.run(shell, text)
    event(f"started {min(len(started), 3)}, {'opaque' if script.opaque else 'clear'}")
    assert unnamed(script, started) == [], text
    if not script.opaque:
        assert unseen(script, started) == [], text
        assert unasked(script, made) == set(), text


@pytest.mark.parametrize("shell", ["bash", "dash"])
@settings(
    max_examples=at_least(300),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(text=st.one_of(soup, changed(), changed()))
def test_what_is_said_to_be_seen_through_is(shells: Shells, shell: str, text: str) -> None:
    """Any text at all: if nothing in it is opaque, then nothing ran that was not seen."""
    assume(not re.search(r"[\w'\"\\]\s*\(\s*\)", text))  # functions that call themselves without end
    script = understood(text)
    if script.opaque:
        event("opaque")
        return
    started, made = shells.run(shell, text)
    event(f"started {min(len(started), 3)}")
    assert unseen(script, started) == [], text
    assert unasked(script, made) == set(), text
