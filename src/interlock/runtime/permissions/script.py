"""What a line of shell runs: every simple command in it at any nesting, what it redirects, what cannot be seen. Pure.

Where commands begin is what matters here, not what a program means: compound commands are read for their parts. What
does not parse, or would be read differently by bash and dash, is `opaque`; the commands in it are found all the same.
"""

import re
from collections.abc import Callable

import msgspec

from interlock.runtime.permissions.compounds import RESERVED, Compounds
from interlock.runtime.permissions.found import Redirect, Script, Simple
from interlock.runtime.permissions.words import STEPS_A_CHAR, Refused

TEXT_BYTES_MAX = 128 * 1024
"""What the kernel takes as one argument of a program."""
COMMANDS_MAX = 1000
REDIRECTS_MAX = 1000
WORDS_MAX = 20_000
AGAIN_CHARS_MAX = 4 * TEXT_BYTES_MAX
"""Of texts in texts together, as each of them is read again."""

_OPERATOR = re.compile(r"&&|\|\||;;&|;;|;&|\|&|&>>|&>|[;|&]")
_REDIRECT = re.compile(r"<<<|<<-|<<|<&|<>|<|>>|>&|>\||>")
_TIME = re.compile(r"time(?:[ \t]+-p)?[ \t]+(?=[^-\s\\;&|()<>])")
_ASSIGN = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(\[[^\]]*\])?\+?=")


def read(text: str, *, into: Script | None = None, depth: int = 0, steps: list[int] | None = None) -> Script:
    """Read a text. Raises: Refused: it is beyond a bound."""
    if len(text) > TEXT_BYTES_MAX or len(text.encode(errors="replace")) > TEXT_BYTES_MAX:
        raise Refused(f"the text is longer than {TEXT_BYTES_MAX // 1024} KiB", field="command")
    script = into if into is not None else Script()
    script.again += len(text) if into is not None else 0
    if script.again > AGAIN_CHARS_MAX:
        raise Refused("texts in texts take too long to read", field="command")
    reader = _Reader(text, script, steps if steps is not None else [STEPS_A_CHAR * len(text) + 1000], depth)
    at = 0
    while at < len(text):  # a `)` too many ends the commands: what follows is read as well
        at = reader.commands(at, closed=False)
    return script


class _Reader(Compounds):
    """Reads commands into a script."""

    def __init__(self, text: str, script: Script, steps: list[int], depth: int) -> None:
        super().__init__(text, script, steps, depth)
        self.inside: Callable[[int], int] = self._substitution
        self.whole: Callable[[str], None] = self._backquoted

    def again(self, text: str) -> "_Reader":
        """See Lexer."""
        return _Reader(text, self.script, self.steps, self.depth + 1)

    def _backquoted(self, text: str) -> None:
        self.script.chains += 1
        reader, at = self.again(text), 0
        while at < len(text):
            at = reader.commands(at, closed=False)
        self.script.chains += 1
        self._sets(reader)

    def _sets(self, reader: "_Reader") -> None:
        self.script.sets += reader.sets
        reader.sets = []

    def _substitution(self, at: int) -> int:
        """Commands up to the `)`, with a state of their own."""
        if self.awaited:
            self.doubt("a substitution behind a here-document's beginning")
        saved = (self.stack, self.command, self.after, self.awaited)
        self.stack, self.command, self.after, self.awaited = [], None, False, []
        self.script.chains += 1
        if saved[0] and saved[0][-1] in {"done", "function"}:
            self.stack.append("loop")
        try:
            return self.commands(at, closed=True)
        finally:
            if self.awaited:
                self.doubt("a here-document that a substitution does not hold")
            self.stack, self.command, self.after, self.awaited = saved
            self.script.chains += 1

    def commands(self, at: int, *, closed: bool) -> int:
        """Read from `at` to the end, or to the `)` that closes it. Returns where that is, and it behind."""
        text = self.text
        floor = 1 if self.stack[:1] == ["loop"] else 0
        while True:
            self.step()
            at = self._blank(at)
            if at >= self.end:
                self._finish()
                if closed or len(self.stack) > floor:
                    self.doubt("the text ends in the middle")
                if self.awaited:
                    self.doubt("a here-document without a body")
                self._sets(self)
                return self.end
            c = text[at]
            if self.stack and self.stack[-1] == "pattern":
                at = self._pattern(at)
            elif c == "\n":
                self._finish()
                self.script.chains += 1
                at = self._bodies(at + 1)
            elif c == "#":
                close = text.find("\n", at)
                at = self.end if close < 0 else close
            elif c == ")":
                self._finish()
                if len(self.stack) <= floor:
                    if not closed:
                        self.doubt("a `)` that closes nothing")
                    return at + 1
                self._pop(")")
                at += 1
            elif c == "(":
                at = self.parenthesis(at)
            elif c in "<>" and not text.startswith("(", at + 1):
                at = self._redirect(at)
            elif operator := _OPERATOR.match(text, at):
                at = self._operator(operator[0], operator.end())
            else:
                at = self._word(at)

    def _current(self) -> Simple:
        if self.command is None:
            if len(self.script.commands) >= COMMANDS_MAX:
                raise Refused(f"more than {COMMANDS_MAX} commands", field="command")
            self.command = Simple(
                repeated=self._repeated(), place=len(self.script.commands), depth=self.depth, chain=self.script.chains
            )
            self.command.negated, self.negated = self.negated, False
            self.script.commands.append(self.command)
        return self.command

    def _repeated(self) -> bool:
        return self.functions > 0 or any(entry in {"done", "loop", "function"} for entry in self.stack)

    def _operator(self, operator: str, at: int) -> int:
        if operator.startswith("&>"):
            at = self._target(at, writes=True)
            self.after = True  # dash ends the command there: what follows would be another
            return at
        self.script.chains += operator != "&&"
        if operator in {";;", ";&", ";;&"}:
            self._finish()
            if self.stack and self.stack[-1] == "esac":
                self.stack[-1] = "pattern"
            else:
                self.doubt(f"`{operator}` outside of `case`")
            return at
        if operator == "|&":
            self.doubt("`|&`, which shells read differently")
        self._finish()
        return at

    def parenthesis(self, at: int) -> int:
        command = self.command
        if command is not None:
            close = self._blank(at + 1)
            if len(command.words) == 1 and not command.assigns and self.text.startswith(")", close):
                return self._function(command, close + 1)
            if self.text[at - 1] == "=" and command.assigns and not command.words:
                return self._array(at + 1)
            self.doubt("a parenthesis in the middle of a command")
            self._finish()
        elif self.after:
            self.doubt("a parenthesis behind a compound command")
        if self.text.startswith("((", at):
            self.doubt("arithmetic with variables, which may run commands")
        self.script.chains += 1
        self.stack.append(")")
        self.after = False
        return at + 1

    def _function(self, command: Simple, at: int) -> int:
        name = command.words[0].bare
        if not name:
            self.doubt("a function whose name is not plain")
        self.script.functions.append(name)
        self.script.commands.pop()  # its name is one plain word: nothing came between
        self._finish()
        self.functions += 1
        return at

    def _array(self, at: int) -> int:
        """The words of `NAME=(…)` up to its `)`."""
        while True:
            self.step()
            at = self._blank(at)
            if at >= self.end:
                self.doubt("the text ends in the middle")
                return at
            if self.text[at] == ")":
                return at + 1
            if self.text[at] == "\n":
                at += 1
                continue
            _, end = self.word(at)
            if end == at:
                self.doubt("an operator in an array")
                end = at + 1
            at = end

    def _redirect(self, at: int) -> int:
        operator = _REDIRECT.match(self.text, at)
        assert operator is not None, "it stands at < or >"
        kind, at = operator[0], operator.end()
        if kind in {"<<", "<<-"}:
            at = self._blank(at)
            begin = at
            word, at = self.word(at)
            if not word.known or begin == at:
                self.doubt("a here-document whose end is not plain")
            self.awaited.append((word.value, kind == "<<-", word.plain < len(word.value)))
            return at
        if kind == "<<<":
            begin = self._blank(at)
            _, at = self.word(begin)
            if at == begin:
                self.doubt("a redirect to nothing")
            return at
        return self._target(at, writes=kind not in {"<", "<&"}, copies=kind in {"<&", ">&"})

    def _target(self, at: int, *, writes: bool, copies: bool = False) -> int:
        begin = self._blank(at)
        word, at = self.word(begin)
        if at == begin:
            self.doubt("a redirect to nothing")
        elif not (copies and re.fullmatch(r"[0-9]+-?|-", word.bare)):
            if len(self.script.redirects) >= REDIRECTS_MAX:
                raise Refused(f"more than {REDIRECTS_MAX} redirects", field="command")
            self.script.redirects.append(
                Redirect(target=word, writes=writes, place=len(self.script.commands), chain=self.script.chains)
            )
        return at

    def _bodies(self, at: int) -> int:
        """The here-documents whose bodies begin at this line. Returns where the text goes on."""
        awaited, self.awaited = self.awaited, []
        for delimiter, tabs, quoted in awaited:
            begin, line = at, ""
            while at < self.end:
                self.step()
                close = self.text.find("\n", at)
                close = self.end if close < 0 else close
                line = self.text[at:close].lstrip("\t") if tabs else self.text[at:close]
                body_end, at = at, min(close + 1, self.end)
                if line == delimiter:
                    break
            else:
                # A shell may end it where we do not (before the `)` of a substitution): what follows is read both ways.
                self.doubt("a here-document that is not closed")
                body_end, at = self.end, begin
            if not quoted:
                self.here(self.text[begin:body_end])
        return at

    def _word(self, at: int) -> int:
        text, command = self.text, self.command
        if command is None and not self.after and (timed := _TIME.match(text, at)):
            return timed.end()
        begin = at
        word, at = self.word(at)
        if at == begin:  # an operator that is none here
            self.doubt(f"the character {text[at]!r}")
            self._finish()
            return at + 1
        if at < self.end and text[at] in "<>" and (command is not None or not self.after):
            if word.bare.isdigit():
                return at  # the number of a redirect
            if word.bare.startswith("{"):
                self.doubt("a redirect that sets a variable")
        if command is None and word.bare in RESERVED:
            return self._reserved(word.bare, at)
        if self.after:
            self.doubt("a word behind a compound command")
            self.after = False
        self.script.words += 1
        if self.script.words > WORDS_MAX:
            raise Refused(f"more than {WORDS_MAX:,} words", field="command")
        current = self._current()
        assign = _ASSIGN.match(word.value[: word.plain]) if not current.words else None
        if assign:
            if assign[2]:
                self.doubt("an array's element is set")
            value = msgspec.structs.replace(word, value=word.value[assign.end() :], plain=0)
            current.assigns.append((assign[1], value))
        else:
            current.words.append(word)
            current.exported = True
        return at
