"""`interlock ledger import` as a person meets it: what it prints where, its exit status, and what is counted then."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.cli.conftest import Done, Run
from tests.control.test_app import issued
from tests.control.test_events import ready
from tests.e2e.server import free_port

from interlock.testing.control_process import ControlProcess

ROWS = """id,time,subject,tokens,cost
{0}1,2026-11-01T10:00:00Z,customer-7,42,0.10
{0}2,2026-11-01 11:00:00,customer-8,43,0.20
"""
IMPORT = ("ledger", "import", "--type", "tokens", "--source", "shop")


@pytest.fixture(scope="module")
def env(server: ControlProcess) -> dict[str, str]:
    ready(server)
    return env_of(server)


def env_of(server: ControlProcess, **options: Any) -> dict[str, str]:
    key = issued(server, scopes=["events:write"], **options)["secret"]
    return {"INTERLOCK_EVENTS_URL": f"http://127.0.0.1:{server.api_port}", "INTERLOCK_EVENTS_KEY": key}


@pytest.fixture
def file(tmp_path: Path, request: pytest.FixtureRequest) -> str:
    path = tmp_path / "sales.csv"
    path.write_text(ROWS.format(f"{request.node.name}-"))
    return str(path)


def result(done: Done, status: int = 0) -> Any:
    assert done.returncode == status, done
    return msgspec.json.decode(done.stdout)


def complaint(done: Done, status: int) -> str:
    assert (done.returncode, done.stdout) == (status, ""), done
    assert "Traceback" not in done.stderr
    return done.stderr


def test_once_and_again(run: Run, env: dict[str, str], file: str) -> None:
    done = run(*IMPORT, "--zone", "Europe/Berlin", file, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split() for line in done.stdout.splitlines()] == [
        ["FILE", "ROWS", "COUNTED", "DUPLICATE", "CONFLICT", "REFUSED"],
        [file, "2", "2", "0", "0", "0"],
    ]
    again = result(run(*IMPORT, "--zone", "Europe/Berlin", file, "--format", "json", env=env))
    assert again == {
        **(tally := {"rows": 2, "counted": 0, "duplicate": 2, "conflict": 0, "refused": 0}),
        "files": [{"file": file, **tally, "problem": None}],
        "problems": [],
    }


def test_what_is_not_counted_is_named_and_written_aside(
    run: Run, env: dict[str, str], file: str, tmp_path: Path
) -> None:
    other = tmp_path / "other.csv"
    other.write_text(Path(file).read_text().replace("0.10", "0.1"))
    assert run(*IMPORT, "--zone", "UTC", file, env=env).returncode == 0
    rejects = tmp_path / "rejects.ndjson"
    done = run(*IMPORT, file, str(other), "--rejects", str(rejects), env=env)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].split() == ["total", "4", "0", "1", "1", "2"]
    said = done.stderr.splitlines()
    assert any(f"{file}:3: refused: time: 2026-11-01T11:00:00 has no time zone" in line for line in said)
    assert any(f"{other}:2: conflict: id: an event with this source and id, but other content" in line for line in said)
    lines = [msgspec.json.decode(line) for line in rejects.read_bytes().splitlines()]
    assert {(one["file"], one["line"], one["result"]) for one in lines} == {
        (file, 3, "refused"), (str(other), 3, "refused"), (str(other), 2, "conflict"),
    }  # fmt: skip


def test_what_the_server_refuses_has_its_line(run: Run, server: ControlProcess, env: dict[str, str], file: str) -> None:
    bound = env_of(server, subjects=["customer-7"])
    found = result(run(*IMPORT, "--zone", "UTC", "--format", "json", file, env=bound), 1)
    assert (found["counted"], found["refused"]) == (1, 1)
    [problem] = found["problems"]
    assert (problem["line"], problem["field"], problem["code"]) == (3, "subject", "subject_refused")


def test_a_dry_run_asks_nobody(run: Run, file: str) -> None:
    done = run(*IMPORT, "--dry-run", file, env={"INTERLOCK_EVENTS_URL": "http://127.0.0.1:1"})
    first, _, told = done.stdout.splitlines()
    assert msgspec.json.decode(first)["data"] == {"tokens": 42, "cost": 0.1} and '"cost":0.10' in first
    assert told == "1 of 2 rows would be sent; nothing was"
    assert done.returncode == 1 and f"{file}:3: refused" in done.stderr
    found = result(run(*IMPORT, "--dry-run", "--zone", "UTC", "--format", "json", file))
    assert (found["would_send"], len(found["first"])) == (2, 2)


def test_standard_input_and_ids_from_rows(run: Run, env: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("time,n\n" + "2026-11-01T10:00:00Z,1\n" * 3)
    found = result(run(*IMPORT, "--id-from-row", "--format", "json", str(path), env=env))
    assert (found["rows"], found["counted"]) == (3, 3)
    with path.open() as stdin:
        command = [
            sys.executable,
            "-m",
            "interlock.cli",
            *IMPORT,
            "--id-from-row",
            "--format-in",
            "csv",
            "--format",
            "json",
            "-",
        ]
        done = subprocess.run(command, stdin=stdin, env=os.environ | env, capture_output=True, text=True, timeout=60)
    assert result(done)["duplicate"] == 3


def test_a_damaged_file_fails_and_what_stands_before_it_counts(run: Run, env: dict[str, str], file: str) -> None:
    Path(file).write_text(Path(file).read_text().replace(" 11:00:00", "T11:00:00Z") + '"')
    found = result(run(*IMPORT, "--format", "json", file, env=env), 1)
    assert found["counted"] == 2 and f"{file}:4: the row cannot be read" in found["files"][0]["problem"]


def test_an_empty_file_is_said(run: Run, env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_bytes(b"")
    done = run(*IMPORT, str(tmp_path / "a.ndjson"), env=env)
    assert done.returncode == 0 and "a.ndjson has no rows" in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--id", "id", "--id-from-row"), "--id-from-row"),
        (("--zone", "Mars/Olympus"), "no time zone"),
        (("--zone", "../etc"), "no time zone"),
        (("--id", "gone"), "no column 'gone'; there are: id, time"),
        (("--data", "a,a"), "COLUMN=NAME"),
        (("--delimiter", "ab"), "one character"),
        (("--limit-rate", "0"), "whole number"),
        (("--format-in", "csv", "-", "-"), "once only"),
        (("-",), "--format-in"),
        (("--format-in", "parquet", "-"), "standard input"),
    ],
)
def test_wrong_usage(run: Run, env: dict[str, str], file: str, options: tuple[str, ...], said: str) -> None:
    assert said in complaint(run(*IMPORT, *options, file, env=env), 2)


def test_files_that_are_not_there_or_are_not_what_they_should_be(
    run: Run, env: dict[str, str], file: str, tmp_path: Path
) -> None:
    assert "No such file" in complaint(run(*IMPORT, str(tmp_path / "gone.csv"), env=env), 1)
    assert "directory" in complaint(run(*IMPORT, "--format-in", "csv", str(tmp_path), env=env), 1)
    (tmp_path / "a.parquet").write_bytes(b"PAR1 cut short")
    assert "a.parquet cannot be read" in complaint(run(*IMPORT, str(tmp_path / "a.parquet"), env=env), 2)
    (tmp_path / "a.csv").write_text("n\n1\n")
    assert "known by its id for ever" in complaint(run(*IMPORT, str(tmp_path / "a.csv"), env=env), 2)
    before = Path(file).read_text()
    assert "one of the files" in complaint(run(*IMPORT, "--rejects", file, file, env=env), 2)
    assert Path(file).read_text() == before


def test_keys_and_addresses_that_are_wrong(run: Run, server: ControlProcess, env: dict[str, str], file: str) -> None:
    dated = (*IMPORT, "--zone", "UTC", file)
    no_key = {name: value for name, value in env.items() if name != "INTERLOCK_EVENTS_KEY"}
    assert "interlock keys issue" in complaint(run(*dated, env=no_key), 1)
    assert "[key_unknown]" in complaint(run(*dated, env=env | {"INTERLOCK_EVENTS_KEY": "ilk_" + "x" * 43}), 1)
    assert "[key_unknown]" in complaint(run(*dated, env=env | {"INTERLOCK_EVENTS_KEY": "ä"}), 1)
    other = issued(server, scopes=["usage:read"])["secret"]
    assert "[scope_missing]" in complaint(run(*dated, env=env | {"INTERLOCK_EVENTS_KEY": other}), 1)
    control = {"INTERLOCK_EVENTS_URL": server.url, "INTERLOCK_EVENTS_KEY": server.admin}
    assert "the api port?" in complaint(run(*dated, env=control), 1)
    assert "INTERLOCK_EVENTS_URL" in complaint(run(*dated, env=env | {"INTERLOCK_EVENTS_URL": "ftp://x"}), 2)


def test_nobody_listens(run: Run, env: dict[str, str], file: str) -> None:
    nowhere = env | {"INTERLOCK_EVENTS_URL": f"http://127.0.0.1:{free_port()}"}
    said = complaint(run(*IMPORT, "--zone", "UTC", "--patience", "1", file, env=nowhere), 1)
    assert "trying again" in said and "took nothing for 1 s" in said and "run the same command again" in said


def test_progress_and_ctrl_c(env: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,time\n" + "".join(f"slow{n},2026-11-01T10:00:00Z\n" for n in range(1000)))
    command = [sys.executable, "-m", "interlock.cli", *IMPORT, "--progress", "--limit-rate", "5", str(path)]
    with subprocess.Popen(command, env=os.environ | env, stdout=-1, stderr=-1, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        assert " rows: " in line and " counted, " in line and " a second" in line and "% read" in line, line
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, "")
    assert "interrupted after" in err and "run the same command again" in err and "Traceback" not in err
