"""GET /v1/costs, /v1/budgets and /v1/anomalies of a real control process, and the commands that ask them."""

import threading
from collections.abc import Iterator
from contextlib import closing
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.control.test_app import issued, refused
from tests.e2e.server import until

from interlock.cli import main
from interlock.clock import SystemClock
from interlock.datadir import DataDir
from interlock.ledger import Opened, Settled
from interlock.limits import Actual, Claim, Held, Limit, Limiter, Page
from interlock.limits.webhook import signature
from interlock.testing.control_process import ControlProcess, UsageWriter

TOML = """
default_tier = "small"
quotas = [
  { name = "month", measure = "usd", amount = "500.00", window = "month", per = ["tenant"] },
  { name = "calls", measure = "requests", amount = 1000, window = "day" },
]

[deployments.tiny]
provider = "openai"
base_url = "http://127.0.0.1:9/v1"
model = "tiny-1"
formats = ["chat"]
price = { input = "1", output = "2" }

[tiers]
small = ["tiny"]

[anomalies]
peers = 5

[server.webhook]
url = "http://127.0.0.1:PORT/hook"
secret = { file = "secret" }
"""
MONTH = Limit(name="month", measure="nanousd", amount=500_000_000_000, window="month", per=("tenant",))
CALLS = Limit(name="calls", measure="requests", amount=1_000, window="day")


class Hook(ThreadingHTTPServer):
    """Takes whatever comes: (headers, body)."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.told = list[tuple[Message, bytes]]()


class Told(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Hook)
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.told.append((self.headers, body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def hook() -> Iterator[Hook]:
    """Who is told."""
    with Hook(("127.0.0.1", 0), Told) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory, hook: Hook) -> Iterator[ControlProcess]:
    """With seven calls of a dollar, one of forty, and one of another tenant; counted as a gateway would."""
    root = tmp_path_factory.mktemp("costs")
    (root / "interlock.toml").write_text(TOML.replace("PORT", str(hook.server_port)))
    (root / "secret").write_text("s3cret")
    process = ControlProcess(root / "data", root / "interlock.toml").start()
    policy = process.ask("GET", "/v1/config").json()["version"]
    writer = UsageWriter(process.data_dir)
    page = DataDir(process.data_dir).limits
    Page.create(page, slots=1)
    limiter = Limiter(Page(page), 0, SystemClock(), [MONTH, CALLS])
    for n in range(9):
        dollars, tenant = 40 if n == 7 else 1, "rival" if n == 8 else "acme"
        team, tool = ("core", "read,shell") if 0 < n < 8 else ("", "")
        call(writer, limiter, policy, f"req_{n}", dollars, tenant=tenant, session=f"s{n}", team=team, tool=tool)
    writer.close()
    yield process
    assert process.stop() == 0, process.stderr


def call(writer: UsageWriter, limiter: Limiter, policy: str, id: str, dollars: int, **names: str) -> None:
    held = limiter.reserve(Claim(id=f"{id}/1", tenant=names["tenant"], nanousd=0))
    assert isinstance(held, Held)
    plain: dict[str, Any] = {
        "principal": "ada", "key_id": "key_1", "format": "chat", "stream": False, "model_requested": "auto",
        "tier": "small", "deployment": "tiny", "provider": "openai", "model": "tiny-1", "policy": policy,
        "input_estimate": 10, "estimate_rule": "bytes/4",
    }  # fmt: skip
    writer.write(Opened(request_id=id, attempt=1, **(plain | names)))
    usage = {"input": dollars * 1_000_000, "output": 0}
    writer.write(Settled(request_id=id, attempt=1, outcome="completed", usage=usage, source="reported"))
    limiter.settle(held, Actual(nanousd=dollars * 1_000_000_000))


def test_costs_sum_to_usage_on_both_ports(control: ControlProcess) -> None:
    found = control.ask("GET", "/v1/costs?by=tenant,team,tool&since=1h").json()
    [usage] = control.ask("GET", "/v1/usage?since=1h").json()["rows"]
    assert sum(int(row["amount_nanousd"]) for row in found["rows"]) == int(usage["amount_nanousd"]) == 48 * 10**9
    assert found["total"]["amount_nanousd"] == usage["amount_nanousd"] and found["problem"] is None
    assert found["rows"][0]["dimensions"] == {"tenant": "acme", "team": "core", "tool": "read"}
    assert [(one["dimension"], one["amount_nanousd"]) for one in found["unattributed"]] == [
        ("tenant", "0"), ("team", str(2 * 10**9)), ("tool", str(2 * 10**9)),
    ]  # fmt: skip
    secret = issued(control, scopes=["usage:read"])["secret"]
    own = control.ask("GET", "/v1/costs?by=tenant", key=secret, port=control.api_port).json()
    assert [row["dimensions"]["tenant"] for row in own["rows"]] == ["acme"]
    assert own["total"]["amount_nanousd"] == str(47 * 10**9)
    refused(
        control.ask("GET", "/v1/costs?tenant=rival", key=secret, port=control.api_port), "invalid_request", "tenant"
    )
    refused(control.ask("GET", "/v1/costs?by=tenants"), "invalid_request", "by")
    refused(control.ask("GET", "/v1/costs?since=2h&until=3h"), "invalid_request", "since")


def test_budgets_are_foreseen(control: ControlProcess) -> None:
    found = control.ask("GET", "/v1/budgets").json()["budgets"]
    by = {(one["name"], one["scope"].get("tenant")): one for one in found}
    month = by["month", "acme"]
    assert (month["used"], month["amount"], month["left"], month["measure"]) == ("47.00", "500.00", "453.00", "usd")
    assert by["calls", None]["used"] == "9" and by["month", "rival"]["used"] == "1.00"
    assert (month["state"], month["recent"]) == ("unknown", None), "seconds are no rate"
    assert month["says"] == "too few data to say when it is used up"
    secret = issued(control, scopes=["usage:read"])["secret"]
    own = control.ask("GET", "/v1/budgets", key=secret, port=control.api_port).json()["budgets"]
    assert [(one["name"], one["used"]) for one in own] == [("month", "47.00")], "what all share is not a tenant's"
    refused(control.ask("GET", "/v1/budgets?tenant=x", key=secret, port=control.api_port), "invalid_request", "tenant")
    assert all(
        one["scope"].get("tenant") != "rival" for one in control.ask("GET", "/v1/budgets?tenant=acme").json()["budgets"]
    )


def test_an_anomaly_is_found_counted_and_in_the_log(control: ControlProcess) -> None:
    def anomalies() -> Any:
        return control.ask("GET", "/v1/anomalies?kind=session").json()["anomalies"]

    [found] = until(anomalies, "it is found", 30)
    assert (found["name"], found["team"], found["cost"], found["median"]) == ("s7", "core", "40.00", "1.00")
    assert b'interlock_anomalies_total{kind="session"} 1\n' in control.ask("GET", "/metrics", key="").body
    reports = [msgspec.json.decode(line) for line in control.ask("GET", "/v1/verify").body.splitlines()]
    assert [(one["records"], one["problems"]) for one in reports if one["stream"] == "anomalies"] == [(1, [])]
    secret = issued(control, tenant="rival", scopes=["usage:read"])["secret"]
    assert control.ask("GET", "/v1/anomalies", key=secret, port=control.api_port).json()["anomalies"] == []
    refused(control.ask("GET", "/v1/anomalies?kind=team"), "invalid_request", "kind")


def test_the_webhook_is_told_once(control: ControlProcess, hook: Hook) -> None:
    until(lambda: hook.told, "it is told", 30)
    [(headers, body)] = hook.told
    said = msgspec.json.decode(body)
    [found] = control.ask("GET", "/v1/anomalies").json()["anomalies"]
    assert (said["type"], said["data"], headers["webhook-id"]) == ("anomaly.found", found, found["id"])
    at_s = int(headers["webhook-timestamp"])
    assert headers["webhook-signature"] == signature(b"s3cret", found["id"], at_s, body)


def test_the_commands_show_them(
    control: ControlProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("INTERLOCK_URL", control.url)
    monkeypatch.setenv("INTERLOCK_KEY", control.admin)

    def said(*argv: str) -> str:
        assert main(argv) == 0
        return capsys.readouterr().out

    table = said("costs", "--by", "team")
    assert "core" in table and "$46.00" in table and "without a team: $2.00 (4.17%)" in table
    csv = said("costs", "--by", "team,tool", "--format", "csv").splitlines()
    assert csv[0].startswith("team,tool,amount_nanousd,share_ppm") and csv[1].startswith("core,read,23000000000,")
    assert msgspec.json.decode(said("costs", "--format", "json"))["total"]["amount_nanousd"] == "48000000000"
    budgets = said("budgets", "--tenant", "acme")
    assert "47.00" in budgets and "month tenant=acme: " in budgets
    assert "\ncalls: " in said("budgets")
    assert said("budgets", "--format", "csv").splitlines()[0].startswith("name,for,measure,window,used")
    until(lambda: "s7" in said("anomalies", "--kind", "session"), "it is listed", 30)
    assert said("anomalies", "--format", "csv", "--tenant", "acme").splitlines()[0].startswith("id,until,kind,tenant")


def test_costs_are_told_without_a_server(
    control: ControlProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("INTERLOCK_URL", raising=False)
    assert main(("costs", "--by", "tenant", "--data", str(control.data_dir))) == 0
    assert "$47.00" in capsys.readouterr().out


def test_without_a_gateway_nobody_counts(tmp_path: Path) -> None:
    (tmp_path / "interlock.toml").write_text(TOML.replace("PORT", "9"))
    (tmp_path / "secret").write_text("s3cret")
    process = ControlProcess(tmp_path / "data", tmp_path / "interlock.toml").start()
    try:
        refused(process.ask("GET", "/v1/budgets"), "not_ready")
        assert process.ask("GET", "/v1/anomalies").json() == {"anomalies": [], "more": 0}
    finally:
        assert process.stop() == 0
    with closing(UsageWriter(process.data_dir)):
        pass
