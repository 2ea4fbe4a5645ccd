"""What rules say of a path that is read or written, wherever the path comes from. Pure."""

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from interlock.runtime.permissions.paths import DEVICES, TEMPORARY, inside, normal, place, protected
from interlock.runtime.permissions.patterns import Pattern, Ruleset

Kind = Literal["read", "edit", "search"]
_APPLY: Mapping[Kind, tuple[str, ...]] = {"read": ("read",), "edit": ("edit",), "search": ("search", "read")}
"""Whose deny and ask rules hold for it: who may not read a file may not search in it."""


class Verdicts(msgspec.Struct, kw_only=True):
    """What was found so far, each with its first reason; empty: nothing."""

    deny: str = ""
    """A deny rule names it."""
    outside: str = ""
    """It leaves the workspace, where that is never allowed."""
    ask: str = ""
    """An ask rule names it, or may."""
    doubt: str = ""
    """A deny rule may name it: nothing allows it."""
    allow: str = ""
    """What allows it."""
    missing: str = ""
    """What of it nothing allows."""
    pure: bool = True
    """It only reads."""

    def deny_by(self, pattern: Pattern, what: str) -> None:
        """A deny rule names `what`."""
        self.deny = self.deny or f"deny {pattern.text}: {shown(what)}"

    def ask_by(self, pattern: Pattern, what: str, *, maybe: bool = False) -> None:
        """An ask rule names `what`, or may."""
        self.ask = self.ask or f"ask {pattern.text}: {shown(what)}{' may be it' if maybe else ''}"

    def doubt_by(self, pattern: Pattern, what: str) -> None:
        """A deny rule may name `what`."""
        self.doubt = self.doubt or f"deny {pattern.text} may name {shown(what)}"


def shown(text: str) -> str:
    """Text of a call as people are shown it."""
    text = text.replace("\0", "…")
    return text if len(text) <= 120 else text[:119] + "…"


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """Where paths lead."""

    links: Mapping[str, str]
    workspace: str

    def all_of(self, path: str) -> tuple[str, ...]:
        """A path by its text, and where it really leads: rules that forbid hold for both."""
        textual, real = normal(path, self.workspace), place(path, self.links, self.workspace)
        return (textual,) if textual == real else (textual, real)


def forbid(found: Verdicts, rules: Ruleset, kind: Kind, names: Iterable[str], *, deep: bool = False) -> None:
    """Deny and ask rules over places; `deep`: what is below them is meant, too."""
    for name in names:
        for pattern in rules.deny:
            if pattern.tool in _APPLY[kind]:
                if pattern.path is None or pattern.path.matches(name):
                    found.deny_by(pattern, name)
                elif deep and pattern.path.below(name):
                    found.doubt_by(pattern, f"something in {name}")
        for pattern in rules.ask:
            if pattern.tool in _APPLY[kind]:
                if pattern.path is None or pattern.path.matches(name):
                    found.ask_by(pattern, name)
                elif deep and pattern.path.below(name):
                    found.ask_by(pattern, f"something in {name}", maybe=True)


def forbid_unknown(found: Verdicts, rules: Ruleset, kind: Kind, glob: str | None, *, deep: bool = False) -> None:
    """The same for a shell's pattern; None: for a path that only running it would tell."""
    what = "a path that only running it would tell" if glob is None else glob
    for pattern in rules.deny:
        if pattern.tool in _APPLY[kind] and (
            glob is None or pattern.path is None or pattern.path.may_match(glob, deep=deep)
        ):
            found.doubt_by(pattern, what)
    for pattern in rules.ask:
        if pattern.tool in _APPLY[kind] and (
            glob is None or pattern.path is None or pattern.path.may_match(glob, deep=deep)
        ):
            found.ask_by(pattern, what, maybe=True)


def allowed(rules: Ruleset, kind: Kind, name: str) -> str:
    """The allow rule that names a place; empty: none does. A protected one has to be named as what it is."""
    if not inside(name) and not name.startswith(TEMPORARY + "/"):
        return ""
    guarded = protected(name) if kind == "edit" else ""
    for pattern in rules.allow:
        if pattern.tool != kind or (pattern.path is None and not inside(name)):
            continue
        if pattern.path is not None and not pattern.path.matches(name):
            continue
        if not guarded or (pattern.path is not None and guarded in pattern.path.parts):
            return f"allow {pattern.text}"
    return ""


def write(found: Verdicts, rules: Ruleset, path: str, places: Places, *, accept: bool) -> str:
    """A file that is written: rules over it, then what allows it, or empty. `accept`: edits inside pass."""
    if path in DEVICES:
        return "a device"
    names = places.all_of(path)
    forbid(found, rules, "edit", names)
    real = names[-1]
    if not all(inside(name) for name in names) and (len(names) > 1 or not real.startswith(TEMPORARY + "/")):
        found.outside = found.outside or f"{shown(path)} is outside the workspace"
        return ""
    if rule := allowed(rules, "edit", real):
        return rule
    guarded = next((part for name in names if (part := protected(name))), "")
    if guarded:
        found.missing = found.missing or f"{shown(real)} is protected ({guarded}); a rule that names it allows it"
        return ""
    if accept and inside(real):
        return "mode accept-edits"
    found.missing = found.missing or f"no rule allows to write {shown(real)}"
    return ""
