"""Whose log `prove`, `audit` and their like read: never another server's than the one that was named."""

from pathlib import Path

import pytest
from tests.cli.conftest import Run
from tests.e2e.server import until

from interlock.testing.control_process import ControlProcess

COMMANDS = (
    ("prove",),
    ("audit",),
    ("replay", "--policy", "examples/replay-three-tiers.toml"),
    ("export", "--tenant", "acme", "--since", "1h", "--output", "none/bundle"),
)


@pytest.fixture
def env(server: ControlProcess) -> dict[str, str]:
    until(lambda: server.ask("GET", "/v1/status").json()["public_key"], "a checkpoint can be signed")
    return {"INTERLOCK_URL": server.url, "INTERLOCK_KEY": server.admin}


def test_the_log_that_is_read_is_that_of_the_server_that_was_named(
    run: Run, env: dict[str, str], server: ControlProcess
) -> None:
    proved = run("prove", env=env)
    assert (proved.returncode, proved.stderr) == (0, ""), proved
    assert "leave its boundary? no" in proved.stdout
    assert run("audit", env=env).stdout == run("audit", "--data", str(server.data_dir)).stdout != ""


@pytest.mark.parametrize("argv", COMMANDS, ids=lambda argv: argv[0])
def test_without_an_answer_of_that_server_no_other_log_is_read(run: Run, argv: tuple[str, ...], tmp_path: Path) -> None:
    other = tmp_path / "home" / "interlock"  # the default directory of `run`
    process = ControlProcess(other).start()
    process.stop()
    done = run(*argv, env={"INTERLOCK_URL": "http://127.0.0.1:1"})
    assert done.returncode == 1 and done.stdout == ""
    assert "no server at http://127.0.0.1:1" in done.stderr
    assert run("prove").returncode == 0


def test_a_server_whose_directory_is_not_this_machines_is_told(
    run: Run, server: ControlProcess, env: dict[str, str], tmp_path: Path
) -> None:
    """As it is seen from elsewhere: there is something at that path, and it is another's."""
    public = server.data_dir / "checkpoint.pub"
    kept = public.read_text()
    public.write_text("0" * 64)
    try:
        done = run("prove", env=env)
    finally:
        public.write_text(kept)
    assert done.returncode == 1 and done.stdout == ""
    assert f"keeps its log in {server.data_dir}" in done.stderr and "--data" in done.stderr


@pytest.mark.parametrize("argv", COMMANDS[:3], ids=lambda argv: argv[0])
def test_a_time_that_ends_before_it_begins_is_no_proof(run: Run, argv: tuple[str, ...], server: ControlProcess) -> None:
    done = run(*argv, "--data", str(server.data_dir), "--since", "2026-11-02", "--until", "2026-11-01")
    assert done.returncode == 2 and done.stdout == ""
    assert "--since is not before --until" in done.stderr


def test_what_to_do_where_there_is_no_log(run: Run, tmp_path: Path) -> None:
    for argv in (("prove",), ("backup", str(tmp_path / "b.tar")), ("verify", "--data", str(tmp_path))):
        done = run(*argv)
        assert done.returncode == 1 and done.stdout == ""
        assert "is not a data directory" in done.stderr and "--data DIR" in done.stderr
