"""Files that are named and are not there, or are there already: one status and one code, whoever names them."""

from pathlib import Path

import pytest
from tests.cli.conftest import Run

from interlock.testing.control_process import ControlProcess

ROOT = Path(__file__).parents[2]
PLAN = str(ROOT / "examples/plan-agents.toml")


@pytest.mark.parametrize(
    "argv",
    [
        ("ledger", "import", "no.csv", "--type", "t", "--source", "s"),
        ("ledger", "correct", "--source", "s", "--id", "i", "--reason", "r", "--replacement", "no.json"),
        ("run", "task", "--agent", "no.toml"),
        ("run", "task", "--put", "no.txt"),
        ("rate", "--plan", "no.toml", "--usage", "no.json"),
        ("rate", "--plan", PLAN, "--usage", "no.json"),
        ("replay", "--policy", "no.toml"),
        ("replay", "--policy", str(ROOT / "examples/own-machines.toml"), "--csv", "no.csv"),
        ("reconcile", "--provider", "openai", "no.json"),
        ("plans", "put", "no.toml"),
        ("config", "check", "no.toml"),
        ("config", "import", "litellm", "no.yaml"),
        ("restore", "no.tar"),
        ("verify", "--checkpoint", "no.json"),
        ("verify", "--data", "no"),
        ("serve", "--config", "no.toml"),
    ],
)
def test_one_that_is_not_there_is_not_found(run: Run, argv: tuple[str, ...]) -> None:
    done = run(*argv, env={"INTERLOCK_URL": "http://127.0.0.1:1", "INTERLOCK_KEY": "k", "INTERLOCK_EVENTS_KEY": "k"})
    assert (done.returncode, done.stdout) == (1, ""), done
    assert "[not_found]" in done.stderr.splitlines()[-1]


def test_one_that_is_there_already_is_a_conflict(run: Run, server: ControlProcess, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    there = tmp_path / "there" / "b.tar"
    there.touch()
    data = ("--data", str(server.data_dir))
    for argv in (
        ("backup", str(there), *data),
        ("restore", str(there), "--data", str(tmp_path / "there")),
        ("export", "--tenant", "default", "--period", "2026-11", "--output", str(there), *data),
    ):
        done = run(*argv)
        assert (done.returncode, done.stdout) == (1, ""), done
        assert "is there already" in done.stderr and "[conflict]" in done.stderr


def test_one_that_is_none_names_itself(run: Run, tmp_path: Path) -> None:
    for argv in (("restore", str(tmp_path)), ("rate", "--plan", str(tmp_path), "--usage", str(tmp_path))):
        done = run(*argv)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == f"interlock: {tmp_path}: Is a directory [file_unusable]\n"


def test_what_would_show_the_data_directory_is_refused_before_anything_runs(run: Run, tmp_path: Path) -> None:
    file, link = tmp_path / "c.toml", tmp_path / "link"
    (tmp_path / "home" / "interlock").mkdir(parents=True)
    link.symlink_to(tmp_path / "home")
    good = (ROOT / "examples/own-machines.toml").read_text()
    program = f'name = "files"\ncommand = ["files"]\nread = ["{link}"]\nallow = [{{}}]'
    file.write_text(f"{good}\n[[tools.servers]]\n{program}\n")
    for argv in (("config", "check", str(file)), ("serve", "--config", str(file))):
        done = run(*argv)  # XDG_DATA_HOME is the link's target
        assert done.returncode == 1 and "tools.servers[0].read[0]" in done.stderr
        assert "would show the data directory" in done.stderr
    elsewhere = run("config", "check", str(file), "--data", str(tmp_path / "other"))
    assert elsewhere.returncode == 0, elsewhere


def test_a_replay_says_nothing_of_credentials(run: Run, tmp_path: Path) -> None:
    calls = tmp_path / "calls.csv"
    calls.write_text("input,output\n10,10\n")
    policy = str(ROOT / "examples/tiers-by-mode.toml")
    assert "is not set" in run("config", "check", policy).stderr
    done = run("replay", "--policy", policy, "--csv", str(calls))
    assert (done.returncode, done.stderr) == (0, "")
