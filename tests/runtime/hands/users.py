"""Run a test as another user than root, who has this interpreter and its modules because they are loaded already."""

import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

UID = 61_999
"""Nobody's."""


def run_as_other(test: Callable[[Path], object]) -> None:
    """Call it with a directory of that user's, in a child; whoever is no root already is other enough."""
    directory = Path(tempfile.mkdtemp(prefix="interlock-other-"))
    try:
        if os.geteuid() != 0:
            test(directory)
            return
        os.chown(directory, UID, UID)
        said = directory.with_name(f"{directory.name}.said")
        pid = os.fork()
        if pid == 0:
            os._exit(_child(test, directory, said))
        _, status = os.waitpid(pid, 0)
        text = said.read_text() if said.exists() else ""
        said.unlink(missing_ok=True)
        assert status == 0, f"status {status}\n{text}"
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _child(test: Callable[[Path], object], directory: Path, said: Path) -> int:
    said.touch(mode=0o666)
    os.chown(said, UID, UID)
    try:
        os.setgroups([])
        os.setresgid(UID, UID, UID)
        os.setresuid(UID, UID, UID)
        os.chdir(directory)
        test(directory)
    except BaseException:
        said.write_text(traceback.format_exc())
        return 1
    finally:
        sys.stdout.flush()
    return 0
