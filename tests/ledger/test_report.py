"""The questions: totals against brute force, isolation of tenants, savings, explanations, API shapes."""

import tempfile
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import at_least
from tests.ledger.logs import FREE, MINI, SONNET, adopted, log_of, opened, record, refused, run, settled

from interlock.errors import LocalError
from interlock.ledger import DIMENSIONS, Baseline, Ledger, Opened, Price, Refused, Settled, price, report, to_api
from interlock.log import Record
from interlock.units import INT64_MAX

DAY_NS = 86_400 * 10**9
PRICES: dict[str, Price | None] = {"sonnet": SONNET, "mini": MINI, "free": FREE, "secret": None}
CONFIG = log_of(config=[adopted("sha256:1", PRICES, "sonnet"), adopted("sha256:2", {**PRICES, "mini": SONNET})])

OPENINGS = st.builds(
    opened,
    st.integers(1, 6).map(lambda n: f"req_{n}"),
    st.integers(1, 2),
    tenant=st.sampled_from(["acme", "bolt"]),
    principal=st.sampled_from(["ada", "bob"]),
    session=st.sampled_from(["", "s1"]),
    mode=st.sampled_from(["plan", ""]),
    tier=st.sampled_from(["small", "strong"]),
    deployment=st.sampled_from([*PRICES, "gone"]),
    provider=st.sampled_from(["p", "q"]),
    model=st.sampled_from(["m", "n"]),
    key_id=st.sampled_from(["key_1", "key_2"]),
    policy=st.sampled_from(["sha256:1", "sha256:2", "sha256:3"]),
    team=st.sampled_from(["", "core"]),
    task=st.sampled_from(["", "t-1"]),
    tool=st.sampled_from(["", "read,shell"]),
)
USAGES = st.dictionaries(
    st.sampled_from(["input", "cache_read", "cache_write_5m", "cache_write", "output", "reasoning", "web_search"]),
    st.integers(0, 40),
)
SETTLEMENTS = st.builds(
    settled,
    usage=USAGES,
    outcome=st.sampled_from(["completed", "failed", "lost"]),
    source=st.sampled_from(["reported", "estimated", "none"]),
)
TIMES = st.sampled_from([0, 1, DAY_NS - 1, DAY_NS, DAY_NS + 1, 2 * DAY_NS])  # few: windows end on them
ATTEMPTS = st.lists(
    st.tuples(OPENINGS, st.none() | SETTLEMENTS, TIMES),
    max_size=12,
    unique_by=lambda a: (a[0].request_id, a[0].attempt),
)
Attempt = tuple[Opened, Settled | None, int]


def records(attempts: list[Attempt]) -> Iterator[Record]:
    for opening, settlement, at_ns in attempts:
        yield record(opening, at_ns)
        if settlement:
            yield record(
                msgspec.structs.replace(settlement, request_id=opening.request_id, attempt=opening.attempt), at_ns + 1
            )


def made(directory: str | Path, *given_records: Record) -> Ledger:
    ledger = Ledger(Path(directory) / "ledger.sqlite")
    run(ledger.catch_up(log_of(usage_0=given_records), CONFIG))
    return ledger


def price_of(opening: Opened, deployment: str) -> Price | None:
    if opening.policy == "sha256:3":
        return None
    return {**PRICES, "mini": MINI if opening.policy == "sha256:1" else SONNET}.get(deployment)


def value(name: str, attempt: Attempt) -> str:
    opening, settlement, at_ns = attempt
    if name == "day":
        return datetime.fromtimestamp(at_ns // 10**9, UTC).strftime("%Y-%m-%d")
    if name in ("outcome", "source"):
        return str(getattr(settlement, name)) if settlement else ""
    return str(getattr(opening, {"key": "key_id"}.get(name, name)))


def brute(attempts: list[Attempt]) -> dict[str, Any]:
    """One group's row by plain loops."""
    row: dict[str, Any] = defaultdict(int)
    priced = 0
    for opening, settlement, _ in attempts:
        row["attempts"] += 1
        if settlement is None:
            row["open"] += 1
            continue
        used = settlement.usage
        written = used.get("cache_write", 0) + used.get("cache_write_5m", 0)
        row["input"] += max(used.get("input", 0), used.get("cache_read", 0) + written)
        row["cache_read"] += used.get("cache_read", 0)
        row["cache_write"] += written
        row["output"] += max(used.get("output", 0), used.get("reasoning", 0))
        row["reasoning"] += used.get("reasoning", 0)
        row["estimated"] += settlement.source == "estimated"
        row["lost"] += settlement.outcome == "lost"
        amount = price(used, price_of(opening, opening.deployment)).amount_nanousd
        row["unpriced"] += amount is None
        priced += amount is not None
        row["amount_nanousd"] += amount or 0
    row["requests"] = len({opening.request_id for opening, _, _ in attempts})
    if row["unpriced"] and not priced:
        row["amount_nanousd"] = None
    return {field: row[field] for field in report.UsageRow.__struct_fields__ if field != "dimensions"}


@settings(deadline=None, max_examples=at_least(30))
@given(
    ATTEMPTS,
    st.lists(st.sampled_from(DIMENSIONS), unique=True, max_size=3),
    st.none() | TIMES,
    st.none() | TIMES,
    st.sampled_from([None, "acme", "nobody"]),
)
def test_usage_is_what_brute_force_says(
    attempts: list[Attempt], by: list[str], since: int | None, until: int | None, tenant: str | None
) -> None:
    wanted = [
        attempt
        for attempt in attempts
        if (since is None or attempt[2] >= since)
        and (until is None or attempt[2] < until)
        and (tenant is None or attempt[0].tenant == tenant)
    ]
    groups: dict[tuple[str, ...], list[Attempt]] = {} if by else {(): []}
    for attempt in wanted:
        groups.setdefault(tuple(value(name, attempt) for name in by), []).append(attempt)
    with tempfile.TemporaryDirectory() as directory:
        ledger = made(directory, *records(attempts))
        rows = ledger.usage(by, since_ns=since, until_ns=until, tenant=tenant)
        ledger.close()
    expected = [dict(dimensions=dict(zip(by, key, strict=True)), **brute(groups[key])) for key in sorted(groups)]
    assert [msgspec.structs.asdict(row) for row in rows] == expected


def test_a_sum_past_int64_is_exact(tmp_path: Path) -> None:
    dear = log_of(config=[adopted("sha256:1", {"sonnet": Price(per_mtok={"input": INT64_MAX})})])
    log = log_of(
        usage_0=[
            record(event)
            for n in range(5)
            for event in (opened(f"req_{n}"), settled(f"req_{n}", usage={"input": 10**6}))
        ]
    )
    ledger = Ledger(tmp_path / "ledger.sqlite")
    run(ledger.catch_up(log, dear))
    (row,) = ledger.usage()
    assert row.amount_nanousd == 5 * INT64_MAX
    assert to_api(row)["amount_nanousd"] == str(5 * INT64_MAX)
    ledger.close()


def test_a_wrong_question_is_answered_with_the_right_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = made(tmp_path, record(opened()), record(opened("req_2", session="s")))
    with pytest.raises(LocalError, match="unknown dimension 'tennant', did you mean 'tenant'"):
        ledger.usage(["tennant"])
    with pytest.raises(LocalError, match="unknown dimension 'tenant; DROP"):
        ledger.usage(["tenant; DROP TABLE entries"])
    with pytest.raises(LocalError, match="twice"):
        ledger.usage(["day", "day"])
    for at_ns in (-1, INT64_MAX + 1):
        with pytest.raises(LocalError, match="since must be"):
            ledger.usage(since_ns=at_ns)
    with pytest.raises(LocalError, match="no deployment or baseline named 'sonet', did you mean 'sonnet'"):
        ledger.savings(baseline="sonet")
    monkeypatch.setattr(report, "ROWS_MAX", 1)
    with pytest.raises(LocalError, match="more than 1 rows"):
        ledger.usage(["session"])
    ledger.close()


@settings(deadline=None, max_examples=at_least(30))
@given(ATTEMPTS, st.sampled_from([None, "mini", "secret"]))
def test_savings_are_exact_and_leave_nothing_out_silently(attempts: list[Attempt], baseline: str | None) -> None:
    actual, other, left_out = 0, 0, 0
    for opening, settlement, _ in attempts:
        name = baseline or ("sonnet" if opening.policy == "sha256:1" else "")
        if settlement and any(settlement.usage.values()):
            paid = price(settlement.usage, price_of(opening, opening.deployment)).amount_nanousd
            would = price(settlement.usage, price_of(opening, name)).amount_nanousd
            left_out += paid is None or would is None
            if paid is not None and would is not None:
                actual += paid
                other += would
    with tempfile.TemporaryDirectory() as directory:
        ledger = made(directory, *records(attempts))
        found = ledger.savings(baseline=baseline)
        ledger.close()
    assert (found.actual_nanousd, found.baseline_nanousd, found.saved_nanousd) == (actual, other, other - actual)
    assert found.unpriced + found.baseline_unpriced + found.no_baseline == left_out
    assert found.open == sum(settlement is None for _, settlement, _ in attempts)
    assert found.attempts + found.open + left_out == len(attempts)
    for field in ("actual_nanousd", "baseline_nanousd", "saved_nanousd", "attempts", "open", "unpriced", "no_baseline"):
        assert sum(getattr(tier, field) for tier in found.tiers) == getattr(found, field)


def test_savings_by_tier(tmp_path: Path) -> None:
    ledger = made(
        tmp_path,
        record(opened(deployment="mini", tier="small")),
        record(settled()),
        record(opened(attempt=2)),
        record(settled(attempt=2, outcome="failed", source="none", usage={})),
        record(opened("req_2", deployment="secret")),
        record(settled("req_2")),
        record(opened("req_3", policy="sha256:2")),
        record(settled("req_3")),
    )
    found = ledger.savings()
    assert (found.actual_nanousd, found.baseline_nanousd, found.saved_nanousd) == (4_500, 105_000, 100_500)
    assert (found.requests, found.attempts, found.unpriced, found.no_baseline) == (1, 2, 1, 1)
    assert found.baselines == (Baseline(name="sonnet", price_source="override"),)
    assert [(tier.tier, tier.requests, tier.saved_nanousd) for tier in found.tiers] == [
        ("small", 1, 100_500),
        ("strong", 1, 0),
    ]
    assert ledger.savings(tenant="nobody").attempts == 0
    assert ledger.savings(since_ns=2_000).attempts == 0
    ledger.close()


def test_a_baselines_own_price_goes_before_a_deployments(tmp_path: Path) -> None:
    """Also of the same name, and though no deployment has it."""
    dear = Price(per_mtok={"input": 1_000_000_000_000, "output": 0}, source="genai-prices 1 a/opus")
    for name in ("opus", "mini"):
        config = log_of(
            config=[
                adopted("sha256:1", {"sonnet": SONNET, "mini": MINI}, name, baseline_price=dear),
                adopted("sha256:2", {"sonnet": SONNET, "mini": MINI}, "mini", nth=2),
            ]
        )
        events: list[Opened | Settled] = [opened(), settled(), opened("req_2", policy="sha256:2"), settled("req_2")]
        ledger = Ledger(tmp_path / f"{name}.sqlite")
        run(ledger.catch_up(log_of(usage_0=[record(event) for event in events]), config))
        found = ledger.savings()
        assert (found.attempts, found.baseline_nanousd) == (2, 10_000_000 + 4_500)
        assert found.baselines == tuple(
            sorted([Baseline(name=name, price_source=dear.source), Baseline(name="mini", price_source="")])
        )
        assert ledger.savings(baseline="mini").baseline_nanousd == (9_000 if name == "opus" else 10_004_500)
        ledger.close()


def test_explain_shows_the_records_as_stored_and_where(tmp_path: Path) -> None:
    decision = msgspec.Raw(b'{"rule":"plan","score":0.1,"big":12345678901234567890}')
    ledger = made(
        tmp_path,
        record(opened(decision=decision), 5),
        record(opened(attempt=2), 7),
        record(settled(outcome="failed", source="none", usage={}, error="upstream_error"), 6),
        record(settled(attempt=2), 9),
        record(settled(attempt=2, usage={"input": 1}), 10),
    )
    found = ledger.explain("req_1")
    assert found
    first, second = found.attempts
    assert [(e.stream, e.seq, e.id, e.at_ns, e.standing) for e in first.records + second.records] == [
        ("usage/0", 1, "req_1/1/opened", 5, "stands"),
        ("usage/0", 3, "req_1/1/settled", 6, "stands"),
        ("usage/0", 2, "req_1/2/opened", 7, "stands"),
        ("usage/0", 4, "req_1/2/settled", 9, "stands"),
        ("usage/0", 5, "req_1/2/settled", 10, "conflict"),
    ]
    assert first.records[0].payload["decision"] == {"rule": "plan", "score": 0.1, "big": 12345678901234567890}
    assert (second.opened_at_ns, second.settled_at_ns) == (7, 9)
    assert second.entry
    assert [(line.kind, line.numerator) for line in second.entry.amount.lines] == [
        ("input", 30_000_000_000),
        ("output", 75_000_000_000),
    ]
    assert found.amount_nanousd == 105_000
    assert ledger.explain("req_2") is None
    ledger.close()


def test_an_undecodable_part_does_not_hide_the_rest(tmp_path: Path) -> None:
    stored = record(settled(raw=msgspec.Raw(b'{"cost":1e999}')))
    ledger = made(tmp_path, record(opened()), stored)
    found = ledger.explain("req_1")
    assert found
    assert found.attempts[0].records[1].payload == stored.payload.decode()
    assert found.amount_nanousd == 105_000
    ledger.close()


@settings(deadline=None, max_examples=at_least(30))
@given(ATTEMPTS, st.lists(st.builds(refused, st.just("req_1"), tenant=st.sampled_from(["acme", "bolt"])), max_size=2))
def test_a_tenant_sees_only_its_own(attempts: list[Attempt], refusals: list[Refused]) -> None:
    mine = [attempt for attempt in attempts if attempt[0].tenant == "acme"]
    ours = [event for event in refusals if event.tenant == "acme"]
    # Another tenant's opening under the same id, contradicting mine: it must not show either.
    stolen = [record(msgspec.structs.replace(opening, tenant="bolt"), at_ns) for opening, _, at_ns in mine]
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        shared = made(one, *records(attempts), *stolen, *map(record, refusals))
        alone = made(other, *records(mine), *map(record, ours))
        assert shared.usage(["key", "model"], tenant="acme") == alone.usage(["key", "model"])
        assert shared.savings(tenant="acme") == alone.savings()
        for n in range(1, 7):
            assert seen(shared, f"req_{n}", "acme") == seen(alone, f"req_{n}", None)
        shared.close()
        alone.close()


def seen(ledger: Ledger, request_id: str, tenant: str | None) -> object:
    """An explanation without what depends on where its records stand."""
    found = ledger.explain(request_id, tenant)
    return found and (
        [(a.attempt, a.entry, [(e.id, e.payload) for e in a.records]) for a in found.attempts],
        sorted((e.id, str(e.payload)) for e in found.refused),
        found.amount_nanousd,
    )


def test_a_refusal_is_explained(tmp_path: Path) -> None:
    ledger = made(tmp_path, record(refused("req_5", tenant="acme")))
    found = ledger.explain("req_5", "acme")
    assert found
    assert (found.attempts, found.amount_nanousd) == ((), None)
    assert found.refused[0].payload["code"] == "boundary_refused"
    assert ledger.explain("req_5", "bolt") is None
    assert ledger.usage()[0].requests == 0
    ledger.close()


def test_a_settlement_without_opening_is_the_operators_to_see(tmp_path: Path) -> None:
    ledger = made(tmp_path, record(settled()))
    found = ledger.explain("req_1")
    assert found
    assert (found.attempts[0].entry, found.attempts[0].settled_at_ns, found.amount_nanousd) == (None, 1_000, None)
    assert ledger.explain("req_1", "acme") is None
    ledger.close()


def test_api_json_keeps_what_exceeds_a_double(tmp_path: Path) -> None:
    ledger = made(tmp_path, record(opened(), DAY_NS + 1), record(settled(duration_ns=7)))
    explained = ledger.explain("req_1")
    assert explained
    plain = to_api(explained)
    (attempt,) = plain["attempts"]
    assert (attempt["opened_at_ns"], attempt["records"][0]["at_ns"]) == (str(DAY_NS + 1), str(DAY_NS + 1))
    assert attempt["records"][1]["payload"]["duration_ns"] == 7, "a record stays as it is stored"
    assert attempt["entry"]["amount"]["amount_nanousd"] == "105000"
    assert attempt["entry"]["amount"]["lines"][0] == {
        "kind": "input",
        "quantity": 10,
        "priced_as": "input",
        "price_nanousd_per_mtok": "3000000000",
        "numerator": "30000000000",
    }
    (row,) = ledger.usage(["tenant"])
    assert to_api(row)["dimensions"] == {"tenant": "acme"}
    assert to_api(ledger.savings())["tiers"][0]["actual_nanousd"] == "105000"
    msgspec.json.encode([plain, to_api(row), to_api(ledger.counts())])
    ledger.close()
