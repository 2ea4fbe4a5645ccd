"""A month imported beside live senders of some of its events, twice, killed on the way: counted once, exactly."""

import os
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import msgspec
from tests.e2e.configs import scripted
from tests.e2e.server import INTERLOCK, Server, run_cli, until

from interlock.client import Outbox
from interlock.intake import STREAM
from interlock.log.reader import JournalReader

ROWS = int(os.environ.get("INTERLOCK_TEST_ROWS", "20000"))
SOURCE, TYPE = "shop/eu", "tokens"
START = datetime(2026, 1, 1, tzinfo=UTC)
STEP = timedelta(days=31) / ROWS
NEW = 200
"""Events that only the live senders have."""
MAPPING = ("--type", TYPE, "--source", SOURCE, "--id", "order", "--time", "sold_at")


class Sale(NamedTuple):
    """One event of the month, as every sender knows it."""

    number: int

    @property
    def id(self) -> str:
        return f"order-{self.number}"

    @property
    def subject(self) -> str:
        return f"customer-{self.number % 97}"

    @property
    def time(self) -> datetime:
        return (START + self.number * STEP).replace(microsecond=0)

    @property
    def data(self) -> dict[str, Any]:
        return {"tokens": self.number * 7, "cost": Decimal(self.number).scaleb(-2)}

    def event(self) -> bytes:
        attributes = {"specversion": "1.0", "id": self.id, "source": SOURCE, "type": TYPE, "subject": self.subject}
        return msgspec.json.Encoder(decimal_format="number").encode(
            {**attributes, "time": self.time.isoformat(), "data": self.data}
        )


def write_files(directory: Path) -> tuple[Path, Path]:
    """The same month as Parquet and as CSV."""
    csv, parquet = directory / "month.csv", directory / "month.parquet"
    with csv.open("w") as file:
        print("order,sold_at,subject,tokens,cost", file=file)
        for sale in map(Sale, range(ROWS)):
            print(
                sale.id, sale.time.isoformat(), sale.subject, sale.data["tokens"], sale.data["cost"], sep=",", file=file
            )
    columns = "'order': 'VARCHAR', 'sold_at': 'TIMESTAMPTZ', 'subject': 'VARCHAR', 'tokens': 'BIGINT'"
    table = f"read_csv('{csv}', header = true, columns = {{{columns}, 'cost': 'DECIMAL(12,2)'}})"
    with duckdb.connect() as db:
        db.execute(f"COPY (FROM {table}) TO '{parquet}' (FORMAT parquet)")
    return parquet, csv


class Live(threading.Thread):
    """A program that sends some of the month's events by plain HTTP, each batch until it is answered."""

    def __init__(self, port: int, key: str) -> None:
        super().__init__()
        self._port, self._key = port, key
        self.results: Counter[str] = Counter()

    def run(self) -> None:
        sales = [Sale(number) for number in range(3, ROWS, 11)]
        for place in range(0, len(sales), 20):
            body = b"\n".join(sale.event() for sale in sales[place : place + 20])
            while not self._sent(body):
                threading.Event().wait(0.05)

    def _sent(self, body: bytes) -> bool:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=20)
        try:
            headers = {"authorization": f"Bearer {self._key}", "content-type": "application/x-ndjson"}
            connection.request("POST", "/v1/events", body, headers)
            answer = connection.getresponse()
            text = answer.read()
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()
        if answer.status == 200:
            self.results.update(item["result"] for item in msgspec.json.decode(text)["items"])
        return answer.status == 200


def recorded(outbox: Outbox) -> None:
    """Some of the month's events, and some of its own, by `interlock.client`."""
    for sale in map(Sale, range(5, ROWS, ROWS // 300)):
        outbox.record(TYPE, sale.data, subject=sale.subject, id=sale.id, time=sale.time)
    for number in range(NEW):
        outbox.record(TYPE, {"tokens": number}, id=f"new-{number}", time=START)


def counted(server: Server) -> Iterator[dict[str, Any]]:
    """Every event of the log that counts; none may be in conflict."""
    for stored in JournalReader(server.places.journal).scan(STREAM):
        assert stored.record.type != "events.conflict", stored.record.payload[:1000]
        if stored.record.type == "events.counted":
            yield from msgspec.json.decode(stored.record.payload)["events"]


def answered(server: Server) -> float:
    """Events that this start of the server has answered."""
    connection = HTTPConnection("127.0.0.1", server.control_port, timeout=20)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith("interlock_events_total"))


def test_a_month_beside_live_load_is_counted_once(tmp_path: Path) -> None:
    parquet, csv = write_files(tmp_path)
    server = Server(tmp_path / "data", config=scripted(tmp_path / "interlock.toml", 9)).start()
    try:
        until(lambda: server.control("/v1/status")["events_ready"], "events are taken")
        _, key = server.issue("--scope", "events:write")
        url = f"http://127.0.0.1:{server.api_port}"
        env = {"INTERLOCK_EVENTS_URL": url, "INTERLOCK_EVENTS_KEY": key}

        def started(path: Path, *more: str) -> subprocess.Popen[str]:
            command = [INTERLOCK, "ledger", "import", *MAPPING, "--format", "json", *more, str(path)]
            return subprocess.Popen(
                command, env=os.environ | env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )

        live = Live(server.api_port, key)
        live.start()
        with Outbox(tmp_path / "outbox", url=url, key=key, source=SOURCE) as outbox:
            # Killed half-way.
            slow = str(ROWS // 4)
            process = started(parquet, "--limit-rate", slow)
            until(lambda: answered(server) > ROWS // 2, "half is sent", 60)
            process.kill()
            assert process.communicate() == ("", "") and process.returncode == -signal.SIGKILL
            recorded(outbox)
            # Again, and the server is killed under it.
            process = started(parquet, "--limit-rate", slow)
            before = answered(server)
            until(lambda: answered(server) > before + ROWS // 4, "a quarter is sent", 60)
            server.kill()
            server.start()
            out, err = process.communicate(timeout=120)
            assert process.returncode == 0, err
            first = msgspec.json.decode(out)
            assert "trying again" in err
            assert first["rows"] == first["counted"] + first["duplicate"] == ROWS and first["counted"] > 0
            assert first["duplicate"] >= ROWS // 4
            live.join()
            assert outbox.flush(60) and outbox.problems() == []
        # Twice more, once as the other format: nothing new.
        for path in (csv, parquet):
            done = run_cli("ledger", "import", *MAPPING, "--format", "json", str(path), env=env)
            assert done.returncode == 0, done.stderr
            again = msgspec.json.decode(done.stdout)
            assert (again["rows"], again["counted"], again["duplicate"]) == (ROWS, 0, ROWS), again
        assert set(live.results) <= {"counted", "duplicate"}
        assert server.stop() == 0
    finally:
        server.kill()
    events = list(counted(server))
    month = {event["id"]: event for event in events if event["id"].startswith("order-")}
    assert len(events) == len({event["id"] for event in events}) == ROWS + NEW
    assert month.keys() == {Sale(number).id for number in range(ROWS)}
    assert sum(event["data"]["tokens"] for event in month.values()) == sum(7 * number for number in range(ROWS))
    assert run_cli("verify", "--data", str(server.places.root)).returncode == 0
