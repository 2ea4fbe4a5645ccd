"""Every command as a person or a script meets it: what it prints where, and its exit status."""

import csv
import io
import resource
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pytest
from tests.proof.places import Place

from interlock.cli.readers import BY
from interlock.ledger import DIMENSIONS, Opened, Refused, Settled
from interlock.testing.control_process import ControlProcess, UsageWriter

NOWHERE = {"INTERLOCK_URL": "http://127.0.0.1:1"}
DECISION = {
    "signals": {"mode": "plan", "tools": True, "input_tokens": 12},
    "policy": "sha256:0",
    "rule": "thinking-modes",
    "tier": "frontier",
    "boundary": ["eu"],
    "unknown": ["mode:foo"],
    "candidates": [
        {"deployment": "us-big", "stage": "boundary", "refused": "boundary eu: geographies us"},
        {"deployment": "local", "rank": 1},
    ],
    "winner": "local",
    "splices": ["model"],
}


class Run(Protocol):
    def __call__(self, *argv: str, env: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]": ...


@pytest.fixture
def env(server: ControlProcess) -> dict[str, str]:
    return {"INTERLOCK_URL": server.url, "INTERLOCK_KEY": server.admin}


@pytest.fixture(scope="module")
def used(server: ControlProcess) -> ControlProcess:
    """A server with one completed, one refused and one open call."""
    policy = server.ask("GET", "/v1/config").json()["version"]
    writer = UsageWriter(server.data_dir)
    for name in ("req_done", "req_open"):
        writer.write(
            Opened(
                request_id=name,
                attempt=1,
                tenant="acme",
                principal="ada",
                key_id="key_1",
                format="chat",
                stream=True,
                model_requested="auto\x1b[31m",
                tier="frontier",
                deployment="local",
                provider="local",
                model="smol",
                policy=policy,
                input_estimate=10,
                estimate_rule="bytes/4",
                session="s1",
                mode="plan",
                decision=msgspec.Raw(msgspec.json.encode(DECISION)),
            )
        )
    writer.write(
        Settled(
            request_id="req_done",
            attempt=1,
            outcome="completed",
            usage={"input": 1234, "cache_read": 34, "output": 56},
            source="reported",
            http_status=200,
            finish_reason="stop",
            first_byte_ns=12_300_000,
            duration_ns=45_600_000,
        )
    )
    writer.write(
        Refused(
            request_id="req_no",
            tenant="acme",
            principal="ada",
            key_id="key_1",
            format="chat",
            model_requested="gpt",
            policy=policy,
            code="boundary_refused",
            message="boundary eu: us-big: geographies",
        )
    )
    writer.close()
    return server


def good(done: "subprocess.CompletedProcess[str]") -> str:
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def bad(done: "subprocess.CompletedProcess[str]", status: int) -> str:
    """Its complaint: never a traceback, nothing on stdout."""
    assert done.returncode == status, done
    assert done.stdout == "" and "Traceback" not in done.stderr and done.stderr
    return done.stderr


def decoded(done: "subprocess.CompletedProcess[str]") -> Any:
    return msgspec.json.decode(good(done))


def test_help_is_quick() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "interlock.cli", "--help"], capture_output=True, text=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "usage: interlock" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "argparse" in imported
    assert imported & {"msgspec", "sqlite3", "http.client", "asyncio", "starlette", "uvicorn", "tomllib"} == set()
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert cpu_s < 1.0  # the figure itself (50 ms) belongs in bench


@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("nonsense",),
        ("keys",),
        ("keys", "issue"),
        ("usage", "--by", "colour"),
        ("usage", "--format", "xml"),
        ("usage", "--sinse", "7d"),
        ("explain",),
        ("serve", "--port", "70000"),
        ("serve", "--workers", "0"),
        ("keys", "issue", "--tenant", "a", "--name", "b", "--label", "x"),
    ],
)
def test_wrong_usage_is_2(run: Run, argv: tuple[str, ...]) -> None:
    assert "usage: interlock" in bad(run(*argv), 2)


def test_the_dimensions_offered_are_the_ledgers() -> None:
    assert set(BY) == set(DIMENSIONS)


def test_version(run: Run) -> None:
    assert good(run("version")) == good(run("--version"))


@pytest.mark.parametrize("argv", [("keys", "list"), ("status",), ("config", "show"), ("config", "reload")])
def test_no_server_is_said_with_what_to_do(run: Run, argv: tuple[str, ...]) -> None:
    complaint = bad(run(*argv, env={**NOWHERE, "INTERLOCK_KEY": "ilk_x"}), 1)
    assert "no server at http://127.0.0.1:1" in complaint and "interlock serve" in complaint


@pytest.mark.parametrize("url", ["127.0.0.1:8082", "ftp://x", "http://", "http://x:99999"])
def test_a_bad_url_is_wrong_usage(run: Run, url: str) -> None:
    assert "INTERLOCK_URL" in bad(run("status", env={"INTERLOCK_URL": url}), 2)


def test_no_key_and_a_wrong_key(run: Run, server: ControlProcess) -> None:
    assert "INTERLOCK_KEY" in bad(run("keys", "list", env={"INTERLOCK_URL": server.url}), 1)
    wrong = {"INTERLOCK_URL": server.url, "INTERLOCK_KEY": "ilk_" + "x" * 43}
    assert "key_unknown" in bad(run("keys", "list", env=wrong), 1)


def test_the_data_directorys_key_is_used(run: Run, server: ControlProcess) -> None:
    good(run("status", "--data", str(server.data_dir), env={"INTERLOCK_URL": server.url}))


def test_a_key_from_issue_to_revocation(run: Run, env: dict[str, str]) -> None:
    done = run(
        "keys", "issue", "--tenant", "acme", "--name", "lap", "--scope", "usage:read", "--expires", "1h", env=env
    )
    secret = done.stdout.strip()
    assert done.returncode == 0 and secret.startswith("ilk_") and secret not in done.stderr
    key = next(one for one in decoded(run("keys", "list", "--format", "json", env=env))["keys"] if one["name"] == "lap")
    assert key["id"] in good(run("keys", "list", env=env))
    good(run("keys", "revoke", key["id"], "--reason", "lost", env=env))
    good(run("keys", "revoke", key["id"], env=env))
    rows = list(csv.DictReader(io.StringIO(good(run("keys", "list", "--tenant", "acme", "--format", "csv", env=env)))))
    assert next(row["state"] for row in rows if row["id"] == key["id"]) == "revoked"
    assert "key_nobody" in bad(run("keys", "revoke", "key_nobody", env=env), 1)
    assert "duration" in bad(run("keys", "issue", "--tenant", "a", "--name", "b", "--expires", "soon", env=env), 2)


def test_usage_in_three_formats(run: Run, used: ControlProcess, env: dict[str, str]) -> None:
    argv = ("usage", "--by", "tenant,tier", "--since", "1h")
    (row,) = decoded(run(*argv, "--format", "json", env=env))["rows"]
    assert (row["dimensions"], row["input"], row["open"], row["amount_nanousd"]) == (
        {"tenant": "acme", "tier": "frontier"},
        1234,
        1,
        "0",
    )
    (flat,) = csv.DictReader(io.StringIO(good(run(*argv, "--format", "csv", env=env))))
    assert (flat["tenant"], flat["input"], flat["output"], flat["amount_nanousd"]) == ("acme", "1234", "56", "0")
    head, line = good(run(*argv, env=env)).splitlines()
    assert head.split()[:2] == ["TENANT", "TIER"] and "1,234" in line and line.endswith("$0.00")
    assert head.index("INPUT") + len("INPUT") == line.index("1,234") + len("1,234")


def test_explain_tells_the_story(run: Run, used: ControlProcess, env: dict[str, str]) -> None:
    told = good(run("explain", "req_done", env=env))
    for part in (
        "attempt 1: completed",
        "ada of acme (key_1), session s1, mode plan",
        "rule     thinking-modes, so tier frontier",
        "boundary eu: geographies us",
        "mode:foo",
        "first byte 12.3 ms, whole 45.6 ms",
        "finish reason stop",
        "figures  reported",
        "usage/0",
        "usage.settled",
        "stands",
    ):
        assert part in told, told
    assert "\x1b" not in told and "\\x1b[31m" in told
    assert any(line.split()[:3] == ["1", "local", "chosen"] for line in told.splitlines())
    assert any(line.split()[:2] == ["cache_read", "34"] for line in told.splitlines())
    refusal = good(run("explain", "req_no", env=env))
    assert "refused: boundary_refused" in refusal and "  asked    'gpt' by chat\n" in refusal
    assert "attempt 1: open" in good(run("explain", "req_open", env=env))
    assert decoded(run("explain", "req_done", "--format", "json", env=env))["request_id"] == "req_done"
    assert "req_nobody" in bad(run("explain", "req_nobody", env=env), 1)
    assert "\x1b" not in bad(run("explain", "req_\x1b[31m/../x", env=env), 1)


def test_savings_and_config_and_status(run: Run, used: ControlProcess, env: dict[str, str]) -> None:
    told = good(run("savings", env=env))
    assert "baseline: claude-opus-4-5 (price: genai-prices " in told and " anthropic/claude-opus-4-5)" in told
    assert next(line for line in told.splitlines() if line.startswith("total")).split() == [
        "total", "1", "1", "$0.00", "$0.007417", "$0.007417",
    ]  # fmt: skip
    assert "nothing to compare yet" in good(run("savings", "--tenant", "default", env=env))
    assert "tiers" in decoded(run("savings", "--format", "json", env=env))
    assert "file    built in" in good(run("config", "show", env=env))
    assert decoded(run("config", "reload", "--format", "json", env=env))["rejected"] is None
    assert "local" in good(run("status", env=env))


def test_the_answers_are_the_same_without_a_server(run: Run, used: ControlProcess, env: dict[str, str]) -> None:
    data = ("--data", str(used.data_dir), "--format", "json")
    kept = good(run("checkpoint", env=env))  # so that none is written meanwhile
    assert kept == good(run("checkpoint", "--data", str(used.data_dir)))
    for argv in (("usage", "--by", "model"), ("savings",), ("explain", "req_done"), ("verify",)):
        assert decoded(run(*argv, *data)) == decoded(run(*argv, "--format", "json", env=env)), argv
    fallen_back = run("usage", *data, env=NOWHERE)
    assert fallen_back.returncode == 0 and "no server at http://127.0.0.1:1: read from" in fallen_back.stderr
    assert used.ask("GET", "/v1/usage").json()["problem"] is None


def test_a_directory_without_a_log_is_refused_and_left_alone(run: Run, tmp_path: Path) -> None:
    for command in (("usage",), ("savings",), ("explain", "x"), ("verify",)):
        assert "not a data directory" in bad(run(*command, "--data", str(tmp_path)), 1)
    assert list(tmp_path.iterdir()) == []


def test_a_changed_byte_is_found(run: Run, tmp_path: Path) -> None:
    process = ControlProcess(tmp_path / "data").start()
    process.stop()
    writer = UsageWriter(process.data_dir)
    for number in range(3):
        writer.write(Settled(request_id=f"r{number}", attempt=1, outcome="failed", usage={}, source="none"))
    writer.close()
    data = ("--data", str(process.data_dir))
    good(run("verify", *data))
    (segment,) = (path for path in (process.data_dir / "journal/usage/0").iterdir() if b'"r1"' in path.read_bytes())
    segment.write_bytes(segment.read_bytes().replace(b'"r1"', b'"r7"', 1))
    found = run("verify", *data)
    assert found.returncode == 1 and "BROKEN" in found.stdout and "usage/0 seq" in found.stderr
    usage = run("usage", *data)
    assert usage.returncode == 1 and "not complete" in usage.stderr


def test_a_cut_tail_is_found_by_what_was_kept(run: Run, tmp_path: Path) -> None:
    process = ControlProcess(tmp_path / "data").start()
    data, here = ("--data", str(process.data_dir)), {"INTERLOCK_URL": process.url, "INTERLOCK_KEY": process.admin}
    kept = tmp_path / "kept.json"
    kept.write_text(good(run("checkpoint", env=here)))
    assert "signed  checkpoint " in run("status", env=here).stdout
    good(run("verify", "--checkpoint", str(kept), env=here))
    process.stop()
    good(run("verify", "--checkpoint", str(kept), *data))
    shutil.rmtree(process.data_dir / "journal" / "checkpoints")
    good(run("verify", *data))
    found = run("verify", "--checkpoint", str(kept), *data)
    assert found.returncode == 1 and "checkpoints were cut off" in found.stderr
    assert "64 hex digits" in bad(run("verify", "--public-key", "x", *data), 2)
    assert "nowhere.json" in bad(run("verify", "--checkpoint", "nowhere.json", *data), 1)
    kept.write_text("{}")
    assert "this is no checkpoint" in bad(run("verify", "--checkpoint", str(kept), *data), 2)
    assert "holds no checkpoint" in bad(run("checkpoint", *data), 1)


def test_a_bundle_for_a_customer(run: Run, tmp_path: Path) -> None:
    place = Place(tmp_path / "data")
    place.count("acme", "rival")
    place.identity()
    signed = place.sign()
    data, bundle = ("--data", str(place.root)), tmp_path / "bundle"
    of_acme = ("export", "--tenant", "acme", *data)
    told = good(run(*of_acme, "--period", "2026-11", "--output", str(bundle)))
    assert "events.counted        1       2" in told and signed.statement.public_key in told
    assert run(*of_acme, "--period", "2026-11", "--output", str(bundle)).returncode == 1
    found = subprocess.run([sys.executable, "-I", bundle / "verify.py"], capture_output=True, text=True, timeout=60)
    assert found.returncode == 0 and "proved" in found.stdout
    place.count("acme")
    whole = ("--since", "2026-01-01", "--output", str(tmp_path / "b.tar"), "--format", "json")
    done = run(*of_acme, *whole)
    assert (
        msgspec.json.decode(done.stdout)["newer"] == 2
        and "2 records came after checkpoint 1, the newest" in done.stderr
    )
    assert good(run("export", "--verifier")) == (bundle / "verify.py").read_text()
    for wrong, what in (
        (("--period", "x"), "write 2026-11"),
        ((), "either --period 2026-11, or --since"),
        (("--period", "2026-11", "--since", "1d"), "either --period"),
        (("--period", "2026-11", "--until", "1d"), "--until goes with --since"),
        (("--since", "2026-11-02", "--until", "2026-11-01"), "not before --until"),
    ):
        assert what in bad(run(*of_acme, *wrong, "--output", str(tmp_path / "c")), 2)
    assert "--output is missing" in bad(run(*of_acme), 2)
    assert "no event of tenant" in bad(run(*of_acme, "--period", "2025-11", "--output", str(tmp_path / "c")), 1)


def test_views_are_checked_beside_a_server_and_thrown_away_without(run: Run, tmp_path: Path) -> None:
    process = ControlProcess(tmp_path / "data").start()
    data = ("--data", str(process.data_dir))
    table = good(run("rebuild", "--check", *data)).splitlines()
    assert table[0].split() == ["VIEW", "STATE", "POSITION", "ROWS", "DIGEST"]
    assert [line.split()[:4] for line in table[1:]] == [
        ["ledger", "equal", "config", "1"],
        ["events", "equal", "events/0", "0"],
        ["tables", "equal", "events/0", "0"],
    ]
    process.stop()
    with closing(sqlite3.connect(process.data_dir / "views" / "ledger.sqlite", isolation_level=None)) as db:
        db.execute("INSERT INTO waiting VALUES ('made-up', 1)")
    found = run("rebuild", "--check", "--format", "json", *data)
    assert found.returncode == 1 and "made-up" in found.stderr and "the log makes nothing" in found.stderr
    assert [one["state"] for one in msgspec.json.decode(found.stdout)["views"]] == ["different", "equal", "equal"]
    assert "thrown away: ledger, events, tables" in good(run("rebuild", *data))
    process.start()
    good(run("rebuild", "--check", *data))
    process.stop()
    assert "not a data directory" in bad(run("rebuild", "--data", str(tmp_path)), 1)


def test_config_check_lists_every_mistake(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "interlock.toml"
    path.write_text('default_tier = "nowhere"\ncolour = 1\n')
    complaint = bad(run("config", "check", str(path)), 1)
    assert "colour" in complaint and "mistakes" in complaint
    found = run("config", "check", str(path), "--format", "json")
    assert found.returncode == 1 and not msgspec.json.decode(found.stdout)["ok"]
    assert "nobody.toml" in bad(run("config", "check", "nobody.toml"), 1)


def test_a_litellm_file_becomes_one_that_check_accepts(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "litellm.yaml"
    path.write_text(
        "model_list:\n  - model_name: big\n    litellm_params: {model: openai/gpt-4o, api_key: os.environ/K}\n"
    )
    done = run("config", "import", "litellm", str(path))
    assert done.returncode == 0, done
    (tmp_path / "made.toml").write_text(done.stdout)
    assert run("config", "check", str(tmp_path / "made.toml")).returncode == 0
    assert "nobody.yaml" in bad(run("config", "import", "litellm", "nobody.yaml"), 1)


def test_a_reader_that_leaves_is_no_defect(run: Run, used: ControlProcess, env: dict[str, str]) -> None:
    command = f"{sys.executable} -m interlock.cli config show --format json | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], env=env, capture_output=True, text=True)
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr
    assert done.stdout.strip() in ("141", "0")
