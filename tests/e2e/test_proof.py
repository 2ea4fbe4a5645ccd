"""Events taken in while checkpoints are written, `kill -9` again and again, and then what is done to the files."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import msgspec
import pytest
from tests.e2e.configs import scripted
from tests.e2e.server import Server, run_cli, until
from tests.intake.events import document

KILLS = int(os.environ.get("INTERLOCK_TEST_KILLS", "4"))
BATCH = 50
EVENTS = "events/0"


class Sender(threading.Thread):
    """Sends batch after batch until it is told to stop, each until it is answered."""

    def __init__(self, server: Server, key: str, name: str) -> None:
        super().__init__(name=name)
        self._server, self._key = server, key
        self.answered = 0
        """Batches of which every event stands."""
        self.stopping = threading.Event()

    def run(self) -> None:
        while not self.stopping.is_set():
            events = [document(f"{self.name}-{self.answered}-{n}") for n in range(BATCH)]
            while not self._send(b"\n".join(map(msgspec.json.encode, events))):
                self.stopping.wait(0.02)
            self.answered += 1

    def _send(self, body: bytes) -> bool:
        connection = HTTPConnection("127.0.0.1", self._server.api_port, timeout=10)
        headers = {"content-type": "application/x-ndjson", "authorization": f"Bearer {self._key}"}
        try:
            connection.request("POST", "/v1/events", body, headers)
            answer = connection.getresponse()
            items = msgspec.json.decode(answer.read())["items"] if answer.status == 200 else []
        except (OSError, HTTPException, msgspec.DecodeError):
            return False
        finally:
            connection.close()
        return len(items) == BATCH and {item["result"] for item in items} <= {"counted", "duplicate"}


@contextmanager
def sending(*senders: Sender) -> Iterator[None]:
    for sender in senders:
        sender.start()
    try:
        yield
    finally:
        for sender in senders:
            sender.stopping.set()
        for sender in senders:
            sender.join(30)


def more_is_attested(server: Server, senders: list[Sender]) -> None:
    """Until more events are answered, and a checkpoint is written after that."""
    sent = sum(sender.answered for sender in senders)
    until(lambda: sum(sender.answered for sender in senders) > sent + 5, "events are counted")
    before = newest(server)
    until(lambda: newest(server) > before, "a checkpoint is written")


def newest(server: Server) -> int:
    return int(server.control("/v1/status")["checkpoint"] or 0)


def test_what_was_counted_is_proved_after_kills_and_no_change_stays_unseen(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", config=scripted(tmp_path / "interlock.toml", 9)).start()
    data, kept = ("--data", str(server.places.root)), tmp_path / "kept.json"
    try:
        key = server.issue("--scope", "events:write")[1]
        senders = [Sender(server, key, f"sender{n}") for n in range(3)]
        with sending(*senders):
            until(lambda: min(sender.answered for sender in senders) > 2, "events are counted")
            kept.write_text(server.cli("checkpoint").stdout)
            for _ in range(KILLS):
                more_is_attested(server, senders)
                server.kill()
                assert run_cli("verify", *data, "--checkpoint", str(kept)).returncode == 0
                server.start()
            done = server.cli("verify", "--checkpoint", str(kept))  # beside the load
            assert done.returncode == 0, done.stderr
            done = run_cli("rebuild", "--check", *data)
            assert done.returncode == 0, done.stderr
        total = BATCH * sum(sender.answered for sender in senders)
        assert server.stop() == 0
        bundle = export_and_verify(server, tmp_path, kept)
        manifest = msgspec.json.decode((bundle / "manifest.json").read_bytes())
        assert manifest["counts"]["events.counted"]["events"] == total > 0
        attested_to_the_end(data)
        for change, named in CHANGES:
            found_by_name(server, change, named, kept)
        assert run_cli("verify", *data, "--checkpoint", str(kept)).returncode == 0
    finally:
        server.kill()


def export_and_verify(server: Server, tmp_path: Path, kept: Path) -> Path:
    bundle = tmp_path / "bundle"
    done = run_cli(
        "export", "--data", str(server.places.root), "--tenant", "acme", "--period", "2026-11", "--output", str(bundle)
    )
    assert done.returncode == 0 and done.stderr == "", done.stderr
    public_key = server.places.checkpoint_pub.read_text().strip()
    command = [sys.executable, "-I", "-S", str(bundle / "verify.py"), "--key", public_key, "--checkpoint", str(kept)]
    judged = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert judged.returncode == 0, judged.stderr
    assert "of this same history" in judged.stdout
    return bundle


def attested_to_the_end(data: tuple[str, ...]) -> None:
    """An orderly stop leaves nothing that is not attested."""
    done = run_cli("verify", *data, "--format", "json")
    streams = msgspec.json.decode(done.stdout)["streams"]
    assert {one["stream"] for one in streams} == {"config", "identity", "checkpoints", EVENTS, "usage/0"}
    assert all(one["attested"] == one["head"] for one in streams if one["stream"] != "checkpoints")


Change = Callable[[list[bytes]], list[bytes]]


CHANGES: list[tuple[Change, str]] = [
    (
        lambda lines: [*lines[:5], lines[5].replace(b"tokens", b"tokenz", 1), *lines[6:]],
        "events/0 seq 6: length or CRC",
    ),
    (lambda lines: [*lines[:5], *lines[6:]], "events/0 seq 6: seq 7 stands where 6 belongs"),
    (lambda lines: [*lines[:5], lines[6], lines[5], *lines[7:]], "events/0 seq 6: seq 7 stands where 6 belongs"),
    (lambda lines: lines[:-1], "records were cut off"),
]


def found_by_name(server: Server, change: Change, named: str, kept: Path) -> None:
    path = server.places.journal / EVENTS / "00000001.seg"
    good = path.read_bytes()
    path.write_bytes(b"".join(change(good.splitlines(keepends=True))))
    try:
        done = run_cli("verify", "--data", str(server.places.root))
        assert done.returncode == 1 and named in done.stderr, done.stderr
        if "cut off" in named:
            return_to = server.places.journal / "checkpoints" / "00000001.seg"
            checkpoints = return_to.read_bytes()
            return_to.unlink()  # and the checkpoints with it
            path.write_bytes(b"".join(good.splitlines(keepends=True)[:2]))
            done = run_cli("verify", "--data", str(server.places.root), "--checkpoint", str(kept))
            return_to.write_bytes(checkpoints)
            assert done.returncode == 1 and "the checkpoint kept elsewhere attests" in done.stderr, done.stderr
    finally:
        path.write_bytes(good)


@pytest.mark.parametrize("stream", ["usage/0", EVENTS])
def test_a_server_on_a_log_that_was_cut_off_signs_nothing_and_says_so(tmp_path: Path, stream: str) -> None:
    server = Server(tmp_path / "data", config=scripted(tmp_path / "interlock.toml", 9)).start()
    try:
        assert server.stop() == 0
        before = (server.places.journal / "checkpoints" / "00000001.seg").read_bytes().count(b"checkpoint.signed")
        (server.places.journal / stream / "00000001.seg").write_bytes(b"")
        server.start()
        problem = until(lambda: server.control("/v1/status")["checkpoints_problem"], "it says so")
        assert stream in problem and "nothing more is signed" in problem
        done = server.cli("status")
        assert done.returncode == 1 and "checkpoints are not written" in done.stdout
        assert server.cli("checkpoint").returncode == 1
        after = (server.places.journal / "checkpoints" / "00000001.seg").read_bytes().count(b"checkpoint.signed")
        assert after == before
    finally:
        server.kill()
