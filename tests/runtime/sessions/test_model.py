"""SQLite against memory: any order of calls, by two processes that crash and open again, is answered alike."""

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.examples import at_least

from interlock.errors import LocalError
from interlock.log.verify import verify
from interlock.runtime.sessions import sqlite
from interlock.runtime.sessions.event import Event
from interlock.runtime.sessions.memory import MemoryStore
from interlock.runtime.sessions.ports import Lease, Standing, Status, Store
from interlock.runtime.sessions.sqlite import SqliteStore
from interlock.runtime.sessions.tables import Sync
from interlock.testing.clock import ManualClock
from interlock.testing.sessions_contract import SECOND, created, said

T = TypeVar("T")
SESSIONS = st.sampled_from(["ses_1", "ses_2", "ses_3", "ses_none"])
WHO = st.integers(0, 1)
STATUSES: list[Status] = ["idle", "runnable", "waiting"]
STANDINGS = st.builds(
    lambda status, detail, wake: Standing(
        status=status, detail=detail, wake_at_ns=1_700_000_000_000_000_000 + wake * SECOND if wake else None
    ),
    st.sampled_from(STATUSES),
    st.sampled_from(["", "done"]),
    st.integers(0, 30),
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


class Sessions(RuleBasedStateMachine):
    """Two stores on one file, and the oracle."""

    @initialize(sync=st.sampled_from(["process", "power"]))
    def begin(self, sync: Sync) -> None:
        self.runner = asyncio.Runner()
        self.clock, self.sync = ManualClock(), sync
        self.directory = Path(tempfile.mkdtemp(prefix="interlock-sessions-"))
        self.oracle = MemoryStore(self.clock)
        self.stores = [self._open(), self._open()]
        self.leases: list[Lease] = []
        self.written = 0

    def _open(self) -> SqliteStore:
        return SqliteStore(self.directory / "sessions.sqlite", self.clock, sync=self.sync)

    def _both(self, call: Any, who: int) -> Any:
        """The oracle's answer, which is the store's too."""
        answers = []
        for store in (self.oracle, self.stores[who]):
            answers.append(self._answer(call(store)))
        assert answers[0] == answers[1]
        return answers[0]

    def _answer(self, call: Coroutine[Any, Any, T]) -> T | str:
        async def bounded() -> T:
            async with asyncio.timeout(20):
                return await call

        try:
            return self.runner.run(bounded())
        except LocalError as error:
            return error.code

    @rule(session=SESSIONS, standing=STANDINGS, texts=st.lists(TEXTS, max_size=3), who=WHO)
    def create(self, session: str, standing: Standing, texts: list[str], who: int) -> None:
        if session != "ses_none":
            events: list[Event] = [created(), *(said(text) for text in texts)]
            tenant = "acme" if session == "ses_1" else "other"
            self._both(lambda store: store.create(session, tenant, "ann", events, standing), who)

    @rule(
        session=SESSIONS,
        texts=st.lists(TEXTS, max_size=4),
        standing=STANDINGS,
        off=st.sampled_from([0, 0, 0, 0, -1, 1]),
        pick=st.integers(-3, 5),
        who=WHO,
    )
    def append(self, session: str, texts: list[str], standing: Standing, off: int, pick: int, who: int) -> None:
        row = self._answer(self.oracle.row(session))
        head = row.head if row is not None and not isinstance(row, str) else 0
        leases = [lease for lease in self.leases if lease.session == session]
        lease = leases[-1 - pick] if 0 <= pick < len(leases) else None
        events = [said(text) for text in texts]
        self._both(lambda store: store.append(session, events, standing, expect=head + off, lease=lease), who)

    @rule(session=SESSIONS, owner=st.sampled_from(["a", "b"]), ttl_s=st.sampled_from([0, 5, 20]), who=WHO)
    def take(self, session: str, owner: str, ttl_s: int, who: int) -> None:
        lease = self._both(lambda store: store.take(session, owner, ttl_s=ttl_s), who)
        if isinstance(lease, Lease):
            self.leases.append(lease)

    @rule(pick=st.integers(0, 3), give_back=st.booleans(), who=WHO)
    def hold(self, pick: int, give_back: bool, who: int) -> None:
        if pick < len(self.leases):
            lease = self.leases[-1 - pick]
            self._both(lambda s: s.release(lease) if give_back else s.renew(lease, ttl_s=10), who)

    @rule(seconds=st.integers(1, 15))
    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds * SECOND)

    @rule(session=SESSIONS, after=st.integers(0, 6), limit=st.integers(1, 5), who=WHO)
    def read(self, session: str, after: int, limit: int, who: int) -> None:
        self._both(lambda store: store.events(session, after=after, limit=limit), who)
        self._both(lambda store: store.changed(session, after=after, wait_s=0), who)

    @rule(who=WHO, before=SESSIONS, tenant=st.sampled_from([None, "acme", "other"]), limit=st.integers(1, 3))
    def rows(self, who: int, before: str, tenant: str | None, limit: int) -> None:
        self._both(lambda store: store.rows(tenant, before=before, limit=limit), who)

    @rule(who=WHO, drops=st.booleans())
    def crash(self, who: int, drops: bool) -> None:
        """It is gone without closing; what it had been given to write and was not answered may stand or not."""
        gone = self.stores[who]
        if drops:
            gone._db.close()
            gone._closed = True
        else:
            self.runner.run(gone.close())
        self.stores[who] = self._open()

    @invariant()
    def the_files_hold_the_same(self) -> None:
        if not hasattr(self, "stores"):
            return
        for store in self.stores:
            assert self._everything(store) == self._everything(self.oracle)

    def _everything(self, store: Store) -> list[object]:
        async def all() -> list[object]:
            rows = await store.rows()
            return [sorted(await store.due()), rows, [await store.events(row.session) for row in rows]]

        return self.runner.run(all())

    def teardown(self) -> None:
        if hasattr(self, "stores"):
            assert all(not report.problems for report in verify(self.directory))
            for store in self.stores:
                self.runner.run(store.close())
            self.runner.close()
            shutil.rmtree(self.directory)


TestSessions = Sessions.TestCase
TestSessions.settings = settings(max_examples=at_least(60), stateful_step_count=25, deadline=None)


class SmallBatches(Sessions):
    """The same with everything done by the thread, and the WAL copied all the time."""

    @initialize(sync=st.sampled_from(["process", "power"]))
    def begin(self, sync: Sync) -> None:
        self.kept = sqlite.INLINE_BYTES_MAX, sqlite.WAL_BYTES
        sqlite.INLINE_BYTES_MAX, sqlite.WAL_BYTES = 0, 1
        super().begin(sync)

    def teardown(self) -> None:
        super().teardown()
        if hasattr(self, "kept"):
            sqlite.INLINE_BYTES_MAX, sqlite.WAL_BYTES = self.kept


TestSmallBatches = SmallBatches.TestCase
TestSmallBatches.settings = settings(max_examples=at_least(20), stateful_step_count=25, deadline=None)
