"""POST /v1/corrections and /v1/periods over real HTTP: who may, what is answered, and what stands in the log."""

from typing import Any

import msgspec
import pytest
from tests.control.test_app import issued, refused
from tests.control.test_events import event, ready, results, send

from interlock.control.corrections import CORRECTIONS_MAX
from interlock.intake import STREAM
from interlock.log.reader import JournalReader
from interlock.testing.control_process import Answer, ControlProcess

SCOPES = ["events:write", "events:correct", "periods:close"]


@pytest.fixture(scope="module")
def key(control: ControlProcess) -> str:
    ready(control)
    return str(issued(control, scopes=SCOPES)["secret"])


def correct(control: ControlProcess, key: str, body: Any, **headers: str) -> Answer:
    return control.ask("POST", "/v1/corrections", body, key=key, port=control.api_port, headers=headers)


def close(control: ControlProcess, key: str, **body: Any) -> Answer:
    return control.ask("POST", "/v1/periods", body, key=key, port=control.api_port)


def asked(id: str, replacement: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    made = {"source": "app/eu", "id": id, "reason": "a meter was read wrong", **changes}
    return {**made, "replacement": replacement} if replacement else made


def test_item_by_item(control: ControlProcess, key: str) -> None:
    send(control, key, [event("c1"), event("c2")])
    first = asked("c1", event("c1b", data={"tokens": 6}))
    answer = correct(control, key, [first, first, asked("c1"), asked("c2"), asked("nobody"), asked("c9", reason="")])
    assert results(answer) == ["counted", "duplicate", "conflict", "counted", "refused", "refused"]
    one, again, other, two, unknown, empty = answer.json()["items"]
    assert answer.json()["counts"] == {"counted": 2, "duplicate": 1, "conflict": 1, "refused": 2}
    assert 0 < one["seq"] == again["seq"] == other["seq"] < two["seq"]
    assert (unknown["code"], unknown["id"], unknown["field"]) == ("event_unknown", "nobody", "id")
    assert (empty["code"], empty["field"]) == ("invalid_request", "reason")
    assert results(send(control, key, [event("c1"), event("c1b", data={"tokens": 6})])) == ["duplicate"] * 2
    records = JournalReader(control.data_dir / "journal").scan(STREAM, after=one["seq"] - 1)
    payload = msgspec.json.decode(next(iter(records)).record.payload)
    assert [each["id"] for each in payload["events"]] == ["c1", "c1b"]
    assert 'interlock_corrections_total{result="counted"}' in control.ask("GET", "/metrics").body.decode()


def test_one_tells_its_outcome_by_its_status(control: ControlProcess, key: str) -> None:
    send(control, key, [event("s1"), event("s2")])
    statuses = [
        (asked("s1"), 200),
        (asked("s1"), 200),
        (asked("s1", reason="why"), 409),
        (asked("s0"), 404),
        (asked("s2", event("s2")), 400),
        (asked("s2", surprise=1), 400),
    ]
    for body, status in statuses:
        answer = correct(control, key, body)
        assert (answer.status, len(answer.json()["items"])) == (status, 1), answer.body


def test_many_in_one_request(control: ControlProcess, key: str) -> None:
    many = [event(f"m{n}") for n in range(CORRECTIONS_MAX)]
    send(control, key, many)
    chain = [asked(one["id"]) for one in many]
    assert results(correct(control, key, chain)) == ["counted"] * CORRECTIONS_MAX
    refused(correct(control, key, [*chain, asked("m0")]), "body_too_large", "body")
    assert results(correct(control, key, [])) == []


def test_numbers_stay_as_they_were_written(control: ControlProcess, key: str) -> None:
    send(control, key, [event("n1")])
    body = msgspec.json.encode(asked("n1", event("n2", data={"x": 7}))).replace(b'"x":7', b'"x":0.10')
    [item] = correct(control, key, body).json()["items"]
    records = JournalReader(control.data_dir / "journal").scan(STREAM, after=item["seq"] - 1)
    assert b'"x":0.10' in next(iter(records)).record.payload


@pytest.mark.parametrize(
    ("body", "headers", "code", "field"),
    [
        (b"[{]", {}, "invalid_json", "body"),
        (b"[1", {}, "invalid_json", "body"),
        (b"[" + b" " * (4 << 20) + b"]", {}, "body_too_large", "body"),
        (b"[]", {"content-type": "text/plain"}, "unsupported_media_type", "content-type"),
    ],
)
def test_what_is_no_list(
    control: ControlProcess, key: str, body: bytes, headers: dict[str, str], code: str, field: str
) -> None:
    refused(correct(control, key, body, **headers), code, field)


def test_who_may(control: ControlProcess, key: str) -> None:
    sender = issued(control, scopes=["events:write", "usage:read"])["secret"]
    assert "events:correct" in refused(correct(control, sender, []), "scope_missing")
    assert "periods:close" in refused(close(control, sender, period="2025-01"), "scope_missing")
    refused(correct(control, "", []), "key_missing")
    some = issued(control, scopes=SCOPES, subjects=["eu-*"])["secret"]
    send(control, key, [event("w1", subject="eu-1"), event("w2", subject="us-1")])
    assert results(correct(control, some, [asked("w1"), asked("w2")])) == ["counted", "refused"]
    refused(close(control, some, period="2025-01"), "subject_refused", "period")
    stranger = issued(control, tenant="globex", scopes=SCOPES)["secret"]
    assert results(correct(control, stranger, [asked("w2")])) == ["refused"]


def test_periods(control: ControlProcess) -> None:
    key = issued(control, tenant="closer", name="books", scopes=SCOPES)["secret"]

    def listed() -> list[str]:
        answer = control.ask("GET", "/v1/periods", key=key, port=control.api_port)
        return [one["period"] for one in answer.json()["periods"]]

    assert listed() == []
    first = close(control, key, period="2025-09", zone="Europe/Berlin")
    assert first.status == 201
    made = first.json()
    assert (made["result"], made["since"], made["until"], made["principal"]) == (
        "closed",
        "2025-08-31T22:00:00Z",
        "2025-09-30T22:00:00Z",
        "books",
    )
    again = close(control, key, period="2025-09", zone="Europe/Berlin")
    assert (again.status, again.json()) == (200, {**made, "result": "duplicate"})
    assert "2025-09 (Europe/Berlin)" in refused(close(control, key, period="2025-08"), "period_closed", "period")
    assert "is not over" in refused(close(control, key, period="2999-01"), "invalid_request", "period")
    refused(close(control, key, period="2025-13"), "invalid_request", "period")
    refused(close(control, key, period="2025-10", zone="Mars"), "invalid_request", "zone")
    refused(close(control, key, period="2025-10", zones="UTC"), "invalid_request", "zones")
    assert close(control, key, period="2025-10-02").status == 201
    assert listed() == ["2025-09", "2025-10-02"]


def test_it_stands_after_a_kill(configured: ControlProcess) -> None:
    ready(configured)
    key = issued(configured, scopes=SCOPES)["secret"]
    send(configured, key, [event("k1")])
    made = correct(configured, key, asked("k1", event("k2"))).json()["items"][0]
    closed = close(configured, key, period="2025-10").json()
    configured.stop(9)
    configured.start()
    ready(configured)
    assert correct(configured, key, asked("k1", event("k2"))).json()["items"] == [{**made, "result": "duplicate"}]
    assert results(correct(configured, key, [asked("k1"), asked("k2")])) == ["conflict", "counted"]
    assert close(configured, key, period="2025-10").json() == {**closed, "result": "duplicate"}
