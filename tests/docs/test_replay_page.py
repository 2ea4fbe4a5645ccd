"""The commands in docs/replay.md, typed as they stand: they need no server, and their figures stay."""

import os
import sys
from pathlib import Path

from tests.docs.session import Terminal, same_shape, steps

ROOT = Path(__file__).parents[2]


def test_the_session() -> None:
    kept = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "LANG": "C.UTF-8"}
    terminal = Terminal(ROOT, kept)
    try:
        typed = steps((ROOT / "docs" / "replay.md").read_text())
        assert len(typed) == 2
        for step in typed:
            printed, status = terminal.type(step.command)
            assert status == 0, printed
            assert same_shape(step.shown, printed), (step.command, printed)
            if "…" not in step.shown:
                assert printed[2:] == step.shown[2:]
    finally:
        terminal.close()
