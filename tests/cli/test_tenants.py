"""A tenant's name that was mistyped is told; one that only the log or the ledger knows is known."""

from pathlib import Path

import pytest
from tests.cli.conftest import Run

from interlock.testing.control_process import ControlProcess

ASKED = [
    *(("usage",), ("costs",), ("savings",), ("quotas",), ("budgets",), ("anomalies",), ("entitlements",)),
    *(("keys", "list"), ("credits", "list"), ("credits", "balances")),
]
OFFLINE = [("usage",), ("costs",), ("savings",), ("prove",), ("audit",)]


@pytest.fixture(scope="module")
def env(server: ControlProcess) -> dict[str, str]:
    assert server.ask("POST", "/v1/tenants", {"name": "acme"}).status == 201
    return {"INTERLOCK_URL": server.url, "INTERLOCK_KEY": server.admin}


@pytest.mark.parametrize("argv", ASKED, ids=" ".join)
def test_one_that_is_not_there_is_told(run: Run, env: dict[str, str], argv: tuple[str, ...]) -> None:
    for name, status in (("acme", 0), ("acne", 1), ("A b", 2)):
        done = run(*argv, "--tenant", name, env=env)
        assert done.returncode == status, done
        assert ("there is no tenant 'acne'" in done.stderr and "[not_found]" in done.stderr) == (status == 1)
        assert done.stdout == "" or status == 0


@pytest.mark.parametrize("argv", OFFLINE, ids=" ".join)
def test_nor_is_it_without_a_server(
    run: Run, server: ControlProcess, env: dict[str, str], argv: tuple[str, ...]
) -> None:
    data = ("--data", str(server.data_dir))
    assert run(*argv, "--tenant", "acme", *data).returncode == 0
    done = run(*argv, "--tenant", "acne", *data)
    assert done.returncode == 1 and "there is no tenant 'acne'" in done.stderr


def test_credit_may_be_there_before_its_tenant(run: Run, env: dict[str, str]) -> None:
    there = run("credits", "topup", "--tenant", "acme", "--amount", "5", env=env)
    assert (there.returncode, there.stderr) == (0, "")
    done = run("credits", "topup", "--tenant", "early", "--amount", "5", "--format", "json", env=env)
    assert done.returncode == 0 and "there is no tenant early yet: its first key makes it" in done.stderr
    assert "early" in run("credits", "list", "--tenant", "early", env=env).stdout
    assert run("usage", "--tenant", "early", env=env).returncode == 0


def test_nobodys_share_of_a_bill_is_known(run: Run, env: dict[str, str], tmp_path: Path) -> None:
    assert run("usage", "--tenant", "unattributed", env=env).returncode == 0


def test_who_asks_the_api_port_is_told_whose_the_answer_is(
    run: Run, server: ControlProcess, env: dict[str, str]
) -> None:
    made = server.ask("POST", "/v1/keys", {"tenant": "acme", "name": "n", "scopes": ["usage:read"]}).json()
    api = {"INTERLOCK_URL": f"http://127.0.0.1:{server.api_port}", "INTERLOCK_KEY": made["secret"]}
    for argv in (("usage",), ("costs",), ("usage", "--format", "json")):
        done = run(*argv, env=api)
        assert done.returncode == 0 and done.stdout
        said = f"interlock: {api['INTERLOCK_URL']} is an api port, not the control port: this is of tenant acme alone"
        assert done.stderr == f"{said}\n"
    assert run("usage", env=env).stderr == ""
