"""What the commands make of the server's answers, and of what cannot be asked."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Run
from tests.e2e.server import until

from interlock.testing.control_process import ControlProcess


@pytest.fixture
def env(server: ControlProcess) -> dict[str, str]:
    return {"INTERLOCK_URL": server.url, "INTERLOCK_KEY": server.admin}


def test_a_number_that_no_double_holds_is_shown(run: Run, server: ControlProcess, env: dict[str, str]) -> None:
    event = b'{"specversion":"1.0","id":"1","source":"s","type":"t","subject":"c","data":{"tokens":1e400,"cost":0.5}}'
    until(lambda: server.ask("GET", "/v1/status").json()["events_ready"], "events are taken")
    sent = server.ask(
        "POST",
        "/v1/events",
        event,
        port=server.api_port,
        headers={"content-type": "application/cloudevents+json"},
    )
    assert sent.status == 200, sent
    for form in ("table", "json", "csv"):
        done = run("ledger", "events", "--format", form, env=env)
        assert (done.returncode, done.stderr) == (0, "")
        assert "1E+400" in done.stdout and "0.5" in done.stdout


@pytest.mark.parametrize(
    "argv", [("keys", "revoke", ""), ("explain", ""), ("invoices", "show", ""), ("plans", "show", "")]
)
def test_an_empty_name_is_told_as_one(run: Run, env: dict[str, str], argv: tuple[str, ...]) -> None:
    done = run(*argv, env=env)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is empty" in done.stderr and "/v1/" not in done.stderr


def test_who_started_it_with_stdout_closed_sees_no_traceback(env: dict[str, str]) -> None:
    command = [sys.executable, "-m", "interlock.cli", "keys", "list"]
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *command],
        env=os.environ | env,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_name_that_no_resolver_knows_is_told_in_words(run: Run) -> None:
    done = run("usage", env={"INTERLOCK_URL": "http://nowhere.invalid:1", "INTERLOCK_KEY": "k"})
    assert done.returncode == 1 and "Errno" not in done.stderr and "nowhere.invalid:1" in done.stderr


def test_who_has_no_key_is_told_where_a_server_keeps_it(run: Run, tmp_path: Path) -> None:
    done = run("usage", env={"INTERLOCK_URL": "http://127.0.0.1:1"})
    assert done.returncode == 1 and "--data DIR" in done.stderr and "admin.key" in done.stderr


@pytest.mark.parametrize(
    ("argv", "scope"),
    [
        (("ledger", "close", "--period", "2026-10"), "periods:close"),
        (("ledger", "periods"), "periods:close"),
        (("ledger", "correct", "--source", "s", "--id", "1", "--reason", "x"), "events:correct"),
        (("ledger", "erase", "c", "--reason", "x"), "events:erase"),
    ],
)
def test_who_has_no_key_is_told_how_to_get_one(run: Run, argv: tuple[str, ...], scope: str) -> None:
    done = run(*argv)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"interlock keys issue --tenant T --name N --scope {scope} [key_missing]" in done.stderr


@pytest.mark.parametrize(
    "argv",
    [
        ("credits", "grant", "--tenant", "t", "--amount", "1", "--priority", "x"),
        ("meters", "query", "m", "--version", "x"),
        ("run", "t", "--steps", "-1"),
        ("sessions", "list", "--limit", "1.5"),
        ("sessions", "events", "s", "--after", "two"),
        ("sessions", "fork", "s", "--at", "1_0"),
    ],
)
def test_a_number_that_is_none_is_told_without_words_of_python(run: Run, argv: tuple[str, ...]) -> None:
    done = run(*argv)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is not a whole number from" in done.stderr


def test_which_of_two_moments_is_wrong_is_told(run: Run, env: dict[str, str]) -> None:
    for name in ("since", "until"):
        done = run("usage", f"--{name}", "2026-02-30", env=env)
        assert done.returncode == 2 and f" ({name}) [invalid_request]" in done.stderr


def test_columns_that_are_wrong_are_told_in_words(run: Run, server: ControlProcess, env: dict[str, str]) -> None:
    twice = run("usage", "--by", "tier,tier", env=env)
    assert twice.returncode == 2 and "twice in 'tier,tier'" in twice.stderr
    long = server.ask("GET", f"/v1/usage?by={'a' * 2000}")
    assert long.status == 400 and len(long.json()["error"]["message"]) < 400


def test_a_key_that_holds_every_scope_leaves_the_table_readable(run: Run, env: dict[str, str]) -> None:
    listed = run("keys", "list", env=env).stdout
    assert "  all  " in listed and max(map(len, listed.splitlines())) < 120
    assert "inference usage:read" in run("keys", "list", "--format", "csv", env=env).stdout


def test_time_is_named_alike_wherever_it_is_asked_for(run: Run, env: dict[str, str]) -> None:
    assert run("ledger", "events", "--since", "24h", "--until", "1h", env=env).returncode == 0
    assert "from has to lie before to" in run("ledger", "events", "--since", "1h", "--until", "24h", env=env).stderr


def test_it_is_a_module_too() -> None:
    done = subprocess.run([sys.executable, "-m", "interlock", "version"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("interlock ")


def test_a_file_that_is_no_text_is_told_without_words_of_python(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_bytes(b"\xff\xfe")
    done = run("config", "import", "litellm", str(file))
    assert (done.returncode, done.stdout) == (1, "") and f"{file}: not UTF-8 (byte 0)" in done.stderr


def test_a_backup_names_the_directories_it_is_about(run: Run, server: ControlProcess, tmp_path: Path) -> None:
    data = ("--data", str(server.data_dir))
    nowhere = run("backup", str(tmp_path / "none" / "b.tar"), *data)
    assert nowhere.returncode == 1 and f"{tmp_path / 'none'} is not a directory [not_found]" in nowhere.stderr
    made = run("backup", str(tmp_path / "b.tar"), *data)
    assert made.returncode == 0 and f"backed up {server.data_dir} to {tmp_path / 'b.tar'}: " in made.stdout
