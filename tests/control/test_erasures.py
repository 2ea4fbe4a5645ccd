"""Customers erased over real HTTP: who they were is nowhere any more, what they used stays, and all of it verifies."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.control.test_app import issued, refused
from tests.control.test_events import ready, results, send
from tests.control.test_meters import ask, call, define, get, values
from tests.e2e.server import until

from interlock.clock import SystemClock
from interlock.control.service import Control
from interlock.datadir import DataDir
from interlock.errors import TransientError
from interlock.intake import STREAM, Origin
from interlock.log.reader import JournalReader
from interlock.meters import Meter
from interlock.proof.check import verify
from interlock.proof.export import export, month
from interlock.proof.rebuild import check
from interlock.tables.manifest import decode
from interlock.testing.control_process import Answer, ControlProcess

SCOPES = ["events:write", "events:correct", "periods:close", "events:erase", "meters:write", "usage:read"]
ANNA, BERT, OTTO = "anna@example.org", "bert'); DROP TABLE", "otto"
METERS: list[dict[str, Any]] = [
    {"slug": "tokens"},
    {"slug": "calls", "aggregation": "count", "value": ""},
    {"slug": "largest", "aggregation": "max"},
    {"slug": "last", "aggregation": "latest"},
    {"slug": "users", "aggregation": "unique_count", "value": "$.user", "group_by": {}},
    {"slug": "small-only", "where": {"$.model": ["small"]}, "group_by": {"source": "source", "team": "$.team"}},
]


def key_of(control: ControlProcess, tenant: str = "acme") -> str:
    ready(control)
    return str(issued(control, tenant=tenant, scopes=SCOPES)["secret"])


def post(control: ControlProcess, key: str, path: str, body: Any) -> Answer:
    return control.ask("POST", path, body, key=key, port=control.api_port)


def erase(control: ControlProcess, key: str, *subjects: str, **more: Any) -> Answer:
    return post(control, key, "/v1/erasures", {"subjects": subjects, "reason": "case 4711", **more})


def done(control: ControlProcess, key: str, asked: Answer) -> Any:
    assert asked.status == 202, asked.body
    path = f"/v1/erasures/{asked.json()['id']}"

    def is_done() -> Any:
        found = get(control, key, path).json()
        return found if found["state"] == "done" else None

    return until(is_done, "it is erased")


def fill(control: ControlProcess, key: str, first: int = 0) -> None:
    """Events of three customers, some without time, a correction of each kind, a conflict, a late one."""
    events = []
    for n in range(first, first + 30):
        subject = (ANNA, BERT, OTTO)[n % 3]
        data = {
            "model": ("small", "large")[n % 2],
            "tokens": n,
            "user": f"u{n % 7}",
            "team": f"t{n % 4}",
            "note": subject,
        }
        made = {**call(f"{subject}-{n}", f"2026-0{n % 2 + 1}-05T10:0{n % 10}:30Z"), "subject": subject, "data": data}
        if n % 5 == 0:
            del made["time"]
        events.append(made)
    answer = send(control, key, events)
    assert set(answer.json()["counts"]) == {"counted"}, answer.body
    source = events[0]["source"]
    swapped = {**events[3], "id": f"{ANNA}-right-{first}"}
    wrong = [
        {"source": source, "id": events[3]["id"], "reason": f"{ANNA} called", "replacement": swapped},
        {"source": source, "id": events[6]["id"], "reason": "never used"},
        {"source": source, "id": events[4]["id"], "reason": "never used"},
    ]
    assert results(post(control, key, "/v1/corrections", wrong)) == ["counted"] * 3
    assert results(send(control, key, [{**events[9], "type": "other"}])) == ["conflict"]


def totals(control: ControlProcess, key: str) -> list[Any]:
    by = [list(one.get("group_by", {"model": ""})) for one in METERS]
    answers = [
        ask(control, key, one["slug"], window_size="day", group_by=names) for one, names in zip(METERS, by, strict=True)
    ]
    return [sorted(values(answer), key=str) for answer in answers]


def on_disk(control: ControlProcess, tenant: str = "acme") -> bytes:
    """All that the log and the tables (as they are named) hold of a tenant, unpacked, and the pending work."""
    places = DataDir(control.data_dir)
    texts = [stored.record.payload for stored in JournalReader(places.journal).scan(STREAM)]
    texts = [payload for payload in texts if b'"tenant":"%b"' % tenant.encode() in payload]
    texts += [path.read_bytes() for path in places.erasures.glob("*")]
    for file in decode((places.tables / "manifest.json").read_bytes()).files:
        source = f"read_parquet('{places.tables / file.name}', hive_partitioning = false)"
        rows = duckdb.execute(f"SELECT * FROM {source} WHERE tenant = ?", [tenant]).fetchall()
        texts.append(str(rows).encode())
    return b"\n".join(texts)


def proves(control: ControlProcess, tmp_path: Path, *, redacted: int) -> None:
    """The chain holds, every view is what the log makes, and a customer's bundle convinces Python alone."""
    places = DataDir(control.data_dir)
    reports = {report.stream: report for report in verify(places.root)}
    assert [report.problems for report in reports.values()] == [[]] * len(reports)
    assert reports[STREAM].redacted == redacted
    assert {(report.view, report.state) for report in check(places) if report.view != "ledger"} == {
        ("events", "equal"),
        ("tables", "equal"),
    }
    control.ask("POST", "/v1/checkpoint")
    export(places, "acme", month("2026-01"), tmp_path / "bundle")
    script = [sys.executable, "-I", str(tmp_path / "bundle" / "verify.py")]
    judged = subprocess.run(script, capture_output=True, text=True, timeout=60)
    assert judged.returncode == 0 and "customers were erased" in judged.stdout, judged.stderr


def test_who_it_was_is_gone_and_what_was_used_stays(configured: ControlProcess, tmp_path: Path) -> None:
    control, key = configured, key_of(configured)
    for meter in METERS:
        assert define(control, key, **meter).status == 201
    fill(control, key)
    assert post(control, key, "/v1/periods", {"period": "2026-02"}).status == 201
    fill(control, key, 30)  # its events of February came too late
    other = key_of(control, "other")
    assert results(send(control, other, [{**call("o1", "2026-01-05T10:00:00Z"), "subject": ANNA}])) == ["counted"]
    before = totals(control, key)
    assert ANNA.encode() in on_disk(control)

    found = done(control, key, erase(control, key, ANNA, BERT))
    assert (found["subjects"], found["problem"]) == (2, None)
    assert found["events"] == 40 + 2 * (2 + 1 + 1 + 1) and found["records"] == 2 + 2 * (3 + 1)

    assert totals(control, key) == before
    rows = values(ask(control, key, "calls", group_by=["subject"]))
    assert {row[1] for row in rows} == {*found["pseudonyms"], OTTO}
    text = on_disk(control)
    assert ANNA.encode() not in text and b"bert'" not in text and OTTO.encode() in text
    assert ANNA.encode() in on_disk(control, "other")
    proves(control, tmp_path, redacted=found["records"])


def test_what_comes_again_and_what_comes_after(configured: ControlProcess) -> None:
    control, key = configured, key_of(configured)
    define(control, key)
    events = [{**call(f"e{n}", "2026-01-05T10:00:00Z"), "subject": ANNA} for n in range(3)]
    send(control, key, events)
    found = done(control, key, erase(control, key, ANNA))
    [name] = found["pseudonyms"]
    assert results(send(control, key, events)) == ["duplicate"] * 3
    assert results(send(control, key, [{**events[0], "type": "other"}])) == ["conflict"]
    wrong = {"source": events[0]["source"], "id": "e0", "reason": "never used"}
    [item] = post(control, key, "/v1/corrections", wrong).json()["items"]
    assert (item["result"], item["code"], item["field"]) == ("refused", "event_erased", "id")
    [item] = send(control, key, [{**events[0], "id": "e9", "erased": found["id"]}]).json()["items"]
    assert (item["result"], item["field"]) == ("refused", "erased")
    send(control, key, [{**events[0], "id": "e4"}])  # a customer may come back: that is usage of their own again
    assert {row[1:] for row in values(ask(control, key, group_by=["subject"]))} == {(name, "30"), (ANNA, "10")}
    [entry, *_] = [e for e in get(control, key, "/v1/events?limit=9").json()["events"] if e["event"].get("erased")]
    assert entry["event"] == {
        "data": {"model": "small", "tokens": 10},
        "erased": found["id"],
        "id": "",
        "source": "",
        "specversion": "1.0",
        "subject": name,
        "time": "2026-01-05T10:00:00Z",
        "type": "llm.call",
    }
    again = done(control, key, erase(control, key, ANNA))
    assert again["events"] == 2  # e4, and what conflicts with e0
    assert again["id"] != found["id"] and len(get(control, key, "/v1/erasures").json()["erasures"]) == 2
    assert done(control, key, erase(control, key, "nobody"))["events"] == 0


def test_what_meters_group_by_can_be_forgotten_too(configured: ControlProcess) -> None:
    control, key = configured, key_of(configured)
    for slug, groups in (("tokens", {"user": "$.user"}), ("by-model", {"model": "$.model", "who": "$.user"})):
        define(control, key, slug=slug, group_by=groups)
    define(control, key, slug="users", aggregation="unique_count", value="$.name", group_by={})
    data = {"user": "Anna A.", "model": "small", "tokens": 1, "name": "n"}
    send(control, key, [{**call("a", "2026-01-05T10:00:00Z"), "subject": ANNA, "data": data}])
    for place in ("$.tokens", "$.name", "$.other", "application", "user"):
        refused(erase(control, key, ANNA, forget=[place]), "invalid_request", "forget")
    done(control, key, erase(control, key, ANNA, forget=["$.user"]))
    assert b"Anna A." not in on_disk(control)
    assert [row[1:] for row in values(ask(control, key, group_by=["user"]))] == [(None, "1")]
    rows = values(ask(control, key, "by-model", group_by=["model", "who"]))
    assert [row[1:] for row in rows] == [("small", None, "1")]
    reports = {report.view: report.state for report in check(DataDir(control.data_dir))}
    assert reports["tables"] == reports["events"] == "equal"


def test_who_may_and_what_is_wrong(configured: ControlProcess) -> None:
    control, key = configured, key_of(configured)
    bound = str(issued(control, tenant="acme", scopes=["events:erase"], subjects=["eu-*"])["secret"])
    refused(erase(control, bound, ANNA), "subject_refused", "subjects")
    for wrong in ([], ["a\nb"], [""], [str(n) for n in range(1001)]):
        refused(erase(control, key, *wrong), "invalid_request", "subjects")
    refused(erase(control, key, ANNA, reason=""), "invalid_request", "reason")
    assert "must not name" in refused(erase(control, key, ANNA, reason=f"{ANNA} asked"), "invalid_request", "reason")
    refused(erase(control, key, ANNA, surprise=1), "invalid_request", "surprise")
    reader = str(issued(control, tenant="acme", scopes=["usage:read", "events:write"])["secret"])
    assert "events:erase" in refused(erase(control, reader, ANNA), "scope_missing")
    assert "events:erase" in refused(get(control, reader, "/v1/erasures"), "scope_missing")
    found = done(control, bound, erase(control, bound, "eu-1"))
    other = key_of(control, "other")
    assert get(control, other, "/v1/erasures").json() == {"erasures": []}
    refused(get(control, other, f"/v1/erasures/{found['id']}"), "not_found", "id")


def test_killed_while_it_runs(configured: ControlProcess, tmp_path: Path) -> None:
    control, key = configured, key_of(configured)
    for meter in METERS:
        define(control, key, **meter)
    for n in range(4):
        fill(control, key, 30 * n)
    before = totals(control, key)
    asked = erase(control, key, ANNA, BERT)
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        control.stop(number)
        control.start()
        ready(control)
    found = done(control, key, asked)
    assert totals(control, key) == before
    text = on_disk(control)
    assert ANNA.encode() not in text and b"bert'" not in text
    assert found["events"] == 80 + 4 * 5
    proves(control, tmp_path, redacted=found["records"])


def test_no_meter_is_defined_while_one_runs(run: Callable[..., Any], tmp_path: Path) -> None:
    async def main() -> None:
        control = Control(tmp_path, None, SystemClock())
        await control.start()
        try:
            async with asyncio.timeout(20):
                while not control.intake.ready:
                    await asyncio.sleep(0.01)
            origin = Origin(tenant="acme", principal="privacy", key_id="key_1")
            await control.erase(origin, ["anna"], "case 1", ())
            meter = Meter(slug="calls", event_type="t", aggregation="count")
            with pytest.raises(TransientError, match="an erasure of this tenant runs"):
                await control.define("acme", meter)
            await control.define("other", meter)
        finally:
            await asyncio.to_thread(control.close)

    run(main)
