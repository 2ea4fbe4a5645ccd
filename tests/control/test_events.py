"""POST /v1/events over real HTTP: the three framings, who may send what for whom, and what survives a kill."""

import asyncio
import functools
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import msgspec
import pytest
from starlette.requests import Request
from starlette.types import Message
from tests.control.test_app import issued, refused
from tests.e2e.server import until
from tests.intake.events import document

from interlock.clock import SystemClock
from interlock.control import events as events_module
from interlock.control.events import EVENTS_MAX
from interlock.datadir import DataDir
from interlock.errors import LocalError, TransientError
from interlock.intake import STREAM, Intake
from interlock.log.reader import JournalReader
from interlock.proof.check import verify
from interlock.proof.export import export, month
from interlock.proof.rebuild import check
from interlock.testing.control_process import Answer, ControlProcess

ONE, BATCH, LINES = "application/cloudevents+json", "application/cloudevents-batch+json", "application/x-ndjson"
TIME = "2026-01-05T10:00:00Z"


@pytest.fixture(scope="module")
def key(control: ControlProcess) -> str:
    ready(control)
    return str(issued(control, scopes=["events:write"])["secret"])


def ready(control: ControlProcess) -> None:
    until(lambda: control.ask("GET", "/v1/status").json()["events_ready"], "the intake is open")


def event(id: str, **changes: Any) -> dict[str, Any]:
    return document(id, time=TIME, **changes)


def send(control: ControlProcess, key: str, body: Any, kind: str = BATCH) -> Answer:
    data = b"\n".join(map(msgspec.json.encode, body)) if kind == LINES and not isinstance(body, bytes) else body
    headers = {"content-type": kind}
    return control.ask("POST", "/v1/events", data, key=key, port=control.api_port, headers=headers)


def results(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.body
    return [item["result"] for item in answer.json()["items"]]


@pytest.mark.parametrize("kind", [BATCH, LINES])
def test_each_event_has_its_answer(control: ControlProcess, key: str, kind: str) -> None:
    first, second = event(f"{kind}1"), event(f"{kind}2")
    bad, changed = event("", data={"n": 1}), event(f"{kind}1", data={"tokens": 8})
    answer = send(control, key, [first, bad, second, first, changed], kind)
    assert results(answer) == ["counted", "refused", "counted", "duplicate", "conflict"]
    assert answer.json()["counts"] == {"counted": 2, "refused": 1, "duplicate": 1, "conflict": 1}
    one, refusal, two, again, conflict = answer.json()["items"]
    assert one["seq"] == two["seq"] == again["seq"] == conflict["seq"] > 0
    assert (refusal["code"], refusal["field"]) == ("invalid_request", "id")
    assert (conflict["code"], conflict["id"]) == ("conflict", f"{kind}1") and "kept aside" in conflict["message"]
    assert results(send(control, key, [second, changed], kind)) == ["duplicate", "conflict"]


def test_results_are_counted_for_operators(control: ControlProcess, key: str) -> None:
    def metric() -> float:
        text = control.ask("GET", "/metrics").body.decode()
        found = [line for line in text.splitlines() if line.startswith('interlock_events_total{result="duplicate"}')]
        return float(found[0].split()[-1]) if found else 0.0

    before = metric()
    send(control, key, [event("metric"), event("metric"), event("metric")])
    assert metric() == before + 2


def test_a_single_event_s_status_is_its_outcome(control: ControlProcess, key: str) -> None:
    assert send(control, key, event("single"), ONE).status == 200
    assert send(control, key, event("single"), ONE).json()["counts"] == {"duplicate": 1}
    conflict = send(control, key, event("single", data={"tokens": 8}), ONE)
    assert (conflict.status, conflict.json()["items"][0]["result"]) == (409, "conflict")
    assert send(control, key, event("single", specversion="0.3"), ONE).status == 400
    assert send(control, key, b'{"id":"a","id":"b"}', ONE).json()["items"][0]["code"] == "duplicate_key"


@pytest.mark.parametrize(
    ("body", "kind", "code", "field"),
    [
        (b"{}", "application/json", "unsupported_media_type", "content-type"),
        (b"{}", BATCH, "invalid_request", "body"),
        (b"[", BATCH, "invalid_json", "body"),
        (b'["x",', BATCH, "invalid_json", "body"),
        (b'"x"', BATCH, "invalid_request", "body"),
        (b"\n" * EVENTS_MAX + b"{}", LINES, "body_too_large", "body"),
        (b"[" + b" " * (4 << 20) + b"]", BATCH, "body_too_large", "body"),
        (b" " * (16 << 20) + b"{}", LINES, "body_too_large", "body"),
    ],
)
def test_a_framing_that_is_wrong_counts_nothing(
    control: ControlProcess, key: str, body: bytes, kind: str, code: str, field: str
) -> None:
    refused(send(control, key, body, kind), code, field)


def test_a_bad_event_of_a_list_costs_itself_alone(control: ControlProcess, key: str) -> None:
    good = msgspec.json.encode(event("good-of-list"))
    twice = b'{"id":"a","id":"b"}'
    assert results(send(control, key, b"[%b,[],%b,1]" % (twice, good))) == ["refused", "refused", "counted", "refused"]
    huge = b'{"data":{"n":[%b]}}' % (b"1," * 300_000 + b"1")
    for kind, body in ((ONE, huge), (LINES, huge), (BATCH, b"[%b]" % huge)):
        [item] = send(control, key, body, kind).json()["items"]
        assert (item["result"], item["code"]) == ("refused", "body_too_large")


def test_what_is_sent_shares_a_room(control: ControlProcess, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many large bodies at once are told to come again, and the room is free again after them."""
    monkeypatch.setattr(events_module, "ROOM_BYTES", 100)

    async def main() -> None:
        intake = Intake(control.data_dir / "none", control.data_dir / "none", SystemClock())
        intake._refusal = None
        events = events_module.Events(intake, SystemClock(), lambda origin, items: items)
        for _ in range(2):
            with pytest.raises(TransientError) as caught:
                await events.take(_request(b"x" * 101))
            assert caught.value.code == "busy" and events.room.held == 0

    asyncio.run(main())


def test_a_slow_body_does_not_hold_room_for_ever(control: ControlProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "BODY_S", 0.02)
    sent: list[Message] = [{"type": "http.request", "body": b"x" * 50, "more_body": True}]

    async def receive() -> Message:
        return sent.pop() if sent else await asyncio.Future()

    async def main() -> None:
        intake = Intake(control.data_dir / "none", control.data_dir / "none", SystemClock())
        intake._refusal = None
        events = events_module.Events(intake, SystemClock(), lambda origin, items: items)
        request = _request(b"")
        request._receive = receive
        with pytest.raises(LocalError) as caught:
            await events.take(request)
        assert (caught.value.code, events.room.held) == ("request_timeout", 0)

    asyncio.run(main())


def _request(body: bytes) -> Request:
    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return Request({"type": "http", "method": "POST", "headers": [(b"content-type", LINES.encode())]}, receive)


def test_an_empty_batch_is_no_mistake(control: ControlProcess, key: str) -> None:
    for body, kind in ((b"[]", BATCH), (b"", LINES), (b"\n \n", LINES)):
        assert send(control, key, body, kind).json() == {"counts": {}, "items": []}


def test_a_bad_line_costs_itself_alone(control: ControlProcess, key: str) -> None:
    good = msgspec.json.encode(event("good-line"))
    answer = send(control, key, b"\n".join([b"{", b"[]", good, b"\xff", b"nonsense"]), LINES)
    assert Counter(results(answer)) == {"refused": 4, "counted": 1}


def test_who_may_send(control: ControlProcess, key: str) -> None:
    refused(send(control, "", []), "key_missing")
    for scopes in (["inference", "usage:read"], ["admin"]):
        other = issued(control, scopes=scopes)["secret"]
        assert "events:write" in refused(send(control, other, []), "scope_missing")
    refused(control.ask("GET", "/v1/usage", key=key, port=control.api_port), "scope_missing")
    refused(control.ask("GET", "/v1/events", key=key, port=control.api_port), "scope_missing")
    refused(control.ask("POST", "/v1/events?x=1", b"[]", key=key, port=control.api_port), "invalid_request", "x")


def test_for_whom_a_key_may_send(control: ControlProcess) -> None:
    made = issued(control, scopes=["events:write"], subjects=["customer-1", "eu-*"])
    assert made["subjects"] == ["customer-1", "eu-*"]
    sent = [event(f"whom{n}", subject=s) for n, s in enumerate(("customer-1", "eu-9", "customer-2", None))]
    answer = send(control, made["secret"], sent)
    assert results(answer) == ["counted", "counted", "refused", "refused"]
    assert answer.json()["items"][2]["code"] == "subject_refused"
    for subjects in ([""], ["a*b"], ["x"] * 65, ["a\nb"]):
        wrong = control.ask("POST", "/v1/keys", {"tenant": "acme", "name": "n", "subjects": subjects})
        refused(wrong, "invalid_request", "subjects")


def test_another_tenant_s_event_is_another_event(control: ControlProcess, key: str) -> None:
    other = issued(control, tenant="globex", scopes=["events:write"])["secret"]
    assert results(send(control, key, [event("shared")])) == ["counted"]
    assert results(send(control, other, [event("shared", data={"tokens": 9})])) == ["counted"]


def test_attribution_comes_from_the_key(control: ControlProcess) -> None:
    labels = {"application": "app-1", "installation": "berlin", "other": "x"}
    made = issued(control, tenant="labelled", name="bot", principal="p-1", scopes=["events:write"], labels=labels)
    assert results(send(control, made["secret"], [event("attributed")])) == ["counted"]
    *_, record = JournalReader(control.data_dir / "journal").scan(STREAM)
    payload = msgspec.json.decode(record.record.payload)
    names = ("tenant", "principal", "key_id", "application", "installation")
    assert [payload[name] for name in names] == ["labelled", "p-1", made["id"], "app-1", "berlin"]
    assert payload["events"] == [event("attributed")]


def test_many_at_once_are_counted_once(control: ControlProcess, key: str) -> None:
    """Twenty clients send the same hundred events, each in an order of its own."""
    same = [event(f"race{n}") for n in range(100)]
    found: list[list[str]] = []

    def client(turn: int) -> None:
        found.append(results(send(control, key, same[turn * 5 :] + same[: turn * 5], LINES)))

    threads = [threading.Thread(target=client, args=(turn,)) for turn in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(result for one in found for result in one) == {"counted": 100, "duplicate": 1900}


class Client(threading.Thread):
    """Sends its events in batches, and each again until it is answered."""

    def __init__(self, control: ControlProcess, key: str, name: int) -> None:
        super().__init__()
        self.control, self.key, self.client = control, key, name
        self.results: Counter[str] = Counter()

    def ids(self, batch: int) -> list[str]:
        return [f"{self.client}/{batch}/{n}" for n in range(STORM["batch"])]

    def run(self) -> None:
        for number in range(STORM["batches"]):
            batch = [event(id) for id in self.ids(number)]
            while (answer := self._sent(batch)) is None or answer.status != 200:
                threading.Event().wait(0.05)
            self.results.update(results(answer))

    def _sent(self, batch: list[dict[str, Any]]) -> Answer | None:
        try:
            return send(self.control, self.key, batch, LINES)
        except (OSError, HTTPException):
            return None


STORM = {
    name: int(os.environ.get(f"INTERLOCK_TEST_{name.upper()}", default))
    for name, default in {"kills": 8, "batches": 60, "batch": 50}.items()
}
"""Kills, batches a client, events a batch; `make soak` asks for 20, 500 and 1,000."""
CLIENTS = 4
ASKED = "/v1/meters/tokens/query?tenant=storm"


def test_kills_lose_nothing_and_count_nothing_twice(tmp_path: Path) -> None:
    control = ControlProcess(tmp_path / "data").start()
    ready(control)
    made = issued(control, tenant="storm", scopes=["events:write", "meters:write", "usage:read"])
    key = str(made["secret"])
    meter = {"slug": "tokens", "event_type": "tokens", "aggregation": "sum", "value": "$.tokens"}
    assert control.ask("POST", "/v1/meters?tenant=storm", meter).status == 201
    clients = [Client(control, key, name) for name in range(CLIENTS)]
    total = CLIENTS * STORM["batches"] * STORM["batch"]
    for client in clients:
        client.start()

    def answered() -> int:
        return sum(client.results.total() for client in clients)

    for kill in range(STORM["kills"]):
        due = functools.partial(lambda share: answered() >= share, total * (kill + 1) // (STORM["kills"] + 2))
        until(due, "the clients get on", 300)
        control.stop(signal.SIGKILL)
        control.start()
    for client in clients:
        client.join()
    assert answered() == total
    assert {result for client in clients for result in client.results} <= {"counted", "duplicate"}
    told = until(lambda: (a := control.ask("POST", ASKED, {})).status == 200 and a.json(), "it is metered", 300)
    assert [row["value"] for row in told["rows"]] == [str(7 * total)] and told["unreadable"] == 0
    assert control.stop() == 0, control.stderr
    log = [e["id"] for r in _records(control.data_dir) for e in msgspec.json.decode(r)["events"]]
    wanted = [id for client in clients for number in range(STORM["batches"]) for id in client.ids(number)]
    assert sorted(log) == sorted(wanted)
    places = DataDir(control.data_dir)
    assert [problem for report in verify(places.root) for problem in report.problems] == []
    assert {report.view: report.state for report in check(places)} == {
        "ledger": "equal",
        "events": "equal",
        "tables": "equal",
    }
    bundle = tmp_path / "bundle"
    export(places, "storm", month("2026-01"), bundle)
    proved = subprocess.run([sys.executable, bundle / "verify.py"], capture_output=True, text=True)
    assert proved.returncode == 0 and f"events.counted: {total} from" in proved.stdout, proved


def _records(data: Path) -> Iterator[bytes]:
    for stored in JournalReader(data / "journal").scan(STREAM):
        if stored.record.type.startswith("events."):
            yield stored.record.payload


def test_a_client_that_goes_away_is_counted_all_the_same(control: ControlProcess, key: str) -> None:
    body = msgspec.json.encode([event("gone")])
    with closing(HTTPConnection("127.0.0.1", control.api_port)) as connection:
        headers = {"content-type": BATCH, "authorization": f"Bearer {key}"}
        connection.request("POST", "/v1/events", body, headers)
    until(lambda: results(send(control, key, [event("gone")])) == ["duplicate"], "it was counted", 5)


def test_while_the_log_cannot_be_read_nothing_is_taken(tmp_path: Path) -> None:
    control = ControlProcess(tmp_path / "data").start()
    ready(control)
    key = issued(control, scopes=["events:write"])["secret"]
    assert results(send(control, key, [event("e1"), event("e2")])) == ["counted", "counted"]
    assert control.stop() == 0
    path = control.data_dir / "journal" / STREAM / "00000001.seg"
    path.write_bytes(path.read_bytes().replace(b'"tokens":7', b'"tokens":8', 1))
    control.start()
    until(lambda: "seq 2" in str(control.ask("GET", "/v1/status").json()["events_problem"]), "the damage is named")
    refused(send(control, key, [event("e3")]), "log_corrupt")
    assert control.ask("GET", "/v1/usage").status == 200
    control.stop()
