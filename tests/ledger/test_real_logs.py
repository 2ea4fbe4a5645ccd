"""The ledger on the logs it really reads: a gateway worker's journal, the policies in SQLite."""

from pathlib import Path

import msgspec
from tests.ledger.logs import SONNET, opened, record, run, settled

from interlock.clock import SystemClock
from interlock.gateway.policy import Deployment, Policy
from interlock.ledger import Ledger, Price, Step, lost_record, open_attempts
from interlock.ledger.reading import decode_policy
from interlock.log import Appended, Record
from interlock.log.journal import Journal
from interlock.log.reader import JournalReader
from interlock.log.sqlite import SqliteLog

DEPLOYMENT = Deployment(
    name="sonnet",
    provider="anthropic",
    base_url="https://upstream.test/v1",
    model="claude-sonnet",
    family="claude",
    formats=("messages",),
    price=Price(per_mtok=SONNET.per_mtok, above=(Step(input_tokens=200_000, per_mtok={"input": 1, "output": 1}),)),
)
POLICY = Policy(
    version="sha256:1",
    deployments={"sonnet": DEPLOYMENT, "unpriced": msgspec.structs.replace(DEPLOYMENT, name="unpriced", price=None)},
    tiers={},
    rules=(),
    profiles={},
    default_tier="strong",
    baseline="sonnet",
)
ADOPTED = Record(id="sha256:1", type="policy.adopted", at_ns=1, payload=msgspec.json.encode(POLICY))


def test_the_ledger_reads_the_gateways_policy() -> None:
    prices = decode_policy(ADOPTED)
    assert prices
    assert (prices.version, prices.baseline) == (POLICY.version, POLICY.baseline)
    assert {name: priced.price for name, priced in prices.deployments.items()} == {
        name: deployment.price for name, deployment in POLICY.deployments.items()
    }


def test_a_dead_workers_attempt_is_settled_as_lost_and_counted_once(tmp_path: Path) -> None:
    config, reader = SqliteLog(tmp_path / "log.sqlite"), JournalReader(tmp_path / "journal")
    ledger = Ledger(tmp_path / "views" / "ledger.sqlite")

    async def append(*records: Record) -> None:
        journal = Journal.open(tmp_path / "journal" / "usage" / "0", "usage/0", clock=SystemClock())
        assert isinstance(await journal.append("usage/0", records), Appended)
        journal.close()

    async def story() -> None:
        await config.append("config", [ADOPTED])
        await append(record(opened()), record(settled()), record(opened("req_2")))
        await ledger.catch_up(reader, config)
        assert (ledger.usage()[0].open, ledger.usage()[0].amount_nanousd) == (1, 105_000)
        left = open_attempts(reader.scan("usage/0"))
        assert list(left) == ["req_2/1"]
        await append(*(lost_record(attempt, now_ns) for attempt in left.values() for now_ns in (5, 6)))
        await ledger.catch_up(reader, config)

    run(story())
    (row,) = ledger.usage()
    assert (row.attempts, row.open, row.lost, row.estimated) == (2, 0, 1, 1)
    assert row.amount_nanousd == 105_000 + 700 * 3_000
    assert (ledger.counts().unread, ledger.counts().conflicts) == (0, 0)
    before = ledger.dump()
    run(ledger.rebuild(reader, config))
    assert ledger.dump() == before
    ledger.close()
    config.close()
