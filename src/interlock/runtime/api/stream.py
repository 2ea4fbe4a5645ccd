"""A session's events as server-sent events: its log from where the watcher is, then live, with what comes in between.

Each event once and in order, its number as the SSE id: a client that was cut off sends `last-event-id` and misses none.
Pieces of answers and outputs (`event: delta`) are in no log, and are lost to whoever is not there.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from interlock.answers import query
from interlock.errors import LocalError
from interlock.runtime.api.paths import SessionPaths, number
from interlock.runtime.api.shown import event_json
from interlock.runtime.brain.feed import Delta, Feed
from interlock.runtime.sessions.ports import Row, Store
from interlock.runtime.sessions.service import Sessions

BATCH, BATCH_BYTES = 500, 1 << 18
"""What is held for a client that does not read: there may be many."""
QUIET_S = 15.0
"""How long a stream may say nothing before it says that it is still there."""
_STILL = b": still here\n\n"
_END = b"event: end\ndata: {}\n\n"
_UNTIL = ("never", "idle")


class StreamPath:
    """GET /v1/sessions/ID/stream."""

    def __init__(self, paths: SessionPaths, sessions: Sessions, store: Store, feed: Feed) -> None:
        self._paths = paths
        self._sessions = sessions
        self._store = store
        self._feed = feed

    def route(self) -> Route:
        """Where it is answered."""
        return Route("/v1/sessions/{session}/stream", self.stream, methods=["GET"])

    async def stream(self, request: Request) -> Response:
        params = query(request, ("after", "until"))
        row = await self._paths.row(request)
        if seen := request.headers.get("last-event-id"):
            params["after"] = seen
        after = number(params, "after", 0, 10**15)
        until = params.get("until", "never")
        if until not in _UNTIL:
            raise LocalError(f"until is one of {', '.join(_UNTIL)}, not {until[:24]!r}", field="until")
        told = self._told(row, after, until_idle=until == "idle")
        return StreamingResponse(told, media_type="text/event-stream", headers={"cache-control": "no-store"})

    async def _told(self, row: Row, after: int, *, until_idle: bool) -> AsyncIterator[bytes]:
        with self._feed.watch(row.session) as watcher:
            pieces = watcher.deltas()
            piece: asyncio.Future[Delta] = asyncio.ensure_future(anext(pieces))
            grown: asyncio.Future[bool] | None = None
            try:
                while True:
                    while page := await self._page(row, after):
                        after, told = page
                        yield told
                    if until_idle and await self._is_idle(row, after):
                        yield _END
                        return
                    grown = asyncio.ensure_future(self._store.changed(row.session, after=after, wait_s=QUIET_S))
                    while not grown.done():
                        await asyncio.wait((grown, piece), return_when=asyncio.FIRST_COMPLETED)
                        if piece.done():
                            yield _delta(piece.result())
                            piece = asyncio.ensure_future(anext(pieces))
                    if not grown.result():
                        yield _STILL
            except StopAsyncIteration:  # there are too many watchers, and this is the oldest
                return
            finally:
                for waiting in (piece, grown):
                    if waiting is not None:
                        waiting.cancel()

    async def _page(self, row: Row, after: int) -> tuple[int, bytes] | None:
        """The next events, told, and the last one's number; None: there are no more."""
        found = await self._sessions.events(row.tenant, row.session, after=after, limit=BATCH, bytes_max=BATCH_BYTES)
        return (found[-1].seq, b"".join(_event(event_json(seen)) for seen in found)) if found else None

    async def _is_idle(self, row: Row, after: int) -> bool:
        row = await self._sessions.row(row.tenant, row.session)
        return row.standing.status == "idle" and row.head <= after


def _event(told: dict[str, Any]) -> bytes:
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (told["seq"], told["type"].encode(), msgspec.json.encode(told))


def _delta(delta: Delta) -> bytes:
    return b"event: delta\ndata: %s\n\n" % msgspec.json.encode(delta)
