"""Paths as a session's workspace sees them, and the patterns over them. Pure: links are told by the caller.

A path inside is relative to the workspace, with no `.` and `..` in it; one outside is absolute (`/etc/passwd`),
begins with `~`, or is `OUTSIDE` when it climbs out.
"""

import fnmatch
import re
from collections.abc import Mapping

import msgspec
import re2

from interlock.errors import LocalError

WORKSPACE = "/workspace"
"""Where a sandbox sees its workspace, unless told."""
OUTSIDE = "/.."
"""Somewhere that no path inside leads to."""
TEMPORARY = "/tmp"  # noqa: S108 - a sandbox's own; only the name stands here
PATH_CHARS_MAX = 4096
DEVICES = ("/dev/null", "/dev/stdout", "/dev/stderr", "/dev/zero", "/dev/tty", "/dev/stdin", "/dev/fd/1", "/dev/fd/2")
"""Written and read by every script; nothing is kept there."""
_PROTECTED_DIRECTORIES = (
    ".ssh",
    ".gnupg",
    ".aws",
    ".kube",
    ".docker",
    ".azure",
    ".vscode",
    ".idea",
    ".husky",
    ".interlock",
)
_PROTECTED_FILES = (
    ".bashrc", ".bash_profile", ".bash_login", ".bash_logout", ".profile", ".zshrc", ".zshenv", ".zprofile", ".zlogin",
    ".inputrc", ".gitconfig", ".gitmodules", ".netrc", ".npmrc", ".yarnrc", ".pypirc", ".envrc", ".mcp.json",
)  # fmt: skip
_PROTECTED_GIT = ("hooks", "config", "info", "modules", "worktrees", "config.worktree")
"""What makes git run programs, or read files elsewhere."""
_BAD = re.compile(r"[\x00-\x1f\x7f]")


def inside(path: str) -> bool:
    """It is in the workspace."""
    return not path.startswith(("/", "~"))


def join(directory: str, path: str) -> str:
    """A path as it is said from a directory, `..` and all: what is to be resolved."""
    return path if path.startswith(("/", "~")) or directory in ("", ".") else f"{directory}/{path}"


def normal(path: str, workspace: str = WORKSPACE) -> str:
    """The path by its text alone: as `inside` says, or outside."""
    if path.startswith("~"):
        return _flat(path) or "~"
    absolute = path.startswith("/")
    flat = _flat(path)
    if flat is None:
        return "/" if absolute else OUTSIDE
    if not absolute:
        return flat or "."
    root = _flat(workspace) or ""
    if flat == root:
        return "."
    return flat[len(root) + 1 :] if flat.startswith(root + "/") else "/" + flat


def _flat(path: str) -> str | None:
    """Without `.`, `..` and doubled slashes; None: it climbs above where it began."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if not parts:
                return None
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def place(path: str, links: Mapping[str, str], workspace: str = WORKSPACE) -> str:
    """Where a path leads: by `links` if it is told there, else by its text."""
    textual = normal(path, workspace)
    told = links.get(path, links.get(textual))
    if told is None or not inside(textual):
        return textual
    return normal(told, workspace) if told else OUTSIDE


def protected(path: str) -> str:
    """The part of a path for which it is protected (`.git`, `.bashrc`); empty: it is not."""
    parts = path.split("/")
    for index, part in enumerate(parts):
        if part in _PROTECTED_DIRECTORIES or (index == len(parts) - 1 and part in _PROTECTED_FILES):
            return part
        if part == ".git" and (index + 1 == len(parts) or parts[index + 1] in _PROTECTED_GIT):
            return part
    return ""


class PathPattern(msgspec.Struct, frozen=True):
    """A compiled pattern: as in .gitignore, without `!`; `/…` and `~/…` are outside the workspace."""

    text: str
    regex: re2._Regexp
    head: str
    """What every path it matches begins with, up to the first wildcard; empty: any depth, or a wildcard at once."""
    parts: tuple[str, ...]
    floating: bool
    """It is one name, at any depth."""

    def matches(self, path: str) -> bool:
        """The path, or a directory that it is in."""
        return self.regex.fullmatch(path) is not None

    def below(self, directory: str) -> bool:
        """Some path in this directory may match."""
        if self.matches(directory):
            return True
        if not inside(directory) or not inside(self.text):
            return self.text.startswith(directory.rstrip("/") + "/")
        return directory == "." or not self.head or _related(self.head, directory + "/")

    def may_match(self, glob: str, *, deep: bool) -> bool:
        """Some path that a shell's pattern stands for may match; `deep`: or one below it. Too often rather than not."""
        if inside(glob) != inside(self.text):
            return False
        names = [name for name in glob.split("/") if name]
        if self.floating:
            return deep or any(_may(self.parts[0], name) for name in names)
        for part, name in zip(self.parts, names, strict=False):
            if part == "**" or "**" in name:
                return True
            if not _may(part, name):
                return False
        return deep or len(names) >= len(self.parts)


def _may(part: str, name: str) -> bool:
    """A pattern's part and a shell's part may name the same. A shell's `*` finds no name with a dot before it."""
    wild = re.search(r"[*?\[\\]", name)
    if re.search(r"[*?\[\\]", part):
        return wild is not None or fnmatch.fnmatchcase(name, part.replace("[^", "[!"))
    if wild is None:
        return part == name
    return fnmatch.fnmatchcase(part, name.replace("[^", "[!")) and (part[:1] != "." or name[:1] in (".", "["))


def _related(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def compile_path(text: str, field: str) -> PathPattern:
    """A pattern. Raises: LocalError: it says what is wrong, and what would be right."""
    if not text or _BAD.search(text):
        raise LocalError(f"{text!r} is no path pattern: write src/** or *.md", field=field)
    if text.startswith("!"):
        raise LocalError(f"{text!r}: `!` is not known here; write an allow, ask or deny rule instead", field=field)
    if "{" in text:
        raise LocalError(f"{text!r}: `{{a,b}}` is not known here; write one rule for each", field=field)
    outside = text.startswith(("/", "~"))
    trimmed = text.rstrip("/")
    while trimmed.startswith("./"):
        trimmed = trimmed[2:]
    parts = [part for part in trimmed.split("/") if part]
    if ".." in parts or (text.startswith("~") and parts[0] != "~"):
        raise LocalError(f"{text!r}: a pattern names a place by itself; write it without `..`", field=field)
    if trimmed in ("", "."):
        parts = ["**"] if not outside else []
    anchored = outside or len(parts) > 1 or parts == ["**"]
    expression = _regex(parts if anchored else ["**", *parts], field)
    if text.startswith("/"):
        expression = "/" + expression
    head = re.split(r"[*?\[]", trimmed)[0] if anchored else ""
    return PathPattern(text, _compiled(f"(?s:{expression})(?s:/.*)?", text, field), head, tuple(parts), not anchored)


def _regex(parts: list[str], field: str) -> str:
    if parts == ["**"]:
        return ".*"
    made = ""
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        if part == "**":
            made += ".+" if last else "(?:.*/)?"
        else:
            made += _segment(part, field) + ("" if last else "/")
    return made


def _segment(part: str, field: str) -> str:
    made, at = "", 0
    while at < len(part):
        c = part[at]
        at += 1
        if c == "*":
            made += "[^/]*"
        elif c == "?":
            made += "[^/]"
        elif c == "\\" and at < len(part):
            made += re2.escape(part[at])
            at += 1
        elif c == "[":
            close = part.find("]", at + (part[at : at + 1] in ("!", "^", "]")))
            if close < 0:
                raise LocalError(f"{part!r}: `[` is not closed; write `\\[` for the character", field=field)
            chosen = part[at:close].replace("\\", "\\\\").replace("[", "\\[")
            made += "[" + ("^/" + chosen[1:] if chosen[:1] in ("!", "^") else chosen) + "]"
            at = close + 1
        else:
            made += re2.escape(c)
    return made


def _compiled(expression: str, text: str, field: str) -> re2._Regexp:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(expression, options)
    except re2.error as error:
        raise LocalError(f"{text!r} is no path pattern", field=field) from error
