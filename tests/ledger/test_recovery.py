"""What a dead worker left open."""

from collections.abc import Sequence

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from tests.ledger.logs import log_of, opened, record, refused, run, settled

from interlock.errors import CODES
from interlock.ledger import Opened, Settled, lost, lost_record, open_attempts
from interlock.log import Record
from interlock.log.memory import MemoryLog


def open_after(records: Sequence[Record]) -> dict[str, Opened]:
    return open_attempts(log_of(usage_0=records).rows.get("usage/0", []))


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(1, 2))), st.data())
def test_open_is_opened_and_not_settled(attempts: list[tuple[int, int]], data: st.DataObject) -> None:
    records, expected = [], {}
    for number, attempt in dict.fromkeys(attempts):
        request = f"req_{number}"
        records.append(record(opened(request, attempt)))
        if data.draw(st.booleans()):
            records.append(record(settled(request, attempt)))
        else:
            expected[f"{request}/{attempt}"] = opened(request, attempt)
    assert open_after([*records, record(refused())]) == expected


def test_records_that_cannot_be_read_leave_others_open() -> None:
    broken = Record(id="x", type="usage.settled", at_ns=1, payload=b'{"request_id":"req_1"}')
    foreign = Record(id="y", type="usage.audited", at_ns=1, payload=b"{}")
    assert list(open_after([record(opened()), broken, foreign])) == ["req_1/1"]


def test_lost_says_that_it_is_an_estimate_and_by_which_rules() -> None:
    settlement = lost(opened(input_estimate=700, estimate_rule="bytes/1"))
    assert (settlement.outcome, settlement.source) == ("lost", "estimated")
    assert settlement.usage == {"input": 700, "output": 0}
    assert settlement.rule == "bytes/1+none/1"
    assert settlement.error in CODES


def test_settling_twice_settles_once() -> None:
    async def settle_twice() -> int:
        log = MemoryLog()
        await log.append("usage/0", [record(opened())])
        for now_ns in (5, 6):
            left = open_attempts([stored async for stored in log.read("usage/0")]) or {"again": opened()}
            await log.append("usage/0", [lost_record(attempt, now_ns) for attempt in left.values()])
        assert open_attempts([stored async for stored in log.read("usage/0")]) == {}
        return await log.head("usage/0")

    assert run(settle_twice()) == 2


def test_the_record_is_what_the_ledger_reads() -> None:
    made = lost_record(opened("req_7", 3), 9)
    assert (made.id, made.type, made.at_ns) == ("req_7/3/settled", "usage.settled", 9)
    assert msgspec.json.decode(made.payload, type=Settled) == lost(opened("req_7", 3))
