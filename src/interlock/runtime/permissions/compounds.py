"""Compound commands: reserved words, loops, cases and tests, as far as they say where commands begin. Pure."""

import re

from interlock.runtime.permissions.found import Script, Simple
from interlock.runtime.permissions.words import UNKNOWN, Lexer

_BLANK = re.compile(r"(?:[ \t]|\\\n)*")
_ARITHMETIC_TEST = {"-eq", "-ne", "-lt", "-le", "-gt", "-ge", "-v", "-R"}
_OPENS = {"if": "fi", "while": "done", "until": "done", "{": "}"}
_INSIDE = {"then", "elif", "else", "do"}
_CLOSES = {"fi", "done", "}", "esac"}
RESERVED = {*_OPENS, *_INSIDE, *_CLOSES, "for", "select", "case", "function", "[[", "]]", "!", "in", "coproc"}


class Compounds(Lexer):
    """A reader of commands that knows reserved words; what stands between them it leaves to its heir."""

    def __init__(self, text: str, script: Script, steps: list[int], depth: int) -> None:
        super().__init__(text, steps, depth)
        self.script = script
        self.stack: list[str] = []
        """What closes each compound command that is open, outermost first."""
        self.command: Simple | None = None
        self.after = False
        """A compound command has ended, and nothing but redirects and operators may follow."""
        self.awaited: list[tuple[str, bool, bool]] = []
        """Here-documents whose bodies begin at the next line: delimiter, tabs stripped, quoted."""
        self.functions = 0
        self.negated = False

    def doubt(self, why: str) -> None:
        """See Lexer."""
        self.script.opaque = self.script.opaque or why

    def parenthesis(self, at: int) -> int:
        """Past the `(` at `at`. The heir knows what it may begin."""
        raise NotImplementedError

    def _finish(self) -> None:
        """The simple command ends here."""
        self.command, self.after = None, False

    def _blank(self, at: int) -> int:
        blank = _BLANK.match(self.text, at)
        assert blank is not None, "it matches nothing as well"
        if blank.end() > at and self.text[at] == "\\" and at and self.text[at - 1] not in " \t\n":
            self.doubt("a line that goes on in the middle of a word")
        return blank.end()

    def _pop(self, closer: str) -> None:
        self.script.chains += 1
        if self.stack and self.stack[-1] == closer:
            self.stack.pop()
        else:
            self.doubt(f"`{closer}` that closes nothing")
        self.after = True

    def _reserved(self, word: str, at: int) -> int:
        if self.after and word not in _CLOSES and word not in _INSIDE:
            self.doubt("a word behind a compound command")
        self.after = False
        self.script.chains += 1
        if word in _OPENS:
            self.stack.append(_OPENS[word])
        elif word in _CLOSES:
            self._pop(word)
        elif word in {"for", "select"}:
            return self._loop(at)
        elif word == "case":
            return self._case(at)
        elif word == "function":
            return self._named(at)
        elif word == "[[":
            return self._test(at)
        elif word == "do":
            if not self.stack or self.stack[-1] != "done":
                self.doubt("`do` without a loop")
        elif word in {"then", "elif", "else"}:
            if not self.stack or self.stack[-1] != "fi":
                self.doubt(f"`{word}` without `if`")
        elif word == "coproc":
            self.doubt("`coproc`, which shells read differently")
        elif word == "!":
            self.negated = True
        else:
            self.doubt(f"`{word}` where a command begins")
        return at

    def _loop(self, at: int) -> int:
        at = self._blank(at)
        self.stack.append("done")
        if self.text.startswith("((", at):
            self.doubt("arithmetic with variables, which may run commands")
            return self.parenthesis(at)
        name, at = self.word(at)
        self.script.sets.append(name.bare or "*")
        at = self._lines(at)
        if self.text[at : at + 2] == "in" and self.text[at + 2 : at + 3] in (" ", "\t", "\n", ";", "\\"):
            at += 2
            while (at := self._blank(at)) < self.end and self.text[at] not in ";\n":
                _, end = self.word(at)
                if end == at:
                    self.doubt("an operator in the words of a loop")
                    return at
                at = end
        return at

    def _lines(self, at: int) -> int:
        """Past blanks, line ends and comments."""
        while (at := self._blank(at)) < self.end and self.text[at] in "\n#":
            close = self.text.find("\n", at)
            at = self.end if close < 0 else close + 1
        return at

    def _case(self, at: int) -> int:
        _, at = self.word(self._blank(at))
        at = self._lines(at)
        if self.text[at : at + 2] != "in" or self.text[at + 2 : at + 3] not in (" ", "\t", "\n", "\\"):
            self.doubt("`case` without `in`")
            return at
        self.stack.append("pattern")
        return at + 2

    def _pattern(self, at: int) -> int:
        """What stands before a case's commands, up to the `)`; or the `esac`."""
        if self.awaited:
            self.doubt("a here-document before a case's pattern")
        at = self._lines(at)
        if self.text.startswith("(", at):
            at = self._blank(at + 1)
        while at < self.end:
            begin = at
            word, at = self.word(at)
            if word.bare == "esac" and at > begin:
                self.stack[-1] = "esac"
                self._pop("esac")
                return at
            at = self._blank(at)
            if self.text.startswith("|", at):
                at = self._blank(at + 1)
                continue
            if self.text.startswith(")", at):
                self.stack[-1] = "esac"
                return at + 1
            if at < self.end:
                self.doubt("a pattern that does not parse")
                self.stack[-1] = "esac"
            return at
        return at

    def _named(self, at: int) -> int:
        """`function NAME`, perhaps with `()`: dash runs a program of the name `function`."""
        self.doubt("`function`, which shells read differently")
        name, at = self.word(self._blank(at))
        self.script.functions.append(name.bare)
        self.functions += 1
        at = self._blank(at)
        return at + 2 if self.text.startswith("()", at) else at

    def _test(self, at: int) -> int:
        """`[[ … ]]`: dash runs it as a program, and sees operators in it."""
        while True:
            self.step()
            at = self._blank(at)
            if at >= self.end or self.text[at] == "\n":
                self.doubt("`[[` that is not closed")
                return at
            word, end = self.word(at)
            if end == at:
                self.doubt("an operator in `[[ ]]`, which shells read differently")
                self._finish()
                return at
            at = end
            if word.bare == "]]":
                self.after = True
                return at
            if word.bare in _ARITHMETIC_TEST or (not word.known and UNKNOWN not in word.value and not word.glob):
                self.doubt("arithmetic in `[[ ]]`, which may run commands")
