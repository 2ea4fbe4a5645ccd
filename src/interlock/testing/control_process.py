"""A real control process on free loopback ports, for tests that talk to it as operators and tenants do.

It has no gateway workers: `UsageWriter` writes what one would have written.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from interlock.clock import SystemClock
from interlock.ledger import Opened, Refused, Settled
from interlock.log.journal import Journal


class Answer(msgspec.Struct, frozen=True):
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class ControlProcess:
    """Started by `start`; `stop` asks it to end and waits. The admin's key is `admin`."""

    def __init__(self, data_dir: Path, config: Path | None = None) -> None:
        self.data_dir = data_dir
        self.config = config

    def start(self) -> "ControlProcess":
        """Returns once it serves. Raises: RuntimeError with its stderr: it did not start."""
        api, control = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
        read_fd, write_fd = os.pipe()
        fds = (api.fileno(), control.fileno(), write_fd)
        command = [sys.executable, "-m", "interlock.control", "--data", str(self.data_dir)]
        command += [f"--api-fd={fds[0]}", f"--control-fd={fds[1]}", f"--ready-fd={fds[2]}"]
        command += [f"--config={self.config}"] if self.config else []
        self.process = subprocess.Popen(command, pass_fds=fds, stderr=subprocess.PIPE, text=True)
        os.close(write_fd)
        self.api_port, self.control_port = api.getsockname()[1], control.getsockname()[1]
        api.close()
        control.close()
        ready = os.read(read_fd, 1)
        os.close(read_fd)
        if ready != b"1":
            raise RuntimeError(self.process.communicate(timeout=10)[1])
        self.admin = (self.data_dir / "admin.key").read_text().strip()
        return self

    def stop(self, number: int = signal.SIGTERM) -> int:
        """The exit status; its stderr is then in `stderr`."""
        self.process.send_signal(number)
        self.stderr = self.process.communicate(timeout=20)[1]
        return self.process.returncode

    @property
    def url(self) -> str:
        """Of the control port."""
        return f"http://127.0.0.1:{self.control_port}"

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        port: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One call; bytes go as they are, anything else as JSON. `key` "" sends none; None is the admin's."""
        from http.client import HTTPConnection

        sent = {"content-type": "application/json", **(headers or {})}
        if key != "":
            sent["authorization"] = f"Bearer {self.admin if key is None else key}"
        data = body if body is None or isinstance(body, bytes) else msgspec.json.encode(body)
        connection = HTTPConnection("127.0.0.1", port or self.control_port, timeout=20)
        try:
            connection.request(method, path, data, sent)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()


class UsageWriter:
    """The journal of worker slot 0 of a data directory."""

    def __init__(self, data_dir: Path) -> None:
        self._clock = SystemClock()
        self._journal = Journal.open(data_dir / "journal" / "usage" / "0", "usage/0", clock=self._clock)

    def write(self, event: Opened | Settled | Refused) -> None:
        """Append one record; it stands when this returns."""
        if isinstance(event, Refused):
            record_id, name = f"{event.request_id}/refused", "usage.refused"
        else:
            name = "usage.opened" if isinstance(event, Opened) else "usage.settled"
            record_id = f"{event.request_id}/{event.attempt}/{name.removeprefix('usage.')}"
        self._journal.stage(record_id, name, self._clock.now_ns(), msgspec.json.encode(event))
        self._journal.flush()

    def close(self) -> None:
        """Give the journal up."""
        self._journal.close()
