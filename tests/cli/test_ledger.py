"""`interlock ledger` as a person or a script meets it."""

import csv
import io
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.cli.conftest import Run
from tests.control.test_app import issued
from tests.control.test_events import event, ready, send

from interlock.testing.control_process import ControlProcess

CORRECT = ("ledger", "correct", "--source", "app/eu", "--reason", "wrong", "--id")


@pytest.fixture(scope="module")
def key(server: ControlProcess) -> str:
    ready(server)
    return str(
        issued(server, name="books", scopes=["events:write", "events:correct", "periods:close", "events:erase"])[
            "secret"
        ]
    )


@pytest.fixture
def env(server: ControlProcess, key: str) -> dict[str, str]:
    return {"INTERLOCK_EVENTS_URL": f"http://127.0.0.1:{server.api_port}", "INTERLOCK_EVENTS_KEY": key}


def written(path: Path, document: dict[str, Any]) -> str:
    path.write_bytes(msgspec.json.encode(document))
    return str(path)


def test_correct(run: Run, server: ControlProcess, key: str, env: dict[str, str], tmp_path: Path) -> None:
    send(server, key, [event("a"), event("b")])
    file = written(tmp_path / "new.json", event("a2", data={"tokens": 8}))
    first = run(*CORRECT, "a", "--replacement", file, env=env)
    assert (first.returncode, first.stderr) == (0, "") and first.stdout.startswith("app/eu a is replaced, in record ")
    again = run(*CORRECT, "a", "--replacement", file, env=env)
    assert again.returncode == 0 and "was corrected so already" in again.stdout
    other = run(*CORRECT, "a", env=env)
    assert (other.returncode, other.stdout) == (1, "")
    assert (
        other.stderr.startswith("interlock: conflict: it was corrected already, otherwise") and "(id)" in other.stderr
    )
    url = ("--api-url", env["INTERLOCK_EVENTS_URL"])
    alone = run(*CORRECT, "b", "--format", "json", *url, env={"INTERLOCK_EVENTS_KEY": key})
    assert alone.returncode == 0 and msgspec.json.decode(alone.stdout)["result"] == "counted"
    unknown = run(*CORRECT, "c", "--format", "json", env=env)
    assert unknown.returncode == 1 and msgspec.json.decode(unknown.stdout)["code"] == "event_unknown"
    assert "[event_unknown]" in unknown.stderr


def test_what_the_caller_did_wrong(run: Run, server: ControlProcess, env: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text('{"id":')
    (tmp_path / "big.json").write_text('"' + "x" * (600 * 1024) + '"')
    cases = [
        ((*CORRECT, "a", "--replacement", str(tmp_path / "bad.json")), env, 2, "bad.json"),
        ((*CORRECT, "a", "--replacement", str(tmp_path / "big.json")), env, 2, "is larger than"),
        ((*CORRECT, "a", "--replacement", str(tmp_path / "none.json")), env, 1, "No such file"),
        ((*CORRECT, "a", "--replacement", written(tmp_path / "l.json", {"id": 1})), env, 1, "replacement.specversion"),
        ((*CORRECT, "a"), {**env, "INTERLOCK_EVENTS_KEY": ""}, 1, "set INTERLOCK_EVENTS_KEY"),
        ((*CORRECT, "a"), {**env, "INTERLOCK_EVENTS_KEY": issued(server)["secret"]}, 1, "events:correct"),
        ((*CORRECT, "a", "--api-url", "ftp://x"), env, 2, "--api-url"),
        ((*CORRECT, "a", "--api-url", "http://127.0.0.1:1"), env, 1, "api port: --api-url"),
        (("ledger", "close", "--period", "2026-13"), env, 2, "a month, 2026-10"),
        (("ledger", "close", "--period", "2025-10", "--zone", "Mars"), env, 2, "is no time zone"),
        (("ledger", "close"), env, 2, "--period"),
    ]
    for argv, given, status, said in cases:
        done = run(*argv, env=given)
        assert (done.returncode, done.stdout) == (status, ""), done
        assert said in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_close_and_list(run: Run, env: dict[str, str]) -> None:
    assert run("ledger", "periods", env=env).stdout.splitlines() == [
        "PERIOD  ZONE  SINCE  UNTIL  CLOSED  PRINCIPAL  RECORD"
    ]
    close = ("ledger", "close", "--period", "2025-10", "--zone", "Europe/Berlin")
    first, again = run(*close, env=env), run(*close, env=env)
    assert "2025-10 (Europe/Berlin) is closed: all before 2025-10-31T23:00:00Z, in record" in first.stdout
    assert again.returncode == 0 and "was closed already" in again.stdout
    older = run("ledger", "close", "--period", "2025-09", env=env)
    assert older.returncode == 1 and "[period_closed]" in older.stderr and older.stdout == ""
    table = run("ledger", "periods", env=env).stdout.splitlines()
    assert len(table) == 2 and table[1].startswith("2025-10  Europe/Berlin  2025-09-30T22:00:00Z  2025-10-31T23:00:00Z")
    [row] = csv.DictReader(io.StringIO(run("ledger", "periods", "--format", "csv", env=env).stdout))
    [one] = msgspec.json.decode(run("ledger", "periods", "--format", "json", env=env).stdout)["periods"]
    assert {name: str(value) for name, value in one.items()} == row and row["principal"] == "books"


def test_help_teaches(run: Run) -> None:
    for name, words in (("correct", "--replacement"), ("close", "for good"), ("periods", "INTERLOCK_EVENTS_KEY")):
        done = run("ledger", name, "--help")
        assert done.returncode == 0 and words in done.stdout and "INTERLOCK_EVENTS_URL" in done.stdout


def test_erase(run: Run, server: ControlProcess, key: str, env: dict[str, str]) -> None:
    send(server, key, [event("gone", subject="anna"), event("there", subject="otto")])
    erased = run("ledger", "erase", "anna", "--reason", "case 1", env=env)
    assert (erased.returncode, erased.stderr) == (0, "") and erased.stdout.endswith(" is done: 1 events in 1 records\n")
    later = run("ledger", "erase", "otto", "--reason", "case 2", "--no-wait", env=env)
    assert later.returncode == 0 and "will be done" in later.stdout
    waited = run("ledger", "erase", "nobody", "--reason", "case 3", "--format", "json", env=env)
    assert (msgspec.json.decode(waited.stdout)["state"], msgspec.json.decode(waited.stdout)["events"]) == ("done", 0)
    listed = run("ledger", "erasures", env=env).stdout.splitlines()
    assert listed[0].split() == ["ERASURE", "STATE", "ASKED", "DONE", "SUBJECTS", "EVENTS", "REASON"]
    assert [line.split()[1] for line in listed[1:]] == ["done"] * 3 and "anna" not in "".join(listed)
    rows = list(csv.DictReader(io.StringIO(run("ledger", "erasures", "--format", "csv", env=env).stdout)))
    assert [row["events"] for row in rows] == ["1", "1", "0"]
    assert len(msgspec.json.decode(run("ledger", "erasures", "--format", "json", env=env).stdout)["erasures"]) == 3
    wrong = run("ledger", "erase", "anna", "--reason", "anna asked", env=env)
    assert wrong.returncode == 2 and "must not name" in wrong.stderr
