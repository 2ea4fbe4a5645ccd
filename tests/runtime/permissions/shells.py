"""Real shells with recording programs: what a line of shell starts, and with which words."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
from itertools import count
from pathlib import Path

from interlock.runtime.permissions.found import Script
from interlock.runtime.permissions.launchers import look_through, name_of
from interlock.runtime.permissions.script import read
from interlock.runtime.permissions.words import UNKNOWN, Word

PROGRAMS = ("alpha", "beta", "gamma", "delta")
REAL = ("env", "nice", "nohup", "timeout", "xargs", "find", "sh", "bash", "dash", "setsid", "stdbuf", "cat")
TIME_S = 5.0
CPU_S = 2
"""Of each process: the last line of defence against a line that runs without end."""
_RECORDER = """#!/bin/dash
line=NAME
for word do line=$line$(printf '\\037%s' "$word"; echo .); line=${line%.}; done
printf '%s\\036' "$line" >> "$RECORD"
"""


class Shells:
    """A directory of programs that only say that they were started."""

    def __init__(self, place: Path) -> None:
        self.place, self.programs = place, place / "programs"
        self.runs = count()
        self.programs.mkdir()
        for name in PROGRAMS:
            (self.programs / name).write_text(_RECORDER.replace("NAME", name))
            (self.programs / name).chmod(0o755)
        for name in REAL:
            real = shutil.which(name)
            assert real, f"this machine has no {name}, which coreutils, findutils, bash and dash bring"
            (self.programs / name).symlink_to(real)

    def run(self, shell: str, text: str) -> tuple[list[list[str]], set[str]]:
        """The programs that a text started, each with its words, and the files that it made."""
        place = self.place / str(next(self.runs))  # another each time: what is being killed may still write
        work, record = place / "work", place / "record"
        work.mkdir(parents=True)
        record.touch()
        env = {
            "PATH": str(self.programs),
            "HOME": str(work),
            "RECORD": str(record),
            "FUNCNEST": "4",
            "LANG": "C.UTF-8",
        }
        with subprocess.Popen(
            ["/usr/bin/prlimit", f"--cpu={CPU_S}", f"/bin/{shell}", "-c", text],
            cwd=work,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            try:
                process.wait(TIME_S)
            except subprocess.TimeoutExpired:
                pass
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # what runs in the background as well
        started = record.read_bytes().decode(errors="replace").split("\x1e")[:-1]
        made = {path.relative_to(work).as_posix() for path in work.rglob("*")}
        shutil.rmtree(place, ignore_errors=True)
        return [entry.split("\x1f") for entry in started], made


def understood(text: str) -> Script:
    """The text, read and looked through."""
    script = read(text)
    look_through(script)
    return script


def fits(words: list[Word], argv: list[str]) -> bool:
    """These may be the words that the program was given."""
    if not words:
        return not argv
    first, rest = words[0], words[1:]
    if first.split and UNKNOWN in first.value:
        return any(fits(rest, argv[taken:]) for taken in range(len(argv) + 1))
    if first.glob:
        return any(fits(rest, argv[taken:]) for taken in range(1, len(argv) + 1))
    if not argv:
        return False
    value = first.value.replace("~", UNKNOWN) if first.tilde else first.value
    expression = ".*".join(re.escape(part) for part in value.split(UNKNOWN))
    return re.fullmatch(expression, argv[0], re.DOTALL) is not None and fits(rest, argv[1:])


def unseen(script: Script, started: list[list[str]]) -> list[list[str]]:
    """What was started and is in no command that was seen."""
    seen = [[Word(value=name_of(simple.words[0])), *simple.words[1:]] for simple in script.commands if simple.words]
    return [argv for argv in started if not any(fits(words, argv) for words in seen)]


def unasked(script: Script, made: set[str]) -> set[str]:
    """Files that were made, and that no redirect names."""
    targets = [redirect.target for redirect in script.redirects if redirect.writes]
    return {path for path in made if not any(fits([word], [path]) for word in targets)}


def unnamed(script: Script, started: list[list[str]]) -> list[str]:
    """Programs that were started, and whose name no command has."""
    names = {name_of(simple.words[0]) for simple in script.commands if simple.words}
    return [argv[0] for argv in started if argv[0] not in names]
