"""From calls through the gateway to a credit note, with a real server that is killed between the steps."""

import csv
import io
from decimal import Decimal
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.e2e.calls import call
from tests.e2e.configs import scripted
from tests.e2e.server import Server, run_cli, until
from tests.e2e.upstream import upstream

from interlock.instants import rfc3339

PLAN = """
name = "gold"
currency = "USD"
taxes = { rates = [{ name = "VAT", percent = "19" }] }

[[charges]]
id = "base"
description = "Base fee"
price = { model = "flat", amount = "31" }

[[charges]]
id = "output"
description = "Output tokens"
unit_name = "token"
price = { model = "per_unit", unit = "0.333" }
source = { usage = "output", by = ["model"] }

[[charges]]
id = "cost"
description = "Model cost"
price = { model = "dynamic", markup_percent = "20" }
source = { usage = "cost" }
"""


class Operator:
    """The commands of the operator, and the paths behind them."""

    def __init__(self, server: Server, plan: Path) -> None:
        self.server = server
        self.plan = plan
        self.month = rfc3339(server_clock())[:7]

    def set_up(self) -> None:
        self.plan.write_text(PLAN)
        assert self.server.json("plans", "put", str(self.plan))["version"] == 1
        assert self.server.json("plans", "put", str(self.plan))["new"] is False
        self.server.json("invoices", "issuer", "--name", "Interlock Ltd", "--address", "York", "--prefix", "INV-")
        buyer = ("--name", "Acme <b>GmbH</b>", "--address", "=cmd()", "--tax-id", "DE1")
        self.server.json("subscriptions", "set", "acme", "--plan", "gold", "--since", f"{self.month}-01", *buyer)

    def ask(self, method: str, path: str, body: Any = None, *, key: str = "", port: int = 0) -> tuple[int, Any]:
        """A call to the control port, or with a tenant's key to the api port; JSON is decoded."""
        connection = HTTPConnection("127.0.0.1", port or self.server.control_port, timeout=30)
        headers = {"authorization": f"Bearer {key or self.server.admin}", "content-type": "application/json"}
        try:
            connection.request(method, path, None if body is None else msgspec.json.encode(body), headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        plain = answer.getheader("content-type", "").startswith("application/json")
        return answer.status, msgspec.json.decode(text) if plain else text.decode()

    def cut_off(self, method: str, path: str, body: Any) -> None:
        """Ask, and SIGKILL the server without waiting for an answer: the step may have been taken, or not, or half."""
        connection = HTTPConnection("127.0.0.1", self.server.control_port, timeout=30)
        headers = {"authorization": f"Bearer {self.server.admin}", "content-type": "application/json"}
        connection.request(method, path, msgspec.json.encode(body), headers)
        self.server.kill()
        connection.close()
        self.server.start()


def server_clock() -> int:
    from interlock.clock import SystemClock

    return SystemClock().now_ns()


def settled(operator: Operator, count: int) -> None:
    """Until so many attempts are in the ledger."""
    path = "/v1/usage?tenant=acme"
    until(
        lambda: (rows := operator.ask("GET", path)[1]["rows"]) and rows[0]["attempts"] - rows[0]["open"] == count,
        f"{count} calls are settled",
    )


@pytest.fixture
def operator(tmp_path: Path) -> Any:
    with upstream(tmp_path / "upstream") as provider:
        config = scripted(tmp_path / "interlock.toml", provider.port)
        server = Server(tmp_path / "data", config=config).start()
        try:
            made = Operator(server, tmp_path / "plan.toml")
            made.set_up()
            yield made
        finally:
            server.kill()


def test_from_a_call_to_a_credit_note(operator: Operator, tmp_path: Path) -> None:
    server, ask = operator.server, operator.ask
    _, key = server.issue("--scope", "inference", "--scope", "usage:read")
    for n in range(3):
        assert call(server.port, key, f"c{n}").status == 200
    settled(operator, 3)
    draft = server.json("invoices", "draft", "acme")
    tokens = next(line for line in draft["lines"] if line["charge"] == "output")
    assert tokens["group"] == {"model": "model-0"} and tokens["evidence"][0]["count"] == 3
    usage = ask("GET", "/v1/usage?tenant=acme")[1]["rows"][0]
    assert Decimal(tokens["quantity"]) == usage["output"]
    cost = next(line for line in draft["lines"] if line["charge"] == "cost")
    assert Decimal(cost["exact"]) == Decimal(usage["amount_nanousd"]) / 10**9 * Decimal("1.2")

    wanted = {"tenant": "acme", "period": operator.month}
    status, refused = ask("POST", "/v1/invoices", wanted)
    assert (status, refused["error"]["code"]) == (409, "wrong_state")
    operator.cut_off("POST", "/v1/invoices", {**wanted, "interim": True})
    held = server.json("invoices", "review", "acme", "--period", operator.month, "--interim")
    assert (held["state"], held["id"]) == ("in_review", f"acme:{operator.month}:1")
    again = ask("POST", "/v1/invoices", {**wanted, "interim": True})
    assert (again[0], again[1]["id"], again[1]["sha256"]) == (200, held["id"], held["sha256"])
    assert server.cli("invoices", "finalize", held["id"]).returncode == 1
    assert server.cli("invoices", "approve", held["id"], "--hash", "0" * 64).returncode == 1
    server.json("invoices", "approve", held["id"], "--hash", held["sha256"])
    operator.cut_off("POST", f"/v1/invoices/{held['id']}/finalization", {})
    final = server.json("invoices", "finalize", held["id"])
    assert server.json("invoices", "finalize", held["id"])["number"] == final["number"]
    assert final["number"].endswith("-000001") and final["payable"] == final["total"]

    exports(operator, final, tmp_path)
    assert call(server.port, key, "late").status == 200  # it is no part of what was billed
    settled(operator, 4)
    line = str(tokens["n"])
    told = server.cli("invoices", "events", final["number"], "--line", line, "--verify")
    assert told.returncode == 0 and told.stdout.startswith("3 events"), told
    rest = server.json("invoices", "draft", "acme")
    assert [(one["charge"], one["evidence"][0]["count"]) for one in rest["lines"]] == [("output", 4), ("cost", 4)]

    tenants_see_their_own(operator, final, key)
    credited(operator, final)
    voided(operator)
    assert server.stop() == 0
    checked = run_cli("invoices", "check", "--data", str(server.places.root))
    assert checked.returncode == 0 and "3 invoices and 1 credit notes: all hold" in checked.stdout, checked
    balance = run_cli("invoices", "books", "--data", str(server.places.root), "--format", "json")
    assert msgspec.json.decode(balance.stdout)["imbalance"] == {}


def exports(operator: Operator, final: dict[str, Any], tmp_path: Path) -> None:
    """All four, of what is final."""
    server, path = operator.server, f"/v1/invoices/{final['id']}"
    focus = tmp_path / "focus.csv"
    done = server.cli("invoices", "export", final["number"], "--format", "focus", "--output", str(focus))
    assert done.returncode == 0, done
    rows = list(csv.DictReader(io.StringIO(focus.read_text())))
    assert sum(Decimal(row["BilledCost"]) for row in rows) == Decimal(final["payable"])
    assert {row["InvoiceId"] for row in rows} == {final["number"]}
    page = operator.ask("GET", f"{path}?format=html")[1]
    assert "Acme &lt;b&gt;GmbH&lt;/b&gt;" in page and "<b>" not in page and "<script" not in page
    lines = list(csv.DictReader(io.StringIO(operator.ask("GET", f"{path}?format=csv")[1])))
    whole = operator.ask("GET", path)[1]
    assert sum(Decimal(row["net"]) for row in lines) == Decimal(final["net"]) and len(whole["lines"]) == len(lines)


def tenants_see_their_own(operator: Operator, final: dict[str, Any], key: str) -> None:
    """And nobody else's."""
    server = operator.server
    other = server.json("keys", "issue", "--tenant", "other", "--name", "o", "--scope", "usage:read")["secret"]
    path = f"/v1/invoices/{final['id']}"
    assert operator.ask("GET", path, key=key, port=server.api_port)[0] == 200
    assert operator.ask("GET", path, key=other, port=server.api_port)[0] == 404
    assert operator.ask("GET", "/v1/invoices", key=other, port=server.api_port)[1]["invoices"] == []
    assert operator.ask("POST", "/v1/invoices", {}, key=key, port=server.api_port)[0] == 405


def credited(operator: Operator, final: dict[str, Any]) -> None:
    """A credit note is one; what has one is not voided."""
    server = operator.server
    wanted = {"id": "cn-1", "invoice": final["id"], "reason": "outage", "lines": [{"n": 1, "amount": "10.00"}]}
    operator.cut_off("POST", "/v1/credit-notes", wanted)
    note = ("invoices", "credit", final["number"], "--id", "cn-1", "--reason", "outage", "--line", "1=10.00")
    made = server.json(*note)
    assert made["total"] == "11.90" and made["number"].endswith("-000001")
    assert server.json(*note) == made | {"new": False}
    assert server.cli("invoices", "void", final["id"], "--reason", "wrong").returncode == 1
    status, refused = operator.ask("POST", "/v1/credit-notes", wanted | {"reason": "another"})
    assert (status, refused["error"]["code"]) == (409, "conflict")


def voided(operator: Operator) -> None:
    """Reversed, with its number; the period is billed anew."""
    ask = operator.ask
    wanted = {"plan": "gold", "since": f"{operator.month}-01", "buyer": {"name": "Beta"}}
    assert ask("PUT", "/v1/subscriptions/beta", wanted)[0] == 201
    numbers = []
    for n in (1, 2):
        id = f"beta:{operator.month}:{n}"
        held = ask("POST", "/v1/invoices", {"tenant": "beta", "period": operator.month, "interim": True})[1]
        assert held["id"] == id
        ask("POST", f"/v1/invoices/{id}/approval", {"sha256": held["sha256"]})
        numbers.append(ask("POST", f"/v1/invoices/{id}/finalization", {})[1]["number"][-6:])
        if n == 1:
            operator.cut_off("POST", f"/v1/invoices/{id}/void", {"reason": "wrong address"})
            assert operator.server.cli("invoices", "void", id, "--reason", "wrong address").returncode == 0
            assert "VOID" in ask("GET", f"/v1/invoices/{id}?format=html")[1]
            assert ask("GET", f"/v1/invoices/{id}?format=focus")[0] == 409
    assert numbers == ["000002", "000003"]
