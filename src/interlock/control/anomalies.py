"""Anomalies as records: the control process looks every ten seconds at what was settled, and writes what it finds.

A record is durable before anybody is told of it. It looks at moments that are whole ten seconds, each a little after it
has passed, so that what it finds does not hang on how the fold was cut. After a start the window is read from the
ledger once, and what earlier processes found from the log, so nothing is found twice.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from interlock.answers import json, query
from interlock.clock import Clock
from interlock.control.views import WINDOW, window
from interlock.errors import LocalError, TransientError
from interlock.identity import Key
from interlock.instants import rfc3339
from interlock.ledger import HOUR_NS, KINDS_OF_ANOMALY, Found, Ledger, Watch, Watching
from interlock.limits import Notice
from interlock.log import Conflict, Log, Record
from interlock.units import usd

STREAM = "anomalies"
TYPE = "anomaly.found"
LOOK_NS = 10_000_000_000
GRACE_NS = 1_000_000_000
"""How long a record may take to the journal and be folded all the same."""
KEPT_MAX = 10_000
"""The newest ones, for who asks."""
ROWS_MAX = 1_000


class Anomalies:
    """The stream, and what is told of it. One task looks; questions may come beside it."""

    def __init__(self, ledger: Ledger, log: Log, clock: Clock, notify: Callable[[Notice], None]) -> None:
        """`notify` is told of each, once it is written; it must not block."""
        self._ledger, self._log, self._clock, self._notify = ledger, log, clock, notify
        self._watch = Watch(Watching(enabled=False))
        self._head = 0
        self._looked_ns = 0
        """Up to where spends are in the watch; 0: nowhere yet."""
        self._kept: deque[Found] = deque(maxlen=KEPT_MAX)
        self.counts: Counter[str] = Counter()
        """Found by this process, by kind."""

    @property
    def unwatched(self) -> int:
        """Costs for which there was no room."""
        return self._watch.unwatched

    async def take_up(self) -> None:
        """Read what was found before, by whom ever. Raises: InterlockError: the log cannot be read."""
        async for stored in self._log.read(STREAM, after=self._head):
            self._head = stored.seq
            if stored.record.type == TYPE:
                self._take(msgspec.json.decode(stored.record.payload, type=Found))

    def configure(self, watching: Watching) -> None:
        """Look by that from now on; the window is read again if it is another."""
        if watching != self._watch.watching:
            self._begin(watching)

    def _begin(self, watching: Watching) -> None:
        self._watch, self._looked_ns = Watch(watching), 0
        for found in self._kept:
            self._watch.tell(found)

    async def look(self, folded_ns: int) -> list[Found]:
        """Write what is new, if a moment to look at has passed. What was found.

        Args:
            folded_ns: when the last fold began: what was settled a little before then is in the ledger.
        Raises: InterlockError: it cannot be written, or read; the next look finds it again.
        """
        until_ns = (folded_ns - GRACE_NS) // LOOK_NS * LOOK_NS
        watch = self._watch
        if not watch.watching.enabled or until_ns <= self._looked_ns:
            return []
        try:
            return await self._look(watch, until_ns)
        except BaseException:
            if self._watch is watch:
                self._begin(watch.watching)  # it holds part of what was to be added, or takes for told what is not
            raise

    async def _look(self, watch: Watch, until_ns: int) -> list[Found]:
        """Nothing is found if it is configured meanwhile: the next look begins anew."""
        if not self._looked_ns:
            await self.take_up()  # also what was written, and was not answered for
        since_ns = self._looked_ns or watch.since_ns(until_ns)
        while since_ns < until_ns:  # by the hour: after a start there is a whole window to read
            upto_ns = min((since_ns // HOUR_NS + 1) * HOUR_NS, until_ns)
            watch.add(await asyncio.to_thread(self._ledger.spends, since_ns, upto_ns))
            if self._watch is not watch:
                return []
            since_ns = upto_ns
        self._looked_ns = until_ns
        found = await asyncio.to_thread(watch.look, until_ns)
        if self._watch is not watch:
            return []
        if found:
            await self._write(found)
        return found

    async def _write(self, found: list[Found]) -> None:
        now_ns = self._clock.now_ns()
        records = [
            Record(id=one.id, type=TYPE, at_ns=now_ns, payload=msgspec.json.encode(one, order="deterministic"))
            for one in found
        ]
        outcome = await self._log.append(STREAM, records)
        if isinstance(outcome, Conflict):
            raise TransientError("an anomaly was written by another process with other figures", code="conflict")
        self._head = outcome.head
        for one in found:
            self._kept.append(one)
            self.counts[one.kind] += 1
            self._notify(notice(one, now_ns))

    def _take(self, found: Found) -> None:
        self._kept.append(found)
        self._watch.tell(found)

    def newest(self, tenant: str | None, since_ns: int | None, until_ns: int | None, kind: str | None) -> list[Found]:
        """The latest first."""
        return [
            one
            for one in reversed(self._kept)
            if tenant in (None, one.tenant)
            and kind in (None, one.kind)
            and (since_ns is None or one.until_ns >= since_ns)
            and (until_ns is None or one.until_ns < until_ns)
        ]


class AnomalyPaths:
    """GET /v1/anomalies of one port."""

    def __init__(
        self, anomalies: Anomalies, clock: Clock, known: Callable[[str], Awaitable[str]], *, own: bool
    ) -> None:
        """`known`: as `Control.known`. `own`: only the asking key's tenant's are shown."""
        self._anomalies, self._clock, self._known, self._own = anomalies, clock, known, own

    async def show(self, request: Request) -> Response:
        """`{"anomalies": […], "more"}`, the latest first."""
        params = query(request, ("kind", *WINDOW) if self._own else ("kind", *WINDOW, "tenant"))
        key: Key = request.state.key
        kind = params.get("kind")
        if kind is not None and kind not in KINDS_OF_ANOMALY:
            raise LocalError(f"{kind[:40]!r} is not one of {', '.join(KINDS_OF_ANOMALY)}", field="kind")
        tenant = key.tenant if self._own else await self._known(params["tenant"]) if "tenant" in params else None
        found = self._anomalies.newest(tenant, *window(params, self._clock), kind)
        return json({"anomalies": [shown(one) for one in found[:ROWS_MAX]], "more": max(len(found) - ROWS_MAX, 0)})


def shown(found: Found) -> dict[str, Any]:
    """As API JSON: money in dollars, as strings."""
    return {
        "id": found.id,
        "kind": found.kind,
        "tenant": found.tenant,
        "team": found.team,
        "mode": found.mode,
        "name": found.name,
        "times": found.times,
        "cost": usd(found.cost_nanousd),
        "median": usd(found.median_nanousd),
        "peers": found.peers,
        "since": rfc3339(found.since_ns),
        "until": rfc3339(found.until_ns),
        "factor": found.factor,
        "floor": usd(found.floor_nanousd),
    }


def notice(found: Found, at_ns: int) -> Notice:
    """What the webhook is told, in the shape of limits' warnings."""
    body = {"type": TYPE, "timestamp": rfc3339(at_ns), "data": shown(found)}
    return Notice(id=found.id, content=msgspec.json.encode(body))
