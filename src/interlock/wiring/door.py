"""The process that serves tools: `python -m interlock.wiring.door --data DIR --listen-fd N [--config F]`.

Started by the supervisor, and dies with it. It holds every credential of tool servers, so it is a process of its own:
neither workers nor the control side have them in memory. It looks for a new configuration by itself; one with mistakes
changes nothing.
"""

import argparse
import asyncio
import logging
import os
import resource
import socket
import sys
from collections.abc import Sequence
from pathlib import Path

import uvicorn
import uvloop

from interlock import config
from interlock.clock import SystemClock
from interlock.config import Watch
from interlock.datadir import DataDir
from interlock.door.app import make_app
from interlock.door.approvals import Approvals
from interlock.door.broker import Broker
from interlock.door.calls import Calls
from interlock.door.links import Links
from interlock.door.lists import Lists
from interlock.door.reach import Reach
from interlock.door.redaction import RedactingFormatter, Redactor
from interlock.door.sandbox import Sandboxes
from interlock.door.service import Door
from interlock.errors import ConfigError, InterlockError
from interlock.identity import Generation
from interlock.log.sqlite import SqliteLog

DRAIN_S = 5
SWEEP_S = 1.0
HEADER_BYTES_MAX = 64 * 1024
OPEN_FILES = 8192
"""For `links.LINKS_MAX` programs, and as many sessions as there may be."""
_LEVELS = {
    "uvicorn": logging.ERROR,
    "uvicorn.error": logging.ERROR,
    # What an upstream does wrong is told to who called it; a traceback each time would be its way to fill the disk.
    "mcp.client": logging.CRITICAL,
    "mcp.shared": logging.CRITICAL,
    "client": logging.CRITICAL,
    "httpx2": logging.CRITICAL,
    "httpcore2": logging.CRITICAL,
}


class Process:
    """The door and what it stands on."""

    def __init__(self, data: Path, config_path: Path | None) -> None:
        places, clock = DataDir(data), SystemClock()
        self._starts = places.door_starts
        self._data, self._path = data, config_path
        self._watch = Watch(config_path, clock) if config_path else None
        self._redactor = Redactor()
        self._broker = Broker(self._redactor, clock)
        self._log = SqliteLog(places.log)
        approvals = Approvals(self._log, Generation(data), clock)
        loop = asyncio.get_running_loop()
        links = Links(self._broker, Sandboxes(data), loop.time)
        self._reach = Reach(config.load(config_path, data=data).config.tools, links, loop.time)
        self._lists = Lists(self._reach, approvals)
        door = Door(self._reach, self._lists, Calls(self._reach, self._lists))
        self._app = make_app(door.server, self._reach)

    async def run(self, listening: socket.socket) -> None:
        """Serve until SIGTERM."""
        _log_to_stderr(self._redactor)
        self._starts.unlink(missing_ok=True)  # all that could keep it from serving is done
        server = uvicorn.Server(
            uvicorn.Config(
                self._app,
                http="h11",
                h11_max_incomplete_event_size=HEADER_BYTES_MAX,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=DRAIN_S,
            )
        )
        async with asyncio.TaskGroup() as tasks:
            sweeping = tasks.create_task(self._sweep_for_ever())
            await server.serve([listening])
            sweeping.cancel()
        self._log.close()

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            await self._reach.sweep()
            if self._watch is not None and self._watch.poll():
                await self._adopt()

    async def _adopt(self) -> None:
        try:
            loaded = await asyncio.to_thread(config.load, self._path, data=self._data)
        except ConfigError:
            return  # the control process says what is wrong with it
        if loaded.config.tools != self._reach.settings:
            await self._reach.adopt(loaded.config.tools)
            self._broker.forget()
            self._lists.forget()


def _log_to_stderr(redactor: Redactor) -> None:
    """Warnings and worse, of libraries too, without secrets."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(RedactingFormatter(redactor))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    for name, level in _LEVELS.items():
        logging.getLogger(name).setLevel(level)


def open_files() -> None:
    """Have as many descriptors as all connections take, where the usual 1,024 are not all that may be had.

    A program takes eight of them; without any left nobody else is served either.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM; the process's exit status."""
    parser = argparse.ArgumentParser(prog="python -m interlock.wiring.door")
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--listen-fd", type=int, required=True)
    args = parser.parse_args(argv)
    # As the runtime's: what sandboxes see must be readable to their users. Files of ours stand below the data
    # directory, which nobody else may enter.
    os.umask(0o022)
    open_files()

    async def run() -> None:
        await Process(args.data, args.config).run(socket.socket(fileno=args.listen_fd))

    try:
        uvloop.run(run())
    except ConfigError as error:
        print(*error.problems, sep="\n", file=sys.stderr)
        return 1
    except (InterlockError, OSError) as error:
        print(f"interlock: door: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
