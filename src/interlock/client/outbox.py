"""For a program that sells by usage: hand it an event, and it is counted once, whatever dies in between.

    with Outbox(Path("usage.outbox"), url="http://127.0.0.1:8081", key=KEY, source="shop/eu-1") as outbox:
        outbox.record("tokens", {"tokens": 42}, subject="customer-7")

An event has its id, and is on the disk, before anything is sent; it is sent until it was answered, by a thread of the
outbox's own, and by the next process that opens the file if this one dies. What the server can never count is kept
aside (`problems`). It needs nothing of the server's code, and decides nothing: docs/events.md says what events are.
"""

import math
import random
import sqlite3
import threading
import urllib.error
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import msgspec

from interlock.clock import Clock, SystemClock

BATCH_MAX = 1000
"""Events in one request."""
BATCH_BYTES_MAX = 4 << 20
EVENT_BYTES_MAX = 64 * 1024
"""The server's."""
TIMEOUT_S = 30.0
PAUSE_S, PAUSE_S_MAX = 0.5, 30.0
"""Between tries while the server cannot take anything: doubled each time, with as much chance."""
_ANSWER_BYTES_MAX = 16 << 20
_encode = msgspec.json.Encoder(decimal_format="number").encode
_SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (
    n INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT NOT NULL,
    result TEXT NOT NULL DEFAULT '', message TEXT NOT NULL DEFAULT ''
)"""

Result = Literal["counted", "duplicate", "conflict", "refused", "unavailable"]


class Item(msgspec.Struct, frozen=True):
    """The server's answer to one event."""

    result: Result
    code: str = ""
    message: str = ""
    field: str = ""


class _Answer(msgspec.Struct, frozen=True):
    items: list[Item]


class Problem(msgspec.Struct, frozen=True):
    """An event that will not be counted as it is."""

    event: dict[str, Any]
    result: str
    """`conflict` or `refused`."""
    message: str


class Unanswered(Exception):
    """Nothing is known of what was sent: it is sent again. The message says why."""

    def __init__(self, message: str, *, status: int = 0, body: bytes = b"", retry_after_s: float = 0.0) -> None:
        """`status`, `body`: of an answer that says nothing of the events; 0: there was no answer at all."""
        super().__init__(message)
        self.status = status
        self.body = body
        self.retry_after_s = retry_after_s
        """How long the server asks to be left alone; 0: it does not say."""


class EventsPort:
    """The api port as one who sends sees it. Its method may be called from any thread."""

    def __init__(self, url: str, key: str, *, proxies: bool = True) -> None:
        """
        Args:
            url: without a path.
            proxies: whether those of the environment are used.
        Raises: ValueError: no header may hold the key.
        """
        self._url = url.rstrip("/") + "/v1/events"
        self._key = key.strip()
        if not self._key.isascii() or not self._key.isprintable():
            raise ValueError("the key has characters that no header may have")
        none = [] if proxies else [urllib.request.ProxyHandler({})]
        self._open = urllib.request.build_opener(*none).open

    def post(self, events: Sequence[bytes]) -> list[Item]:
        """Send some events, each on one line of JSON; an answer for each, in order. Raises: Unanswered."""
        headers = {"content-type": "application/x-ndjson", "authorization": f"Bearer {self._key}"}
        body = b"\n".join(events)
        request = urllib.request.Request(self._url, body, headers, method="POST")  # noqa: S310 - the caller's own url
        try:
            status, text, retry_after = self._exchanged(request)
        except (OSError, HTTPException) as error:
            raise Unanswered(f"no answer: {error!r}") from error
        try:
            items = msgspec.json.decode(text, type=_Answer).items
        except msgspec.DecodeError as error:
            said = text[:300].decode("utf-8", "replace")
            message = f"the server answered {status}, and nothing of the events: {said!r}"
            wait_s = float(retry_after) if retry_after.isascii() and retry_after.isdigit() else 0.0
            raise Unanswered(message, status=status, body=text, retry_after_s=wait_s) from error
        if len(items) != len(events):
            raise Unanswered(f"{len(items)} answers to {len(events)} events", status=status, body=text)
        return items

    def _exchanged(self, request: urllib.request.Request) -> tuple[int, bytes, str]:
        """(status, body, Retry-After or empty), whatever the status."""
        try:
            with self._open(request, timeout=TIMEOUT_S) as answer:
                return answer.status, answer.read(_ANSWER_BYTES_MAX), ""
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read(_ANSWER_BYTES_MAX), error.headers.get("retry-after") or ""


class Outbox:
    """Events on their way. One file, for any number of processes; its methods may be called from any thread."""

    def __init__(
        self,
        path: Path,
        *,
        url: str,
        key: str,
        source: str,
        background: bool = True,
        clock: Clock | None = None,
    ) -> None:
        """
        Args:
            url: of the api port, without a path.
            key: holds the scope `events:write`.
            source: as in CloudEvents: with the event's id it is what events are told apart by.
            background: send by a thread of its own; without, only `send` does.
        Raises: sqlite3.Error: the file cannot be written, or is no outbox.
        """
        self._port = EventsPort(url, key)
        self._source = source
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()  # protects the connection: its transactions are one caller's at a time
        self._db = sqlite3.connect(path, timeout=TIMEOUT_S, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute(_SCHEMA)
        self._wake, self._closing = threading.Event(), threading.Event()
        self.last_error = ""
        """Why the last try failed; empty: it did not."""
        self._thread = threading.Thread(target=self._run, name="interlock-outbox", daemon=True) if background else None
        if self._thread:
            self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def record(
        self,
        type: str,
        data: Mapping[str, Any] | None = None,
        *,
        subject: str = "",
        id: str = "",
        time: datetime | None = None,
        extensions: Mapping[str, str | int | bool] | None = None,
    ) -> str:
        """Take an event; it is on the disk when this returns. Returns: its id.

        Args:
            id: give one that you would give again for the same thing (a request's, say), so that it counts once though
                your program records it twice; default: a new one.
            time: when it happened, with a time zone; default: now.
        Raises: ValueError: `time` has no zone; or it is no JSON, has NaN, or is too long. sqlite3.Error: it could not
            be written.
        """
        if time is None:
            time = datetime.fromtimestamp(self._clock.now_ns() / 1e9, UTC)
        elif time.tzinfo is None:
            raise ValueError("time needs a time zone")
        event: dict[str, Any] = {
            "specversion": "1.0",
            "id": id or str(uuid.uuid4()),
            "source": self._source,
            "type": type,
            "time": time.isoformat(),
            **({"subject": subject} if subject else {}),
            **({"data": dict(data)} if data is not None else {}),
            **(extensions or {}),
        }
        try:
            text = _encode(event).decode()
            if not is_finite(event):
                raise ValueError("a number is not finite")
        except (TypeError, ValueError, RecursionError, msgspec.MsgspecError) as error:
            raise ValueError(f"the event is no JSON: {error}") from error
        if len(text.encode()) > EVENT_BYTES_MAX:
            raise ValueError(f"an event has at most {EVENT_BYTES_MAX} bytes")
        with self._lock:
            self._db.execute("INSERT INTO outbox (event) VALUES (?)", (text,))
        self._wake.set()
        return str(event["id"])

    @property
    def waiting(self) -> int:
        """Events that were not answered yet."""
        with self._lock:
            [count] = self._db.execute("SELECT count(*) FROM outbox WHERE result = ''").fetchone()
        return int(count)

    def problems(self) -> list[Problem]:
        """What the server will not count: kept until `forget`."""
        with self._lock:
            rows = self._db.execute(
                "SELECT event, result, message FROM outbox WHERE result != '' ORDER BY n"
            ).fetchall()
        return [Problem(msgspec.json.decode(event), result, message) for event, result, message in rows]

    def forget(self) -> None:
        """Drop the problems."""
        with self._lock:
            self._db.execute("DELETE FROM outbox WHERE result != ''")

    def send(self) -> int:
        """Send what waits, a batch; how many of it are done with (0: nothing waits, or the disk there is full).

        Raises: Unanswered: send it again later.
        """
        rows = self._next()
        if not rows:
            return 0
        items = self._post([event.encode() for _, event in rows])
        done = [(n,) for (n, _), item in zip(rows, items, strict=True) if item.result in ("counted", "duplicate")]
        aside = [
            (item.result, f"{item.field}: {item.message}" if item.field else item.message, n)
            for (n, _), item in zip(rows, items, strict=True)
            if item.result in ("conflict", "refused")
        ]
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.executemany("DELETE FROM outbox WHERE n = ?", done)
                self._db.executemany("UPDATE outbox SET result = ?, message = ? WHERE n = ?", aside)
                self._db.execute("COMMIT")
            except BaseException:  # also Ctrl-C: what is recorded next must not stand in a transaction that nobody ends
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        return len(done) + len(aside)

    def flush(self, timeout_s: float) -> bool:
        """Send until nothing waits; whether that was reached in time."""
        end_ns = self._clock.monotonic_ns() + int(timeout_s * 1e9)
        pause_s = PAUSE_S
        while self.waiting:
            left_s = (end_ns - self._clock.monotonic_ns()) / 1e9
            if left_s <= 0.0:
                return False
            if not self._tried():
                self._closing.wait(min(pause_s, left_s))
                pause_s = min(2 * pause_s, PAUSE_S_MAX)
        return True

    def close(self) -> None:
        """End the thread and close the file; what waits is sent by whoever opens it next."""
        self._closing.set()
        self._wake.set()
        if self._thread and self._thread is not threading.current_thread():
            self._thread.join()
        with self._lock:
            self._db.close()

    def _next(self) -> Sequence[tuple[int, str]]:
        with self._lock:
            rows = self._db.execute("SELECT n, event FROM outbox WHERE result = '' ORDER BY n LIMIT ?", (BATCH_MAX,))
            taken: list[tuple[int, str]] = []
            size = 0
            for n, event in rows.fetchall():
                size += len(event.encode())
                if taken and size > BATCH_BYTES_MAX:
                    break
                taken.append((n, event))
        return taken

    def _post(self, events: Sequence[bytes]) -> list[Item]:
        return self._port.post(events)

    def _tried(self) -> bool:
        """Whether something is done with."""
        try:
            done = self.send()
            self.last_error = "" if done or not self.waiting else "the server's disk takes nothing now"
        except (Unanswered, sqlite3.Error) as error:
            self.last_error = str(error)
            return False
        return done > 0

    def _run(self) -> None:
        pause_s = PAUSE_S
        while not self._closing.is_set():
            self._wake.clear()
            if self._tried():
                pause_s = PAUSE_S
            elif self.last_error:
                self._closing.wait(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - so that senders do not come together
                pause_s = min(2 * pause_s, PAUSE_S_MAX)
            else:
                self._wake.wait()


def is_finite(value: object) -> bool:
    """Whether every number in it is one that JSON has."""
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Decimal):
        return value.is_finite()
    if isinstance(value, list | tuple):
        return all(map(is_finite, value))
    return not isinstance(value, Mapping) or all(map(is_finite, value.values()))
