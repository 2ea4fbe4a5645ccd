"""The fold: exactly once, whatever is delivered when, and the same whichever way it came about."""

import asyncio
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ledger.logs import MINI, SONNET, RepeatingLog, adopted, log_of, opened, record, refused, run, settled

from interlock.errors import InterlockError, TransientError
from interlock.ledger import Ledger, Price, folding, lost_record, view
from interlock.log import Log, Record, Stored
from interlock.log.memory import MemoryLog

CONFIG = log_of(config=[adopted("sha256:1", {"sonnet": SONNET, "mini": MINI}, "sonnet")])


def folded(path: Path, usage: Log, config: Log = CONFIG) -> Ledger:
    ledger = Ledger(path / "ledger.sqlite")
    run(ledger.catch_up(usage, config))
    return ledger


def amount(ledger: Ledger) -> int | None:
    return ledger.usage()[0].amount_nanousd


def test_an_attempt_is_open_then_settled(tmp_path: Path) -> None:
    log = log_of(usage_0=[record(opened(), 5)])
    ledger = folded(tmp_path, log)
    (row,) = ledger.usage()
    assert (row.requests, row.attempts, row.open, row.input, row.amount_nanousd, row.unpriced) == (1, 1, 1, 0, 0, 0)
    log.put("usage/0", record(settled(), 9))
    assert run(ledger.catch_up(log, CONFIG)) == 1
    (row,) = ledger.usage()
    assert (row.requests, row.attempts, row.open, row.input, row.output) == (1, 1, 0, 10, 5)
    assert row.amount_nanousd == 10 * 3_000 + 5 * 15_000
    assert run(ledger.catch_up(log, CONFIG)) == 0
    ledger.close()


def test_memory_log(tmp_path: Path) -> None:
    async def fold() -> int:
        usage, config = MemoryLog(), MemoryLog()
        await config.append("config", [adopted("sha256:1", {"sonnet": SONNET})])
        await usage.append("usage/0", [record(opened()), record(settled())])
        await usage.append("elsewhere/0", [record(opened("req_2"))])
        return await ledger.catch_up(usage, config) + await ledger.catch_up(usage, config)

    ledger = Ledger(tmp_path / "views" / "ledger.sqlite")
    assert run(fold()) == 3
    assert amount(ledger) == 105_000
    ledger.close()


def test_the_same_record_again_counts_once(tmp_path: Path) -> None:
    log = log_of(usage_0=[record(opened()), record(opened(), 2), record(settled()), record(settled(), 7)])
    log.put("usage/1", record(settled(), 8))
    ledger = folded(tmp_path, log)
    assert (amount(ledger), ledger.counts().duplicates, ledger.counts().conflicts) == (105_000, 3, 0)
    ledger.close()


def test_another_settlement_is_ignored_and_counted(tmp_path: Path) -> None:
    log = log_of(usage_0=[record(opened()), record(settled()), lost_record(opened(), 9)])
    ledger = folded(tmp_path, log)
    (row,) = ledger.usage(["outcome"])
    assert (row.dimensions, row.attempts, row.amount_nanousd) == ({"outcome": "completed"}, 1, 105_000)
    assert (ledger.counts().duplicates, ledger.counts().conflicts) == (0, 1)
    ledger.close()


def test_a_settlement_waits_for_its_opening(tmp_path: Path) -> None:
    log = log_of(usage_0=[record(settled())])
    ledger = folded(tmp_path, log)
    assert (ledger.counts().attempts, ledger.counts().waiting) == (0, 1)
    log.put("usage/1", record(opened()))
    run(ledger.catch_up(log, CONFIG))
    assert (ledger.counts().attempts, ledger.counts().waiting, amount(ledger)) == (1, 0, 105_000)
    ledger.close()


def test_an_unknown_policy_is_unpriced_until_it_is_known(tmp_path: Path) -> None:
    log = log_of(usage_0=[record(opened(policy="sha256:2")), record(settled()), record(opened("req_2"))])
    config = log_of(config=[adopted("sha256:1", {"sonnet": SONNET})])
    ledger = folded(tmp_path, log, config)
    assert (amount(ledger), ledger.counts().unpriced) == (None, 1)
    explained = ledger.explain("req_1")
    assert explained and explained.attempts[0].entry
    assert explained.attempts[0].entry.amount.unpriced == "policy_unknown"
    config.put(
        "config", Record(id="x", type="key.issued", at_ns=1, payload=b"{}"), adopted("sha256:2", {"sonnet": MINI})
    )
    run(ledger.catch_up(log, config))
    assert (amount(ledger), ledger.counts().unpriced) == (10 * 150 + 5 * 600, 0)
    ledger.close()


def test_a_policy_adopted_between_the_looks_is_seen(tmp_path: Path) -> None:
    """It stood in `config` before it was used, so whoever saw the use must see it too."""

    class Adopting(RepeatingLog):
        async def streams(self) -> list[str]:
            config.put("config", adopted("sha256:1", {"sonnet": SONNET}))
            return await super().streams()

    log, config = Adopting(), RepeatingLog()
    log.put("usage/0", record(opened()), record(settled()))
    ledger = folded(tmp_path, log, config)
    assert amount(ledger) == 105_000
    ledger.close()


@pytest.mark.parametrize(("prices", "why"), [({"mini": MINI}, "deployment_unknown"), ({"sonnet": None}, "no_price")])
def test_why_there_is_no_amount(tmp_path: Path, prices: dict[str, Price | None], why: str) -> None:
    log = log_of(usage_0=[record(opened()), record(settled())])
    ledger = folded(tmp_path, log, log_of(config=[adopted("sha256:1", prices)]))
    explained = ledger.explain("req_1")
    assert explained and explained.attempts[0].entry
    assert explained.attempts[0].entry.amount.unpriced == why
    assert amount(ledger) is None
    ledger.close()


FOREIGN = Record(id="j", type="journal.opened", at_ns=1, payload=b'{"epoch":1}')
UNREADABLE = [
    Record(id="a", type="usage.corrected", at_ns=1, payload=b"{}"),
    Record(id="b", type="usage.opened", at_ns=1, payload=b"["),
    Record(id="c", type="usage.settled", at_ns=1, payload=b'{"request_id":"\xff"}'),
    Record(id="d", type="usage.settled", at_ns=1, payload=b'{"raw":' + b"[" * 100_000),
    Record(id="e", type="usage.opened", at_ns=1, payload=record(opened("later")).payload, schema=2),
    Record(id="f", type="usage.opened", at_ns=1 << 63, payload=record(opened("late")).payload),
    Record(id="g", type="usage.opened", at_ns=1, payload=record(opened(attempt=0)).payload),
    Record(id="h", type="usage.opened", at_ns=1, payload=record(opened(attempt=1 << 63)).payload),
]


def test_what_cannot_be_read_is_counted_and_stops_nothing(tmp_path: Path) -> None:
    log = log_of(usage_0=[FOREIGN, *UNREADABLE, record(opened()), record(settled())])
    config = log_of(config=[Record(id="x", type="policy.adopted", at_ns=1, payload=b"{}"), *CONFIG_RECORDS])
    ledger = folded(tmp_path, log, config)
    assert ledger.counts().unread == len(UNREADABLE) + 1
    assert amount(ledger) == 105_000
    ledger.close()


CONFIG_RECORDS = [stored.record for stored in CONFIG.rows["config"]]


def test_figures_beyond_reason_are_held(tmp_path: Path) -> None:
    log = log_of(usage_0=[record(opened()), record(settled(usage={"input": 10**40, "output": -7}))])
    ledger = folded(tmp_path, log)
    assert (ledger.counts().inconsistent, ledger.usage()[0].input) == (1, 10**12)
    ledger.close()


def test_a_cost_that_came_to_nothing_leaves_no_trace(tmp_path: Path) -> None:
    """The settlement that stands comes after another one had been counted in its place."""
    whole = log_of(
        usage_0=[record(opened()), record(settled(usage={"input": 0}))], usage_1=[record(settled(usage={"input": 1}))]
    )
    ledger = folded(tmp_path, whole.cut({"usage/0": 1, "usage/1": 1}))
    assert ledger.cost_nanousd() == 3_000
    run(ledger.catch_up(whole, CONFIG))
    assert ledger.cost_nanousd() == 0
    piecemeal = ledger.dump()
    run(ledger.rebuild(whole, CONFIG))
    assert piecemeal == ledger.dump()
    ledger.close()


# Any history, delivered anyhow.

REQUESTS = st.integers(1, 4).map(lambda n: f"req_{n}")
ATTEMPTS = st.tuples(REQUESTS, st.integers(1, 2))
USAGE = st.fixed_dictionaries({"input": st.integers(0, 9), "output": st.integers(0, 9)})
OPENINGS = st.builds(
    lambda key, policy, at_ns: record(opened(*key, policy=f"sha256:{policy}", tenant=f"t{key[0]}"), at_ns),
    ATTEMPTS,
    st.sampled_from([1, 2]),
    st.integers(0, 50),
)
SETTLEMENTS = st.builds(
    lambda key, usage, at_ns: record(settled(*key, usage=usage), at_ns), ATTEMPTS, USAGE, st.integers(0, 50)
)
RECORDS = st.one_of(
    OPENINGS, SETTLEMENTS, REQUESTS.map(lambda name: record(refused(name))), st.sampled_from(UNREADABLE)
)
HISTORIES = st.fixed_dictionaries(
    {
        f"usage/{n}": st.lists(st.one_of(RECORDS, st.sampled_from([record(opened()), record(settled())])))
        for n in (0, 1, 10)
    }
)


def written(history: dict[str, list[Record]]) -> RepeatingLog:
    log = RepeatingLog()
    for stream, records in history.items():
        log.put(stream, *records)
    return log


def expected_rows(log: RepeatingLog) -> dict[tuple[str, int], tuple[int, str, int]]:
    """What stands, the slow way: the lowest opening and settlement of each attempt."""
    first: dict[tuple[str, int, str], Stored] = {}
    for stored in sorted((s for rows in log.rows.values() for s in rows), key=lambda s: (s.stream, s.seq)):
        if stored.record not in UNREADABLE and stored.record.type != "usage.refused":
            body = msgspec.json.decode(stored.record.payload)
            first.setdefault((body["request_id"], body["attempt"], stored.record.type), stored)
    rows = {}
    for (request, attempt, kind), stored in first.items():
        if kind == "usage.opened":
            settlement = first.get((request, attempt, "usage.settled"))
            usage = msgspec.json.decode(settlement.record.payload)["usage"] if settlement else {}
            tokens = usage.get("input", 0) * 100 + usage.get("output", 0)
            rows[request, attempt] = (stored.record.at_ns, "settled" if settlement else "open", tokens)
    return rows


@given(HISTORIES, st.data())
def test_folded_once_however_delivered(history: dict[str, list[Record]], data: st.DataObject) -> None:
    """Catching up at random moments, by a ledger that is killed and opened again at random points of a batch,
    gives what one fold from nothing gives, and that is what a slow reading of the log says."""
    whole = written(history)
    policies = log_of(config=[adopted("sha256:1", {"sonnet": SONNET}), adopted("sha256:2", {"sonnet": MINI})])
    ends = {**{stream: len(rows) for stream, rows in whole.rows.items()}, "config": 2}
    heads = dict.fromkeys(ends, 0)
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(view, "BATCH", 2)
        ledger = Ledger(Path(directory) / "a.sqlite")
        while heads != ends:
            heads = {stream: data.draw(st.integers(head, ends[stream])) for stream, head in heads.items()}
            if data.draw(st.integers(0, 4)) == 0:
                heads = ends
            usage, config = Failing.after(data.draw(st.integers(0, 9)), whole.cut(heads)), policies.cut(heads)
            try:
                run(ledger.catch_up(usage, config))
            except KilledError:
                ledger.close()
                ledger = Ledger(Path(directory) / "a.sqlite")
        run(ledger.catch_up(whole, policies))
        piecemeal, rows = ledger.dump(), entries(Path(directory) / "a.sqlite")
        fresh = Ledger(Path(directory) / "b.sqlite")
        run(fresh.catch_up(whole, policies))
        at_once = fresh.dump()
        run(ledger.rebuild(whole, policies))
        rebuilt = ledger.dump()
        ledger.close()
        fresh.close()
    assert piecemeal == at_once
    assert rebuilt == at_once
    assert rows == expected_rows(whole)


class KilledError(Exception):
    """The fold dies here."""


class Failing(RepeatingLog):
    """Dies after so many records were read in all."""

    left = 0

    @classmethod
    def after(cls, records: int, log: RepeatingLog) -> "Failing":
        failing = cls()
        failing.rows, failing.left = log.rows, records
        return failing

    async def read(self, stream: str, *, after: int = 0) -> Any:
        async for stored in super().read(stream, after=after):
            self.left -= 1
            if self.left < 0:
                raise KilledError
            yield stored


def entries(path: Path) -> dict[tuple[str, int], tuple[int, str, int]]:
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute("SELECT request_id, attempt, at_ns, state, input * 100 + output FROM entries").fetchall()
    return {(row[0], row[1]): row[2:] for row in rows}


def test_a_kill_inside_a_transaction_folds_nothing_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = log_of(usage_0=[record(opened()), record(settled())])
    ledger = folded(tmp_path, RepeatingLog())
    with monkeypatch.context() as patch:
        patch.setattr(folding, "entry_row", _die)
        with pytest.raises(KilledError):
            run(ledger.catch_up(log, CONFIG))
    assert b'"records"' not in ledger.dump()
    assert run(ledger.catch_up(log, CONFIG)) == 2
    assert amount(ledger) == 105_000
    ledger.close()


def _die(*_: object) -> None:
    raise KilledError


def test_the_running_cost_is_the_sum_whatever_arrives_when(tmp_path: Path) -> None:
    """An opening before its policy, a settlement before its opening, an attempt over two folds, one folded twice."""
    dear = Price(per_mtok={"input": 2**62, "output": 0})
    ledger = Ledger(tmp_path / "l.sqlite")
    log, config = RepeatingLog(), RepeatingLog()
    steps = [
        (log, [record(settled(usage={"input": 10**6}))], 0),
        (log, [record(opened())], 0),
        (config, [adopted("sha256:1", {"sonnet": dear})], 2**62),
        (log, [record(opened("req_2"))], 2**62),
        (log, [record(settled("req_2", usage={"input": 10**6}))], 2**63),
        (log, [record(settled("req_2", usage={"input": 10**6}))], 2**63),
    ]
    for to, events, cost in steps:
        to.put("config" if to is config else "usage/0", *events)
        run(ledger.catch_up(log, config))
        assert ledger.cost_nanousd() == (ledger.usage()[0].amount_nanousd or 0) == cost
    run(ledger.rebuild(log, config))
    assert ledger.cost_nanousd() == 2**63
    ledger.close()


def test_two_folding_at_once_count_once(tmp_path: Path) -> None:
    """Two processes (a server and a command) on one file: each reads everything, one of them counts it."""
    log = log_of(usage_0=[record(event(f"req_{n}")) for n in range(2_500) for event in (opened, settled)])
    one, other = Ledger(tmp_path / "l.sqlite"), Ledger(tmp_path / "l.sqlite")

    async def both() -> int:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ledger.catch_up(log, CONFIG)) for ledger in (one, other, one)]
        return sum(task.result() for task in tasks)

    assert run(both()) == 5_001
    assert one.usage()[0].attempts == 2_500
    assert amount(other) == 2_500 * 105_000
    one.close()
    other.close()


def test_a_log_that_does_not_continue_is_named(tmp_path: Path) -> None:
    log = log_of(usage_0=[record(opened()), record(settled())], usage_1=[record(opened("req_2"))])
    ledger = folded(tmp_path, log)
    log.put("usage/1", record(settled("req_2")))
    for replaced in (
        [record(opened())],  # cut off
        [record(opened()), record(settled(usage={})), record(opened("req_3"))],  # rewritten, and longer
    ):
        other = log_of(usage_0=replaced)
        other.rows["usage/1"] = log.rows["usage/1"]
        with pytest.raises(InterlockError, match="'usage/0' does not continue record 2") as caught:
            run(ledger.catch_up(other, CONFIG))
        assert caught.value.code == "log_corrupt"
        assert ledger.usage()[0].open == 0, "the other stream is folded all the same"
    run(ledger.rebuild(other, CONFIG))
    assert ledger.usage()[0].open == 1
    ledger.close()


@pytest.mark.parametrize("content", [b"not a database, but long enough to be looked at " * 100, b"short"])
def test_a_file_that_is_no_view_is_made_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ledger.sqlite").write_bytes(content)
    ledger = folded(tmp_path, log_of(usage_0=[record(opened()), record(settled())]))
    assert amount(ledger) == 105_000
    ledger.close()


def test_a_view_of_another_version_is_made_anew(tmp_path: Path) -> None:
    log = log_of(usage_0=[record(opened()), record(settled())])
    folded(tmp_path, log).close()
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite")) as db:
        db.execute("DROP TABLE waiting")
        db.execute("PRAGMA user_version = 77")
        db.commit()
    ledger = folded(tmp_path, log)
    assert (amount(ledger), ledger.counts().duplicates) == (105_000, 0)
    ledger.close()


def test_a_view_is_kept(tmp_path: Path) -> None:
    log = log_of(usage_0=[record(opened()), record(settled())])
    folded(tmp_path, log).close()
    ledger = Ledger(tmp_path / "ledger.sqlite")
    assert amount(ledger) == 105_000
    assert run(ledger.catch_up(log, CONFIG)) == 0
    ledger.close()


def test_a_view_that_cannot_be_used_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TransientError) as caught:
        Ledger(tmp_path / "file" / "ledger.sqlite")
    assert (caught.value.code, caught.value.status) == ("view_unavailable", 503)
