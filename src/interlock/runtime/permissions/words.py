"""A shell's words: quotes, expansions and substitutions, read as bash and dash read them. Pure, and linear.

What both shells see the same is told as it is; where they differ, or where only running it would tell, the word is
unknown. What a word *starts* (`$(…)`, backquotes, `<(…)`) is handed to whoever reads commands.
"""

import re
from collections.abc import Callable

import msgspec

from interlock.errors import LocalError

DEPTH_MAX = 32
"""Substitutions in substitutions, texts in `sh -c`, compound commands."""
STEPS_A_CHAR = 8
"""Reading again what was read wrongly (`$((` may begin a substitution) costs steps: so many for a character."""
UNKNOWN = "\0"
"""In a word's value: some text, perhaps none."""

_PLAIN = re.compile(r"[A-Za-z0-9_./:=@%+\-^\]!]+")
_IN_DOUBLE = re.compile(r'[^"\\$`]+')
_IN_HERE = re.compile(r"[^\\$`]+")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[0-9]|[@*#?$!-]")
_SUM = re.compile(r"\$\(\([0-9+\-*/%<>=!&|^~?: \t]*\)\)")
_PARAMETER = re.compile(
    r"\$\{(?:#?(?:[A-Za-z_][A-Za-z0-9_]*|[0-9]+|[@*#?])"
    r"|(?:[A-Za-z_][A-Za-z0-9_]*|[0-9]+|[@*])(?::?[-+?]|##?|%%?|//?|\^\^?|,,?)[^`${}'\"\\\n()<>]*)\}"
)
_REST = re.compile(r"[^`${}'\"\\\n()<>]*\}")
_SETS = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*):?=")


class Refused(LocalError):
    """The text is beyond what is read at all: too long, too deep, too many commands."""


class Word(msgspec.Struct, kw_only=True):
    """One word after quotes are removed."""

    value: str = ""
    """`UNKNOWN` stands for what only running it would tell."""
    plain: int = 0
    """So many characters at its beginning were written without any quoting."""
    glob: bool = False
    """Some unquoted `*`, `?` or `[`: the file names that match, or the word itself."""
    split: bool = False
    """An unknown part may be no word, one or several."""
    pipe: bool = False
    """It is a process substitution, and nothing else: the name of a pipe."""
    tilde: bool = False
    """It has an unquoted `~` where that may be a home directory."""

    @property
    def known(self) -> bool:
        """It is one word, and exactly `value`."""
        return UNKNOWN not in self.value and not self.glob and not self.tilde

    @property
    def bare(self) -> str:
        """The word if nothing in it was quoted or expanded, as reserved words must be; else empty."""
        return self.value if self.plain == len(self.value) and self.known else ""


class Lexer:
    """Reads words of one text. `nested` reads commands: from an index to the `)` that closes them, or a whole text."""

    def __init__(self, text: str, steps: list[int], depth: int) -> None:
        if depth > DEPTH_MAX:
            raise Refused(f"commands are nested deeper than {DEPTH_MAX}", field="command")
        self.text, self.end, self.depth, self.steps = text, len(text), depth, steps
        self.opaque = ""
        self.sets: list[str] = []
        """Variables that an expansion sets (`${X:=y}`)."""
        self.inside: Callable[[int], int]
        self.whole: Callable[[str], None]

    def doubt(self, why: str) -> None:
        """What is not seen through: the first reason is kept."""
        self.opaque = self.opaque or why

    def step(self) -> None:
        """Count work. Raises: Refused: there was too much."""
        self.steps[0] -= 1
        if self.steps[0] < 0:
            raise Refused("the text takes too long to read", field="command")

    def word(self, at: int) -> tuple[Word, int]:
        """The word that begins at `at`, and where it ends. It may be empty only if a metacharacter stands there."""
        text, end, word, parts = self.text, self.end, Word(), list[str]()
        length, quoted_from, brace, bracket = 0, -1, -1, False
        word.tilde = text.startswith("~", at)
        begin = at
        while at < end:
            self.step()
            c = text[at]
            was = length
            if run := _PLAIN.match(text, at):
                piece, at = run[0], run.end()
                if brace >= 0 and ".." in piece:
                    brace = -2
            elif c in " \t\n|&;()" or (c in "<>" and not text.startswith("(", at + 1)):
                break
            elif c in "<>":
                if text[begin:at].isdigit():
                    self.doubt("a number before a process substitution")
                word.pipe = at == begin
                piece, at = UNKNOWN, self._deeper(at + 2)
                quoted_from = was if quoted_from < 0 else quoted_from
            elif c in "\\'\"$`":
                before = self.text[at : at + 2]
                piece, at, split = self._quoted(at)
                word.split |= split
                if before != "\\\n" and quoted_from < 0:
                    quoted_from = was
            else:
                piece, at = c, at + 1
                word.glob |= c in "*?"
                bracket |= c == "["
                word.tilde |= c == "~" and text[at - 2] in "=:"  # bash, in what looks like an assignment
                if c == "{" and brace == -1:
                    brace = length
                elif c == "," and brace >= 0:
                    brace = -2
                elif c == "}" and brace == -2:
                    word.split = True
                    piece = "}" + UNKNOWN
                self._odd(c)
            parts.append(piece)
            length += len(piece)
        word.value = "".join(parts)
        word.pipe &= word.value == UNKNOWN
        word.glob |= bracket and "]" in word.value[word.value.index("[") :]
        if word.split and brace == -2 and "{" in word.value:  # {a,b}: one word or several
            word.value = word.value[: word.value.index("{")] + UNKNOWN
        word.plain = len(word.value) if quoted_from < 0 else min(quoted_from, len(word.value))
        return word, at

    def _odd(self, c: str) -> None:
        if c < " " or c == "\x7f" or (c > "\x7f" and (c.isspace() or not c.isprintable())):
            self.doubt(f"the character {c!r}")

    def _deeper(self, at: int) -> int:
        """Past the `)` of the commands that begin at `at`."""
        self._enter()
        at = self.inside(at)
        self.depth -= 1
        return at

    def _quoted_deeper(self, at: int) -> int:
        """Past what a quoting character begins in something that is quoted itself."""
        self._enter()
        _, at, _ = self._quoted(at)
        self.depth -= 1
        return at

    def _enter(self) -> None:
        if self.depth >= DEPTH_MAX:
            raise Refused(f"commands are nested deeper than {DEPTH_MAX}", field="command")
        self.depth += 1

    def _quoted(self, at: int) -> tuple[str, int, bool]:
        """What a quoting character begins: its value, where it ends, whether it may be several words."""
        text, c = self.text, self.text[at]
        if c == "\\":
            if text.startswith("\n", at + 1):
                self.doubt("a line that goes on in the middle of a word")
                return "", at + 2, False
            return text[at + 1 : at + 2] or "\\", at + 2, False
        if c == "'":
            close = text.find("'", at + 1)
            if close < 0:
                self.doubt("a quote that is not closed")
                close = self.end
            return text[at + 1 : close], close + 1, False
        if c == '"':
            value, at = self._double(at + 1)
            return value, at, False
        if c == "`":
            return UNKNOWN, self._back(at, double=False), True
        return self._dollar(at, double=False)

    def _double(self, at: int) -> tuple[str, int]:
        """The inside of double quotes from `at`, and the end behind them."""
        parts, text = [], self.text
        while at < self.end:
            self.step()
            if run := _IN_DOUBLE.match(text, at):
                parts.append(run[0])
                at = run.end()
                continue
            c = text[at]
            if c == '"':
                return "".join(parts), at + 1
            if c == "\\":
                following = text[at + 1 : at + 2]
                if following == "\n":
                    if parts and parts[-1].endswith(("$", UNKNOWN)):  # `$`, or a name that goes on
                        self.doubt("a line that goes on after `$`")
                else:
                    parts.append(following if following and following in '$`"\\' else "\\" + following)
                at += 2
            elif c == "`":
                parts.append(UNKNOWN)
                at = self._back(at, double=True)
            else:
                piece, at, _ = self._dollar(at, double=True)
                parts.append(piece)
        self.doubt("a quote that is not closed")
        return "".join(parts), at

    def here(self, body: str) -> None:
        """A here-document's body whose delimiter was not quoted: what it expands is read."""
        inner = self.again(body)
        at = 0
        while at < inner.end:
            inner.step()
            if run := _IN_HERE.match(body, at):
                at = run.end()
            elif body[at] == "\\":
                if body.startswith("\n", at + 1):
                    inner.doubt("a here-document whose lines go on")
                at += 2
            elif body[at] == "`":
                at = inner._back(at, double=False)
            else:
                _, at, _ = inner._dollar(at, double=True)
        self.doubt(inner.opaque)

    def again(self, text: str) -> "Lexer":
        """A reader of another text that reports to the same place. The reader of commands overrides it."""
        raise NotImplementedError

    def _back(self, at: int, *, double: bool) -> int:
        """Backquotes at `at`: the text in them is read as commands. Returns where they end."""
        parts, at = [], at + 1
        text, begin = self.text, at
        while at < self.end and text[at] != "`":
            self.step()
            if text[at] == "\\":
                parts.append(text[begin:at])
                following = text[at + 1 : at + 2]
                kept = following in ("`", "\\", "$") or (double and following == '"')
                parts.append(following if kept else "\\" + following)
                at += 2
                begin = at
            else:
                at += 1
        parts.append(text[begin:at])
        if at >= self.end:
            self.doubt("a backquote that is not closed")
        self.whole("".join(parts))
        return at + 1

    def _dollar(self, at: int, *, double: bool) -> tuple[str, int, bool]:
        """What `$` begins at `at`: its value, where it ends, whether it may be several words."""
        text = self.text
        following = text[at + 1 : at + 2]
        split = not double
        if following == "(":
            if total := _SUM.match(text, at):
                return UNKNOWN, total.end(), split
            if text.startswith("((", at + 1):
                self.doubt("arithmetic with variables, which may run commands")
                if (close := self._arithmetic(at + 3)) >= 0:
                    return UNKNOWN, close, split
            return UNKNOWN, self._deeper(at + 2), split
        if following == "{":
            return UNKNOWN, self._parameter(at), split
        if following in ("'", '"') and not double:  # dash reads a dollar, then a quote
            if following == '"':
                _, at = self._double(at + 2)
                return UNKNOWN, at, False
            return UNKNOWN, self._ansi(at + 2), False
        if following == "[":
            self.doubt("arithmetic with variables, which may run commands")
        if following == "\\" and text.startswith("\n", at + 2):
            self.doubt("a line that goes on after `$`")
        if name := _NAME.match(text, at + 1):
            return UNKNOWN, name.end(), split and name[0] not in "?#$!"
        return "$", at + 1, False

    def _ansi(self, at: int) -> int:
        """The end of `$'…'`, where a backslash may keep a quote in bash, and does not in dash."""
        text = self.text
        while at < self.end and text[at] != "'":
            self.step()
            if text.startswith("\\'", at):
                self.doubt("a quote in `$'…'`, which shells read differently")
            at += 2 if text[at] == "\\" else 1
        if at >= self.end:
            self.doubt("a quote that is not closed")
        return at + 1

    def _arithmetic(self, at: int) -> int:
        """Past the `))` of arithmetic that begins at `at`; -1: it is none, but a subshell in a substitution."""
        level, text = 0, self.text
        while at < self.end:
            self.step()
            c = text[at]
            if c == ")":
                if level == 0:
                    return at + 2 if text.startswith("))", at) else -1
                level -= 1
                at += 1
            elif c in "\\'\"`$":
                at = self._quoted_deeper(at)
            else:
                level += c == "("
                at += 1
        return -1

    def _parameter(self, at: int) -> int:
        """Past the `}` of `${…}` at `at`."""
        text = self.text
        if simple := _PARAMETER.match(text, at):
            return simple.end()
        if sets := _SETS.match(text, at):
            self.sets.append(sets[1])
            if simple := _REST.match(text, sets.end()):
                return simple.end()
        self.doubt("an expansion that is more than a variable's value")
        at += 2
        while at < self.end and text[at] != "}":
            self.step()
            if text[at] in "\\'\"`$":
                at = self._quoted_deeper(at)
            else:
                at += 1
        return at + 1
