"""Sessions as people use them: commands, and terminals on both sides."""

import contextlib
import os
import pty
import selectors
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.e2e.agents import House, inhabited
from tests.e2e.server import INTERLOCK
from websockets.exceptions import InvalidStatus
from websockets.sync.client import ClientConnection, connect

from interlock.client import Session


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with inhabited(tmp_path_factory.mktemp("agents")) as found:
        yield found


def terminal(house: House, session: Session, name: str = "main", key: str = "") -> ClientConnection:
    return connect(
        f"ws://127.0.0.1:{house.server.api_port}/v1/sessions/{session.id}/shells/{name}?columns=100&rows=30",
        additional_headers={"authorization": f"Bearer {key or house.keys['acme']}"},
        proxy=None,
    )


def interrupted(connection: ClientConnection) -> None:
    """Ctrl-C, until there is a prompt: the shell may not have come to what is to be interrupted."""
    for _ in range(20):
        connection.send(b"\x03")
        with contextlib.suppress(TimeoutError):
            found = b""
            while b"$ " not in found:
                frame = connection.recv(timeout=1)
                found += frame if isinstance(frame, bytes) else frame.encode()
            return
    raise AssertionError("it cannot be interrupted")


def heard(connection: ClientConnection, text: bytes) -> bytes:
    """What is heard until `text` is in it."""
    found = b""
    while text not in found:
        frame = connection.recv(timeout=20)
        found += frame if isinstance(frame, bytes) else frame.encode()
    return found


def test_a_terminal_is_found_again(house: House) -> None:
    session = house.acme.run("[hello]")
    with terminal(house, session) as one:
        one.send(b"stty size; x=$((20+22)); echo answer-$x; id -u\n")
        found = heard(one, b"answer-42")
        assert b"30 100" in found
        one.send('{"columns": 90, "rows": 20}')
        one.send(b"stty size\n")
        heard(one, b"20 90")
        one.send(b"echo $((1+1)) > from-shell; sleep 0.2; echo later-$x\n")
    with terminal(house, session) as two:
        assert b"answer-42" in heard(two, b"later-42"), "what was said before, and the shell's own variables"
        two.send(b"echo slee''ping; sleep 100\n")
        heard(two, b"sleeping")
        interrupted(two)
        two.send(b"echo still-$x\n")
        heard(two, b"still-42")
    assert session.read("from-shell") == b"2\n"
    with contextlib.ExitStack() as stack:
        for number in range(9):
            stack.enter_context(terminal(house, session, f"more-{number}"))
        with pytest.raises(InvalidStatus) as full:
            terminal(house, session, "too-many")
    assert full.value.response.status_code == 503 and b"busy" in bytes(full.value.response.body or b"")
    with pytest.raises(InvalidStatus) as refused:
        terminal(house, session, key=house.keys["other"])
    assert refused.value.response.status_code == 404


def cli(house: House, *args: str, key: str = "", input: str = "") -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "INTERLOCK_KEY": key or house.keys["acme"]}
    argv = [INTERLOCK, *args, "--api-url", house.url]
    return subprocess.run(argv, env=env, input=input, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_line(house: House, tmp_path: Path) -> None:
    (tmp_path / "note").write_text("for you\n")
    done = cli(
        house, "run", "[write]", "--mode", "accept-edits", "--allow", "shell(*)", "--put", f"{tmp_path}/note:in/note"
    )
    assert done.returncode == 0, done.stderr
    assert "I run it." in done.stdout and "* shell" in done.stdout and done.stdout.rstrip().endswith("done")
    waits = cli(house, "run", "[write]", "--format", "json")
    assert waits.returncode == 3
    events = [msgspec.json.decode(line) for line in waits.stdout.splitlines()]
    assert events[-1]["type"] == "approval.asked"
    listed = msgspec.json.decode(cli(house, "sessions", "list", "--format", "json").stdout)["sessions"]
    session = listed[0]["session"]
    assert listed[0]["status"] == "waiting" and session in cli(house, "approvals").stdout
    assert cli(house, "approve", session).stdout.startswith("approved: shell")
    attached = cli(house, "attach", session, "--until-idle")
    assert attached.returncode == 0 and "approved by k" in attached.stdout and "It is written." in attached.stdout
    again = cli(house, "approve", session)
    assert again.returncode == 1 and "approval_closed" in again.stderr and "Traceback" not in again.stderr
    assert cli(house, "sessions", "read", session, "here.txt").stdout == "written\n"
    assert cli(house, "sessions", "write", session, "new.txt", input="new").returncode == 0
    assert cli(house, "sessions", "read", session, "new.txt").stdout == "new"
    assert "reason" not in cli(house, "sessions", "show", session).stdout
    said = next(line for line in cli(house, "sessions", "events", session).stdout.splitlines() if "> [write]" in line)
    fork = cli(house, "sessions", "fork", session, "--at", said.split()[0]).stdout.strip()
    assert fork.startswith("ses_") and fork != session
    assert cli(house, "sessions", "cancel", fork).returncode == 0
    assert cli(house, "sessions", "budget", session, "--steps", "7", "--usd", "1.5").returncode == 0
    shown = msgspec.json.decode(cli(house, "sessions", "show", session, "--format", "json").stdout)
    assert (shown["budget"]["steps"], shown["budget"]["amount_nanousd"]) == (7, "1500000000")
    assert cli(house, "sessions", "show", "none").returncode == 1
    for wrong in (["run", "x", "--label", "novalue"], ["run", " "], ["sessions", "budget", session, "--usd", "much"]):
        assert cli(house, *wrong).returncode == 2


def test_a_person_at_the_terminal_is_asked_there(house: House) -> None:
    env = {"PATH": os.environ["PATH"], "TERM": "xterm", "INTERLOCK_KEY": house.keys["acme"]}
    outer, inner = pty.openpty()
    argv = [INTERLOCK, "run", "[write]", "--api-url", house.url]
    process = subprocess.Popen(argv, stdin=inner, stdout=inner, stderr=inner, env=env, start_new_session=True)
    os.close(inner)
    try:
        assert b"allow it?" in said(outer, b"allow it?")
        os.write(outer, b"y\n")
        assert b"It is written." in said(outer, b"It is written.")
        assert process.wait(20) == 0
    finally:
        process.kill()
        os.close(outer)


def test_a_shell_from_a_terminal(house: House) -> None:
    session = house.acme.run("[hello]")
    env = {"PATH": os.environ["PATH"], "TERM": "xterm", "INTERLOCK_KEY": house.keys["acme"]}
    outer, inner = pty.openpty()
    argv = [INTERLOCK, "shell", session.id, "--api-url", house.url]
    process = subprocess.Popen(argv, stdin=inner, stdout=inner, stderr=inner, env=env, start_new_session=True)
    os.close(inner)
    try:
        said(outer, b"$ ")
        os.write(outer, b"echo $((40+2))-there\n")
        said(outer, b"42-there")
        os.write(outer, b"\x1d")
        assert b"comes back" in said(outer, b"comes back")
        assert process.wait(20) == 0
    finally:
        process.kill()
        os.close(outer)


def said(descriptor: int, text: bytes) -> bytes:
    """What a terminal shows until `text` is in it."""
    found = b""
    while text not in found:
        with selectors.DefaultSelector() as waiting:
            waiting.register(descriptor, selectors.EVENT_READ)
            assert waiting.select(20), found
        with contextlib.suppress(OSError):
            piece = os.read(descriptor, 4096)
            assert piece, found
            found += piece
    return found


def test_ctrl_c_stops_watching_and_not_the_agent(house: House) -> None:
    env = {"PATH": os.environ["PATH"], "INTERLOCK_KEY": house.keys["acme"]}
    argv = [INTERLOCK, "run", "[long]", "--mode", "accept-edits", "--allow", "shell(*)", "--api-url", house.url]
    process = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("* shell"):
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert process.returncode == 130
    newest = house.acme.sessions(limit=1)[0]
    assert newest["status"] == "runnable"
    house.acme.session(newest["session"]).cancel("the test is over")
