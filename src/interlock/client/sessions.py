"""For a program that has agents work: make a session, say something to it, watch it, answer what it asks.

    agents = Agents("http://127.0.0.1:8081", KEY)
    session = agents.run("Fix the failing test.", agent={"mode": "accept-edits"})
    for event in session.watch():
        if event["type"] == "approval.asked":
            session.approve(event["approval"], event["arguments_sha256"])

The session lives on the server: `watch` may be ended and begun again at any time, from any machine, and goes on behind
the last event that was seen. Standard library and msgspec only; every method blocks, and may be called from any thread.
"""

import http.client
import random
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import msgspec

CONNECT_S = 5.0
TIMEOUT_S = 60.0
QUIET_S = 60.0
"""A stream says something every 15 s; one that is quiet for longer is dead."""
ANSWER_BYTES_MAX = 80 << 20
LINE_BYTES_MAX = 4 << 20
PAUSE_S, PAUSE_S_MAX = 0.2, 5.0
TRIES = 8
"""Of a request that nobody answered, each of which may be repeated."""


class Refused(Exception):
    """The server said no. `code` is one of docs/errors.md; `field` names what is wrong, if something is."""

    def __init__(self, status: int, code: str, message: str, field: str = "") -> None:
        super().__init__(f"{message} [{code}]")
        self.status, self.code, self.message, self.field = status, code, message, field


class Unreachable(Exception):
    """Nobody answers. What was asked may have been done: asked again, it is not done twice."""


class _Error(msgspec.Struct, frozen=True):
    code: str = ""
    message: str = ""
    field: str | None = None


class _Refusal(msgspec.Struct, frozen=True):
    error: _Error = _Error()


class Agents:
    """The sessions of a tenant, as the holder of a key with scope `sessions:run` sees them."""

    def __init__(self, url: str, key: str, *, tries: int = TRIES) -> None:
        """`url`: of the api port (or, with an admin's key, of the control port), without a path."""
        self._url = urlsplit(url.rstrip("/"))
        self._key = key.strip()
        self._tries = tries
        if self._url.scheme not in ("http", "https") or not self._url.hostname:
            raise ValueError(f"{url!r} is not http://HOST:PORT")
        if not self._key.isascii() or not self._key.isprintable():
            raise ValueError("the key has characters that no header may have")

    def run(
        self,
        say: str = "",
        *,
        agent: Mapping[str, Any] | None = None,
        title: str = "",
        labels: Mapping[str, str] | None = None,
        id: str = "",
    ) -> "Session":
        """A new session. `agent`: as docs/sessions.md, with defaults. `id`: your own, to ask again."""
        wanted = {"agent": agent or {}, "say": say, "title": title, "labels": labels or {}, "id": id or _id()}
        return Session(self, self.call("POST", "/v1/sessions", wanted)["session"])

    def session(self, session: str) -> "Session":
        """One that is there already."""
        return Session(self, session)

    def sessions(self, *, before: str = "", limit: int = 100, tenant: str = "") -> list[dict[str, Any]]:
        """Newest first; `before`: the last of the page before; `tenant`: an operator's choice (default: all)."""
        params = {"before": before, "limit": str(limit), "tenant": tenant}
        found: list[dict[str, Any]] = self.call("GET", "/v1/sessions", params=params)["sessions"]
        return found

    def approvals(self) -> list[dict[str, Any]]:
        """Everything that waits for a person."""
        found: list[dict[str, Any]] = self.call("GET", "/v1/approvals")["approvals"]
        return found

    def call(self, method: str, path: str, body: Any = None, *, params: Mapping[str, str] | None = None) -> Any:
        """One call, its JSON answer decoded; repeated while nobody answers. Raises: Refused, Unreachable."""
        return msgspec.json.decode(self.exchange(method, path, body, params=params))

    def exchange(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Mapping[str, str] | None = None,
        content_type: str = "application/json",
    ) -> bytes:
        """As `call`, the body of the answer as it came; a body of bytes is sent as it is."""
        given = {name: value for name, value in (params or {}).items() if value}
        target = f"{path}?{urlencode(given)}" if given else path
        data = body if body is None or isinstance(body, bytes) else msgspec.json.encode(body)
        pause_s = PAUSE_S
        for attempt in range(self._tries):
            try:
                return self._once(method, target, data, content_type)
            except Unreachable:
                if attempt == self._tries - 1:
                    raise
            except Refused as error:
                if error.code not in ("busy", "draining") or attempt == self._tries - 1:
                    raise
            time.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - so that clients do not come together
            pause_s = min(2 * pause_s, PAUSE_S_MAX)
        raise AssertionError("tries is at least 1")

    def stream(self, path: str, *, params: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
        """Server-sent events: (event, data). Ends when the server ends it. Raises: as `call`."""
        connection = self._connected(QUIET_S)
        try:
            answer = self._asked(connection, "GET", f"{path}?{urlencode(params)}", None, "text/event-stream")
            if answer.status >= 400:
                raise _refusal(answer.status, answer.read(ANSWER_BYTES_MAX))
            event, data = "", b""
            while line := answer.readline(LINE_BYTES_MAX):
                name, _, value = line.rstrip(b"\r\n").partition(b": ")
                if name == b"event":
                    event = value.decode()
                elif name == b"data":
                    data = value
                elif line in (b"\n", b"\r\n") and data:
                    yield event, data
                    event, data = "", b""
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"the stream broke off: {error or type(error).__name__}") from error
        finally:
            connection.close()

    def _once(self, method: str, target: str, data: bytes | None, content_type: str) -> bytes:
        connection = self._connected(TIMEOUT_S)
        try:
            answer = self._asked(connection, method, target, data, content_type)
            body = answer.read(ANSWER_BYTES_MAX)
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"{self._url.netloc} broke off: {error or type(error).__name__}") from error
        finally:
            connection.close()
        if answer.status >= 400:
            raise _refusal(answer.status, body)
        return body

    def _asked(
        self, connection: http.client.HTTPConnection, method: str, target: str, data: bytes | None, content_type: str
    ) -> http.client.HTTPResponse:
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": content_type}
        connection.request(method, self._url.path + target, data, headers)
        return connection.getresponse()

    def _connected(self, timeout_s: float) -> http.client.HTTPConnection:
        make = http.client.HTTPSConnection if self._url.scheme == "https" else http.client.HTTPConnection
        connection = make(str(self._url.hostname), self._url.port, timeout=CONNECT_S)
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            raise Unreachable(f"no server at {self._url.scheme}://{self._url.netloc}: {error}") from error
        connection.sock.settimeout(timeout_s)
        return connection


class Session:
    """One session. Its `id` is all there is to keep."""

    def __init__(self, agents: Agents, id: str) -> None:
        self._agents = agents
        self.id = id
        self._path = f"/v1/sessions/{quote(id, safe='')}"

    def show(self) -> dict[str, Any]:
        """What it is, what it has used, whom it asks."""
        found: dict[str, Any] = self._agents.call("GET", self._path)
        return found

    def say(self, text: str, *, id: str = "") -> int:
        """Tell it something; where that stands in its log."""
        return int(self._agents.call("POST", f"{self._path}/messages", {"text": text, "id": id or _id()})["seq"])

    def events(self, *, after: int = 0, limit: int = 1000, wait_s: int = 0) -> list[dict[str, Any]]:
        """Events behind `after`, in order; if there is none, wait for one so long."""
        params = {"after": str(after), "limit": str(limit), "wait": str(wait_s)}
        found: list[dict[str, Any]] = self._agents.call("GET", f"{self._path}/events", params=params)["events"]
        return found

    def watch(self, *, after: int = 0, until_idle: bool = False, deltas: bool = False) -> Iterator[dict[str, Any]]:
        """Every event behind `after`, and every one to come, each once and in order, whatever breaks in between.

        Args:
            until_idle: end when it has nothing to do; a session that waits for a person is not idle.
            deltas: also `{"type": "delta", …}`: words and output as they come, which are in no log, and may be missed.
        """
        pause_s = PAUSE_S
        while True:
            try:
                params = {"after": str(after), "until": "idle" if until_idle else "never"}
                for name, data in self._agents.stream(f"{self._path}/stream", params=params):
                    pause_s = PAUSE_S
                    event: dict[str, Any] = msgspec.json.decode(data)
                    if name == "end":
                        return
                    if name != "delta":
                        after = int(event["seq"])
                        yield event
                    elif deltas:
                        yield {"type": "delta", **event}
            except Unreachable:
                pass
            except Refused as error:
                if error.code not in ("busy", "draining"):
                    raise
            time.sleep(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - so that clients do not come together
            pause_s = min(2 * pause_s, PAUSE_S_MAX)

    def approve(self, approval: str, arguments_sha256: str, *, note: str = "") -> dict[str, Any]:
        """Allow it, once, with exactly these arguments."""
        return self._answer(approval, arguments_sha256, note, approved=True)

    def deny(self, approval: str, arguments_sha256: str, *, note: str = "") -> dict[str, Any]:
        """Refuse it; the agent is told the note."""
        return self._answer(approval, arguments_sha256, note, approved=False)

    def cancel(self, reason: str = "") -> dict[str, Any]:
        """Stop what runs, and end the turn."""
        found: dict[str, Any] = self._agents.call("POST", f"{self._path}/cancel", {"reason": reason})
        return found

    def reset(self, summary: str = "") -> dict[str, Any]:
        """Have the model see nothing of what has been but the summary; the log keeps it all. Not during a turn."""
        found: dict[str, Any] = self._agents.call("POST", f"{self._path}/reset", {"summary": summary})
        return found

    def compact(self) -> dict[str, Any]:
        """Have its model sum up all that has been, and see the summary in its place. Not during a turn."""
        found: dict[str, Any] = self._agents.call("POST", f"{self._path}/compact", {})
        return found

    def wake(self) -> dict[str, Any]:
        """Have a brain look at it now."""
        found: dict[str, Any] = self._agents.call("POST", f"{self._path}/wake", {})
        return found

    def raise_budget(self, **budget: Any) -> dict[str, Any]:
        """What it may use in all from now on (docs/sessions.md); it goes on if its budget had ended it."""
        found: dict[str, Any] = self._agents.call("POST", f"{self._path}/budget", {"budget": budget, "id": _id()})
        return found

    def fork(self, *, at: int | None = None, title: str | None = None, say: str = "", id: str = "") -> "Session":
        """A new session with the log up to `at` (default: all) and a copy of the workspace."""
        body = {"at": at, "title": title, "say": say, "id": id or _id()}
        return Session(self._agents, self._agents.call("POST", f"{self._path}/fork", body)["session"])

    def read(self, path: str) -> bytes:
        """A file of the workspace."""
        return self._agents.exchange("GET", f"{self._path}/files/{quote(path)}")

    def write(self, path: str, data: bytes) -> None:
        """Put a file into the workspace."""
        self._agents.exchange("PUT", f"{self._path}/files/{quote(path)}", data, content_type="application/octet-stream")

    def result(self, seq: int) -> bytes:
        """All of a call's result, which the log may hold only the beginning of. `seq`: of its `tool.finished`."""
        return self._agents.exchange("GET", f"{self._path}/results/{seq}")

    def _answer(self, approval: str, arguments_sha256: str, note: str, *, approved: bool) -> dict[str, Any]:
        word = {"approved": approved, "arguments_sha256": arguments_sha256, "note": note}
        path = f"/v1/approvals/{quote(self.id, safe='')}/{quote(approval, safe='')}"
        found: dict[str, Any] = self._agents.call("POST", path, word)
        return found


def _id() -> str:
    return str(uuid.uuid4())


def _refusal(status: int, body: bytes) -> Refused:
    try:
        error = msgspec.json.decode(body, type=_Refusal).error
    except msgspec.DecodeError:
        error = _Error()
    return Refused(
        status, error.code or "internal", error.message or f"the server answered {status}", error.field or ""
    )
