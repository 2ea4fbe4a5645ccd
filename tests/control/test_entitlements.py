"""Entitlements on both ports of a real control process: any tenant's for operators, its own for a key."""

import sqlite3
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.control.conftest import TOML
from tests.control.test_app import issued, refused

from interlock.clock import SystemClock
from interlock.control.budgets import BudgetPaths
from interlock.entitlements import Book, SharedPlans, Standing
from interlock.entitlements.records import encoded
from interlock.identity import ENTITLEMENTS, Generation
from interlock.instants import rfc3339
from interlock.ledger import Opened, Spent
from interlock.limits import Actual, Claim, Held, Limiter, Page
from interlock.log import Record, Stored
from interlock.log.sqlite import SqliteLog
from interlock.rating import EntitledLimit, Entitlements
from interlock.testing.control_process import ControlProcess, UsageWriter

MONTH = rfc3339(SystemClock().now_ns())[:7]
TABLE: dict[str, Any] = {
    "models": ["tiny-*"],
    "features": {"sso": True, "audit": False, "support": "business hours", "sla": ""},
    "limits": [
        {"name": "tokens", "measure": "tokens", "amount": "1000", "window": "month"},
        {"name": "spend", "measure": "usd", "amount": "2.5", "window": "day", "per": ["principal"]},
        {"name": "talk", "measure": "requests", "amount": "9", "window": "hour", "per": ["session"]},
    ],
}


def put(control: ControlProcess, name: str, table: dict[str, Any] | None) -> None:
    charges = [{"id": "base", "price": {"model": "flat", "amount": "1"}}]
    plan = {"name": name, "currency": "USD", "charges": charges}
    answer = control.ask("POST", "/v1/plans", plan | ({} if table is None else {"entitlements": table}))
    assert answer.status in (200, 201), answer.body
    assert answer.json().get("entitlements", {}).get("models") == (table or {}).get("models")


def subscribe(control: ControlProcess, tenant: str, plan: str, since: str = f"{MONTH}-01") -> None:
    wanted = {"plan": plan, "since": since, "buyer": {"name": tenant}}
    answer = control.ask("PUT", f"/v1/subscriptions/{tenant}", wanted)
    assert answer.status in (200, 201), answer.body


def shown(control: ControlProcess, tenant: str) -> Any:
    (found,) = control.ask("GET", f"/v1/entitlements?tenant={tenant}").json()["entitlements"]
    return found


def test_what_a_key_may_ask(configured: ControlProcess) -> None:
    control = configured
    put(control, "gold", TABLE)
    put(control, "plain", None)
    subscribe(control, "acme", "gold")
    subscribe(control, "bolt", "plain")
    secret = issued(control, tenant="acme", scopes=["usage:read"])["secret"]

    def api(path: str) -> Any:
        answer = control.ask("GET", path, key=secret, port=control.api_port)
        assert answer.status == 200, answer.body
        return answer.json()

    told = api("/v1/entitlements")
    assert (told["tenant"], told["plan"], told["version"]) == ("acme", "gold", 1)
    assert told["since"] == f"{MONTH}-01T00:00:00.000Z"
    assert (told["models"], told["features"]) == (["tiny-*"], TABLE["features"])
    assert [(one["name"], one["amount"], one["used"]) for one in told["limits"]] == [
        ("tokens", "1000", None),
        ("spend", "2.50", None),
        ("talk", "9", None),
    ], "no gateway runs, so nobody counts"
    for feature, entitled, value in (
        ("sso", True, True),
        ("support", True, "business hours"),
        ("sla", True, ""),
        ("audit", False, None),
        ("teleport", False, None),
        ("a/b", False, None),
    ):
        assert api(f"/v1/entitlements/{feature}") == {"feature": feature, "entitled": entitled, "value": value}

    Page.create(control.data_dir / "run" / "limits", slots=1)
    limiter = Limiter(Page(control.data_dir / "run" / "limits"), 0, SystemClock(), [])
    log, generation = SqliteLog(control.data_dir / "log.sqlite"), Generation(control.data_dir)
    limiter.plans = SharedPlans(log, generation)
    key = control.ask("GET", "/v1/keys?tenant=acme").json()["keys"][0]
    caller = {"key": key["id"], "tenant": "acme", "principal": key["principal"], "model": "tiny-1"}
    for number, (used, settled) in enumerate(((400, True), (100, False))):
        held = limiter.reserve(Claim(id=f"req/{number}", input_tokens=used, nanousd=used * 10**6, **caller))
        assert isinstance(held, Held)
        if settled:
            limiter.settle(held, Actual(input_tokens=used, output_tokens=0, nanousd=used * 10**6))
    log.close()
    generation.close()
    tokens, spend, talk = api("/v1/entitlements")["limits"]
    assert [tokens[name] for name in ("used", "held", "left", "scope")] == ["400", "100", "500", {"tenant": "acme"}]
    assert [spend[name] for name in ("used", "held", "left", "per")] == ["0.40", "0.10", "2.00", ["principal"]]
    assert spend["scope"] == {"tenant": "acme", "principal": key["principal"]}
    assert talk["scope"] == {} and (talk["used"], talk["left"], talk["ends"]) == ("0", "9", None)
    assert {one["name"] for one in api("/v1/balance")["limits"]} == {"plan/tokens", "plan/spend"}

    writer = UsageWriter(control.data_dir)  # now the log knows of the call, too: it is in the windows that run
    opened: dict[str, Any] = {
        "tenant": "acme", "principal": key["principal"], "key_id": key["id"], "format": "chat", "stream": False,
        "model_requested": "auto", "tier": "small", "deployment": "tiny", "provider": "openai", "model": "tiny-1",
        "policy": "p", "input_estimate": 1, "estimate_rule": "r",
    }  # fmt: skip
    writer.write(Opened(request_id="req_" + "0" * 32, attempt=1, **opened))
    writer.close()
    assert shown(control, "acme")["limits"][0] == tokens
    quotas = control.ask("GET", "/v1/quotas").json()["quotas"]
    assert {"plan/tokens", "plan/spend", "plan/talk"} == {one["name"] for one in quotas}
    budgets = control.ask("GET", "/v1/budgets", key=secret, port=control.api_port).json()["budgets"]
    assert {"plan/tokens", "plan/spend", "plan/talk"} == {one["name"] for one in budgets}
    refused(
        control.ask("GET", "/v1/entitlements?tenant=x", key=secret, port=control.api_port), "invalid_request", "tenant"
    )
    none = issued(control, tenant="bolt", scopes=["inference"])["secret"]
    refused(control.ask("GET", "/v1/entitlements", key=none, port=control.api_port), "scope_missing")


def test_what_operators_see(control: ControlProcess) -> None:
    put(control, "gold", TABLE)
    put(control, "plain", None)
    for tenant, plan, since in (
        ("e-acme", "gold", f"{MONTH}-01"),
        ("e-bolt", "plain", f"{MONTH}-01"),
        ("e-late", "gold", "2200-01-01"),
        ("e-over", "gold", "2020-01-01"),
    ):
        subscribe(control, tenant, plan, since)
    control.ask("PUT", "/v1/subscriptions/e-over", {"plan": "", "since": f"{MONTH}-01"})
    every = control.ask("GET", "/v1/entitlements").json()
    listed = [(one["tenant"], one["plan"]) for one in every["entitlements"] if one["tenant"].startswith("e-")]
    assert listed == [("e-acme", "gold"), ("e-bolt", "plain")] and every["more"] == 0
    nothing: dict[str, Any] = {
        "plan": None,
        "version": None,
        "since": None,
        "models": None,
        "features": {},
        "limits": [],
    }
    for tenant in ("e-late", "e-over"):
        assert shown(control, tenant) == {"tenant": tenant, **nothing}
    assert shown(control, "e-bolt")["plan"] == "plain" and shown(control, "e-bolt")["models"] is None
    refused(control.ask("GET", "/v1/entitlements?tenant=e-none"), "not_found", "tenant")
    refused(control.ask("GET", "/v1/entitlements?tenant=A%20B"), "invalid_request", "tenant")
    refused(control.ask("GET", "/v1/entitlements?key=k"), "invalid_request", "key")
    secret = issued(control, tenant="e-acme", scopes=["usage:read"])["secret"]
    refused(control.ask("GET", "/v1/entitlements", key=secret), "scope_missing")


def test_a_start_makes_good_what_a_death_left_out(tmp_path: Path) -> None:
    """Billing has the subscription, the stream of entitlements does not: as after kill -9 between the two records."""
    config = tmp_path / "interlock.toml"
    config.write_text(TOML)
    control = ControlProcess(tmp_path / "data", config).start()
    put(control, "gold", TABLE)
    subscribe(control, "acme", "gold")
    assert control.stop() == 0
    with sqlite3.connect(tmp_path / "data" / "log.sqlite") as log:
        tables = {name for (name,) in log.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert "records" in tables, tables
        assert log.execute("DELETE FROM records WHERE stream = 'entitlements'").rowcount == 1
    log.close()
    control = ControlProcess(tmp_path / "data", config).start()
    try:
        assert shown(control, "acme")["models"] == ["tiny-*"]
        generation = Generation(tmp_path / "data")
        assert generation.slots[ENTITLEMENTS] == 1
        generation.close()
    finally:
        assert control.stop() == 0, control.stderr


@pytest.mark.parametrize("path", ["/v1/entitlements", "/v1/entitlements/sso"])
def test_a_tenant_without_a_plan(control: ControlProcess, path: str) -> None:
    secret = issued(control, tenant="planless", scopes=["usage:read"])["secret"]
    told = control.ask("GET", path, key=secret, port=control.api_port).json()
    if path.endswith("sso"):
        assert told == {"feature": "sso", "entitled": False, "value": None}
    else:
        assert (told["tenant"], told["plan"], told["models"], told["limits"]) == ("planless", None, None, [])


def test_what_plans_limits_were_used_of_lately() -> None:
    """Of the window that is asked about, and of each tenant's own plan."""
    book, tables = Book(), {"acme": ("tokens", "day"), "bolt": ("requests", "day"), "coil": ("tokens", "month")}
    for seq, (tenant, (measure, window)) in enumerate(tables.items(), 1):
        limit = EntitledLimit(name="all", measure=measure, amount=Fraction(9), window=window)  # type: ignore[arg-type]  # from a table
        one = Standing(tenant=tenant, since_ns=1, plan="p", version=1, entitlements=Entitlements(limits=(limit,)))
        record = Record(id=tenant, type="entitlement.set", at_ns=1, payload=encoded(one))
        book.apply(Stored(stream="entitlements", seq=seq, record=record, chain=b""))

    def spent(since_ns: int, until_ns: int, columns: list[str]) -> list[Spent]:
        rows = [{"tenant": tenant, "key_id": "k"} for tenant in (*tables, "none")]
        return [Spent(tuple(row.get(name, "") for name in columns), 2, 2, 30, 15, 0) for row in rows]

    control: Any = SimpleNamespace(
        entitlements=SimpleNamespace(book=book),
        clock=SystemClock(),
        adoption=SimpleNamespace(policy=None),
        ledger=SimpleNamespace(spent=spent),
    )
    found = BudgetPaths(control, own=False)._lately("", {"day": None}, control.clock.now_ns())
    assert found == {
        ("plan/all", (("tenant", "acme"),)): [45, 2],
        ("plan/all", (("tenant", "bolt"),)): [2, 2],
    }
    assert list(BudgetPaths(control, own=True)._lately("bolt", {"day": None}, control.clock.now_ns())) == [
        ("plan/all", (("tenant", "bolt"),))
    ]
