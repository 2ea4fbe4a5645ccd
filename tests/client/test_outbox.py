"""The outbox against a real control process, over a link that loses requests and answers, its own process killed."""

import socket
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from tests.control.test_app import issued
from tests.control.test_events import ready
from tests.e2e.server import until

from interlock.client import BATCH_MAX, Item, Outbox, Unanswered
from interlock.client import outbox as client_module
from interlock.intake import STREAM
from interlock.log.reader import JournalReader
from interlock.testing.control_process import ControlProcess

Make = Callable[..., Outbox]


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlProcess]:
    process = ControlProcess(tmp_path_factory.mktemp("control") / "data").start()
    ready(process)
    yield process
    process.stop()


@pytest.fixture
def make(control: ControlProcess, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Make]:
    """Outboxes of one key, each test's with a source of its own; closed with the test."""
    key = issued(control, scopes=["events:write"])["secret"]
    made: list[Outbox] = []

    def make(name: str = "outbox", *, port: int = 0, background: bool = False, secret: str = key) -> Outbox:
        url = f"http://127.0.0.1:{port or control.api_port}"
        outbox = Outbox(tmp_path / name, url=url, key=secret, source=request.node.name, background=background)
        made.append(outbox)
        return outbox

    yield make
    for outbox in made:
        outbox.close()


def counted(control: ControlProcess, source: str) -> list[str]:
    """Ids of the events of a source, as the log has them."""
    found = []
    for stored in JournalReader(control.data_dir / "journal").scan(STREAM):
        if stored.record.type == "events.counted":
            events = msgspec.json.decode(stored.record.payload)["events"]
            found += [event["id"] for event in events if event["source"] == source]
    return found


def test_what_is_recorded_is_counted(control: ControlProcess, make: Make, request: pytest.FixtureRequest) -> None:
    outbox = make()
    when = datetime(2026, 1, 5, 10, tzinfo=UTC)
    ids = [
        outbox.record("tokens", {"n": n}, subject="customer-1", time=when, extensions={"team": "a"}) for n in range(3)
    ]
    ids.append(outbox.record("ping", id="given"))
    assert ids[-1] == "given" and len(set(ids)) == 4 and outbox.waiting == 4
    assert (outbox.send(), outbox.send(), outbox.waiting) == (4, 0, 0)
    assert counted(control, request.node.name) == ids
    assert outbox.problems() == []


def test_the_same_thing_recorded_twice_counts_once(
    control: ControlProcess, make: Make, request: pytest.FixtureRequest
) -> None:
    outbox = make()
    for _ in range(2):
        outbox.record("tokens", {"n": 1}, id="request-7", time=datetime(2026, 1, 5, tzinfo=UTC))
        assert outbox.send() == 1
    assert counted(control, request.node.name) == ["request-7"]


def test_more_than_a_batch(control: ControlProcess, make: Make, request: pytest.FixtureRequest) -> None:
    outbox = make()
    for n in range(BATCH_MAX + 5):
        outbox.record("tokens", {"n": n})
    assert (outbox.send(), outbox.waiting, outbox.send(), outbox.send()) == (BATCH_MAX, 5, 5, 0)
    assert len(counted(control, request.node.name)) == BATCH_MAX + 5


def test_what_can_never_be_counted_is_kept_aside(make: Make) -> None:
    outbox = make()
    outbox.record("tokens", {"n": 1}, id="a", time=datetime(2026, 1, 5, tzinfo=UTC))
    outbox.record("tokens", {"n": 2}, id="a", time=datetime(2026, 1, 5, tzinfo=UTC))
    outbox.record("tokens", {"n": 3}, extensions={"tenant": "other"})
    outbox.record("tokens", {"n": 4})
    assert (outbox.send(), outbox.waiting) == (4, 0)
    conflict, refused = outbox.problems()
    assert (conflict.result, conflict.event["data"]) == ("conflict", {"n": 2})
    assert refused.result == "refused" and refused.message.startswith("tenant: ")
    outbox.forget()
    assert outbox.problems() == []


NO_EVENTS: list[dict[str, object]] = [
    {"time": datetime(2026, 1, 5)},
    {"data": {"n": object()}},
    {"data": {"n": [float("nan")]}},
    {"data": {"n": Decimal("inf")}},
    {"data": {"n": "x" * 70_000}},
    {"id": "\ud800"},
]


@pytest.mark.parametrize("wrong", NO_EVENTS)
def test_what_is_no_event_is_the_caller_s_mistake(make: Make, wrong: dict[str, object]) -> None:
    outbox = make()
    with pytest.raises(ValueError, match=r"time|JSON|bytes"):
        outbox.record("tokens", **wrong)  # type: ignore[arg-type]  # on purpose
    assert outbox.waiting == 0


def test_numbers_are_kept_as_they_were_given(control: ControlProcess, make: Make) -> None:
    outbox = make()
    outbox.record("tokens", {"n": Decimal("0.10")})
    assert outbox.send() == 1
    *_, last = JournalReader(control.data_dir / "journal").scan(STREAM)
    assert b'"n":0.10' in last.record.payload


def test_ctrl_c_while_it_writes_loses_nothing(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = make()
    outbox.record("tokens", {"n": 1})

    class Interrupted:
        """The connection, whose next `executemany` is interrupted."""

        def __init__(self, db: sqlite3.Connection) -> None:
            self._db = db

        def executemany(self, *args: object) -> None:
            raise KeyboardInterrupt

        def __getattr__(self, name: str) -> object:
            return getattr(self._db, name)

    db = outbox._db
    outbox._db = Interrupted(db)  # type: ignore[assignment]  # stands in for it
    with pytest.raises(KeyboardInterrupt):
        outbox.send()
    outbox._db = db
    outbox.record("tokens", {"n": 2})
    outbox.close()
    assert make().waiting == 2


def test_a_file_that_is_locked_is_no_end(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "PAUSE_S", 0.02)
    outbox = make(background=True, port=9)  # nobody listens, so the thread tries again and again
    outbox.record("tokens", {"n": 1})
    until(lambda: "no answer" in outbox.last_error, "it tried")
    outbox._post = lambda events: [Item("counted")]  # type: ignore[method-assign]  # answered at last
    with closing(sqlite3.connect(tmp_path / "outbox", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        outbox._db.execute("PRAGMA busy_timeout = 1")
        until(lambda: "locked" in outbox.last_error, "it was locked out")
        other.execute("ROLLBACK")
    until(lambda: outbox.waiting == 0, "it went on", 30)


@pytest.mark.parametrize("key", ["a\nb", "ä"])
def test_a_key_that_no_header_may_hold(make: Make, key: str) -> None:
    with pytest.raises(ValueError, match="key"):
        make(secret=key)


def test_a_key_that_is_not_let_in_keeps_everything(make: Make) -> None:
    outbox = make(secret="ilk_" + "x" * 43)
    outbox.record("tokens")
    with pytest.raises(Unanswered, match="401"):
        outbox.send()
    assert (outbox.waiting, outbox.problems()) == (1, [])


def test_nobody_listens(make: Make) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    outbox = make(port=port)
    outbox.record("tokens")
    with pytest.raises(Unanswered, match="no answer"):
        outbox.send()
    assert not outbox.flush(0.1) and outbox.last_error and outbox.waiting == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"nonsense\r\n\r\n",
        b'HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n{"items":[]}',
        b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 2\r\n\r\n{}",
    ],
)
def test_an_answer_that_says_nothing_is_none(make: Make, answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        outbox = make(port=listening.getsockname()[1])
        outbox.record("tokens")
        with pytest.raises(Unanswered):
            outbox.send()
        thread.join()
    assert outbox.waiting == 1


class Lossy(threading.Thread):
    """A link to the server that loses every other request before it, or answer after it."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self._server = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.lost: Counter[str] = Counter()

    def run(self) -> None:
        turn = 0
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            turn += 1
            with client:
                if turn % 3 == 1:
                    self.lost["request"] += 1
                    continue
                answer = self._passed(client)
                if turn % 3 == 2:
                    self.lost["answer"] += 1
                else:
                    client.sendall(answer)

    def _passed(self, client: socket.socket) -> bytes:
        request = b""
        while b"\r\n\r\n" not in request:
            request += client.recv(1 << 16)
        head, _, rest = request.partition(b"\r\n\r\n")
        [length] = [
            int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
        ]
        while len(rest) < length:
            rest += client.recv(1 << 16)
        with socket.create_connection(("127.0.0.1", self._server)) as server:
            server.sendall(head + b"\r\nConnection: close\r\n\r\n" + rest)
            answer = b""
            while more := server.recv(1 << 16):
                answer += more
        return answer

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


def test_requests_and_answers_are_lost_and_every_event_counts_once(
    control: ControlProcess, make: Make, request: pytest.FixtureRequest
) -> None:
    link = Lossy(control.api_port)
    link.start()
    outbox = make(port=link.port, background=True)
    ids = []
    for n in range(4):
        ids += [outbox.record("tokens", {"n": n, "m": m}) for m in range(25)]
        until(lambda: outbox.waiting == 0, "all are answered", 30)
    outbox.close()
    link.close()
    assert sorted(counted(control, request.node.name)) == sorted(ids)
    assert link.lost["request"] > 0 and link.lost["answer"] > 0


PROGRAM = """
import sys
from pathlib import Path
from interlock.client import Outbox
outbox = Outbox(Path(sys.argv[1]), url=sys.argv[2], key=sys.argv[3], source=sys.argv[4])
while True:
    print(outbox.record("tokens", {"pid": 1}), flush=True)
"""


def test_a_killed_program_loses_nothing_that_it_recorded(
    control: ControlProcess, make: Make, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The next one to open the file sends what was left."""
    key, url = issued(control, scopes=["events:write"])["secret"], f"http://127.0.0.1:{control.api_port}"
    recorded: list[str] = []
    for _ in range(3):
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / "outbox"), url, key, request.node.name]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
            assert program.stdout is not None
            recorded += [program.stdout.readline().strip() for _ in range(30)]
            program.kill()
            recorded += [
                line.strip() for line in program.stdout.read().splitlines(keepends=True) if line.endswith("\n")
            ]
    assert make(background=True).flush(30)
    found = counted(control, request.node.name)
    assert len(found) == len(set(found)) and set(recorded) <= set(found)
    assert len(found) <= len(recorded) + 3  # one a kill may have been recorded and not said


def test_a_file_that_is_no_outbox_is_the_caller_s_mistake(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("this is no database at all, and long enough to be seen as none" * 20)
    with pytest.raises(sqlite3.DatabaseError):
        Outbox(tmp_path / "x", url="http://127.0.0.1:9", key="k", source="s", background=False)


def test_it_needs_nothing_of_the_server() -> None:
    code = "import sys, interlock.client; print(*sorted(m for m in sys.modules if m.startswith('interlock')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [
        "interlock",
        "interlock.client",
        "interlock.client.outbox",
        "interlock.client.sessions",
        "interlock.clock",
    ]
