"""Both ports over real HTTP: who may ask, what is refused and how, and what the answers hold."""

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from tests.e2e.server import until

from interlock.errors import CODES
from interlock.ledger import Opened, Settled
from interlock.testing.control_process import ControlProcess, UsageWriter

CONTROL_PATHS = [
    ("GET", "/v1/keys"),
    ("POST", "/v1/keys"),
    ("DELETE", "/v1/keys/key_x"),
    ("GET", "/v1/tenants"),
    ("GET", "/v1/usage"),
    ("GET", "/v1/savings"),
    ("GET", "/v1/explain/req_x"),
    ("GET", "/v1/verify"),
    ("POST", "/v1/verify"),
    ("POST", "/v1/checkpoint"),
    ("GET", "/v1/config"),
    ("POST", "/v1/config/check"),
    ("POST", "/v1/config/reload"),
    ("GET", "/v1/status"),
    ("GET", "/v1/nothing"),
]


def issued(control: ControlProcess, **fields: Any) -> dict[str, Any]:
    answer = control.ask("POST", "/v1/keys", {"tenant": "acme", "name": "laptop", **fields})
    assert answer.status == 201, answer.body
    key: dict[str, Any] = answer.json()
    return key


def refused(answer: Any, code: str, field: str | None = None) -> str:
    """Checks the one shape; the message."""
    error = answer.json()["error"]
    assert set(answer.json()) == {"error"} and set(error) == {"code", "message", "field"}
    assert (answer.status, error["code"], error["field"]) == (CODES[code].status, code, field)
    message: str = error["message"]
    return message


@pytest.mark.parametrize(("method", "path"), CONTROL_PATHS)
def test_every_control_path_is_closed_without_an_admin_key(control: ControlProcess, method: str, path: str) -> None:
    tenant_key = issued(control, scopes=["inference", "usage:read"])["secret"]
    refused(control.ask(method, path, key=""), "key_missing")
    refused(control.ask(method, path, key="ilk_" + "x" * 43), "key_unknown")
    refused(control.ask(method, path, key=tenant_key), "scope_missing")


@pytest.mark.parametrize("path", ["/v1/usage", "/v1/savings", "/v1/explain/req_x"])
def test_every_api_path_is_closed_without_usage_read(control: ControlProcess, path: str) -> None:
    refused(control.ask("GET", path, key="", port=control.api_port), "key_missing")
    inference = issued(control)["secret"]
    refused(control.ask("GET", path, key=inference, port=control.api_port), "scope_missing")


def test_health_and_metrics_are_open(control: ControlProcess) -> None:
    assert control.ask("GET", "/healthz", key="").body == b"ok\n"
    assert control.ask("GET", "/healthz", key="", port=control.api_port).body == b"ok\n"
    metrics = control.ask("GET", "/metrics", key="")
    assert metrics.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b"interlock_policy_info{version=" in metrics.body
    refused(control.ask("GET", "/metrics", port=control.api_port), "not_found", "path")


def test_a_key_may_come_as_x_api_key(control: ControlProcess) -> None:
    assert control.ask("GET", "/v1/tenants", key="", headers={"x-api-key": control.admin}).status == 200


def test_issue_list_revoke(control: ControlProcess) -> None:
    key = issued(
        control,
        tenant="orbit",
        scopes=["usage:read"],
        boundary="eu",
        expires="30d",
        labels={"team": "b"},
        principal="ada",
    )
    asked = control.ask("GET", "/v1/usage", key=key["secret"], port=control.api_port)
    assert asked.status == 200
    shown = next(one for one in control.ask("GET", "/v1/keys?tenant=orbit").json()["keys"] if one["id"] == key["id"])
    assert (shown["state"], shown["boundary"], shown["labels"]) == ("live", "eu", {"team": "b"})
    assert "secret" not in shown and "sha256" not in shown
    for reason in ("lost", "again"):
        revoked = control.ask("DELETE", f"/v1/keys/{key['id']}?reason={reason}")
        assert (revoked.status, revoked.json()["state"], revoked.json()["reason"]) == (200, "revoked", "lost")
    refused(control.ask("GET", "/v1/usage", key=key["secret"], port=control.api_port), "key_unknown")
    assert {"name": "orbit", "boundary": "", "agreements": []} in control.ask("GET", "/v1/tenants").json()["tenants"]


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        (b"{", "invalid_json", "body"),
        (b'{"tenant":"a","tenant":"b","name":"x"}', "duplicate_key", "body"),
        ({"name": "x"}, "invalid_request", "tenant"),
        ({"tenant": 7, "name": "x"}, "invalid_request", "tenant"),
        ({"tenant": "a", "name": "x", "admin": True}, "invalid_request", "admin"),
        ({"tenant": "a", "name": "x", "boundary": "mars"}, "invalid_request", "boundary"),
        ({"tenant": "a", "name": "x", "labels": {"a": 1}}, "invalid_request", "labels[...]"),
        (b" " * (1 << 20) + b"{}", "body_too_large", "body"),
        ([], "invalid_request", "body"),
    ],
)
def test_a_bad_key_request_names_what_is_wrong(control: ControlProcess, body: Any, code: str, field: str) -> None:
    refused(control.ask("POST", "/v1/keys", body), code, field)


def test_a_body_of_another_type_is_refused(control: ControlProcess) -> None:
    answer = control.ask("POST", "/v1/keys", b"{}", headers={"content-type": "text/plain"})
    refused(answer, "unsupported_media_type", "content-type")


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/usage?sicne=7d", "sicne"),
        ("/v1/usage?by=tenant&by=model", "by"),
        ("/v1/usage?by=", "by"),
        ("/v1/usage?by=colour", "by"),
        ("/v1/usage?since=yesterday", "since"),
        ("/v1/usage?since=2026-11-01T10:00:00", "since"),
        ("/v1/usage?since=1h&until=2h", "since"),
        ("/v1/usage?by=" + "x" * 5000, "query"),
        ("/v1/savings?by=tenant", "by"),
        ("/v1/explain/req_x?verbose=1", "verbose"),
        ("/v1/keys?format=json", "format"),
        ("/v1/status?x=1", "x"),
    ],
)
def test_unknown_and_wrong_parameters_are_refused_by_name(control: ControlProcess, path: str, field: str) -> None:
    refused(control.ask("GET", path), "invalid_request", field)


def test_unknown_paths_and_methods(control: ControlProcess) -> None:
    refused(control.ask("GET", "/v2"), "not_found", "path")
    refused(control.ask("GET", "/v1/tenants/"), "not_found", "path")
    refused(control.ask("PUT", "/v1/keys"), "method_not_allowed", "method")
    refused(control.ask("DELETE", "/v1/keys/key_nobody"), "not_found", "key_id")


def test_a_huge_header_is_refused_and_hurts_nobody(control: ControlProcess) -> None:
    with suppress(OSError):  # the answer may be lost: the server closes with our bytes unread
        assert control.ask("GET", "/v1/tenants", headers={"x-junk": "x" * 200_000}).status in (400, 431)
    assert control.ask("GET", "/v1/tenants").status == 200


def test_usage_is_in_the_answer_at_once_and_only_the_own_tenants(control: ControlProcess) -> None:
    policy = control.ask("GET", "/v1/config").json()["version"]
    writer = UsageWriter(control.data_dir)
    for tenant in ("acme", "rival"):
        opened = Opened(
            request_id=f"req_{tenant}",
            attempt=1,
            tenant=tenant,
            principal="ada",
            key_id="key_1",
            format="chat",
            stream=False,
            model_requested="auto",
            tier="small",
            deployment="tiny",
            provider="openai",
            model="tiny-1",
            policy=policy,
            input_estimate=10,
            estimate_rule="bytes/4",
        )
        usage = {"input": 1_000_000, "output": 500_000}
        writer.write(opened)
        writer.write(
            Settled(request_id=f"req_{tenant}", attempt=1, outcome="completed", usage=usage, source="reported")
        )
        rows = control.ask("GET", f"/v1/usage?by=tenant&tenant={tenant}").json()["rows"]
        assert [(row["dimensions"], row["amount_nanousd"]) for row in rows] == [({"tenant": tenant}, "2000000000")]
    writer.close()
    secret = issued(control, scopes=["usage:read"])["secret"]
    own = control.ask("GET", "/v1/usage?by=tenant&since=1h", key=secret, port=control.api_port).json()
    assert ([row["dimensions"]["tenant"] for row in own["rows"]], own["problem"]) == (["acme"], None)
    assert control.ask("GET", "/v1/explain/req_acme", key=secret, port=control.api_port).json()["attempts"]
    hidden = control.ask("GET", "/v1/explain/req_rival", key=secret, port=control.api_port)
    refused(hidden, "not_found", "request_id")
    refused(
        control.ask("GET", "/v1/usage?tenant=rival", key=secret, port=control.api_port), "invalid_request", "tenant"
    )
    assert b"interlock_cost_nanousd_total 4000000000\n" in control.ask("GET", "/metrics", key="").body


def test_verify_reports_every_stream_a_line(control: ControlProcess) -> None:
    answer = control.ask("GET", "/v1/verify")
    reports = [msgspec.json.decode(line) for line in answer.body.splitlines()]
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert {"config", "identity"} <= {one["stream"] for one in reports}
    assert not any(one["problems"] for one in reports)


def test_a_checkpoint_is_written_when_asked_for_and_verifies(control: ControlProcess) -> None:
    until(lambda: control.ask("GET", "/v1/status").json()["events_ready"], "no stream moves by itself")
    issued(control)
    first = control.ask("POST", "/v1/checkpoint")
    assert (first.status, control.ask("POST", "/v1/checkpoint").body) == (200, first.body)
    issued(control)
    kept = control.ask("POST", "/v1/checkpoint").json()["statement"]
    assert kept["number"] > first.json()["statement"]["number"]
    status = control.ask("GET", "/v1/status").json()
    assert (status["checkpoint"], status["public_key"]) == (kept["number"], kept["public_key"])
    assert status["checkpoints_problem"] is None and status["checkpoint_at"].endswith("Z")
    given = {"checkpoint": first.body.decode(), "public_key": kept["public_key"]}
    reports = [msgspec.json.decode(line) for line in control.ask("POST", "/v1/verify", given).body.splitlines()]
    assert {one["stream"]: one["attested"] for one in reports}["identity"] == kept["streams"]["identity"]["seq"]
    assert not any(one["problems"] for one in reports)
    [other] = [
        problem["what"]
        for line in control.ask("POST", "/v1/verify", {"public_key": "ab" * 32}).body.splitlines()
        for problem in msgspec.json.decode(line)["problems"]
    ]
    assert "signed by another key" in other


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"public_key": "ab"}, "public_key"),
        ({"checkpoint": "{}"}, "checkpoint"),
        ({"checkpoint": 1}, "checkpoint"),
        ({"key": "x"}, "key"),
    ],
)
def test_what_is_given_to_verify_is_checked(control: ControlProcess, body: dict[str, Any], field: str) -> None:
    refused(control.ask("POST", "/v1/verify", body), "invalid_request", field)
