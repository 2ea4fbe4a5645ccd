"""How the server's processes start, end, and keep to themselves: signals, ports, files and secrets."""

import contextlib
import fcntl
import os
import re
import signal
import socket
import stat
import threading
from http.client import HTTPConnection
from pathlib import Path

import pytest
from tests.e2e.calls import BROKEN, call
from tests.e2e.configs import Journals, scripted
from tests.e2e.server import Server, alive, provide_model, run_cli, running, until
from tests.e2e.upstream import upstream
from tests.gateway.rig import FORMATS, Answer

SECRET = "sk-upstream-0123456789abcdef"  # made up: what an operator's credential would be
ENDINGS = {"chat": b"[DONE]", "responses": b"response.completed", "messages": b"message_stop"}


class Later(threading.Thread):
    """A call made beside the test; `answer` joins."""

    def __init__(self, server: Server, marker: str, format: str) -> None:
        super().__init__()
        self._asked = (server.port, server.admin, marker, format)
        self.start()

    def run(self) -> None:
        with contextlib.suppress(*BROKEN):
            self._answer: Answer | None = None
            self._answer = call(*self._asked, stream=True)

    @property
    def answer(self) -> Answer:
        self.join(20)
        assert self._answer is not None, "the connection broke off"
        return self._answer


def refused(port: int) -> bool:
    """Whether a new connection is refused."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stream_that_runs_is_finished_before_the_end(tmp_path: Path, number: signal.Signals) -> None:
    with upstream(tmp_path / "upstream") as provider:
        config = scripted(tmp_path / "interlock.toml", provider.port)
        with running(tmp_path / "data", config=config, workers=2) as server:
            calls = {format: Later(server, f"held-{format}", format) for format in FORMATS}
            for format in FORMATS:
                provider.wait_for(f"held-{format}")
            pids = server.pids()
            server.process.send_signal(number)
            until(lambda: refused(server.port), "new connections are refused", 5.0)
            assert server.process.poll() is None
            provider.gate.touch()
            for format, later in calls.items():
                answer = later.answer
                assert answer.complete and ENDINGS[format] in answer.body and b'"error"' not in answer.body
            assert server.process.wait(20) == 0
            assert not any(map(alive, pids.values()))
    journals = Journals(server.places.journal)
    journals.check()
    assert [found[0].outcome for found in journals.settled.values()] == ["completed"] * len(FORMATS)


def test_the_end_does_not_wait_for_the_idle_or_long_for_the_slow(tmp_path: Path) -> None:
    """A request that has begun to arrive may arrive, within the limit that holds for it in any case."""
    config = scripted(tmp_path / "interlock.toml", 9, more="[limits]\nheader_s = 0.5\n")
    with running(tmp_path / "data", config=config) as server, contextlib.ExitStack() as clients:
        for started in (b"", b"", b"", b"POST /v1/messages HT"):
            client = clients.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
            client.sendall(started)
        assert server.stop(seconds=8) == 0


def listeners(pid: int) -> set[str]:
    """Local addresses on which a process listens, as `127.0.0.1:8080`."""
    found = set()
    inodes = _descriptors(pid)
    for table, width in (("tcp", 8), ("tcp6", 32)):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                address, port = fields[1].split(":")
                host = socket.inet_ntoa(bytes.fromhex(address)[::-1]) if width == 8 else address
                found.add(f"{host}:{int(port, 16)}")
    return found


def _descriptors(pid: int) -> set[str]:
    found = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed since the directory was read
            found.add(str(descriptor.readlink()))
    return found


def test_everything_is_as_private_as_it_should_be(tmp_path: Path) -> None:
    """Loopback only, files of the owner alone, and no secret where others could read it."""
    provide_model(tmp_path / "data")
    with upstream(tmp_path / "upstream") as provider:
        config = scripted(
            tmp_path / "interlock.toml", provider.port, deployment='credential = { env = "UPSTREAM_KEY" }'
        )
        text = config.read_text().replace("[tiers]", '[deployments.local]\nprovider = "local"\n\n[tiers]')
        config.write_text(text.replace('["scripted"]', '["scripted", "local"]'))
        with running(tmp_path / "data", config=config, workers=2, env={"UPSTREAM_KEY": SECRET}) as server:
            until(lambda: "local" in server.pids(), "the local model runs")
            _, key = server.issue()
            for format in FORMATS:
                for stream in (False, True):
                    assert call(server.port, key, f"s-{format}-{stream}", format, stream=stream).status == 200
            assert call(server.port, "ilk_wrong" + key[9:], "never").status == 401
            assert {seen.authorization for seen in provider.seen()} == {f"bearer {SECRET}"}  # and not the client's key
            pids = until(lambda: server.pids() if "runtime" in server.pids() else None, "agents can run")
            assert pids.keys() == {"supervisor", "control", "local", "runtime", "worker-0", "worker-1"}
            places = set.union(*map(listeners, pids.values()))
            assert {place.rpartition(":")[0] for place in places} == {"127.0.0.1"}
            assert {f"127.0.0.1:{p}" for p in (server.port, server.api_port, server.control_port)} <= places
            model_key = _environment_of(pids["local"])["INTERLOCK_LOCAL_KEY"]
            secrets = {"admin": server.admin, "key": key, "upstream": SECRET, "model": model_key}
            for name, secret in secrets.items():
                for process, pid in pids.items():
                    assert secret not in Path(f"/proc/{pid}/cmdline").read_text(), (name, process)
            listing = server.cli("keys", "list", "--format", "json").stdout + server.cli("config", "show").stdout
            metrics = _get(server, "/metrics")
            _check_files(server, secrets)
            assert server.stop() == 0
        _check_files(server, secrets)
        for name, secret in secrets.items():
            assert secret not in server.said + listing + metrics, name


def _environment_of(pid: int) -> dict[str, str]:
    pairs = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(pair.split("=", 1) for pair in pairs if "=" in pair)


def _get(server: Server, path: str) -> str:
    with contextlib.closing(HTTPConnection("127.0.0.1", server.control_port, timeout=10)) as connection:
        connection.request("GET", path)
        return connection.getresponse().read().decode()


def _check_files(server: Server, secrets: dict[str, str]) -> None:
    places = server.places
    assert stat.S_IMODE(places.admin_key.stat().st_mode) == 0o600
    for private in (places.run, places.journal, places.ledger.parent):
        assert stat.S_IMODE(private.stat().st_mode) == 0o700, private
    for path in places.root.rglob("*"):
        if path.is_file() and path.suffix != ".gguf":
            content = path.read_bytes()
            found = [name for name, secret in secrets.items() if secret.encode() in content]
            assert found == (["admin"] if path == places.admin_key else []), path


def test_a_second_server_on_a_data_directory_is_refused(tmp_path: Path) -> None:
    with upstream(tmp_path / "upstream") as provider:
        config = scripted(tmp_path / "interlock.toml", provider.port)
        with running(tmp_path / "data", config=config) as server:
            before = server.pids()
            second = Server(tmp_path / "data", config=config).start(ready=False)
            assert second.process.wait(15) == 1
            assert "another server runs on" in server.said and "Traceback" not in server.said
            assert server.pids() == before
            assert call(server.port, server.admin, "a").status == 200


@pytest.mark.parametrize("taken", ["--port", "--api-port", "--control-port"])
def test_a_port_in_use_is_named(tmp_path: Path, taken: str) -> None:
    config = scripted(tmp_path / "interlock.toml", 9)
    server = Server(tmp_path / "data", config=config)
    argv = server.argv()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        argv[argv.index(taken) + 1] = port
        done = run_cli(*argv[1:], seconds=15)
    assert done.returncode == 1
    assert re.search(rf"^interlock: {taken}: cannot listen on 127\.0\.0\.1:{port}: ", done.stderr, re.MULTILINE)
    assert "Traceback" not in done.stderr
    assert server.pids() == {}


def test_a_port_in_use_is_told_before_a_model_is_fetched(tmp_path: Path) -> None:
    """Which takes minutes. There is nowhere to fetch from here: it would be said."""
    server = Server(tmp_path / "data")
    argv = server.argv()
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:1/", "PIP_RETRIES": "0", "PIP_CONFIG_FILE": os.devnull}
    with socket.create_server(("127.0.0.1", 0)) as other:
        argv[argv.index("--api-port") + 1] = str(other.getsockname()[1])
        done = run_cli(*argv[1:], env=nowhere)
    assert done.returncode == 1
    assert "--api-port: cannot listen on" in done.stderr and "give it another" in done.stderr
    assert "fetching" not in done.stdout + done.stderr


def test_nothing_of_the_directory_it_starts_in_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    here.mkdir()
    for name in ("json", "msgspec", "uvloop", "starlette", "mcp"):
        (here / f"{name}.py").write_text(
            "import pathlib\npathlib.Path(__file__).with_suffix('.ran').touch()\nraise SystemExit(9)\n"
        )
    monkeypatch.chdir(here)
    with running(tmp_path / "data", config=scripted(tmp_path / "interlock.toml", 9)) as server:
        assert "ended" not in server.said
    assert not list(here.glob("*.ran"))


def outcomes(server: Server) -> dict[str, str]:
    """By session, as the running server says."""
    rows = server.json("usage", "--by", "session,outcome")["rows"]
    return {row["dimensions"]["session"]: row["dimensions"]["outcome"] for row in rows}


def test_each_process_comes_back_and_what_it_left_open_is_settled(tmp_path: Path) -> None:
    with upstream(tmp_path / "upstream") as provider:
        config = scripted(tmp_path / "interlock.toml", provider.port)
        with running(tmp_path / "data", config=config, workers=2) as server:
            held = Later(server, "held-1", "chat")
            provider.wait_for("held-1")
            before = until(lambda: server.pids() if "runtime" in server.pids() else None, "agents can run")
            for name in ("control", "runtime", "worker-0", "worker-1"):
                os.kill(before[name], signal.SIGKILL)
            held.join(10)
            until(lambda: not {before[n] for n in before if n != "supervisor"} & set(server.pids().values()), "all new")
            server.wait_ready()
            assert server.pids()["supervisor"] == before["supervisor"]
            assert call(server.port, server.admin, "a").status == 200
            assert outcomes(server) == {"held-1": "lost", "a": "completed"}
            held = Later(server, "held-2", "messages")
            provider.wait_for("held-2")
            server.kill()
            held.join(10)
            server.start()
            assert outcomes(server) == {"held-1": "lost", "held-2": "lost", "a": "completed"}
            assert server.cli("verify").returncode == 0
            assert server.stop() == 0


def test_a_journal_that_cannot_be_settled_keeps_one_worker_down(tmp_path: Path) -> None:
    with upstream(tmp_path / "upstream") as provider:
        config = scripted(tmp_path / "interlock.toml", provider.port)
        with running(tmp_path / "data", config=config, workers=2) as server:
            before = server.pids()
            lock = os.open(tmp_path / "data" / "journal" / "usage" / "1" / "lock", os.O_RDWR)
            os.kill(before["worker-1"], signal.SIGKILL)
            fcntl.flock(lock, fcntl.LOCK_EX)  # granted when the worker is gone
            until(lambda: "cannot be settled" in server.said, "the supervisor to say so")
            assert call(server.port, server.admin, "a").status == 200
            assert server.pids()["supervisor"] == before["supervisor"]
            os.close(lock)
            until(lambda: server.pids().get("worker-1", before["worker-1"]) != before["worker-1"], "the worker")
            assert server.stop() == 0


def test_a_killed_supervisor_leaves_nobody(tmp_path: Path) -> None:
    """The local model, which others started, too; and the next start needs no help."""
    provide_model(tmp_path / "data")
    with running(tmp_path / "data", workers=2) as server:
        pids = until(lambda: server.pids() if "local" in server.pids() else None, "the model's process")
        server.kill()
        assert not any(map(alive, pids.values()))
        server.start()
        assert server.json("status")["workers"] == [{"worker": "0", "up": True}, {"worker": "1", "up": True}]


def test_the_exit_status_says_what_happened() -> None:
    done = run_cli("--version")
    assert done.returncode == 0 and done.stdout.startswith("interlock ")
    for wrong in ("serve --port high", "serve --workers 0", "serve --nonsense", "usage --by x"):
        assert run_cli(*wrong.split()).returncode == 2, wrong
    gone = run_cli("usage", "--format", "json", env={"INTERLOCK_URL": "http://127.0.0.1:9", "INTERLOCK_KEY": "ilk_x"})
    assert gone.returncode == 1 and "no server at" in gone.stderr and gone.stdout == ""


def test_workers_load_nothing_of_the_ledgers(tmp_path: Path) -> None:
    """What questions and indexes need is large, and none of a worker's business: its memory and start are the price."""
    with upstream(tmp_path / "upstream") as provider:
        config = scripted(tmp_path / "interlock.toml", provider.port)
        with running(tmp_path / "data", config=config) as server:
            assert call(server.port, server.admin, "plain", "chat").complete
            maps = Path(f"/proc/{server.pids()['worker-0']}/maps").read_text()
            control = Path(f"/proc/{server.pids()['control']}/maps")
            until(lambda: "duckdb" in control.read_text(), "the control process has it")
    assert "uvloop" in maps
    assert not [name for name in ("duckdb", "numpy", "obstore", "cryptography") if name in maps]
