"""Commands that only read: what plan mode runs, and what no mode asks about inside the workspace. Pure.

A short list that is right. A command is on it with every option that was looked at; with another, or with a word that
only running it would tell, it is like any other program. What they read is told, so that rules over paths hold.
"""

import re
from collections.abc import Callable, Sequence

import msgspec

from interlock.runtime.permissions.found import Simple
from interlock.runtime.permissions.launchers import Options, name_of
from interlock.runtime.permissions.programs import FIND_TESTS, FIND_WORDS, GIT, GIT_LISTS, PROGRAMS, Program
from interlock.runtime.permissions.words import UNKNOWN, Word


class Reading(msgspec.Struct, frozen=True):
    """A command that only reads."""

    paths: tuple[Word, ...] = ()
    deep: bool = False
    """Files below a directory are read as well."""


_ANY_WORDS = {"echo", "true", "false", ":", "test", "[", "printf"}
"""Whatever their words are, they only say or compare. What sets variables by them is opaque (launchers)."""
_SED = re.compile(r"[0-9]+(,([0-9]+|\$))?p(;[0-9]+(,([0-9]+|\$))?p)*|\$p|/[A-Za-z0-9_ .:=-]+/(,/[A-Za-z0-9_ .:=-]+/)?p")


def reading(simple: Simple) -> Reading | None:
    """What this command reads, if reading is all it does."""
    if not simple.words:
        return Reading()
    if not simple.words[0].known:
        return Reading() if simple.words[0].value == "[" else None
    name, words = name_of(simple.words[0]), simple.words
    if name in _ANY_WORDS:
        return Reading()
    if special := _SPECIAL.get(name):
        return special(words)
    if reader := PROGRAMS.get(name):
        return _read(reader, words)
    return None


def _read(reader: Program, words: Sequence[Word]) -> Reading | None:
    given, operands = _divided(reader.options, words, 1)
    if operands is None:
        return None
    if reader.operands == "text":
        return Reading()
    if (
        reader.operands == "pattern"
        and operands
        and not any(word.value.startswith(("-e", "--regexp")) for word in given)
    ):
        operands = [] if "--files" in [word.value for word in given] and False else operands[1:]
    if len(operands) > reader.most or (operands and reader.operands == "none"):
        return None
    deep = reader.deep == "*" or any(
        letter in word.value for word in given for letter in reader.deep if not word.value.startswith("--")
    )
    deep |= any(word.value == "--recursive" for word in given)
    if deep and not operands:
        operands = [Word(value=".")]
    return Reading(tuple(operands), deep)


def _divided(known: Options, words: Sequence[Word], at: int) -> tuple[list[Word], list[Word] | None]:
    """Options and operands, wherever they stand; None: one of them is not known to be either."""
    given: list[Word] = []
    operands: list[Word] = []
    while at < len(words):
        begin, at = at, known.end(words, at)
        if at < 0:
            return given, None
        given += words[begin:at]
        if given and at > begin and words[at - 1].value == "--" and words[at - 1].known:
            return given, operands + list(words[at:])
        if at < len(words):
            operands.append(words[at])
            at += 1
    return given, operands


def _find(words: Sequence[Word]) -> Reading | None:
    paths, at = [], 1
    while at < len(words) and not words[at].value.startswith(("-", "(", "!", UNKNOWN)):
        paths.append(words[at])
        at += 1
    while at < len(words):
        value = words[at].value
        if value in {"-exec", "-execdir"}:  # what it runs is judged as a command of its own
            while at < len(words) and words[at].value not in {";", "+"}:
                at += 1
        elif value in FIND_TESTS:
            at += 1
        elif value not in FIND_WORDS or not (words[at].known or words[at].glob):
            return None
        at += 1
    return Reading(tuple(paths))


def _git(words: Sequence[Word]) -> Reading | None:
    at = 1
    while at < len(words) and words[at].known and words[at].value in {"--no-pager", "-P"}:
        at += 1
    if at >= len(words) or not words[at].known:
        return None
    command = words[at].value
    if command not in GIT:
        return Reading() if [word.value for word in words[at:]] in (["--version"], ["version"]) else None
    _, operands = _divided(GIT[command], words, at + 1)
    if operands is None or (command in GIT_LISTS and operands):
        return None
    return Reading(tuple(word for word in operands if word.value not in ("HEAD", "@")))


def _sed(words: Sequence[Word]) -> Reading | None:
    """`sed -n 1,20p file`."""
    if len(words) < 3 or words[1].value != "-n" or not words[2].known or not _SED.fullmatch(words[2].value):
        return None
    if any(word.value.startswith(("-", UNKNOWN)) for word in words[3:]):
        return None
    return Reading(tuple(words[3:]))


def _date(words: Sequence[Word]) -> Reading | None:
    return Reading() if all(w.known and re.fullmatch(r"\+.*|-u|-I[a-z]*|-R", w.value) for w in words[1:]) else None


def _alone(words: Sequence[Word]) -> Reading | None:
    return Reading() if len(words) == 1 else None


def _command(words: Sequence[Word]) -> Reading | None:
    """`command -v x`: whether there is such a program."""
    return Reading() if len(words) > 2 and words[1].value in ("-v", "-V") else None


def _cd(words: Sequence[Word]) -> Reading | None:
    """Its directory is read like a path; without one it leaves the workspace."""
    return Reading((words[1],)) if len(words) == 2 and not words[1].value.startswith("-") else None


_SPECIAL: dict[str, Callable[[Sequence[Word]], Reading | None]] = {
    "find": _find,
    "git": _git,
    "sed": _sed,
    "date": _date,
    "env": _alone,
    "hostname": _alone,
    "command": _command,
    "cd": _cd,
}
