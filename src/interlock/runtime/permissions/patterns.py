"""Rules, parsed: `tool` or `tool(pattern)`, and what each says of a command, a path, a host or a remote tool. Pure."""

import fnmatch
import functools
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from interlock.errors import LocalError
from interlock.runtime.permissions.found import Simple
from interlock.runtime.permissions.launchers import name_of
from interlock.runtime.permissions.paths import TEMPORARY, PathPattern, compile_path
from interlock.runtime.permissions.variables import told
from interlock.runtime.permissions.words import UNKNOWN, Word
from interlock.runtime.sessions.agent import Rules

PATTERNS_MAX = 1000
"""Of all three lists together."""
PATTERN_CHARS_MAX = 512
TOOLS = ("shell", "read", "edit", "search", "fetch", "mcp")
Which = Literal["deny", "ask", "allow"]
Match = Literal["yes", "maybe", "no"]

_RULE = re.compile(r"(?s)([A-Za-z_]+)(?:\((.*)\))?")
_THEIRS = {
    "bash": "shell",
    "write": "edit",
    "multiedit": "edit",
    "grep": "search",
    "glob": "search",
    "webfetch": "fetch",
}
"""Names that other products have for these."""
_ASSIGN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_VALUED = {"git": ("-C", "-c", "--git-dir", "--work-tree", "--namespace", "--exec-path", "--config-env")}
"""Options before a subcommand whose value is the next word."""


class Pattern(msgspec.Struct, frozen=True, kw_only=True):
    """One rule's pattern."""

    text: str
    """As it was written, for people."""
    tool: str
    words: tuple[str, ...] = ()
    """Of `shell`; for `fetch` and `mcp` the one pattern of the host or name."""
    more: bool = True
    """Further words may follow (`:*`)."""
    path: PathPattern | None = None
    """Of `read`, `edit` and `search`; None: all paths inside the workspace (to allow), or all there are."""


class Ruleset(msgspec.Struct, frozen=True, kw_only=True):
    """A session's rules, parsed."""

    deny: tuple[Pattern, ...] = ()
    ask: tuple[Pattern, ...] = ()
    allow: tuple[Pattern, ...] = ()
    commands: Mapping[str, Mapping[str, tuple[Pattern, ...]]] = {}
    """Of `shell`, by list and program, so that a long list costs a command nothing; empty: every program."""

    def named(self, which: Which, program: str) -> tuple[Pattern, ...]:
        """The patterns of a list that may name this program, without those that name every program."""
        return self.commands.get(which, {}).get(program, ())

    @classmethod
    def parse(cls, rules: Rules) -> "Ruleset":
        """Parse them all. Raises: LocalError: it names the wrong pattern, and says what would be right."""
        if len(rules.deny) + len(rules.ask) + len(rules.allow) > PATTERNS_MAX:
            raise LocalError(f"there are more than {PATTERNS_MAX} rules", field="rules")
        deny = tuple(_parsed(text, f"rules.deny[{at}]", allows=False) for at, text in enumerate(rules.deny))
        ask = tuple(_parsed(text, f"rules.ask[{at}]", allows=False) for at, text in enumerate(rules.ask))
        allow = tuple(_parsed(text, f"rules.allow[{at}]", allows=True) for at, text in enumerate(rules.allow))
        commands = {"deny": _by_program(deny), "ask": _by_program(ask), "allow": _by_program(allow)}
        return cls(deny=deny, ask=ask, allow=allow, commands=commands)


def _by_program(patterns: Iterable[Pattern]) -> Mapping[str, tuple[Pattern, ...]]:
    found: dict[str, list[Pattern]] = {}
    for pattern in patterns:
        if pattern.tool == "shell":
            found.setdefault(program_of(pattern.words) if pattern.words else "", []).append(pattern)
    return {name: tuple(named) for name, named in found.items()}


def program_of(words: Sequence[str]) -> str:
    """The program that words begin with, without its directory; `=`: they only set variables."""
    return next((word.rsplit("/", 1)[-1] for word in words if not _ASSIGN.match(word)), "=")


@functools.lru_cache(maxsize=256)
def parsed(rules: Rules) -> Ruleset:
    """`Ruleset.parse`, remembered for the last 256."""
    return Ruleset.parse(rules)


def _parsed(text: str, field: str, *, allows: bool) -> Pattern:
    if len(text) > PATTERN_CHARS_MAX:
        raise LocalError(f"the pattern is longer than {PATTERN_CHARS_MAX} characters", field=field)
    rule = _RULE.fullmatch(text)
    if not rule:
        raise LocalError(f"{text!r} is no rule: write tool or tool(pattern), as shell(git status:*)", field=field)
    tool, argument = rule[1], rule[2]
    if tool not in TOOLS:
        right = _THEIRS.get(tool.lower(), tool.lower())
        hint = f"write {right}" if right in TOOLS else f"the tools are {', '.join(TOOLS)}"
        raise LocalError(f"{text!r}: there is no tool {tool!r}; {hint}", field=field)
    if argument is None or argument == "*":
        return Pattern(text=text, tool=tool)
    if not argument.strip():
        raise LocalError(f"{text!r} names nothing: write {tool} or {tool}(*) for all of it", field=field)
    if tool == "shell":
        return _shell(text, argument, field)
    if tool in ("fetch", "mcp"):
        return _named(text, tool, argument, field)
    path = compile_path(argument, field)
    if allows and argument.startswith(("/", "~")) and not argument.startswith(TEMPORARY + "/"):
        raise LocalError(
            f"{text!r}: no rule allows paths outside the workspace, but for {TEMPORARY}/…; write it relative to the "
            "workspace",
            field=field,
        )
    return Pattern(text=text, tool=tool, path=path)


def _shell(text: str, argument: str, field: str) -> Pattern:
    more = argument.endswith(":*")
    body = argument[:-2] if more else argument
    try:
        words = shlex.split(body)
    except ValueError as error:
        raise LocalError(f"{text!r}: {error}".replace("quotation", "quote"), field=field) from None
    bare = re.sub(r"\\.|'[^']*'|\"[^\"]*\"", "", body)
    if found := re.search(r"[;|&<>()$`\n]", bare):
        raise LocalError(
            f"{text!r}: {found[0]!r} is not of one simple command; write a rule for each command", field=field
        )
    if "*" in bare:
        right = body.split("*")[0].strip().removesuffix(":") or "*"
        raise LocalError(f"{text!r}: `*` inside is no wildcard; write shell({right}:*) for further words", field=field)
    if not words:
        raise LocalError(f"{text!r} names no command: write shell(*) for all of them", field=field)
    return Pattern(text=text, tool="shell", words=tuple(words), more=more)


def _named(text: str, tool: str, argument: str, field: str) -> Pattern:
    if tool == "mcp" and not re.fullmatch(r"[A-Za-z0-9_*-]+\.[A-Za-z0-9_.*/-]+", argument):
        raise LocalError(f"{text!r}: write mcp(server.tool), mcp(server.*) or mcp(*)", field=field)
    if tool == "fetch":
        argument = argument.removeprefix("domain:").lower()
        if not re.fullmatch(
            r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*(:[0-9]{1,5})?|\[[0-9a-f:.]+\](:[0-9]{1,5})?", argument
        ):
            raise LocalError(f"{text!r}: write a host, as fetch(docs.python.org) or fetch(*.python.org)", field=field)
    return Pattern(text=text, tool=tool, words=(argument,))


# A command against a pattern.


def allows_command(pattern: Pattern, simple: Simple) -> bool:
    """Every word it names is there, in order, from the first; so is each variable that may change what runs."""
    if pattern.tool != "shell":
        return False
    wanted = list(pattern.words)
    if any(f"{name}={value}" not in wanted for name, value in told(simple)):
        return False
    before = [] if _declares(simple) else [f"{name}={word.value}" for name, word in simple.assigns if word.known]
    for text in before:
        if wanted[:1] == [text]:
            wanted = wanted[1:]
    words = simple.words
    if not wanted:
        return not words or (pattern.more and not pattern.words)
    if len(words) < len(wanted) or (len(words) > len(wanted) and not pattern.more):
        return False
    for at, (want, word) in enumerate(zip(wanted, words, strict=False)):
        if not word.known or (name_of(word) if at == 0 and "/" not in want else word.value) != want:
            return False
    return True


def _declares(simple: Simple) -> bool:
    """Its variables stand among its words: `export A=b`."""
    return bool(simple.words) and simple.words[0].value in ("export", "declare", "typeset", "local", "readonly")


def forbids_command(pattern: Pattern, simple: Simple) -> Match:
    """Whether a deny or ask pattern names this command; it may also only be possible."""
    if pattern.tool != "shell":
        return "no"
    if not pattern.words:
        return "yes"
    words = simple.words
    if not words:
        return "no"
    name = words[0].value.rsplit("/", 1)[-1]
    if not words[0].known:
        return "maybe"
    wanted = list(pattern.words)
    while len(wanted) > 1 and _ASSIGN.match(wanted[0]):
        wanted = wanted[1:]
    if name != wanted[0].rsplit("/", 1)[-1]:
        return "no"
    return _rest(wanted[1:], words[1:], pattern.more, _VALUED.get(name, ()))


def _rest(wanted: Sequence[str], words: Sequence[Word], more: bool, valued: Sequence[str]) -> Match:
    """Words behind the program's name: options that stand between are passed over."""
    if _exactly(wanted, words, more):
        return "yes"
    plain = [want for want in wanted if not want.startswith("-")]
    maybe = len(plain) < len(wanted) and any(word.value.startswith(("-", UNKNOWN)) for word in words)
    stripped: list[Word] = []
    at, options = 0, 0
    while at < len(words):
        if words[at].value in valued:
            at += 1
            options += 1
        elif words[at].value.startswith("-") and len(stripped) < len(wanted):
            options += 1
        else:
            stripped.append(words[at])
        at += 1
    if options and _exactly(wanted, stripped, more):
        return "yes"
    if any(
        not word.known and (word.split or word.glob or UNKNOWN in word.value)
        for word in words[: len(wanted) + 2 * options]
    ):
        return "maybe" if _could(plain, words) else "no"
    return "maybe" if (maybe or options) and _in_order(plain, words) else "no"


def _exactly(wanted: Sequence[str], words: Sequence[Word], more: bool) -> bool:
    if len(words) < len(wanted) or (len(words) > len(wanted) and not more):
        return False
    return all(word.known and word.value == want for want, word in zip(wanted, words, strict=False))


def _in_order(wanted: Sequence[str], words: Sequence[Word]) -> bool:
    """They stand there in this order, perhaps with others between."""
    at = 0
    for word in words:
        if at < len(wanted) and word.value == wanted[at]:
            at += 1
    return at == len(wanted)


def _could(wanted: Sequence[str], words: Sequence[Word]) -> bool:
    """They may stand there in this order, an unknown word being any."""
    at = 0
    for word in words:
        if at < len(wanted) and word.value == wanted[at]:
            at += 1
        elif not word.known and at < len(wanted):
            if word.split:
                return True
            if word.glob or fnmatch.fnmatchcase(wanted[at], _glob(word)):
                at += 1
    return at == len(wanted)


def _glob(word: Word) -> str:
    return "".join("*" if c == UNKNOWN else f"[{c}]" if c in "*?[" else c for c in word.value)


def names_remote(pattern: Pattern, name: str) -> bool:
    """An `mcp` pattern and a `server.tool`."""
    return pattern.tool == "mcp" and (not pattern.words or fnmatch.fnmatchcase(name, _stars(pattern.words[0])))


def _stars(text: str) -> str:
    return re.sub(r"[?\[]", lambda found: f"[{found[0]}]", text)


def names_host(pattern: Pattern, host: str, port: int, *, usual: bool, allows: bool) -> bool:
    """A `fetch` pattern and a URL's host. To allow, a port that is not its scheme's (`usual`) has to be named."""
    if pattern.tool != "fetch":
        return False
    if not pattern.words:
        return True
    wanted, number = pattern.words[0], ""
    if re.search(r":[0-9]+$", wanted):
        wanted, _, number = wanted.rpartition(":")
    if (int(number) != port) if number else (allows and not usual):
        return False
    wanted, host = wanted.strip("[]"), host.strip("[]")
    return host.endswith(wanted[1:]) if wanted.startswith("*.") else host == wanted
