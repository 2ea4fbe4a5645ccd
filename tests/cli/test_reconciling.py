"""`interlock reconcile` as a person or a script meets it: what it prints, and the status it ends with."""

import csv
import io
from pathlib import Path

import msgspec
import pytest
from tests.cli.conftest import Run

from interlock.testing.control_process import ControlProcess

BILL = "day,model,kind,tokens,usd,what\n2026-09-01,m-1,output,7,0.000014,\n2026-09-01,,,,0.5,tax\n"
COLUMNS = "start=day,model=model,kind=kind,quantity=tokens,amount=usd,category=what"


@pytest.fixture
def bill(tmp_path: Path) -> str:
    path = tmp_path / "bill.csv"
    path.write_text(BILL)
    return str(path)


@pytest.fixture
def env(server: ControlProcess) -> dict[str, str]:
    return {"INTERLOCK_URL": f"http://127.0.0.1:{server.control_port}", "INTERLOCK_KEY": server.admin}


def asked(bill: str, *more: str, of: str = "acme-ai") -> tuple[str, ...]:
    return ("reconcile", "--provider", "csv", "--of", of, "--columns", COLUMNS, *more, bill)


def test_a_table_for_people(run: Run, env: dict[str, str], bill: str) -> None:
    done = run(*asked(bill), env=env)
    assert (done.returncode, done.stderr) == (3, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "acme-ai, 2026-09-01T00:00Z to 2026-09-02T00:00Z"
    titles = "FROM MODEL KIND STATUS CLASS OURS THEIRS DIFFERENCE OURS USD THEIRS USD DIFFERENCE USD"
    assert lines[2].split() == titles.split()
    assert "2026-09-01  m-1    output  theirs only  not_metered     0       7           7" in done.stdout
    assert "0 of 2 rows match (1 not_metered, 1 tax)" in lines
    assert "theirs $0.500014 = ours $0.00 + explained $0.50 + unexplained $0.000014" in lines
    assert lines[-1] == ("--apply would book 0 calls with true figures ($0.00), 2 entries: unattributed $0.500014")


def test_rows_for_programs(run: Run, env: dict[str, str], bill: str) -> None:
    done = run(*asked(bill, "--format", "json"), env=env)
    assert done.returncode == 3
    found = msgspec.json.decode(done.stdout)
    assert found["report"]["totals"]["unexplained_nanousd"] == "14000"
    done = run(*asked(bill, "--format", "csv"), env=env)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [(row["kind"], row["classes"], row["explained"], row["places"]) for row in rows] == [
        ("tax", "tax", "true", "line 3"),
        ("output", "not_metered", "false", "line 2"),
    ]


def test_booked_it_matches(run: Run, env: dict[str, str], bill: str) -> None:
    mine = asked(bill, "--apply", of="other-ai")
    first, second = run(*mine, env=env), run(*mine, env=env)
    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert first.stdout.splitlines()[-1].startswith("booked: 0 calls with true figures ($0.00), 2 entries")
    assert second.stdout.splitlines()[-1] == "booked: 0 calls with true figures ($0.00), 0 entries"
    shown = run(*asked(bill, "--all", of="other-ai"), env=env)
    assert shown.returncode == 0
    assert "2 of 2 rows match" in shown.stdout


def test_mistakes_are_said_in_a_line(run: Run, env: dict[str, str], bill: str, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.csv"
    wrong.write_text(BILL.replace("0.000014", "a lot"))
    for argv, said, status in (
        (asked(str(wrong)), "line 2 usd: 'a lot' is not a number", 2),
        (asked(str(tmp_path / "none.csv")), "No such file", 1),
        (asked(bill, "--since", "2027-01-01"), "no row of the export is in that time", 2),
        (asked(bill, "--since", "2026-09-02", "--until", "2026-09-01"), "--since is not before --until", 2),
        (("reconcile", "--provider", "focus", bill), "--of PROVIDER", 2),
        (("reconcile", "--provider", "aws", bill), "has no column 'line_item_usage_start_date'", 2),
        (("reconcile", "--provider", "aws", "--columns", "start=day", bill), "--columns goes with", 2),
    ):
        done = run(*argv, env=env)
        assert said in done.stderr, done.stderr
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (status, "", 1)


def test_without_a_server_it_compares_and_does_not_book(run: Run, bill: str, tmp_path: Path) -> None:
    nobody = {"INTERLOCK_URL": "http://127.0.0.1:1", "INTERLOCK_KEY": "k"}
    done = run(*asked(bill, "--apply"), env=nobody)
    assert done.returncode == 1
    assert "no server" in done.stderr
    done = run(*asked(bill, "--data", str(tmp_path / "none")))
    assert done.returncode == 1
    assert "is not a data directory" in done.stderr


def test_what_a_name_holds_does_not_reach_the_terminal(run: Run, env: dict[str, str], bill: str) -> None:
    Path(bill).write_text(BILL.replace("m-1", "\x1b[2Jm"))
    done = run(*asked(bill), env=env)
    assert done.returncode == 2
    assert "\x1b" not in done.stdout + done.stderr
