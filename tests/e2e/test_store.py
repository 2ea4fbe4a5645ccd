"""`interlock serve` with its tables in an S3-compatible store that goes and comes back, and an archive in it."""

from datetime import UTC, date, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import duckdb
import msgspec
from tests.control.conftest import TOML
from tests.e2e.server import Server, run_cli, until
from tests.tables.s3 import KEY, SECRET, free_port, serving

from interlock.clock import SystemClock

ENV = {"TEST_S3_KEY": KEY, "TEST_S3_SECRET": SECRET}
TODAY = datetime.fromtimestamp(SystemClock().now_ns() // 10**9, UTC).date()


def store(name: str, port: int) -> str:
    return f"""
[ledger.{name}]
place = "s3://bucket/{name}"
endpoint = "http://127.0.0.1:{port}"
region = "eu-1"
access_key_id = {{ env = "TEST_S3_KEY" }}
secret_access_key = {{ env = "TEST_S3_SECRET" }}
"""


POLICY = """
[ledger.events]
keep_days = 30
then = "archive"

[ledger.events.tenants.beta]
drop_after_days = 10
"""


def send(server: Server, key: str, *events: tuple[str, date]) -> list[str]:
    """What became of each."""
    body = [
        {"specversion": "1.0", "id": id, "source": "s", "type": "tokens", "time": f"{day}T10:00:00Z",
         "data": {"n": 2}}
        for id, day in events
    ]  # fmt: skip
    connection = HTTPConnection("127.0.0.1", server.api_port, timeout=20)
    headers = {"authorization": f"Bearer {key}", "content-type": "application/cloudevents-batch+json"}
    connection.request("POST", "/v1/events", msgspec.json.encode(body), headers)
    answer = msgspec.json.decode(connection.getresponse().read())
    connection.close()
    return [item["result"] for item in answer["items"]]


def ids(server: Server, tenant: str = "acme") -> list[str]:
    found = server.json("ledger", "events", "--tenant", tenant)
    return sorted(one["event"]["id"] for one in found["events"])


def retention(server: Server) -> dict[tuple[str, str], Any]:
    found = server.json("ledger", "retention")
    assert found["problem"] is None
    return {(one["table"], one["tenant"] or ""): one for one in found["tables"]}


def refused(server: Server, *args: str) -> tuple[str, str]:
    """(code, message) of a command that fails."""
    done = server.cli(*args)
    assert done.returncode == 1, done.stdout
    message, _, code = done.stderr.strip().rpartition(" [")
    return code.rstrip("]"), message


def test_tables_in_a_store_that_goes_and_comes_back_and_rows_that_leave_them(tmp_path: Path) -> None:
    port, config = free_port(), tmp_path / "interlock.toml"
    config.write_text(TOML + store("tables", port))
    server = Server(tmp_path / "data", config=config, env=ENV).start()  # no store is there yet
    try:
        _, key = server.issue("--scope", "events:write")
        other = server.json("keys", "issue", "--tenant", "beta", "--name", "b", "--scope", "events:write")["secret"]
        days = [TODAY - timedelta(days=n) for n in (100, 20, 5)]
        assert send(server, key, *((f"a{n}", day) for n, day in enumerate(days))) == ["counted"] * 3
        assert send(server, other, *((f"b{n}", day) for n, day in enumerate(days))) == ["counted"] * 3
        server.json("meters", "define", "m", "--event-type", "tokens", "--aggregation", "count")
        code, message = refused(server, "meters", "query", "m")
        assert code == "not_ready" and "the store failed" in message and SECRET not in message
        assert "the store failed" in server.control("/v1/status")["meters_problem"]
        with serving(tmp_path / "served", port) as found:
            until(lambda: server.control("/v1/status")["meters_problem"] is None, "the tables are open", 30)
            assert ids(server) == ["a0", "a1", "a2"]
            assert server.stop() == 0
            assert list(found.bucket.rglob("*.parquet"))
            server.start()
            assert ids(server) == ["a0", "a1", "a2"]
        assert send(server, key, ("a3", days[2]), ("a0", days[0])) == ["counted", "duplicate"]  # the store is away
        with serving(tmp_path / "served", port) as found:
            until(lambda: server.cli("ledger", "events", "--format", "json").returncode == 0, "it answers", 60)
            assert ids(server) == ["a0", "a1", "a2", "a3"]
            config.write_text(TOML + store("tables", port) + store("archive", port) + POLICY)
            server.json("config", "reload")
            until(lambda: retention(server).get(("events", ""), {}).get("left_rows") == 1, "it leaves", 30)
            kept = retention(server)
            assert kept["events", "beta"]["left_rows"] == 2 and kept["events", ""]["place"] == "s3://bucket/archive"
            until(lambda: ids(server) == ["a1", "a2", "a3"], "what is left is listed")
            assert ids(server, "beta") == ["b2"]
            code, message = refused(server, "ledger", "events", "--from", "2026-01-01")
            assert code == "not_retained" and str(TODAY - timedelta(days=30)) in message
            archived = [str(path) for path in (found.bucket / "archive").rglob("*.parquet")]
            query = "SELECT tenant, id FROM read_parquet(?, hive_partitioning = false)"
            assert duckdb.execute(query, [archived]).fetchall() == [("acme", "a0")]
            check = ("rebuild", "--check", "--format", "json", "--data", str(server.places.root))
            done = run_cli(*check, "--config", str(config), env=ENV)
            assert done.returncode == 0, done.stdout + done.stderr
            views = {one["view"]: one["state"] for one in msgspec.json.decode(done.stdout)["views"]}
            assert views["tables"] == "equal"
            assert server.stop() == 0
            done = run_cli("rebuild", "--config", str(config), "--data", str(server.places.root), env=ENV)
            assert done.returncode == 0, done.stderr
            assert not list((found.bucket / "tables").rglob("*.parquet"))
            server.start()
            until(lambda: server.cli("ledger", "events", "--format", "json").returncode == 0, "it answers", 60)
            assert ids(server) == ["a1", "a2", "a3"] and ids(server, "beta") == ["b2"]
            assert duckdb.execute(query, [archived]).fetchall() == [("acme", "a0")]
            assert server.stop() == 0
    finally:
        server.kill()
    assert SECRET not in server.said
