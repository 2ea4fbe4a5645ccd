"""The real command line in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pytest

from interlock.testing.control_process import ControlProcess

Done = subprocess.CompletedProcess[str]


class Run(Protocol):
    def __call__(self, *argv: str, env: Mapping[str, str] | None = None) -> Done: ...


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Nothing of the caller's own environment that would lead it to a server or a key."""

    def call(*argv: str, env: Mapping[str, str] | None = None) -> Done:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("INTERLOCK_", "XDG_"))}
        clean |= {"XDG_DATA_HOME": str(tmp_path / "home"), "HTTP_PROXY": "http://127.0.0.1:1", **(env or {})}
        return subprocess.run(
            [sys.executable, "-m", "interlock.cli", *argv], env=clean, capture_output=True, text=True, timeout=60
        )

    return call


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlProcess]:
    process = ControlProcess(tmp_path_factory.mktemp("cli") / "data").start()
    yield process
    assert process.stop() == 0, process.stderr
