"""A session's attempts, by the view."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

from tests.ledger.logs import SONNET, RepeatingLog, adopted, log_of, opened, record, run, settled

from interlock.ledger import Ledger
from interlock.ledger.attempts import attempts_of
from interlock.ledger.view import BATCH
from interlock.log import Stored

CONFIG = log_of(config=[adopted("sha256:1", {"sonnet": SONNET, "free": None})])


def test_a_session_s_attempts_are_its_own_open_and_settled(tmp_path: Path) -> None:
    mine = [
        record(opened("req_2", session="ses_1"), 20),
        record(opened("req_1", session="ses_1"), 10),
        record(settled("req_1", outcome="failed", usage={}), 30),
        record(opened("req_1", 2, session="ses_1"), 31),
        record(settled("req_1", 2), 40),
        record(opened("req_3", session="ses_1", deployment="free"), 50),
        record(settled("req_3"), 51),
    ]
    others = [
        record(opened("req_7", session="ses_2"), 10),
        record(opened("req_8", session="ses_1", tenant="other"), 10),
        record(opened("req_9", session="conv-1"), 10),
    ]
    ledger = Ledger(tmp_path / "ledger.sqlite")
    run(ledger.catch_up(log_of(usage_0=[*others, *mine]), CONFIG))
    found = ledger.attempts_of("acme", "ses_1", 0)
    assert [(one.id, one.at_ns, one.settled, one.outcome, one.amount_nanousd) for one in found] == [
        ("req_1/1", 10, True, "failed", 0),
        ("req_2/1", 20, False, "", None),
        ("req_1/2", 31, True, "completed", 105_000),
        ("req_3/1", 50, True, "completed", None),
    ]
    assert found[2].usage == {"input": 10, "output": 5} and found[2].model == "claude-sonnet"
    assert [one.id for one in ledger.attempts_of("acme", "ses_1", 31)] == ["req_1/2", "req_3/1"]
    assert ledger.attempts_of("acme", "conv-1", 0) == [], "only agents' sessions are asked for"
    ledger.close()


def test_none_is_seen_without_the_price_that_its_policy_has(tmp_path: Path) -> None:
    """One process has looked at `config`, a policy is adopted and used, and it folds the use: another that asks just
    then is told the amount, for what it writes down of it stays written."""
    told: list[int | None] = []

    class Config(RepeatingLog):
        async def head(self, stream: str) -> int:
            if stream == "adjustments":  # what was used is folded
                told.extend(one.amount_nanousd for one in asking.attempts_of("acme", "ses_1", 0))
            return await super().head(stream)

    class Usage(RepeatingLog):
        async def streams(self) -> list[str]:
            config.put("config", adopted("sha256:1", {"sonnet": SONNET}))
            self.put("usage/0", record(opened(session="ses_1")), record(settled()))
            return await super().streams()

    config = Config()
    folding, asking = Ledger(tmp_path / "ledger.sqlite"), Ledger(tmp_path / "ledger.sqlite")
    assert run(folding.catch_up(Usage(), config)) == 3
    assert told == [105_000]
    folding.close()
    asking.close()


def test_config_is_read_once_however_many_batches_are_folded(tmp_path: Path) -> None:
    """It is asked for its head before each: that is what a fold of usage may cost, on top of the usage."""
    reads: list[int] = []

    class Config(RepeatingLog):
        async def read(self, stream: str, *, after: int = 0) -> AsyncIterator[Stored]:
            reads.extend([after] if stream == "config" else [])
            async for stored in super().read(stream, after=after):
                yield stored

    config, usage = Config(), RepeatingLog()
    config.put("config", adopted("sha256:1", {"sonnet": SONNET}))
    for stream in range(3):
        usage.put(f"usage/{stream}", *(record(opened(f"req_{stream}_{n}")) for n in range(BATCH + 1)))
    with closing(Ledger(tmp_path / "ledger.sqlite")) as ledger:
        assert run(ledger.catch_up(usage, config)) == 3 * (BATCH + 1) + 1
        assert reads == [0]
        config.put("config", adopted("sha256:2", {"sonnet": SONNET}))
        usage.put("usage/0", record(opened("req_new")))
        assert run(ledger.catch_up(usage, config)) == 2
        assert reads == [0, 1]


def test_they_are_found_without_looking_at_others(tmp_path: Path) -> None:
    Ledger(tmp_path / "ledger.sqlite").close()
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as db:
        asked: list[str] = []
        db.set_trace_callback(asked.append)
        attempts_of(db, "acme", "ses_1", 5)
        plan = db.execute(f"EXPLAIN QUERY PLAN {asked[-1]}").fetchall()
    assert "entries_session (session=? AND at_ns>?)" in str(plan)
