"""The benchmarks run: each in the smallest turn that it has. What they measure is not looked at."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = {
    "policy --quick": "CPU µs of a decision",
    "replay 1000": "rows of a file: ",
    "limits": "the page of two workers",
    "entitlements --calls 20 --tenants 20": "two limits, models and two limits: ",
    "sessions --no-peers --turns 1 --steps 100": "power, of the SQLite commits beside it",
    "ledger_fold 300": "explain",
    "intake --keys 1000 --batches 2": "key, sqlite, 1,000 known",
    "meters --records 2 --rows 20000": "20,000 rows of",
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_it_runs(program: str) -> None:
    name, *arguments = program.split()
    command = [sys.executable, "-m", f"bench.{name}", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert PROGRAMS[program] in done.stdout
