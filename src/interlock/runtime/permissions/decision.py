"""Which tool call may run: the mode, the rules and what the call really is, in one pure function.

Deny wins over ask, ask over allow, whatever their order and however exact they are. What no rule names is the mode's.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from interlock.runtime.hands import Strength
from interlock.runtime.permissions.access import Places, Verdicts, allowed, forbid, shown, write
from interlock.runtime.permissions.paths import PATH_CHARS_MAX, WORKSPACE, inside, normal
from interlock.runtime.permissions.patterns import Ruleset, names_host, names_remote, parsed
from interlock.runtime.permissions.shell import Line, judge, named_paths, understand
from interlock.runtime.permissions.words import Refused
from interlock.runtime.sessions.agent import Mode, Rules
from interlock.runtime.sessions.event import Effect, Verdict

_FILES = ("read", "edit", "search")
_HALF = re.compile("[\ud800-\udfff]")
_PORTS = {"http": 80, "https": 443}


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A tool call."""

    tool: str
    """`shell`, `read`, `edit`, `search`, `fetch`, or `mcp(server.tool)`."""
    arguments: Mapping[str, Any]
    """`command` of shell; `path` of read, edit and search (which may go without: all of it); `url` of fetch."""
    effect: Effect = "once"
    """What running it again does: believed of `fetch` and `mcp`; what the others do is known here."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All that a decision knows."""

    mode: Mode
    rules: Rules | Ruleset = Ruleset()
    strength: Strength
    """Of the sandbox that would run it."""
    denials: int = 0
    denials_max: int = 20
    """Mode auto asks a person when so many calls have been denied."""
    links: Mapping[str, str] = {}
    """Where each of `paths_of` really leads, relative to the workspace; empty: outside. Not told: where it says."""
    workspace: str = WORKSPACE
    """Its absolute path in the sandbox."""


class Ruling(msgspec.Struct, frozen=True, kw_only=True):
    """The decision."""

    verdict: Verdict
    why: str
    """The rule or mode that decided, and of what, for people and for the model."""


def decide(request: Request, facts: Facts) -> Ruling:
    """Whether a call may run. Raises: LocalError: a rule does not parse (parse them when they are set)."""
    rules = facts.rules if isinstance(facts.rules, Ruleset) else parsed(facts.rules)
    if facts.mode == "bypass" and facts.strength != "kernel":
        return _ruling(
            "deny", f"mode bypass needs a sandbox with a kernel of its own (gVisor, a VM), not {facts.strength}"
        )
    found = _found(request, facts, rules)
    if isinstance(found, str):
        return _ruling("deny", found)
    if found.deny:
        return _ruling("deny", found.deny)
    if found.outside and (facts.mode != "bypass" or request.tool in _FILES):
        return _ruling("deny", found.outside)
    if facts.mode == "plan" and not found.pure:
        return _ruling("deny", f"mode plan only reads: {found.missing or shown(request.tool) + ' does more'}")
    if found.ask:
        return _ruling("ask", found.ask)
    if not found.doubt and (found.allow or facts.mode == "bypass"):
        return _ruling("allow", found.allow or "mode bypass")
    return _by_mode(facts, found.doubt or found.missing or "no rule names it")


def _by_mode(facts: Facts, why: str) -> Ruling:
    """What nothing allows."""
    if facts.mode == "auto" and facts.denials < facts.denials_max:
        left = facts.denials_max - facts.denials - 1
        return _ruling("deny", f"mode auto: {why} ({left} more before a person is asked)")
    return _ruling("ask", f"mode {facts.mode}: {why}")


def _ruling(verdict: Verdict, why: str) -> Ruling:
    return Ruling(verdict=verdict, why=why)


def _found(request: Request, facts: Facts, rules: Ruleset) -> Verdicts | str:
    """What rules say of it; or why it is no call at all."""
    places = Places(links=facts.links, workspace=facts.workspace)
    accept = facts.mode == "accept-edits"
    if request.tool == "shell":
        try:
            line = _line(request)
            return judge(line, rules, places, accept=accept) if isinstance(line, Line) else line
        except Refused as refused:
            return f"not read: {refused.message}"
    if request.tool in _FILES:
        path = _path(request)
        return _file(request.tool, path, rules, places, accept=accept) if path else "it names no path that could be one"
    if request.tool == "fetch":
        return _fetch(request, rules)
    if request.tool.startswith("mcp(") and request.tool.endswith(")"):
        return _remote(request, rules)
    return f"there is no tool {shown(request.tool)}"


def _line(request: Request) -> Line | str:
    text = request.arguments.get("command")
    if not isinstance(text, str):
        return "it names no command"
    if not _is_text(text):
        return "its command is no text: it holds a NUL, or half a character"
    return understand(text)


def _is_text(text: str) -> bool:
    """A program can be given it: no NUL, no half of a surrogate pair."""
    return "\0" not in text and not _HALF.search(text)


def _path(request: Request) -> str:
    path = request.arguments.get("path", "." if request.tool == "search" else None)
    if not isinstance(path, str) or not path or len(path) > PATH_CHARS_MAX or not _is_text(path):
        return ""
    return path


def _file(tool: str, path: str, rules: Ruleset, places: Places, *, accept: bool) -> Verdicts:
    found = Verdicts(pure=tool != "edit")
    if tool == "edit":
        found.allow = write(found, rules, path, places, accept=accept)
        if path.startswith("/") and not inside(normal(path, places.workspace)):
            found.outside = found.outside or f"{shown(path)} is outside the workspace"
        return found
    names = places.all_of(path)
    forbid(found, rules, "search" if tool == "search" else "read", names, deep=tool == "search")
    if all(inside(name) for name in names):
        found.allow = (
            allowed(rules, "search" if tool == "search" else "read", names[-1]) or "reads inside the workspace"
        )
    else:
        found.outside = f"{shown(path)} is outside the workspace"
    return found


def _fetch(request: Request, rules: Ruleset) -> Verdicts | str:
    url = request.arguments.get("url")
    try:
        split = urlsplit(url) if isinstance(url, str) else None
        port = split.port if split else None
    except ValueError:
        return "it names no URL"
    if split is None or split.scheme not in _PORTS or not split.hostname or len(str(url)) > 8192:
        return "it names no http or https URL"
    host = split.hostname.rstrip(".")
    plain = host.isascii() and not split.username and "\\" not in str(url) and "@" not in split.netloc
    port, usual = port or _PORTS[split.scheme], port in (None, _PORTS[split.scheme])
    found = Verdicts(pure=request.effect == "pure", missing=f"no rule allows to fetch from {shown(host)}")
    for pattern in rules.deny:
        if names_host(pattern, host, port, usual=usual, allows=False):
            found.deny_by(pattern, host)
        elif pattern.tool == "fetch" and not plain:
            found.doubt_by(pattern, host)
    for pattern in rules.ask:
        if names_host(pattern, host, port, usual=usual, allows=False) or (pattern.tool == "fetch" and not plain):
            found.ask_by(pattern, host)
    if plain:
        found.allow = next(
            (f"allow {p.text}" for p in rules.allow if names_host(p, host, port, usual=usual, allows=True)), ""
        )
    return found


def _remote(request: Request, rules: Ruleset) -> Verdicts:
    name = request.tool[4:-1]
    found = Verdicts(pure=request.effect == "pure", missing=f"no rule allows {shown(request.tool)}")
    for pattern in rules.deny:
        if names_remote(pattern, name):
            found.deny_by(pattern, name)
    for pattern in rules.ask:
        if names_remote(pattern, name):
            found.ask_by(pattern, name)
    found.allow = next((f"allow {pattern.text}" for pattern in rules.allow if names_remote(pattern, name)), "")
    return found


def paths_of(request: Request, workspace: str = WORKSPACE) -> tuple[str, ...]:
    """The paths inside the workspace that a call names, for `Facts.links`: as they are said, `..` and all."""
    if request.tool in _FILES:
        path = _path(request)
        return (path,) if path and inside(normal(path, workspace)) else ()
    if request.tool != "shell":
        return ()
    try:
        line = _line(request)
    except Refused:
        return ()
    if not isinstance(line, Line):
        return ()
    return tuple(path for path in named_paths(line)[0] if inside(normal(path, workspace)))
