"""Terminal sessions in documents: read, typed into a real shell, and compared by shape.

A fenced block tagged `console` holds lines that begin with `$ ` (a command; a backslash at its end continues it) and,
below each, what it printed. A line that is only `…` stands for any lines, and `…` within one for any text. Ids, times,
numbers, addresses and what a model says differ from run to run: they are compared by kind.
"""

import os
import re
import selectors
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from interlock.clock import SystemClock

_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_KINDS = tuple(
    (re.compile(pattern), kind)
    for pattern, kind in (
        (r"\bilk_[\w-]{43}(?!\w)", "SECRET"),
        (r"\b(req|key|er|ses|sbx)_[0-9a-f]{32}\b", r"\1_ID"),
        (r"\bchatcmpl-\w+", "UPSTREAM_ID"),
        (r"\bconv-[0-9a-f]{24}\b", "CONVERSATION"),
        (r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME"),
        (r"\bsha256:[0-9a-f]{16}\b", "VERSION"),
        (r"\b[0-9a-f]{64}\b", "SHA256"),
        (r"\b[0-9a-f]{16}\b", "CHAIN"),
        (r"127\.0\.0\.1:\d+", "ADDRESS"),
        (r'"content":"(?:[^"\\]|\\.)*"', '"content":TEXT'),
        (r"""^  ('.*'|".*")$""", "TEXT"),
        (r"\b(finish.reason\W+)(stop|length)\b", r"\1END"),
        (r"\d[\d,]*(\.\d+)?", "N"),
        (r"\s+", " "),
    )
)
_IDS = re.compile(r"\b(?:req|key|ses)_[0-9a-f]{32}\b")


class Step(NamedTuple):
    """One command, and the lines shown below it."""

    command: str
    shown: list[str]


def steps(page: str) -> list[Step]:
    """Every command of every `console` block, in order."""
    found: list[Step] = []
    for block in _BLOCK.findall(page):
        continued = False
        for line in block.splitlines():
            if continued:
                found[-1] = Step(f"{found[-1].command}\n{line}", [])
            elif line.startswith("$ "):
                found.append(Step(line[2:], []))
            else:
                found[-1].shown.append(line)
                continue
            continued = line.endswith("\\")
    return found


def kind_of(line: str) -> str:
    """`line` with all that differs from run to run replaced by what it is."""
    for pattern, kind in _KINDS:
        line = pattern.sub(kind, line)
    return line.strip()


def same_shape(shown: list[str], printed: list[str]) -> bool:
    """Whether `printed` is what `shown` promises."""
    pattern = "".join(
        r"(?:.*\n)*" if line.strip() == "…" else ".*".join(map(re.escape, kind_of(line).split("…"))) + r"\n"
        for line in shown
    )
    return re.fullmatch(pattern, "".join(f"{kind_of(line)}\n" for line in printed)) is not None


def ids(lines: list[str]) -> list[str]:
    """Ids of requests, keys and sessions, in order, each time they are named."""
    return _IDS.findall("\n".join(lines))


class Terminal:
    """One shell for a whole session, so that what is exported stays."""

    def __init__(self, directory: Path, env: Mapping[str, str]) -> None:
        self._shell = subprocess.Popen(
            ["bash"], cwd=directory, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        self._clock = SystemClock()

    def type(self, command: str, seconds: float = 60.0) -> tuple[list[str], int]:
        """(what it printed on both outputs, exit status). Raises: AssertionError: it did not end in time."""
        assert self._shell.stdin is not None
        end = b"\n--- done: "
        self._shell.stdin.write(command.encode() + b"\nprintf '\\n--- done: %d\\n' $?\n")
        self._shell.stdin.flush()
        deadline_ns = self._clock.monotonic_ns() + int(seconds * 1e9)
        printed = b""
        while not (end in printed and printed.endswith(b"\n")):
            printed += self._more(deadline_ns, command, printed)
        text, _, status = printed.rpartition(end)
        return text.decode().splitlines(), int(status)

    def _more(self, deadline_ns: int, command: str, printed: bytes) -> bytes:
        assert self._shell.stdout is not None
        left_s = (deadline_ns - self._clock.monotonic_ns()) / 1e9
        with selectors.DefaultSelector() as waiting:  # select(2) takes no descriptor over 1023
            waiting.register(self._shell.stdout, selectors.EVENT_READ)
            ready = waiting.select(max(left_s, 0.0))
        more = os.read(self._shell.stdout.fileno(), 1 << 16) if ready else b""
        assert more, f"{command!r} did not end; it printed {printed.decode(errors='replace')!r}"
        return more

    def close(self) -> None:
        """End the shell, and what it may still run."""
        self._shell.kill()
        self._shell.communicate(timeout=10)
