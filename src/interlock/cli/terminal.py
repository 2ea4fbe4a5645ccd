"""`interlock shell`: this terminal, joined to one in a session's sandbox over a WebSocket."""

import contextlib
import os
import select
import signal
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import msgspec
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from interlock.cli.client import key_of, refusal, server_url
from interlock.cli.output import complain
from interlock.errors import LocalError, TransientError

LEAVE = b"\x1d"
"""Ctrl-]: leaves the shell running."""
CONNECT_S = 5.0


def shell(args: Any) -> int:
    """Until the shell ends or Ctrl-] is typed."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise LocalError("a shell needs a terminal; to run one command, have the agent do it", field="stdin")
    base = server_url(args)
    columns, rows = _size()
    where = (
        f"/v1/sessions/{quote(args.session, safe='')}/shells/{quote(args.name, safe='')}?columns={columns}&rows={rows}"
    )
    headers = {"Authorization": f"Bearer {key_of(args)}"}
    try:
        with connect(
            base.replace("http", "ws", 1) + where, additional_headers=headers, open_timeout=CONNECT_S, proxy=None
        ) as connection:
            left = _joined(connection)
    except InvalidStatus as error:
        raise refusal(base, error.response.status_code, bytes(error.response.body or b"")) from error
    except (OSError, WebSocketException) as error:
        raise TransientError(f"no shell at {base}: {error}") from error
    complain(f"left; `interlock shell {args.session} {args.name}` comes back" if left else "the shell has ended")
    return 0


def _joined(connection: ClientConnection) -> bool:
    """Whether it was left and still runs."""
    over = threading.Event()

    def show() -> None:
        with contextlib.suppress(ConnectionClosed):
            for frame in connection:
                os.write(sys.stdout.fileno(), frame if isinstance(frame, bytes) else frame.encode())
        over.set()

    thread = threading.Thread(target=show, name="interlock-shell", daemon=True)
    with _raw(), _resizing(connection):
        thread.start()
        while not over.is_set():
            ready, _, _ = select.select([sys.stdin], [], [], 0.1)
            if not ready:
                continue
            keys = os.read(sys.stdin.fileno(), 4096)
            if not keys or LEAVE in keys:
                return True
            with contextlib.suppress(ConnectionClosed):
                connection.send(keys)
    return False


def _size() -> tuple[int, int]:
    """(columns, rows); a terminal that does not know its own has 0 of them."""
    columns, rows = os.get_terminal_size()
    return columns or 80, rows or 24


@contextlib.contextmanager
def _raw() -> Iterator[None]:
    before = termios.tcgetattr(sys.stdin)
    tty.setraw(sys.stdin, termios.TCSADRAIN)  # what was typed already is for the shell
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _resizing(connection: ClientConnection) -> Iterator[None]:
    """A text frame tells the terminal's size, as it changes."""

    def tell(*_: object) -> None:
        columns, rows = _size()
        with contextlib.suppress(ConnectionClosed):
            connection.send(msgspec.json.encode({"columns": columns, "rows": rows}).decode())

    before = signal.signal(signal.SIGWINCH, tell)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)
