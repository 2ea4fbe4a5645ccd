"""Decided again: the same policy changes nothing, and a dearer or cheaper one exactly what it says."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.gateway.test_agent_session import CALLS, two_hours

from interlock.gateway import Affinity, Deployment, Facts, Policy, Profile, Rule, Tier, When, version_of
from interlock.identity import Directory
from interlock.ledger import KINDS, Ledger, Past, Price, Step, amount, price
from interlock.log import Record
from interlock.log.reader import JournalReader
from interlock.log.sqlite import SqliteLog
from interlock.replay import Replay, Report


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Ledger, Policy, Any]]:
    """Two hours of an agent in a ledger, the policy it was under, and who its keys are."""
    directory = tmp_path_factory.mktemp("session")
    _, policy, _ = asyncio.run(two_hours(directory))
    with closing(SqliteLog(directory / "log.sqlite")) as log, closing(Ledger(directory / "ledger.sqlite")) as ledger:
        asyncio.run(_folded(directory, log, ledger, policy))
        known = Directory()
        for stored in log.read_after("identity", 0):
            known.apply(stored)
        yield ledger, policy, lambda tenant, key: known.boundaries(known.keys[key])


async def _folded(directory: Path, log: SqliteLog, ledger: Ledger, policy: Policy) -> None:
    record = Record(id="p", type="policy.adopted", at_ns=1, payload=msgspec.json.encode(policy))
    await log.append("config", [record])
    await ledger.catch_up(JournalReader(directory / "journal"), log)


def replayed(session: tuple[Ledger, Policy, Any], policy: Policy) -> Report:
    ledger, _, boundaries = session
    replay = Replay(policy, boundaries)
    with ledger.past() as rows:
        replay.feed(rows)
    return replay.sums.report(policy.version, "as it was")


def changed(policy: Policy, **fields: Any) -> Policy:
    made = msgspec.structs.replace(policy, **fields)
    return msgspec.structs.replace(made, version=version_of(made))


def test_the_policy_of_the_time_changes_nothing(session: tuple[Ledger, Policy, Any]) -> None:
    report = replayed(session, session[1])
    assert (report.attempts, report.changed, report.moves, report.refused) == (CALLS, 0, (), ())
    assert report.actual_nanousd == report.replayed_nanousd == session[0].cost_nanousd() > 0
    assert report.cache_nanousd == 0
    assert sum(rule.attempts for rule in report.rules) == CALLS
    assert (report.open, report.unpriced, report.replay_unpriced, report.unread) == (0, 0, 0, 0)


@pytest.mark.parametrize("baseline", ["opus", "sonnet", "qwen"])
def test_savings_says_the_same_to_the_nano_dollar(session: tuple[Ledger, Policy, Any], baseline: str) -> None:
    """All to one deployment: that is what `savings` compares with."""
    tiers = {name: Tier(name=name, deployments=(baseline,)) for name in session[1].tiers}
    report = replayed(session, changed(session[1], tiers=tiers, affinity=Affinity(cache_s=0)))
    compared = session[0].savings(baseline=baseline)
    assert (report.actual_nanousd, report.replayed_nanousd) == (compared.actual_nanousd, compared.baseline_nanousd)
    assert report.difference_nanousd == compared.saved_nanousd
    assert report.changed == CALLS - sum(
        row.attempts for row in session[0].usage(["deployment"]) if row.dimensions == {"deployment": baseline}
    )
    assert sum(move.difference_nanousd for move in report.moves) == report.difference_nanousd


def test_other_prices_alone(session: tuple[Ledger, Policy, Any]) -> None:
    """Twice the price everywhere: the same routes, twice the cost."""

    def twice(deployment: Deployment) -> Deployment:
        assert deployment.price is not None
        doubled = {kind: 2 * each for kind, each in deployment.price.per_mtok.items()}
        return msgspec.structs.replace(deployment, price=Price(per_mtok=doubled))

    deployments = {name: twice(one) for name, one in session[1].deployments.items()}
    report = replayed(session, changed(session[1], deployments=deployments))
    assert report.changed == 0
    assert abs(report.replayed_nanousd - 2 * report.actual_nanousd) <= CALLS, "one rounding each"


def test_without_affinity_caches_are_lost(session: tuple[Ledger, Policy, Any]) -> None:
    rules = tuple(msgspec.structs.replace(rule, switch="always") for rule in session[1].rules)
    report = replayed(session, changed(session[1], rules=rules))
    assert report.changed > 0 and report.cache_nanousd > 0
    assert {(move.was, move.would_be) for move in report.moves} <= {
        (a, b) for a in ["opus", "sonnet", "qwen"] for b in ("sonnet", "qwen")
    }


def test_what_would_have_been_refused(session: tuple[Ledger, Policy, Any]) -> None:
    fenced = changed(session[1], profiles={"mars": Profile(name="mars", geographies=("mars",))}, boundary="mars")
    report = replayed(session, fenced)
    assert report.attempts == 0 and report.difference_nanousd == 0
    assert sum(one.attempts for one in report.refused) == CALLS
    assert {one.code for one in report.refused} == {"boundary_refused"} and "mars" in report.refused[0].why


def test_what_has_no_price(session: tuple[Ledger, Policy, Any]) -> None:
    deployments = {name: msgspec.structs.replace(one, price=None) for name, one in session[1].deployments.items()}
    report = replayed(session, changed(session[1], deployments=deployments))
    assert (report.attempts, report.replay_unpriced) == (0, CALLS)


# single rows


def plain() -> Policy:
    def deployment(name: str, each: int) -> Deployment:
        return Deployment(
            name=name,
            provider="o",
            base_url="http://h",
            model="m",
            family="f",
            formats=("chat",),
            price=Price(per_mtok={"input": each, "output": each}),
            facts=Facts(geographies=("eu",)),
        )

    return Policy(
        version="v",
        deployments={"a": deployment("a", 1_000_000), "b": deployment("b", 3_000_000)},
        tiers={"one": Tier(name="one", deployments=("a", "b")), "two": Tier(name="two", deployments=("b",))},
        rules=(Rule(name="long", when=When(input_tokens_min=100), tier="two"),),
        profiles={"eu": Profile(name="eu", geographies=("eu",)), "us": Profile(name="us", geographies=("us",))},
        default_tier="one",
    )


def row(decision: dict[str, Any] | None = None, **fields: Any) -> Past:
    signals = {"format": "chat", "model": "auto", "tenant": "t", "principal": "p", "input_tokens": 10}
    told = {"signals": signals, "winner": "a", **(decision or {})}
    opened = msgspec.json.encode({"request_id": "r", "decision": told})
    base = Past("r", 1, 5, 6, "settled", "t", "k", "a", "old", "completed", b'{"input":10,"output":5}', 15, opened)
    return base._replace(**fields)


def report_of(*rows: Past, policy: Policy | None = None, boundaries: tuple[str, ...] = ()) -> Report:
    replay = Replay(policy or plain(), lambda tenant, key: boundaries)
    replay.feed(rows)
    return replay.sums.report("v", "x")


def test_a_failover_is_no_change() -> None:
    report = report_of(row(deployment="b", amount_nanousd=45))
    assert (report.changed, report.replayed_nanousd) == (0, 45)


def test_what_was_not_ready_is_not_ready_again() -> None:
    away = {"candidates": [{"deployment": "a", "stage": "ready", "refused": "loading"}], "winner": "b"}
    report = report_of(row(away, deployment="b", amount_nanousd=45))
    assert (report.changed, report.replayed_nanousd) == (0, 45)
    resting = {"candidates": [{"deployment": "a", "rank": 2, "resting": "open"}], "winner": "b"}
    assert report_of(row(resting, deployment="b", amount_nanousd=45)).changed == 0
    gone = {"candidates": [{"deployment": "a", "stage": "withdrawn", "refused": "gone"}], "winner": "b"}
    assert report_of(row(gone, deployment="b", amount_nanousd=45)).changed == 0


def test_the_key_s_boundary_holds_in_a_replay() -> None:
    report = report_of(row(), boundaries=("us",))
    assert report.attempts == 0 and report.refused[0].code == "boundary_refused"


@pytest.mark.parametrize(
    ("fields", "counted"),
    [
        ({"state": "open", "settled_at_ns": 0, "usage": b"{}", "amount_nanousd": None}, "open"),
        ({"amount_nanousd": None}, "unpriced"),
        ({"opened": b'{"decision":null}'}, "unread"),
        ({"opened": row().opened.replace(b'{"request_id"', b'{"answer_of":"req_1","request_id"')}, "given_again"),
    ],
)
def test_what_is_left_out_is_counted(fields: dict[str, Any], counted: str) -> None:
    report = report_of(row(), row(**fields))
    assert report.attempts == 1 and getattr(report, counted) == 1


def test_no_usage_compares_as_nothing() -> None:
    report = report_of(row(usage=b"{}", amount_nanousd=None, deployment="gone", outcome="failed"))
    assert (report.attempts, report.changed, report.actual_nanousd, report.replayed_nanousd) == (1, 1, 0, 0)


KIND = st.sampled_from([*KINDS, "odd"])
RATES = st.dictionaries(KIND, st.integers(0, 10**13))
PRICES = st.builds(
    Price,
    per_mtok=RATES,
    above=st.just(())
    | st.builds(lambda at, rates: (Step(input_tokens=at, per_mtok=rates),), st.integers(1, 20), RATES),
)
USAGES = st.dictionaries(KIND, st.integers(0, 20) | st.integers(-2, 10**13))


@given(USAGES, PRICES | st.none())
def test_an_amount_is_the_price_s(usage: dict[str, int], prices: Price | None) -> None:
    assert amount(usage, prices) == price(usage, prices).amount_nanousd
