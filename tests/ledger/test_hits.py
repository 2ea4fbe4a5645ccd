"""Answers given again: what they cost, what they saved, and how they are shown."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.ledger.logs import MINI, SONNET, adopted, log_of, opened, record, run, settled

from interlock.ledger import Explanation, Ledger, Opened, Price, Settled, lost, to_api
from interlock.log import Log

AVOIDED = {"input": 10, "output": 5}  # 105,000 nano-USD at SONNET, 4,500 at MINI
HALF_CENT = 5_000_000


def hit(request_id: str = "req_2", rule: str = "plain", **fields: Any) -> Opened:
    decision = msgspec.Raw(msgspec.json.encode({"signals": {}, "rule": "model", "cache": rule}))
    return opened(request_id, answer_of="req_1", decision=decision, **fields)


def given(request_id: str = "req_2", **fields: Any) -> Settled:
    said: dict[str, Any] = {"usage": {"cache_hit": 1}, "source": "cached", "avoided": AVOIDED, **fields}
    return settled(request_id, **said)


def config(price: Price | None = SONNET, version: str = "sha256:1") -> Log:
    made = adopted(version, {"sonnet": price, "mini": MINI}, "mini")
    policy = msgspec.json.decode(made.payload)
    policy["rules"] = [
        {"name": "never", "tier": "main", "when": {}, "cache": None},
        {"name": "plain", "tier": "main", "when": {}, "cache": {"ttl_s": 60}},
        {"name": "fixed", "tier": "main", "when": {}, "cache": {"ttl_s": 60, "hit_nanousd": HALF_CENT}},
        {"name": "tenth", "tier": "main", "when": {}, "cache": {"ttl_s": 60, "hit_ppm": 100_000}},
    ]
    return log_of(config=[msgspec.structs.replace(made, payload=msgspec.json.encode(policy))])


def folded(path: Path, *records: Opened | Settled, policies: Log | None = None) -> Ledger:
    ledger = Ledger(path / "ledger.sqlite")
    run(ledger.catch_up(log_of(usage_0=[record(one) for one in records]), policies or config()))
    return ledger


def explained(ledger: Ledger, request_id: str = "req_2") -> Explanation:
    found = ledger.explain(request_id)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("rule", "amount", "unpriced"),
    [
        ("plain", 0, ""),
        ("fixed", HALF_CENT, ""),
        ("tenth", 10_500, ""),
        ("never", None, "no_price"),
        ("gone", None, "no_price"),
    ],
)
def test_a_hit_costs_what_its_rule_says(tmp_path: Path, rule: str, amount: int | None, unpriced: str) -> None:
    ledger = folded(tmp_path, hit(rule=rule), given())
    entry = explained(ledger).attempts[0].entry
    assert entry is not None
    assert (entry.amount.amount_nanousd, entry.amount.unpriced, entry.inconsistent) == (amount, unpriced, False)
    assert [(line.kind, line.quantity) for line in entry.amount.lines] == [("cache_hit", 1)]
    assert entry.amount.price_source == ("" if amount is None else f"rule {rule}")
    ledger.close()


def test_a_share_of_what_has_no_price_has_none_and_a_sum_has_one_all_the_same(tmp_path: Path) -> None:
    records: list[Opened | Settled] = [hit(rule="tenth"), given(), hit("req_3", rule="fixed"), given("req_3")]
    ledger = folded(tmp_path, *records, policies=config(price=None))
    (row,) = ledger.usage()
    assert (row.amount_nanousd, row.unpriced, row.cache_hits) == (HALF_CENT, 1, 2)
    ledger.close()


def test_a_share_rounds_half_to_even(tmp_path: Path) -> None:
    made = config(Price(per_mtok={"input": 1_000_000, "output": 0}))  # a nano-USD a token
    records: list[Opened | Settled] = []
    for tokens in (5, 15, 16):
        name = f"req_{tokens}"
        records += [hit(name, rule="tenth"), given(name, avoided={"input": tokens})]
    ledger = folded(tmp_path, *records, policies=made)
    assert ledger.usage()[0].amount_nanousd == 0 + 2 + 2
    ledger.close()


def test_no_tokens_are_counted_and_the_call_is(tmp_path: Path) -> None:
    ledger = folded(tmp_path, opened(), settled(), hit(), given())
    (row,) = ledger.usage()
    assert (row.requests, row.attempts, row.input, row.output, row.cache_hits) == (2, 2, 10, 5, 1)
    assert row.amount_nanousd == 105_000
    by_source = {one.dimensions["source"]: one.cache_hits for one in ledger.usage(by=("source",))}
    assert by_source == {"cached": 1, "reported": 0}
    ledger.close()


def test_what_was_not_given_whole_costs_nothing(tmp_path: Path) -> None:
    broken = given(usage={}, source="none", avoided={}, outcome="cancelled")
    ledger = folded(tmp_path, hit(rule="fixed"), broken)
    (row,) = ledger.usage()
    assert (row.amount_nanousd, row.unpriced, row.cache_hits) == (0, 0, 0)
    ledger.close()


def test_a_hit_whose_worker_died_used_nothing() -> None:
    found = lost(hit())
    assert (found.outcome, found.usage, found.source) == ("lost", {}, "none")
    assert lost(opened()).usage["input"] > 0


def test_a_hit_is_priced_when_its_policy_is_known(tmp_path: Path) -> None:
    usage = log_of(usage_0=[record(hit(rule="fixed")), record(given())])
    ledger = Ledger(tmp_path / "ledger.sqlite")
    run(ledger.catch_up(usage, log_of()))
    assert (ledger.usage()[0].unpriced, ledger.usage()[0].amount_nanousd) == (1, None)
    run(ledger.catch_up(usage, config()))
    assert (ledger.usage()[0].unpriced, ledger.usage()[0].amount_nanousd) == (0, HALF_CENT)
    ledger.close()


def test_savings_compare_a_hit_with_making_its_answer_at_the_baseline(tmp_path: Path) -> None:
    ledger = folded(tmp_path, hit(rule="fixed"), given())
    found = ledger.savings()
    assert (found.attempts, found.actual_nanousd, found.baseline_nanousd) == (1, HALF_CENT, 4_500)
    ledger.close()


def test_explain_shows_whose_answer_it_was(tmp_path: Path) -> None:
    from interlock.cli.explaining import lines

    ledger = folded(tmp_path, hit(rule="fixed"), given())
    told = lines({**to_api(explained(ledger)), "problem": ""})
    assert "  not sent the answer of req_1 was given again, from sonnet (anthropic, claude-sonnet)" in told
    assert "  figures  cached" in told
    assert "  avoided  10 input, 5 output" in told
    assert any("cache_hit" in line and "0.005" in line for line in told)
    assert "    prices   rule fixed" in told
    ledger.close()
