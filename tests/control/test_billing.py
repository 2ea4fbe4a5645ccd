"""Billing on both ports of a real control process: what ledger and meters counted, and every event of a line."""

from collections.abc import Iterator
from decimal import Decimal
from hashlib import sha256
from typing import Any

import pytest
from tests.control.test_app import issued

from interlock.clock import SystemClock
from interlock.errors import CODES
from interlock.instants import rfc3339
from interlock.ledger import Opened, Settled
from interlock.testing.control_process import ControlProcess, UsageWriter

BATCH = {"content-type": "application/cloudevents-batch+json"}
MONTH = rfc3339(SystemClock().now_ns())[:7]
OUT = {"id": "out", "price": {"model": "per_unit", "unit": "0.5"}, "source": {"usage": "output", "by": ["model"]}}
COST = {"id": "cost", "price": {"model": "dynamic", "multiplier": "2"}, "source": {"usage": "cost"}}
CALLS = {"id": "calls", "price": {"model": "per_unit", "unit": "1"}, "source": {"usage": "requests"}}
GB = {
    "id": "gb",
    "unit_name": "GB",
    "price": {"model": "per_unit", "unit": "0.1"},
    "source": {"meter": "traffic", "by": ["region"], "where": {"region": ["eu", "us"]}},
}
MIXED = {
    "id": "mixed",
    "price": {
        "model": "volume_blocks",
        "meters": {
            "gb": [{"block_size": "1", "price_per_block": "0.8"}],
            "tokens": [{"block_size": "10", "price_per_block": "1"}],
        },
    },
    "sources": {"gb": {"meter": "sent"}, "tokens": {"usage": "output"}},
}
PEAKS = {
    "id": "peaks",
    "price": {
        "model": "windowed",
        "classes": {
            name: {"price": {"model": "per_unit", "unit": unit}} for name, unit in (("night", "1"), ("", "10"))
        },
    },
    "source": {"meter": "peak"},
    "windows": {"size": "hour", "rules": [{"in_class": "night", "to_hour": 1}]},
}
HOURLY = {
    "id": "hourly",
    "price": {
        "model": "windowed",
        "classes": {
            "": {"price": {"model": "per_unit", "unit": "1"}, "commitment": "5", "overage_factor": "2"},
        },
    },
    "source": {"meter": "sent"},
    "windows": {"size": "hour"},
}
USERS = {"id": "users", "price": {"model": "per_unit", "unit": "3"}, "source": {"meter": "users"}}


class Usage:
    """A worker's journal."""

    def __init__(self, control: ControlProcess, policy: str) -> None:
        self.writer = UsageWriter(control.data_dir)
        self.policy = policy
        self.calls = 0
        self.tenant = ""
        """Each test has its own."""

    def call(self, output: int, *, outcome: str = "completed", settle: bool = True, **more: Any) -> str:
        """One attempt; its id."""
        self.calls += 1
        id = f"req_{self.calls:032x}"
        opened: dict[str, Any] = {
            "tenant": self.tenant, "principal": "p", "key_id": "k", "format": "chat", "stream": False,
            "model_requested": "auto", "tier": "small", "deployment": "tiny", "provider": "openai", "model": "tiny-1",
            "policy": self.policy, "input_estimate": 1, "estimate_rule": "r",
        }  # fmt: skip
        self.writer.write(Opened(request_id=id, attempt=1, **(opened | more)))
        if settle:
            self.settle(id, output, outcome=outcome)
        return f"{id}/1"

    def settle(self, id: str, output: int, *, outcome: Any = "completed") -> None:
        usage = {"input": 10, "output": output}
        self.writer.write(Settled(request_id=id, attempt=1, outcome=outcome, usage=usage, source="reported"))


@pytest.fixture(scope="module")
def used(control: ControlProcess) -> Iterator[Usage]:
    usage = Usage(control, control.ask("GET", "/v1/status").json()["policy"])
    asked(control, "PUT", "/v1/issuer", {"name": "Interlock Ltd"})
    yield usage
    usage.writer.close()


@pytest.fixture
def billed(control: ControlProcess, used: Usage, request: pytest.FixtureRequest) -> tuple[ControlProcess, Usage]:
    used.tenant = request.node.name.replace("_", "-")
    return control, used


def asked(control: ControlProcess, method: str, path: str, body: Any = None) -> Any:
    answer = control.ask(method, path, body)
    assert answer.status in (200, 201), answer.body
    return answer.json()


def rejected(answer: Any, code: str, field: str | None) -> None:
    """Refused with that code, and the field."""
    assert refused_field(answer, code) == field


def refused_field(answer: Any, code: str) -> str | None:
    error = answer.json()["error"]
    assert (answer.status, error["code"]) == (CODES[code].status, code), error
    found: str | None = error["field"]
    return found


def subscribed(control: ControlProcess, tenant: str, *charges: dict[str, Any]) -> None:
    asked(control, "POST", "/v1/plans", {"name": tenant, "currency": "USD", "charges": list(charges)})
    wanted = {"plan": tenant, "since": f"{MONTH}-01", "buyer": {"name": "Acme"}}
    asked(control, "PUT", f"/v1/subscriptions/{tenant}", wanted)


def listed(control: ControlProcess, invoice: str, n: int, limit: int = 2) -> tuple[dict[str, Any], list[Any]]:
    """A line and all its events, by pages; the hash is reckoned by the rule that the documents give."""
    rows: list[Any] = []
    after: int | None = 0
    while after is not None:
        found = asked(control, "GET", f"/v1/invoices/{invoice}/lines/{n}/events?after={after}&limit={limit}")
        rows += found["events"]
        after = found["next"]
    line, start = found["line"], 0
    for evidence in line["evidence"]:
        mine = rows[start : start + evidence["count"]]
        start += evidence["count"]
        text = "".join(f"{row['id']}\t{row['quantity']}\n" for row in mine)
        assert sha256(text.encode()).hexdigest() == evidence["sha256"]
    assert start == len(rows)
    return line, rows


def reviewed(control: ControlProcess, tenant: str) -> dict[str, Any]:
    wanted = {"tenant": tenant, "period": MONTH, "interim": True}
    found: dict[str, Any] = asked(control, "POST", "/v1/invoices", wanted)
    return found


def final(control: ControlProcess, tenant: str) -> dict[str, Any]:
    held = reviewed(control, tenant)
    asked(control, "POST", f"/v1/invoices/{held['id']}/approval", {"sha256": held["sha256"]})
    found: dict[str, Any] = asked(control, "POST", f"/v1/invoices/{held['id']}/finalization", {})
    return found


def test_what_the_gateway_metered(billed: tuple[ControlProcess, Usage]) -> None:
    control, usage = billed
    tenant = usage.tenant
    subscribed(control, tenant, OUT, COST, CALLS)
    ids = [usage.call(n, model=f"m{n % 2}") for n in (1, 2, 3, 4, 5)]
    usage.call(7, tenant="other")
    failed = usage.call(6, outcome="failed", model="m0")
    waiting = usage.call(0, settle=False)
    draft = asked(control, "GET", f"/v1/invoices/draft?tenant={tenant}&period={MONTH}")
    assert draft["open"] == 1
    held = final(control, tenant)
    usage.settle(waiting.removesuffix("/1"), 100)
    late = usage.call(1000, model="m1")
    lines = asked(control, "GET", f"/v1/invoices/{held['id']}")["lines"]
    by_key = {(line["charge"], line["group"].get("model", "")): line for line in lines}
    assert by_key["out", "m0"]["quantity"] == "12" and by_key["out", "m1"]["quantity"] == "9"
    assert by_key["calls", ""]["quantity"] == "5"
    assert Decimal(by_key["cost", ""]["exact"]) == Decimal(60 * 1 + 21 * 2) / 10**6 * 2
    _, rows = listed(control, held["id"], by_key["out", "m1"]["n"])
    assert [(row["id"], row["quantity"]) for row in rows] == [(ids[0], "1"), (ids[2], "3"), (ids[4], "5")]
    _, rows = listed(control, held["id"], by_key["cost", ""]["n"])
    assert {row["id"] for row in rows} == {*ids, failed} and late not in {row["id"] for row in rows}
    rest = asked(control, "GET", f"/v1/invoices/draft?tenant={tenant}&period={MONTH}")["lines"]
    assert {(line["charge"], line["group"].get("model", ""), line["quantity"]) for line in rest} >= {
        ("out", "tiny-1", "100"), ("out", "m1", "1000"), ("calls", "", "2"),
    }  # fmt: skip


def test_calls_without_a_price(billed: tuple[ControlProcess, Usage]) -> None:
    control, usage = billed
    tenant = usage.tenant
    subscribed(control, tenant, COST)
    usage.call(5, deployment="gone")
    wanted = {"tenant": tenant, "period": MONTH, "interim": True}
    rejected(control.ask("POST", "/v1/invoices", wanted), "wrong_state", "unpriced")
    assert asked(control, "POST", "/v1/invoices", wanted | {"unpriced": True})["unpriced"] == 1


def test_what_meters_say(billed: tuple[ControlProcess, Usage]) -> None:
    control, tenant = billed[0], billed[1].tenant
    meter = {"slug": "traffic", "event_type": "sent", "aggregation": "sum", "value": "$.gb"}
    asked(control, "POST", f"/v1/meters?tenant={tenant}", meter | {"group_by": {"region": "$.region"}})
    meter = {"slug": "users", "event_type": "sent", "aggregation": "unique_count", "value": "$.user"}
    asked(control, "POST", f"/v1/meters?tenant={tenant}", meter)
    subscribed(control, tenant, GB, USERS)
    secret = issued(control, tenant=tenant, scopes=["events:write", "events:correct"])["secret"]

    def send(id: str, gb: str, region: str = "eu", user: str = "u") -> None:
        event = {"specversion": "1.0", "id": id, "source": "s", "type": "sent"}
        event["data"] = {"gb": gb, "region": region, "user": user}  # type: ignore[assignment]  # an object of strings
        answer = control.ask("POST", "/v1/events", [event], key=secret, port=control.api_port, headers=BATCH)
        assert answer.status == 200, answer.body

    for n in range(5):
        send(f"e{n}", "1.25", ("eu", "us")[n % 2], f"u{n % 3}")
    send("asia", "9", "ap")
    back = [{"source": "s", "id": "e2", "reason": "test"}]
    assert control.ask("POST", "/v1/corrections", back, key=secret, port=control.api_port).status == 200
    other = issued(control, tenant="elsewhere", scopes=["events:write"])["secret"]
    event = {"specversion": "1.0", "id": "x", "source": "s", "type": "sent", "data": {}}
    assert control.ask("POST", "/v1/events", [event], key=other, port=control.api_port, headers=BATCH).status == 200
    held = final(control, tenant)
    send("late", "100")
    lines = asked(control, "GET", f"/v1/invoices/{held['id']}")["lines"]
    found = {(line["charge"], line["group"].get("region", "")): line for line in lines}
    assert {key: line["quantity"] for key, line in found.items()} == {
        ("gb", "eu"): "2.5", ("gb", "us"): "2.5", ("users", ""): "3",
    }  # fmt: skip
    line, rows = listed(control, held["id"], found["gb", "eu"]["n"])
    assert [row["quantity"] for row in rows] == ["1.25", "1.25", "-1.25", "1.25"]
    assert rows[0]["id"].startswith('["s","e0",') and sum(Decimal(row["quantity"]) for row in rows) == Decimal("2.5")
    line, rows = listed(control, held["id"], found["users", ""]["n"])
    assert line["evidence"][0]["sum"] == "3"
    rest = asked(control, "GET", f"/v1/invoices/draft?tenant={tenant}&period={MONTH}")["lines"]
    assert [(line["group"], line["quantity"]) for line in rest] == [({"region": "eu"}, "100")]


def test_windows_and_several_meters(billed: tuple[ControlProcess, Usage]) -> None:
    """Of the ledger and of meters that add up and that do not; every event says which of them counts it."""
    control, usage = billed
    tenant = usage.tenant
    for slug, aggregation, value in (("sent", "sum", "$.gb"), ("peak", "max", "$.gb")):
        meter = {"slug": slug, "event_type": "sent", "aggregation": aggregation, "value": value}
        asked(control, "POST", f"/v1/meters?tenant={tenant}", meter)
    subscribed(control, tenant, MIXED, PEAKS, HOURLY)
    secret = issued(control, tenant=tenant, scopes=["events:write"])["secret"]
    start = f"{MONTH}-01T0"
    for n, (at, gb) in enumerate((("0:00:00", 4), ("0:59:59.999999", 3), ("1:00:00", 5))):
        event = {"specversion": "1.0", "id": f"e{n}", "source": "s", "type": "sent", "time": f"{start}{at}Z"}
        body = [{**event, "data": {"gb": gb}}]
        answer = control.ask("POST", "/v1/events", body, key=secret, port=control.api_port, headers=BATCH)
        assert answer.status == 200, answer.body
    attempt = usage.call(40)
    held = final(control, tenant)
    lines = {line["charge"]: line for line in asked(control, "GET", f"/v1/invoices/{held['id']}")["lines"]}
    assert {id: (line["quantity"], line["exact"]) for id, line in lines.items()} == {
        "mixed": ("52", "13.6"),  # 12 at 0.8, and 40 in 4 blocks
        "peaks": ("9", "54"),  # the meter's own figures of two hours: 4 at night, and 5
        "hourly": ("12", "14"),  # 7 in an hour are 5 and twice 2; and 5
    }  # fmt: skip
    line, rows = listed(control, held["id"], lines["mixed"]["n"])
    assert [(row["meter"], row["source"], row["quantity"]) for row in rows] == [
        *(("gb", "meter/sent/1", quantity) for quantity in ("4", "3", "5")), ("tokens", "usage/output", "40"),
    ]  # fmt: skip
    assert rows[-1]["id"] == attempt and [one["meter"] for one in line["evidence"]] == ["gb", "tokens"]
    line, rows = listed(control, held["id"], lines["peaks"]["n"])
    assert (line["evidence"][0]["sum"], line["evidence"][0]["meter"], len(rows)) == ("9", None, 3)
    assert asked(control, "GET", "/v1/invoices/check")["problems"] == []


def test_what_is_rejected(billed: tuple[ControlProcess, Usage]) -> None:
    control, usage = billed
    tenant = usage.tenant
    subscribed(control, tenant, OUT)
    ask = control.ask
    rejected(ask("POST", "/v1/plans", []), "invalid_request", "body")
    rejected(ask("POST", "/v1/plans", b'{"name": "p", "name": "p"}'), "duplicate_key", "body")
    rejected(ask("POST", "/v1/plans", b'{"name": NaN}'), "invalid_json", "body")
    huge = {"model": "per_unit", "unit": "1e999999999"}
    plan = {"name": "q", "currency": "USD", "charges": [OUT | {"price": huge}]}
    assert ask("POST", "/v1/plans", plan).status == 400
    rejected(
        ask("POST", "/v1/plans", {"name": "q", "currency": "USD", "charges": [OUT], "x": 1}), "invalid_request", "x"
    )
    rejected(ask("GET", "/v1/plans/none"), "not_found", "plan")
    rejected(ask("GET", f"/v1/plans/{tenant}?version=-1"), "invalid_request", "version")
    rejected(
        ask("PUT", "/v1/subscriptions/ACME!", {"since": "2026-01-01", "plan": tenant}), "invalid_request", "tenant"
    )
    rejected(ask("GET", f"/v1/invoices/draft?tenant={tenant}&format=pdf"), "invalid_request", "format")
    rejected(ask("GET", "/v1/invoices/none"), "not_found", "invoice")
    rejected(ask("POST", "/v1/invoices/none/void", {"reason": "x"}), "not_found", "invoice")
    usage.call(5)
    held = final(control, tenant)
    path = f"/v1/invoices/{held['id']}/lines"
    rejected(ask("GET", f"{path}/2/events"), "not_found", "n")
    rejected(ask("GET", f"{path}/1/events?limit=1001"), "invalid_request", "limit")
    note = {"id": "c", "invoice": held["id"], "reason": "r"}
    for amount in ("NaN", "-1", "1e3", "Infinity", "0.001", "1" * 50, "", "0.01" + "0" * 34 + "1"):
        body = note | {"lines": [{"n": 1, "amount": amount}]}
        rejected(ask("POST", "/v1/credit-notes", body), "invalid_request", "lines")
    rejected(ask("POST", "/v1/credit-notes", note | {"lines": [{"n": 1}, {"n": 1}]}), "invalid_request", "lines")
    rejected(ask("POST", "/v1/credit-notes", note | {"id": "a\nb"}), "invalid_request", "id")
    assert asked(control, "GET", "/v1/invoices/check")["problems"] == []
    assert asked(control, "GET", "/v1/books")["imbalance"] == {}
    read = issued(control, tenant=tenant, scopes=["usage:read"])["secret"]
    rejected(ask("GET", "/v1/invoices", key=read), "scope_missing", None)
    mine = ask("GET", "/v1/invoices", key=read, port=control.api_port).json()["invoices"]
    assert [one["id"] for one in mine] == [held["id"]]


def test_a_draft_in_review_is_not_the_tenants(billed: tuple[ControlProcess, Usage]) -> None:
    control, usage = billed
    tenant = usage.tenant
    subscribed(control, tenant, OUT)
    usage.call(5)
    held = reviewed(control, tenant)
    read = issued(control, tenant=tenant, scopes=["usage:read"])["secret"]
    rejected(control.ask("GET", f"/v1/invoices/{held['id']}", key=read, port=control.api_port), "not_found", "invoice")
    assert control.ask("GET", "/v1/invoices", key=read, port=control.api_port).json()["invoices"] == []
