"""Meters over real HTTP: what was counted is in the next answer, exactly, and nobody sees another's."""

import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import openmeter
import pytest
from corehttp.exceptions import HttpResponseError
from openmeter.models import MeterQueryRequest
from tests.control.test_app import issued, refused
from tests.control.test_events import event, ready, send
from tests.e2e.server import until

from interlock.testing.control_process import Answer, ControlProcess

TOKENS = {
    "slug": "tokens",
    "event_type": "llm.call",
    "aggregation": "sum",
    "value": "$.tokens",
    "group_by": {"model": "$.model"},
}
SCOPES = ["events:write", "meters:write", "usage:read"]


@pytest.fixture
def key(control: ControlProcess, request: pytest.FixtureRequest) -> str:
    """Of a tenant of the test's own."""
    ready(control)
    tenant = request.node.name.replace("[", "-").replace("]", "").replace("_", "-")[:60]
    return str(issued(control, tenant=tenant, scopes=SCOPES)["secret"])


def ask(control: ControlProcess, key: str, slug: str = "tokens", **asked: Any) -> Answer:
    headers = {"content-type": "application/json"}
    body = msgspec.json.encode(asked)
    return control.ask("POST", f"/v1/meters/{slug}/query", body, key=key, port=control.api_port, headers=headers)


def define(control: ControlProcess, key: str, **meter: Any) -> Answer:
    headers = {"content-type": "application/json"}
    body = msgspec.json.encode({**TOKENS, **meter})
    return control.ask("POST", "/v1/meters", body, key=key, port=control.api_port, headers=headers)


def get(control: ControlProcess, key: str, path: str, method: str = "GET") -> Answer:
    return control.ask(method, path, key=key, port=control.api_port)


def call(id: str, time: str, model: str = "small", tokens: Any = 10, **more: Any) -> dict[str, Any]:
    data = {"model": model, "tokens": tokens}
    return {**event(id, type="llm.call", data=data), "time": time, **more}


def values(answer: Answer) -> list[tuple[Any, ...]]:
    assert answer.status == 200, answer.body
    return [(row["window_start"], *row["group_by"].values(), row["value"]) for row in answer.json()["rows"]]


def test_what_was_counted_is_in_the_next_answer(control: ControlProcess, key: str) -> None:
    assert define(control, key).status == 201
    total = 0
    for n in range(20):
        total += n
        counts = send(control, key, [call(f"e{n}", "2026-01-05T10:00:30Z", tokens=n)]).json()["counts"]
        assert counts == {"counted": 1}
        assert values(ask(control, key)) == (
            [("2026-01-05T10:00:00Z", str(total))] if n else [("2026-01-05T10:00:00Z", "0")]
        )
    assert send(control, key, [call("e3", "2026-01-05T10:00:30Z", tokens=3)]).json()["counts"] == {"duplicate": 1}
    assert values(ask(control, key)) == [("2026-01-05T10:00:00Z", str(total))]


def test_windows_groups_and_filters(control: ControlProcess, key: str) -> None:
    define(control, key)
    events = [
        call("a", "2026-03-28T22:59:59.999999Z", "small", "0.1", subject="c1"),
        call("b", "2026-03-28T23:00:00Z", "small", 0.2, subject="c1"),
        call("c", "2026-03-29T21:59:00Z", "large", 5, subject="c2"),
        call("d", "2026-03-29T22:00:00Z", "large", 7, subject="c2"),
    ]
    assert send(control, key, events).json()["counts"] == {"counted": 4}
    by_day = ask(control, key, window_size="day", zone="Europe/Berlin", group_by=["model"])
    assert values(by_day) == [  # 29 March has 23 hours there
        ("2026-03-27T23:00:00Z", "small", "0.1"),
        ("2026-03-28T23:00:00Z", "large", "5"),
        ("2026-03-28T23:00:00Z", "small", "0.2"),
        ("2026-03-29T22:00:00Z", "large", "7"),
    ]
    assert by_day.json()["rows"][1]["window_end"] == "2026-03-29T22:00:00Z"
    asked: dict[str, Any] = {"from": "2026-03-28", "to": "2026-03-29", "filter": {"model": ["small"]}}
    filtered = ask(control, key, **asked)
    assert values(filtered) == [("2026-03-28T00:00:00Z", "0.3")]
    same = get(control, key, "/v1/meters/tokens/query?group_by=subject&from=2026-03-01&to=2026-04-01")
    assert values(same) == [("2026-03-01T00:00:00Z", "c1", "0.3"), ("2026-03-01T00:00:00Z", "c2", "12")]
    assert values(get(control, key, "/v1/meters/tokens/query?subject=c2")) == [("2026-03-29T21:59:00Z", "12")]


def test_every_aggregation(control: ControlProcess, key: str) -> None:
    kinds = ("sum", "count", "min", "max", "avg", "latest", "unique_count")
    for kind in kinds:
        define(control, key, slug=kind, aggregation=kind, value="" if kind == "count" else "$.tokens", group_by={})
    times = ("10:00:01", "10:00:03", "10:00:02")
    events = [call(f"e{n}", f"2026-01-05T{time}Z", tokens=(3, 1, 3)[n]) for n, time in enumerate(times)]
    send(control, key, events)
    found = {kind: ask(control, key, kind).json()["rows"][0]["value"] for kind in kinds}
    assert found == {
        "sum": "7",
        "count": "3",
        "min": "1",
        "max": "3",
        "avg": "2.333333333333",
        "latest": "1",
        "unique_count": "2",
    }


def test_an_event_that_a_meter_cannot_read_is_refused_and_the_others_count(control: ControlProcess, key: str) -> None:
    define(control, key)
    bad: list[Any] = ["NaN", "1e400", -1, None, True, [1], {"n": 1}, "", "1_000", 10**15, "0.0000000000001", 1e-13]
    events = [call(f"b{n}", "2026-01-05T10:00:00Z", tokens=tokens) for n, tokens in enumerate(bad)]
    missing = call("missing", "2026-01-05T10:00:00Z")
    del missing["data"]["tokens"]
    good = [call("g1", "2026-01-05T10:00:00Z"), call("g2", "2026-01-05T10:00:00Z", tokens="1e3")]
    answer = send(control, key, [*events, good[0], missing, good[1]])
    assert answer.json()["counts"] == {"refused": len(bad) + 1, "counted": 2}
    for item in answer.json()["items"][: len(bad)]:
        assert (item["result"], item["code"], item["field"]) == ("refused", "invalid_request", "data.tokens")
        assert "(meter tokens)" in item["message"] and item["source"]
    assert values(ask(control, key)) == [("2026-01-05T10:00:00Z", "1010")]


def test_a_meter_defined_later_counts_what_came_before_and_says_what_it_could_not_read(
    control: ControlProcess, key: str
) -> None:
    send(control, key, [call("a", "2026-01-05T10:00:00Z", tokens=4), call("b", "2026-01-05T10:00:00Z", tokens="many")])
    define(control, key)
    answer = until(lambda: (found := ask(control, key)).status == 200 and found, "the meter is folded")
    assert values(answer) == [("2026-01-05T10:00:00Z", "4")]
    assert answer.json()["unreadable"] == 1


def test_versions(control: ControlProcess, key: str) -> None:
    assert define(control, key).json()["version"] == 1
    assert define(control, key).status == 200  # the same: nothing new
    send(control, key, [call("a", "2026-01-05T10:00:00Z", tokens=4)])
    assert values(ask(control, key))[0][-1] == "4"
    assert define(control, key, aggregation="count", value="").json()["version"] == 2

    def newest() -> Answer | None:
        found = ask(control, key)  # the one before answers until the new one has caught up
        return found if found.json()["version"] == 2 else None

    answer = until(newest, "the new version answers")
    assert values(answer)[0][-1] == "1"
    assert values(ask(control, key, version=1))[0][-1] == "4"
    assert refused(ask(control, key, version=3), "not_found", "version") == "there is no meter 'tokens' of version 3"
    shown = get(control, key, "/v1/meters/tokens").json()
    assert [(one["version"], one["ready"]) for one in shown["versions"]] == [(2, True), (1, True)]
    assert get(control, key, "/v1/meters/tokens", "DELETE").json() == {"slug": "tokens", "retired": True}
    gone = "there is no meter 'tokens' of tenant test-versions; there are: none"
    assert refused(ask(control, key), "not_found", "meter") == gone
    assert define(control, key).json()["version"] == 3


def test_nobody_sees_another_s_meters(control: ControlProcess, key: str) -> None:
    define(control, key)
    send(control, key, [call("a", "2026-01-05T10:00:00Z")])
    other = str(issued(control, tenant="somebody-else", scopes=SCOPES)["secret"])
    assert refused(ask(control, other), "not_found", "meter")
    assert get(control, other, "/v1/meters").json() == {"meters": []}
    define(control, other)
    assert values(until(lambda: (a := ask(control, other)).status == 200 and a, "folded")) == []
    reader = str(issued(control, tenant="somebody-else", scopes=["usage:read"])["secret"])
    assert refused(define(control, reader), "scope_missing")
    assert refused(get(control, reader, "/v1/meters/tokens", "DELETE"), "scope_missing")
    asked = "/v1/meters?tenant=somebody-else"
    assert [one["slug"] for one in control.ask("GET", asked).json()["meters"]] == ["tokens"]  # an operator does
    assert refused(control.ask("GET", "/v1/meters"), "invalid_request", "tenant")


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"from": "2026-01-05T10:00:30Z"}, "from"),
        ({"from": "2026-01-06", "to": "2026-01-05"}, "from"),
        ({"from": "yesterday"}, "from"),
        ({"window_size": "week"}, "window_size"),
        ({"zone": "Mars/Olympus"}, "zone"),
        ({"zone": "../../etc/passwd"}, "zone"),
        ({"group_by": ["colour"]}, "group_by"),
        ({"group_by": ["model", "model"]}, "group_by"),
        ({"filter": {"colour": ["red"]}}, "filter"),
        ({"filter": {"model": []}}, "filter"),
        ({"from": "1971-01-01", "to": "2027-01-01", "window_size": "minute"}, "window_size"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_question(control: ControlProcess, asked: dict[str, Any], field: str) -> None:
    ready(control)
    key = str(issued(control, tenant="wrong-questions", scopes=SCOPES)["secret"])
    define(control, key)
    send(control, key, [call("a", "2026-01-05T10:00:00Z")])
    answer = ask(control, key, **asked)
    assert (answer.status, answer.json()["error"]["field"]) == (400, field), answer.body


@pytest.mark.parametrize(
    ("meter", "field"),
    [
        ({"slug": "Tokens"}, "slug"),
        ({"event_type": ""}, "event_type"),
        ({"aggregation": "median"}, "aggregation"),
        ({"value": "tokens"}, "value"),
        ({"value": ""}, "value"),
        ({"aggregation": "count"}, "value"),
        ({"value": "$..tokens"}, "value"),
        ({"value": "application"}, "value"),
        ({"group_by": {"subject": "$.s"}}, "group_by"),
        ({"group_by": {"a": "$"}}, "group_by.a"),
        ({"group_by": {f"g{n}": "$.x" for n in range(9)}}, "group_by"),
        ({"where": {"$.region": []}}, "where"),
    ],
)
def test_a_wrong_meter(control: ControlProcess, meter: dict[str, Any], field: str) -> None:
    ready(control)
    key = str(issued(control, tenant="wrong-meters", scopes=SCOPES)["secret"])
    answer = define(control, key, **meter)
    assert (answer.status, answer.json()["error"]["field"]) == (400, field), answer.body


def test_filters_and_attributes_of_a_definition(control: ControlProcess) -> None:
    ready(control)
    made = issued(control, tenant="filters", scopes=SCOPES, labels={"application": "chat"})
    key = str(made["secret"])
    group_by = {"app": "application", "from": "source", "kind": "$.usage.kind"}
    define(control, key, group_by=group_by, where={"$.region": ["eu", "us"]}, value='$.usage["input tokens"]')
    regions = ("eu", "us", "asia", None)
    events = [
        {
            **call(f"e{n}", "2026-01-05T10:00:00Z"),
            "data": {"region": region, "usage": {"input tokens": n + 1, "kind": n % 2}},
        }
        for n, region in enumerate(regions)
    ]
    assert send(control, key, events).json()["counts"] == {"counted": 4}
    found = values(ask(control, key, group_by=["app", "from", "kind"]))
    assert [row[1:] for row in found] == [("chat", "app/eu", "0", "1"), ("chat", "app/eu", "1", "2")]


def test_a_kill_loses_nothing_and_counts_nothing_twice(configured: ControlProcess) -> None:
    ready(configured)
    key = str(issued(configured, tenant="killed", scopes=SCOPES)["secret"])
    define(configured, key)
    total = 0
    for round_ in range(4):
        events = [call(f"{round_}-{n}", f"2026-01-{n % 28 + 1:02}T10:00:00Z", tokens=n) for n in range(1000)]
        assert send(configured, key, events).json()["counts"] == {"counted": 1000}
        total += sum(range(1000))
        if round_ % 2:
            configured.stop(signal.SIGKILL)
        else:
            configured.stop()  # its rows are written down
        configured.start()
        ready(configured)
        answer = until(lambda: (found := ask(configured, key)).status == 200 and found, "it is folded again")
        assert [row[-1] for row in values(answer)] == [str(total)]


def test_single_events_and_their_corrections(control: ControlProcess) -> None:
    ready(control)
    scopes = [*SCOPES, "events:correct", "periods:close"]
    key = str(issued(control, tenant="corrected", scopes=scopes, labels={"application": "chat"})["secret"])
    define(control, key)
    events = [call(f"e{n}", f"2026-0{n + 1}-05T10:00:00Z", tokens=n + 1, subject=f"c{n}") for n in range(4)]
    assert send(control, key, events).json()["counts"] == {"counted": 4}
    headers = {"content-type": "application/json"}

    def post(path: str, body: Any) -> Answer:
        return control.ask("POST", path, msgspec.json.encode(body), key=key, port=control.api_port, headers=headers)

    replacement = call("e1-right", "2026-02-05T10:00:00Z", tokens=20, subject="c1")
    wrong = {"source": events[1]["source"], "id": "e1", "reason": "digits swapped", "replacement": replacement}
    assert post("/v1/corrections", wrong).json()["items"][0]["result"] == "counted"
    unreadable = {**wrong, "id": "e2", "replacement": call("e2-right", "2026-02-05T10:00:00Z", tokens="many")}
    [item] = post("/v1/corrections", [unreadable]).json()["items"]
    assert (item["result"], item["field"], item["id"]) == ("refused", "replacement.data.tokens", "e2")
    assert post("/v1/periods", {"period": "2026-03"}).status == 201
    send(control, key, [call("late", "2026-03-06T10:00:00Z", tokens=100)])
    found = get(control, key, "/v1/events?limit=10").json()["events"]
    shown = [(one["event"]["id"], one["n"], one["corrects"], one["application"]) for one in found]
    assert shown == [
        ("late", 1, "2026-03", "chat"),
        ("e3", 1, "", "chat"),
        ("e2", 1, "", "chat"),
        ("e1", -1, "", "chat"),
        ("e1-right", 1, "", "chat"),
        ("e1", 1, "", "chat"),
        ("e0", 1, "", "chat"),
    ]
    assert [row[-1] for row in values(ask(control, key, window_size="month", group_by=["corrects"]))] == [
        *("1", "20", "3", "4"),
        "100",
    ]
    narrowed = "/v1/events?subject=c1&type=llm.call&from=2026-02-01&to=2026-03-01&limit=2"
    assert [one["event"]["id"] for one in get(control, key, narrowed).json()["events"]] == ["e1", "e1-right"]
    stands = [one["event"]["id"] for one in get(control, key, "/api/v1/events?limit=4").json()]
    assert stands == ["late", "e3", "e2", "e1-right"]
    assert get(control, key, "/api/v1/events?hasError=true").status == 400
    assert get(control, key, "/api/v1/meters?page=2").json() == []
    assert control.ask("GET", "/v1/events?tenant=corrected&id=e2").json()["events"][0]["event"]["id"] == "e2"
    other = str(issued(control, tenant="o", scopes=SCOPES)["secret"])
    assert get(control, other, "/v1/events").json() == {"events": [], "complete_from": None}
    for path, field in (
        ("/v1/events?limit=0", "limit"),
        ("/v1/events?limit=1001", "limit"),
        ("/v1/events?limit=x", "limit"),
        ("/v1/events?from=2026-02-01&to=2026-01-01", "from"),
        ("/v1/events?colour=red", "colour"),
    ):
        refused(get(control, key, path), "invalid_request", field)


@pytest.fixture
def client(control: ControlProcess, key: str) -> Iterator[openmeter.Client]:
    with openmeter.Client(endpoint=f"http://127.0.0.1:{control.api_port}", token=key, retry_total=0) as client:
        yield client


def test_openmeter_s_client_defines_and_asks(control: ControlProcess, key: str, client: openmeter.Client) -> None:
    made = client.meters.create(
        openmeter.models.MeterCreate(
            slug="tokens",
            event_type="llm.call",
            aggregation="SUM",
            value_property="$.tokens",
            group_by={"model": "$.model"},
        )
    )
    assert (made.slug, made.aggregation, made.value_property) == ("tokens", "SUM", "$.tokens")
    assert [meter.slug for meter in client.meters.list()] == ["tokens"]
    assert client.meters.get("tokens").group_by == {"model": "$.model"}
    events = [
        call("a", "2026-01-05T10:00:00Z", "small", 1.5, subject="c1"),
        call("b", "2026-01-05T10:59:59Z", "large", 2, subject="c1"),
        call("c", "2026-01-05T11:00:00Z", "small", 4, subject="c2"),
    ]
    assert send(control, key, events).json()["counts"] == {"counted": 3}
    since, until = datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 1, 6, tzinfo=UTC)
    [row] = client.meters.query_json("tokens", from_parameter=since, to=until).data
    assert (row.value, row.window_start, bool(row.subject)) == (7.5, since, False)
    rows = client.meters.query_json(
        "tokens", from_parameter=since, to=until, window_size="HOUR", group_by=["model"], subject=["c1", "c2"]
    ).data
    assert [(row.window_start.hour, row.subject, row.group_by["model"], row.value) for row in rows] == [
        (10, "c1", "large", 2),
        (10, "c1", "small", 1.5),
        (11, "c2", "small", 4),
    ]
    [row] = client.meters.query_json(
        "tokens", from_parameter=since, to=datetime(2026, 1, 5, 10, 59, 30, tzinfo=UTC)
    ).data
    assert (row.value, row.window_end) == (3.5, datetime(2026, 1, 5, 11, tzinfo=UTC))  # minutes are what is kept
    asked = MeterQueryRequest(
        filter_group_by={"model": ["small"]}, window_size="MONTH", window_time_zone="Asia/Kolkata"
    )
    [month] = client.meters.query("tokens", asked).data
    assert (month.value, month.window_start) == (5.5, datetime(2025, 12, 31, 18, 30, tzinfo=UTC))
    with pytest.raises(HttpResponseError) as caught:
        client.meters.query_json("nothing")
    assert caught.value.response is not None and caught.value.response.status_code == 404
    client.meters.delete("tokens")
    assert list(client.meters.list()) == []


def test_what_openmeter_s_form_has_and_we_have_not_is_refused_by_name(control: ControlProcess, key: str) -> None:
    define(control, key)

    def told(answer: Answer, name: str) -> None:
        assert answer.status == 400 and answer.headers["content-type"] == "application/problem+json", answer.body
        assert name in answer.json()["detail"], answer.body

    post = {"key": key, "port": control.api_port}
    wanted = {"slug": "m", "eventType": "t", "aggregation": "COUNT"}
    told(control.ask("POST", "/api/v1/meters", {**wanted, "eventFrom": "2026-01-01T00:00:00Z"}, **post), "eventFrom")
    told(control.ask("POST", "/api/v1/meters/tokens/query", {"filterCustomerId": ["c"]}, **post), "filterCustomerId")
    told(get(control, key, "/api/v1/meters/tokens/query?filterCustomerId=c"), "filterCustomerId")
