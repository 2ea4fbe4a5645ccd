"""The control process: `python -m interlock.control --data DIR --config F --api-fd N --control-fd M [--ready-fd R]`.

Both ports are sockets inherited from the supervisor, which watches this process as this process watches it.
It writes `1` to the ready descriptor once both ports answer. Exit status 1: the configuration has mistakes (on stderr).
"""

import argparse
import asyncio
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop

from interlock.asgi import Server, make_server
from interlock.clock import SystemClock
from interlock.control.app import api_app, control_app
from interlock.control.service import Control
from interlock.errors import ConfigError, InterlockError


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM; the process's exit status."""
    args = _arguments(argv)
    path = Path(args.config) if args.config else None
    try:
        control = Control(Path(args.data), path, SystemClock())
        try:
            return uvloop.run(_serve(control, args))
        finally:
            control.close()
    except ConfigError as error:
        print(*error.problems, sep="\n", file=sys.stderr)
    except (InterlockError, OSError) as error:
        print(f"interlock: {error}", file=sys.stderr)
    return 1


async def _serve(control: Control, args: argparse.Namespace) -> int:
    await control.start()
    if control.adoption.rejected:
        print("interlock: the configuration has mistakes; the last good one stays in force", file=sys.stderr)
        print(*control.adoption.rejected.problems, sep="\n", file=sys.stderr)
    servers = [make_server(api_app(control)), make_server(control_app(control))]
    sockets = [socket.socket(fileno=args.api_fd), socket.socket(fileno=args.control_fd)]
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, servers)
    loop.add_signal_handler(signal.SIGHUP, control.reload_soon)
    async with asyncio.TaskGroup() as group:
        background = group.create_task(control.run())
        serving = [group.create_task(server.serve([bound])) for server, bound in zip(servers, sockets, strict=True)]
        group.create_task(_say_ready(servers, args.ready_fd))
        await asyncio.wait(serving)
        background.cancel()
    return 0


def _stop(servers: Sequence[Server]) -> None:
    for server in servers:
        server.should_exit = True


async def _say_ready(servers: Sequence[Server], ready_fd: int | None) -> None:
    while not all(server.started for server in servers):  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.005)
    if ready_fd is not None:
        os.write(ready_fd, b"1")
        os.close(ready_fd)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m interlock.control")
    parser.add_argument("--data", required=True)
    parser.add_argument("--config")
    parser.add_argument("--api-fd", type=int, required=True)
    parser.add_argument("--control-fd", type=int, required=True)
    parser.add_argument("--ready-fd", type=int)
    return parser.parse_args(argv)
