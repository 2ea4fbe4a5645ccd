"""Programs and builtins that run other commands: what they run is looked at as if it stood there itself. Pure.

Those that do nothing else (`env`, `timeout`, `sh -c`) are transparent. Others (`sudo`) are looked through for what is
denied, and have to be allowed by name. Options that are not known here make the text opaque: the program could be any
word behind them.
"""

import re
from collections.abc import Callable, Sequence

import msgspec

from interlock.runtime.permissions.found import Script, Simple
from interlock.runtime.permissions.script import COMMANDS_MAX, read
from interlock.runtime.permissions.words import DEPTH_MAX, UNKNOWN, Refused, Word

SYSTEM = ("/bin/", "/usr/bin/", "/usr/local/bin/", "/sbin/", "/usr/sbin/", "/usr/local/sbin/")
"""Where a program has the name it is known by."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What stands between a program's name and its operands."""

    flags: str = ""
    valued: str = ""
    """Letters whose value is the rest of the word, or the next."""
    long: frozenset[str] = frozenset()
    long_valued: frozenset[str] = frozenset()
    """With `=`, or the next word."""
    number: bool = False
    """`-5` is one."""

    def end(self, words: Sequence[Word], at: int = 1) -> int:
        """Where operands begin; -1: something there is not known."""
        while at < len(words):
            if not words[at].known:
                return at if words[at].pipe or words[at].value[:1] not in ("", "-", UNKNOWN) else -1
            value = words[at].value
            if value == "--":
                return at + 1
            if not value.startswith("-") or value == "-":
                return at
            taken = self._long(value[2:]) if value.startswith("--") else self._short(value[1:])
            if taken < 0:
                return -1
            at += taken
        return at

    def _long(self, option: str) -> int:
        name, equals, _ = option.partition("=")
        if name in self.long and name in self.long_valued:
            return 1
        if name in self.long_valued:
            return 1 if equals else 2
        return 1 if name in self.long and not equals else -1

    def _short(self, letters: str) -> int:
        if self.number and letters.isdigit():
            return 1
        for index, letter in enumerate(letters):
            if letter in self.valued:
                return 1 if index + 1 < len(letters) else 2
            if letter not in self.flags:
                return -1
        return 1


def options(
    flags: str = "", valued: str = "", long: str = "", long_valued: str = "", *, number: bool = False
) -> Options:
    """Options, written as words."""
    return Options(
        flags=flags,
        valued=valued,
        long=frozenset(long.split()),
        long_valued=frozenset(long_valued.split()),
        number=number,
    )


_PLAIN: dict[str, tuple[Options, int]] = {
    "nohup": (options(), 0),
    "setsid": (options("cfw", "", "ctty fork wait"), 0),
    "nice": (options("", "n", "", "adjustment", number=True), 0),
    "ionice": (options("t", "cn", "ignore", "class classdata"), 0),
    "timeout": (options("fv", "ks", "foreground preserve-status verbose", "kill-after signal"), 1),
    "stdbuf": (options("", "ioe", "", "input output error"), 0),
    "time": (options("pv", "f", "portability verbose", "format"), 0),
    "builtin": (options(), 0),
    "exec": (options("cl", "a"), 0),
    "busybox": (options(), 0),
    "toybox": (options(), 0),
}
"""Transparent ones, and how many operands stand before the command."""
_AS_ANOTHER = {
    "sudo": options(
        "AbEeHiKklnPSsv",
        "CDghpRrTtUu",
        "preserve-env login stdin non-interactive set-home background shell",
        "user group host prompt chdir chroot role type close-from",
    ),
    "doas": options("Lns", "Cu"),
}
"""Looked through, but not transparent."""
_ENV = options("i0v", "u", "ignore-environment null debug", "unset")
_XARGS = options(
    "0rtpxo",
    "adEILnPs",
    "null no-run-if-empty verbose interactive exit open-tty",
    "arg-file delimiter max-args max-procs max-chars max-lines replace eof",
)
_SHELLS = ("sh", "bash", "dash", "ash", "zsh", "ksh", "mksh", "rbash", "fish")
_SHELL = options("ceufvxl", "o", "norc noprofile posix login")
_SEEN_SHELLS = ("sh", "bash", "dash", "ash")
_CHANGES_SHELL = {
    "alias",
    "unalias",
    "enable",
    "shopt",
    "bind",
    "complete",
    "compgen",
    "mapfile",
    "readarray",
    "fc",
    "let",
}
"""Builtins after which words mean something else, or that run what they are told in other ways."""
_DECLARES = {"export", "declare", "typeset", "local", "readonly"}
_SET = re.compile(r"[-+][euxvf]*o?|pipefail|errexit|nounset|xtrace")


def name_of(word: Word) -> str:
    """The name a program is known by, wherever the system keeps it; other paths stay as they are."""
    for directory in SYSTEM:
        if word.value.startswith(directory) and "/" not in word.value[len(directory) :]:
            return word.value[len(directory) :]
    return word.value


def look_through(script: Script) -> None:
    """Add to a script the commands that its commands run. Raises: Refused: too many, or too deep."""
    at = 0
    while at < len(script.commands):
        simple = script.commands[at]
        at += 1
        if not simple.words:
            continue
        if not simple.words[0].known:
            _doubt(script, "a program whose name only running it would tell")
            continue
        name = name_of(simple.words[0])
        if name in _DECLARES:
            _declared(script, simple)
        elif look := _LOOKS.get(name):
            look(script, simple)
        elif name in _PLAIN:
            known, operands = _PLAIN[name]
            _run(script, simple, _rest(script, simple, known, operands), transparent=True)
        elif name in _AS_ANOTHER:
            _run(script, simple, _rest(script, simple, _AS_ANOTHER[name], 0), transparent=False)
        elif name in _CHANGES_SHELL:
            _doubt(script, f"`{name}`, after which words mean something else")
        if len(script.commands) > COMMANDS_MAX:
            raise Refused(f"more than {COMMANDS_MAX} commands", field="command")


def _doubt(script: Script, why: str) -> None:
    script.opaque = script.opaque or why


def _rest(script: Script, simple: Simple, known: Options, operands: int) -> list[Word]:
    """The words of the command that a launcher runs."""
    at = known.end(simple.words)
    if at < 0:
        _doubt(script, f"an option of `{simple.words[0].value}` that is not known")
        at = 1
    return simple.words[at + operands :]


def _run(script: Script, simple: Simple, words: list[Word], *, transparent: bool) -> None:
    """`simple` runs the command of these words."""
    if simple.depth >= DEPTH_MAX:
        raise Refused(f"commands are nested deeper than {DEPTH_MAX}", field="command")
    simple.transparent = transparent
    if words:
        inner = Simple(words=words, repeated=simple.repeated, place=simple.place, chain=simple.chain)
        inner.under, inner.depth = simple, simple.depth + 1
        script.commands.append(inner)


def _text(script: Script, simple: Simple, text: str, *, later: bool = False) -> None:
    """`simple` runs a text of shell."""
    simple.transparent = True
    before, redirects = len(script.commands), len(script.redirects)
    script.chains += 1
    read(text, into=script, depth=simple.depth + 1)
    for inner in script.commands[before:]:
        inner.under, inner.place = simple, max(simple.place, 0)
        inner.repeated |= simple.repeated or later
    if later and len(script.redirects) > redirects:
        _doubt(script, "a redirect in what runs later")


def _command(script: Script, simple: Simple) -> None:
    if len(simple.words) > 1 and simple.words[1].value not in ("-v", "-V"):  # those only say where it is
        _run(script, simple, _rest(script, simple, options("p"), 0), transparent=True)


def _env(script: Script, simple: Simple) -> None:
    words = _rest(script, simple, _ENV, 0)
    assigns = []
    while words and "=" in words[0].value:
        if words[0].split or words[0].glob:
            _doubt(script, "a variable of `env` that may be several words")
        name, _, value = words[0].value.partition("=")
        assigns.append((name, msgspec.structs.replace(words[0], value=value, plain=0)))
        words = words[1:]
    _run(script, simple, words, transparent=bool(words))
    if words:
        inner = script.commands[-1]
        inner.assigns, inner.exported = assigns, True


def _xargs(script: Script, simple: Simple) -> None:
    words = _rest(script, simple, _XARGS, 0)
    if any(
        word.value.startswith(("-I", "-i", "--replace")) for word in simple.words[1 : len(simple.words) - len(words)]
    ):
        words = [msgspec.structs.replace(word, value=UNKNOWN + word.value) for word in words]  # any text in any place
    elif words:
        words = [*words, Word(value=UNKNOWN, split=True)]
    _run(script, simple, words, transparent=bool(words))


def _find(script: Script, simple: Simple) -> None:
    """Each `-exec … ;` or `… +`; `find` itself stays to be judged with the rest of its words."""
    words, at = simple.words, 1
    while at < len(words):
        if words[at].value in {"-exec", "-execdir", "-ok", "-okdir"}:
            begin = at + 1
            while at < len(words) and not (words[at].value in {";", "+"} and words[at].known):
                at += 1
            inner = [
                msgspec.structs.replace(word, value=UNKNOWN, split=True) if "{}" in word.value else word
                for word in words[begin:at]
            ]
            _run(script, simple, inner, transparent=False)
        elif UNKNOWN in words[at].value and words[at].split:
            _doubt(script, "`find` with words that only running it would tell")
        at += 1


def _shell(script: Script, simple: Simple) -> None:
    words = simple.words
    at = _SHELL.end(words)
    if at < 0:
        _doubt(script, f"an option of `{words[0].value}` that is not known")
        for word in words[1:]:  # a text may be among them
            if word.known and re.search(r"\s", word.value):
                _text(script, simple, word.value)
        return
    given = [word.value for word in words[1:at]]
    if not any(re.fullmatch(r"-[a-z]*c[a-z]*", value) for value in given):
        if at >= len(words) or "-s" in given:
            _doubt(script, "a shell that reads its commands from its input")
        _run(script, simple, words[at:], transparent=at < len(words))  # a script, found as a program is
        return
    if at >= len(words):
        return
    if name_of(words[0]) not in _SEEN_SHELLS:
        _doubt(script, f"the text of another shell, `{words[0].value}`")
    _literal(script, simple, [words[at]])


def _literal(script: Script, simple: Simple, words: list[Word], *, later: bool = False) -> None:
    """The words are a text of shell."""
    for word in words:
        if not word.known:
            _doubt(script, f"a text for `{simple.words[0].value}` that only running it would tell")
    if words:
        text = " ".join("$x" if word.value == UNKNOWN else word.value.replace(UNKNOWN, "$x") for word in words)
        _text(script, simple, text, later=later)


def _eval(script: Script, simple: Simple) -> None:
    words = simple.words[1:]
    _literal(script, simple, words[1:] if words and words[0].value == "--" else words)


def _source(script: Script, simple: Simple) -> None:
    """A file whose commands this shell runs: to deny it is to deny this, too."""
    _run(script, simple, simple.words[1:], transparent=False)


def _trap(script: Script, simple: Simple) -> None:
    words = [word for word in simple.words[1:] if word.value not in {"--", "-"}]
    if words and not words[0].value.startswith("-"):
        _literal(script, simple, words[:1], later=True)


def _watch(script: Script, simple: Simple) -> None:
    words = _rest(
        script, simple, options("bcdegt", "n", "beep color differences errexit chgexit no-title", "interval"), 0
    )
    _literal(script, simple, words)


def _declared(script: Script, simple: Simple) -> None:
    """`export A=b C`: what it sets. Other forms of it set in other ways."""
    name = simple.words[0].value
    for word in simple.words[1:]:
        variable, equals, value = word.value.partition("=")
        if word.value.startswith("-") and re.fullmatch(r"-[xrgaA]+", word.value):
            continue
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable):
            _doubt(script, f"what `{name}` sets")
        elif equals or name in {"export", "declare", "typeset"}:
            simple.assigns.append((variable, msgspec.structs.replace(word, value=value, plain=0)))


def _set(script: Script, simple: Simple) -> None:
    for word in simple.words[1:]:
        if not word.known or not _SET.fullmatch(word.value):
            _doubt(script, "what `set` sets")


def _names(script: Script, simple: Simple) -> None:
    """Builtins that set the variables they are given."""
    for word in simple.words[1:]:
        if not word.value.startswith("-") or not word.known:
            plain = word.known and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", word.value)
            script.sets.append(word.value if plain else "*")


def _flag(letter: str) -> Callable[[Script, Simple], None]:
    """A builtin that is only looked at askance with this option: it sets a variable, or evaluates one."""

    def look(script: Script, simple: Simple) -> None:
        for at, word in enumerate(simple.words[1:]):
            if word.value[:2] == letter or (at == 0 and word.value.startswith(UNKNOWN) and word.split):
                _doubt(script, f"`{simple.words[0].value} {letter}`")

    return look


_LOOKS: dict[str, Callable[[Script, Simple], None]] = {
    "command": _command,
    "env": _env,
    "xargs": _xargs,
    "find": _find,
    "eval": _eval,
    "trap": _trap,
    ".": _source,
    "source": _source,
    "watch": _watch,
    "set": _set,
    "read": _names,
    "getopts": _names,
    "unset": _names,
    "wait": _flag("-p"),
    "printf": _flag("-v"),
    "test": _flag("-v"),
    "[": _flag("-v"),
    "hash": _flag("-p"),
    **dict.fromkeys(_SHELLS, _shell),
}
