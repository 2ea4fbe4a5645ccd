"""Starlette applications served by uvicorn as one of our processes does it: bounded, quiet, with our own signals."""

import logging
from collections.abc import Generator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

DRAIN_S = 5
"""How long answers under way may take once the process is told to stop."""
KEEP_ALIVE_S = 30
HEADER_BYTES_MAX = 32 * 1024
CONNECTIONS_MAX = 512
"""On one socket at once; more are told 503."""


class Server(uvicorn.Server):
    """uvicorn without signal handlers: several servers in one process share ours."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def make_server(app: ASGIApp) -> Server:
    """A server for sockets that the caller holds (`serve([socket])`); `should_exit` ends it."""
    logging.getLogger("uvicorn.error").addFilter(_is_ours)
    return Server(
        uvicorn.Config(
            app,
            http="h11",  # it bounds a request's head; uvicorn's other protocol does not
            h11_max_incomplete_event_size=HEADER_BYTES_MAX,
            log_level="error",  # a client that sends nonsense is not worth a line of ours
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=DRAIN_S,
            limit_concurrency=CONNECTIONS_MAX,
        )
    )


def _is_ours(record: logging.LogRecord) -> bool:
    """Not that an answer was left unfinished (one that another process broke off ends so, and the client sees it), nor
    that a handshake was (uvicorn says it of every refused WebSocket)."""
    return not record.getMessage().startswith("ASGI callable returned without completing")
