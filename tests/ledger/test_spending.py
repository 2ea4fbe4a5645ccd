"""What prepaid accounts burn, by the view: what calls cost, what was counted while they ran, and which are open."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.ledger.logs import RepeatingLog, adopted, log_of, opened, record, run, settled
from tests.ledger.test_hits import HALF_CENT, config, given, hit

from interlock.ledger import Adjusted, Ledger, Price
from interlock.log import Record
from interlock.units import INT64_MAX

CALL = 105_000
"""10 input and 5 output tokens at SONNET, in nano-USD."""


def adjusted(seq: int, **fields: Any) -> Record:
    plain: dict[str, Any] = {
        "attempt": 1, "statement": "st_1", "row": "r", "reason": "quantity", "period_start_ns": 2_000,
        "period_end_ns": 9_000, "usage": {"input": 1},
    }  # fmt: skip
    payload = msgspec.json.encode(Adjusted(**plain | fields))
    return Record(id=f"adj/{seq}", type="usage.adjusted", at_ns=5_000, payload=payload)


def test_a_tenant_s_callers_are_found_however_many_others_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    others = [record(opened(f"req_{n}", tenant="other", principal=f"p{n}"), 1_000 + n) for n in range(9)]
    mine = [record(opened(f"req_{n}", principal=name), n) for n, name in ((900, "old"), (2_000, "bob"), (2_100, "bob"))]
    run(ledger.catch_up(log_of(usage_0=[*others, *mine]), config()))
    monkeypatch.setattr("interlock.ledger.past.CALLERS_MAX", 3)
    assert ledger.callers(1_000, ["tenant", "principal"], "acme") == [("acme", "bob")]
    assert len(ledger.callers(1_000, ["tenant", "principal"])) == 3
    ledger.close()


def test_what_was_charged_and_what_was_counted(tmp_path: Path) -> None:
    """Workers count what they send, as it was metered: not answers given again, nor what a bill says afterwards."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    records = [
        *(record(opened("req_1"), 1_000), record(settled("req_1"), 1_500)),
        *(record(hit("req_2", rule="fixed"), 1_100), record(given("req_2"), 1_100)),
        *(record(opened("req_3", principal="bob"), 1_200), record(settled("req_3"), 1_300)),
        *(record(opened("req_4", tenant="other"), 1_200), record(settled("req_4"), 1_300)),
        record(opened("req_5"), 1_400),
    ]
    policies = config()
    assert isinstance(policies, RepeatingLog)
    run(ledger.catch_up(log_of(usage_0=records), policies))
    assert ledger.burned("acme", "", 0, 9_999) == (2 * CALL + HALF_CENT, 2 * CALL)
    assert ledger.burned("acme", "bob", 0, 9_999) == (CALL, CALL)
    assert ledger.burned("acme", "", 1_000, 1_100) == (CALL, CALL), "by when it was opened; the end is exclusive"
    assert ledger.burned("nobody", "", 0, 9_999) == (0, 0)
    assert [ledger.last_ns("acme", name, 0) for name in ("", "bob", "eve")] == [1_400, 1_200, None]
    assert ledger.last_ns("acme", "", 1_400) == 1_400 and ledger.last_ns("acme", "", 1_401) is None
    policies.put(
        "adjustments",
        adjusted(1, request_id="req_1", usage={"input": 10}),
        adjusted(2, request_id="adj_1", tenant="acme", amount_nanousd=-7, provider="p"),
    )
    run(ledger.catch_up(log_of(usage_0=records), policies))
    cost, metered = ledger.burned("acme", "", 0, 9_999)
    assert (cost, metered) == (30_000 + CALL + HALF_CENT - 7, 2 * CALL)


def test_sums_may_be_past_int64(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    dear = Price(per_mtok={"input": 9 * 10**18, "output": 0}, source="override")
    usage = {"input": 1_000_000, "output": 0}
    records = [one for n in range(4) for one in (record(opened(f"r{n}")), record(settled(f"r{n}", usage=usage)))]
    run(ledger.catch_up(log_of(usage_0=records), log_of(config=[adopted("sha256:1", {"sonnet": dear})])))
    cost, metered = ledger.burned("acme", "", 0, 9_999)
    assert cost == metered == ledger.cost_nanousd() == 36 * 10**18 > INT64_MAX


def test_the_oldest_that_is_open(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    records = [record(opened(f"req_{n}"), 1_000 + n) for n in range(3)]
    records += [record(opened("req_x", tenant="other"), 10), record(settled("req_0"))]
    run(ledger.catch_up(log_of(usage_0=records), config()))
    assert ledger.first_open_ns("acme") == 1_001
    assert ledger.first_open_ns("nobody") is None
