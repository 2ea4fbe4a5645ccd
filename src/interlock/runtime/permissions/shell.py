"""What rules and the read-only list say of a line of shell. Pure.

A line is allowed only if all its commands are; it is denied if any is. Each path that its words name is held against
the rules over paths, as far as it can be told from the text: docs/permissions.md says what cannot.
"""

import msgspec

from interlock.runtime.permissions.access import Places, Verdicts, allowed, forbid, forbid_unknown, shown, write
from interlock.runtime.permissions.found import Script, Simple
from interlock.runtime.permissions.launchers import look_through, name_of
from interlock.runtime.permissions.paths import DEVICES, PATH_CHARS_MAX, inside, join, protected
from interlock.runtime.permissions.patterns import Ruleset, allows_command, forbids_command, program_of
from interlock.runtime.permissions.readers import Reading, reading
from interlock.runtime.permissions.script import read
from interlock.runtime.permissions.variables import changes, told
from interlock.runtime.permissions.words import UNKNOWN, Refused, Word

DIRECTORIES_MAX = 8
MOVES_MAX = 20
PATHS_MAX = 1000
"""That the caller is asked to resolve."""
CHECKS_MAX = 300_000
"""Of words against rules over paths, each about a microsecond."""
_MOVES = ("cd", "pushd", "popd")
_RUN_NOTHING = (
    "git",
    "rm",
    "cp",
    "mv",
    "mkdir",
    "touch",
    "chmod",
    "chown",
    "ln",
    "tee",
    "kill",
    "tar",
    "curl",
    "wget",
    "sed",
)
"""Programs whose words are no commands, though they may be called like one (`git rm`)."""


class Move(msgspec.Struct, frozen=True):
    """A `cd`."""

    place: int
    chain: int
    target: str


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A line, read and looked through."""

    script: Script
    moves: tuple[Move, ...] = ()
    """In order. One that did not succeed led nowhere, but what is in its chain runs only if it did."""
    lost: bool = False
    """Nobody knows which directory it is in."""

    def directories(self, at: int, chain: int) -> list[str]:
        """Where the command at this place may run, from the workspace; none: nobody knows."""
        current = ["."]
        for move in self.moves:
            if move.place >= at:
                break
            gone = [join(directory, move.target) for directory in current]
            current = gone if move.chain == chain else list(dict.fromkeys([*current, *gone]))
            if len(current) > DIRECTORIES_MAX:
                return []
        return current

    def targets(self, word: Word, at: int, chain: int) -> list[str] | None:
        """The paths a word may name, as they are said from the workspace; None: only running it would tell."""
        if UNKNOWN in word.value:
            return None
        if not inside(word.value) or not self.moves:
            return None if self.lost and inside(word.value) else [word.value]
        directories = [] if self.lost else self.directories(at, chain)
        return [join(directory, word.value) for directory in directories] or None


def understand(text: str) -> Line:
    """Read a line. Raises: Refused: it is beyond a bound."""
    script = read(text)
    look_through(script)
    for name in script.sets:
        if changes(name):
            script.opaque = script.opaque or f"it sets {name if name != '*' else 'a variable that nobody can tell'}"
    moves, lost = [], False
    for simple in sorted((s for s in script.commands if s.words), key=lambda s: s.place):
        if name_of(simple.words[0]) in _MOVES:
            said = reading(simple)
            if simple.repeated or said is None or not said.paths or not said.paths[0].known:
                lost = True
            else:
                chain = -1 if simple.under is not None or simple.negated else simple.chain
                moves.append(Move(simple.place, chain, said.paths[0].value))
    return Line(script=script, moves=tuple(moves[:MOVES_MAX]), lost=lost or len(moves) > MOVES_MAX)


def named_paths(line: Line) -> tuple[list[str], bool]:
    """Paths that may lead elsewhere by a link; whether they are all."""
    found: dict[str, None] = {}
    words = [(word, *_at(simple)) for simple in line.script.commands for word in _operands(simple)]
    words += [(redirect.target, redirect.place, redirect.chain) for redirect in line.script.redirects]
    for word, at, chain in words:
        for path in (line.targets(word, at, chain) or []) if not word.glob else []:
            if path and len(path) <= PATH_CHARS_MAX and "\n" not in path:
                found[path] = None
                if len(found) > PATHS_MAX:
                    return list(found)[:PATHS_MAX], False
    return list(found), True


def _at(simple: Simple) -> tuple[int, int]:
    return (1 << 30, -2) if simple.repeated else (simple.place, simple.chain)


def _operands(simple: Simple) -> list[Word]:
    """Words that may be paths: not options; what stands behind `=`, and `@file`, as well."""
    found = []
    for word in simple.words[1:]:
        head, equals, tail = word.value.partition("=")
        if equals and tail and UNKNOWN not in head:
            found.append(msgspec.structs.replace(word, value=tail))
        if word.value.startswith("@") and len(word.value) > 1:
            found.append(msgspec.structs.replace(word, value=word.value[1:]))
        if word.value and not word.value.startswith("-"):
            found.append(word)
    return found


def judge(line: Line, rules: Ruleset, places: Places, *, accept: bool) -> Verdicts:
    """What is said of the line. `accept`: edits inside the workspace pass."""
    found, script, patterns = Verdicts(), line.script, (*rules.deny, *rules.ask, *rules.allow)
    if script.opaque:
        found.pure = False
        found.missing = f"not seen through: {script.opaque}"
        for pattern in rules.deny:
            if pattern.tool == "shell":
                found.doubt_by(pattern, f"what is not seen through ({script.opaque})")
        for pattern in rules.ask:
            if pattern.tool == "shell":
                found.ask_by(pattern, f"what is not seen through ({script.opaque})", maybe=True)
    free = _redirects(found, line, rules, places, accept=accept)
    checks = sum(len(simple.words) for simple in script.commands) + len(script.redirects)
    if not named_paths(line)[1] or checks * sum(pattern.path is not None for pattern in patterns) > CHECKS_MAX:
        raise Refused(f"it names more paths than {PATHS_MAX:,}, or than {CHECKS_MAX:,} divided by the rules over paths")
    reasons: dict[str, None] = {}
    for simple in script.commands:
        said = reading(simple)
        _command(found, simple, rules, reads=said is not None)
        inside_only = _paths(found, line, simple, said, rules, places)
        rule = _rule(simple, rules)
        if said is not None and not told(simple) and inside_only and free:
            reasons["reads inside the workspace"] = None
        elif rule:
            reasons[rule] = None
            _guarded(found, line, simple, said, rules, places)
        elif not (simple.transparent and not told(simple)) and not (not simple.words and not told(simple)):
            found.missing = found.missing or _missing(simple, said)
        if said is None and not simple.transparent:
            found.pure = False
        found.pure &= not told(simple)
    if not found.missing:
        found.allow = ", ".join(reasons) or "nothing that runs"
    return found


def _missing(simple: Simple, said: Reading | None) -> str:
    text = _text(simple)
    if variables := told(simple):
        return f"no rule allows {shown(text)} with {variables[0][0]} set"
    return f"{shown(text)} reads outside the workspace" if said is not None else f"no rule allows {shown(text)}"


def _text(simple: Simple) -> str:
    return " ".join([f"{name}={word.value}" for name, word in simple.assigns] + [word.value for word in simple.words])


def _redirects(found: Verdicts, line: Line, rules: Ruleset, places: Places, *, accept: bool) -> bool:
    """Files that the shell opens. Returns whether those that it reads are inside."""
    free = True
    for redirect in line.script.redirects:
        kind = "edit" if redirect.writes else "read"
        word = redirect.target
        targets = None if word.glob else line.targets(word, redirect.place, redirect.chain)
        if redirect.writes and word.value not in DEVICES:
            found.pure = False
        if targets is None:
            forbid_unknown(found, rules, "edit" if redirect.writes else "read", None)
            found.missing = found.missing or f"{kind}s a file that only running it would tell"
            continue
        for path in targets:
            if redirect.writes:
                write(found, rules, path, places, accept=accept)
            elif path not in DEVICES:
                names = places.all_of(path)
                forbid(found, rules, "read", names)
                free &= all(inside(name) for name in names)
    return free


def _command(found: Verdicts, simple: Simple, rules: Ruleset, *, reads: bool) -> None:
    """Deny and ask rules over the command itself, and over what its words may run."""
    text = _text(simple)
    name = program_of([word.value for word in simple.words])
    runs_words = not reads and not simple.transparent and simple.words and name not in _RUN_NOTHING
    behind = {word.value.rsplit("/", 1)[-1] for word in simple.words[1:]} if runs_words else set()
    for pattern in (*rules.named("deny", ""), *rules.named("deny", name)):
        match = forbids_command(pattern, simple)
        if match == "yes":
            found.deny_by(pattern, text)
        elif match == "maybe":
            found.doubt_by(pattern, text)
    for pattern in (*rules.named("ask", ""), *rules.named("ask", name)):
        match = forbids_command(pattern, simple)
        if match != "no":
            found.ask_by(pattern, text, maybe=match == "maybe")
    for word in behind:  # a command that a rule names, among the words of a program that may run it (`strace rm x`)
        for pattern in rules.named("deny", word) if word else ():
            found.doubt_by(pattern, text)
        for pattern in rules.named("ask", word) if word else ():
            found.ask_by(pattern, text, maybe=True)


def _paths(found: Verdicts, line: Line, simple: Simple, said: Reading | None, rules: Ruleset, places: Places) -> bool:
    """Rules over the paths it names. Returns whether all of them are told, and inside."""
    words = said.paths if said is not None else _operands(simple)
    deep = said is not None and said.deep
    free = True
    for word in words:
        if word.value == "-" or word.pipe or (said is not None and word.value.startswith("-") and word.known):
            continue
        targets = line.targets(word, *_at(simple))
        kinds = ("read",) if said is not None else ("read", "edit")
        if targets is None:
            free = False
            for kind in kinds:
                forbid_unknown(found, rules, "edit" if kind == "edit" else "read", None)
            continue
        for path in targets:
            names = places.all_of(path)
            free &= all(inside(name) or name in DEVICES for name in names)
            for kind in kinds:
                if word.glob:
                    forbid_unknown(found, rules, "edit" if kind == "edit" else "read", names[0], deep=deep)
                else:
                    forbid(found, rules, "edit" if kind == "edit" else "read", names, deep=deep)
    return free


def _rule(simple: Simple, rules: Ruleset) -> str:
    """The allow rule that names it, or what runs it."""
    current: Simple | None = simple
    while current is not None:
        name = program_of([word.value for word in current.words])
        for pattern in (*rules.named("allow", name), *rules.named("allow", "")):
            if allows_command(pattern, current):
                return f"allow {pattern.text}"
        current = current.under
    return ""


def _guarded(found: Verdicts, line: Line, simple: Simple, said: Reading | None, rules: Ruleset, places: Places) -> None:
    """A command that a rule allows, but that names a protected path which no rule names."""
    if said is not None:
        return
    for word in _operands(simple):
        for path in line.targets(word, *_at(simple)) or []:
            name = places.all_of(path)[-1]
            guarded = protected(name) if inside(name) else ""
            if guarded and not allowed(rules, "edit", name):
                found.missing = (
                    found.missing or f"{shown(name)} is protected ({guarded}); an edit rule that names it allows it"
                )
