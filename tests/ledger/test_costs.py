"""The statement: it sums to what usage says, loses nobody, and shares what several tools caused."""

import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import at_least
from tests.ledger.logs import FREE, MINI, SONNET, adopted, log_of, opened, record, run, settled

from interlock.errors import LocalError
from interlock.ledger import Ledger, Opened, Price, Settled, Statement, costs, report, to_api
from interlock.ledger.costs import PPM
from interlock.log import Record

BEGIN_NS, END_NS = 1_000, 2_000
PRICES: dict[str, Price | None] = {"sonnet": SONNET, "mini": MINI, "free": FREE, "secret": None}
CONFIG = log_of(config=[adopted("sha256:1", PRICES)])
ANY = ("tenant", "principal", "session", "mode", "deployment", "key", "team", "task", "tool")

OPENINGS = st.builds(
    opened,
    st.integers(1, 9).map(lambda n: f"req_{n}"),
    st.integers(1, 2),
    tenant=st.sampled_from(["acme", "bolt"]),
    principal=st.sampled_from(["ada", "bob", ""]),
    session=st.sampled_from(["", "s1", "s2"]),
    mode=st.sampled_from(["plan", ""]),
    deployment=st.sampled_from(list(PRICES)),
    team=st.sampled_from(["", "core", "apps"]),
    task=st.sampled_from(["", "t-1"]),
    tool=st.sampled_from(["", "read", "read,shell", "read,shell,web"]),
)
SETTLEMENTS = st.none() | st.builds(
    settled, usage=st.fixed_dictionaries({"input": st.integers(0, 99), "output": st.integers(0, 7)})
)
TIMES = st.sampled_from([0, 1, BEGIN_NS - 1, BEGIN_NS, END_NS - 1, END_NS])
Attempt = tuple[Opened, Settled | None, int]
ATTEMPTS = st.lists(
    st.tuples(OPENINGS, SETTLEMENTS, TIMES), max_size=12, unique_by=lambda a: (a[0].request_id, a[0].attempt)
)
BY = st.lists(st.sampled_from(ANY), max_size=3, unique=True)


def records(attempts: Sequence[Attempt]) -> list[Record]:
    found = []
    for opening, settlement, at_ns in attempts:
        found.append(record(opening, at_ns))
        if settlement is not None:
            found.append(record(settled(opening.request_id, opening.attempt, usage=settlement.usage), at_ns + 1))
    return found


def folded(directory: str | Path, attempts: Sequence[Attempt]) -> Ledger:
    ledger = Ledger(Path(directory) / "ledger.sqlite")
    run(ledger.catch_up(log_of(usage_0=records(attempts)), CONFIG))
    return ledger


def amount(rows: Sequence[Any]) -> int:
    return sum(row.amount_nanousd or 0 for row in rows)


def check_sums(attempts: Sequence[Attempt], by: Sequence[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        ledger = folded(directory, attempts)
        found = ledger.costs(by, BEGIN_NS, END_NS)
        [total] = ledger.usage((), since_ns=BEGIN_NS, until_ns=END_NS)
        [before] = ledger.usage((), since_ns=0, until_ns=BEGIN_NS)
        ledger.close()
    assert found.total.amount_nanousd == total.amount_nanousd
    assert amount(found.rows) == (total.amount_nanousd or 0)
    assert sum(row.input for row in found.rows) == total.input == found.total.input
    assert sum(row.output for row in found.rows) == total.output
    assert found.total.previous_nanousd == before.amount_nanousd
    assert sum(row.previous_nanousd or 0 for row in found.rows) == (before.amount_nanousd or 0)
    assert sum(row.share_ppm for row in found.rows) == (PPM if total.amount_nanousd else 0)
    for row in found.rows:
        exact = Fraction((row.amount_nanousd or 0) * PPM, amount(found.rows) or 1)
        assert abs(exact - row.share_ppm) < 1
    for one in found.unattributed:
        assert one.amount_nanousd == amount([row for row in found.rows if not row.dimensions[one.dimension]])


@settings(max_examples=at_least(60), deadline=None)
@given(ATTEMPTS, BY)
def test_rows_sum_to_the_total_of_usage_whatever_is_asked_for(attempts: list[Attempt], by: list[str]) -> None:
    check_sums(attempts, by)


@settings(max_examples=at_least(50), deadline=None)
@given(ATTEMPTS)
def test_each_tool_has_its_share_and_its_sessions(attempts: list[Attempt]) -> None:
    """Against plain loops, call by call."""
    with tempfile.TemporaryDirectory() as directory:
        ledger = folded(directory, attempts)
        found = {row.dimensions["tool"]: row for row in ledger.costs(["tool"], BEGIN_NS, END_NS).rows}
        cost = {row.dimensions["tool"]: row for row in ledger.usage(["tool"], since_ns=BEGIN_NS, until_ns=END_NS)}
        ledger.close()
    exact, sessions, requests = defaultdict[str, Fraction](Fraction), defaultdict[str, set[Any]](set), set[Any]()
    for told, row in cost.items():
        for tool in told.split(","):
            exact[tool] += Fraction(row.amount_nanousd or 0, len(told.split(",")))
    for opening, _, at_ns in attempts:
        if BEGIN_NS <= at_ns < END_NS:
            for tool in opening.tool.split(","):
                requests.add((tool, opening.request_id))
                if opening.session:
                    sessions[tool].add((opening.tenant, opening.session))
    for tool, row_ in found.items():
        assert abs((row_.amount_nanousd or 0) - exact[tool]) <= len(cost), "less than a nano-dollar a sum divided"
        assert row_.sessions == len(sessions[tool])
    assert {tool for tool, _ in requests} <= set(found)


def _drop_unattributed(original: Callable[..., Any]) -> Callable[..., Any]:
    return lambda rows: {key: one for key, one in original(rows).items() if all(key)}


def _first_tool_only(original: Callable[..., Any]) -> Callable[..., Any]:
    return lambda amount, of, nth: amount // of


@pytest.mark.parametrize(
    ("name", "wrong"), [("_groups", _drop_unattributed), ("_share", _first_tool_only)], ids=["dropped", "floored"]
)
def test_the_property_sees_a_statement_that_loses_money(
    name: str, wrong: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = dict[str, Any](deployment="mini", session="s1", task="t-1", team="", tool="read,shell,web")
    attempts = [(opened(f"req_{n}", **plain), settled(usage={"input": 7, "output": 3}), BEGIN_NS) for n in range(2)]
    check_sums(attempts, ["team", "tool"])
    monkeypatch.setattr(costs, name, wrong(getattr(costs, name)))
    with pytest.raises(AssertionError):
        check_sums(attempts, ["team", "tool"])


def statement(path: Path, attempts: Sequence[Attempt], by: Sequence[str]) -> Statement:
    ledger = folded(path, attempts)
    found = ledger.costs(by, BEGIN_NS, END_NS)
    ledger.close()
    return found


def test_what_was_only_before_is_a_row_and_a_change(tmp_path: Path) -> None:
    then = (opened("req_1", team="core"), settled(usage={"input": 10, "output": 0}), BEGIN_NS - 1)
    now = (opened("req_2", team="apps"), settled(usage={"input": 5, "output": 0}), BEGIN_NS)
    found = statement(tmp_path, [then, now], ["team"])
    apps, core = found.rows
    assert (apps.amount_nanousd, apps.previous_nanousd, apps.change_ppm) == (15_000, 0, None)
    assert (core.amount_nanousd, core.previous_nanousd, core.change_ppm) == (0, 30_000, -PPM)
    assert (found.total.change_nanousd, found.total.change_ppm) == (-15_000, -PPM // 2)


def test_unit_costs_and_what_is_not_priced(tmp_path: Path) -> None:
    used = {"input": 1, "output": 0}
    attempts: list[Attempt] = [
        (opened("req_1", session="s1"), settled(usage=used), BEGIN_NS),
        (opened("req_2", session="s1"), settled(usage=used), BEGIN_NS),
        (opened("req_3", session="s2", deployment="secret"), settled(usage=used), BEGIN_NS),
        (opened("req_4", tenant="bolt", session="s1", deployment="secret"), None, BEGIN_NS),
    ]
    total = statement(tmp_path, attempts, []).total
    assert (total.amount_nanousd, total.unpriced, total.requests, total.sessions) == (6_000, 1, 4, 3)
    assert (total.per_request_nanousd, total.per_session_nanousd) == (1_500, 2_000)
    secret = (opened("req_1", deployment="secret"), settled(usage=used), BEGIN_NS)
    (tmp_path / "b").mkdir()
    found = statement(tmp_path / "b", [secret], [])
    assert (found.total.amount_nanousd, found.total.per_request_nanousd) == (None, None), "unpriced is never 0"


def test_by_day_nothing_is_compared_but_the_total(tmp_path: Path) -> None:
    then = (opened("req_1"), settled(), BEGIN_NS - 1)
    found = statement(tmp_path, [then, (opened("req_2"), settled(), BEGIN_NS)], ["day"])
    assert [row.previous_nanousd for row in found.rows] == [None]
    assert found.total.change_nanousd == 0


def test_a_window_must_begin_before_it_ends(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.sqlite")
    for begin, end in ((5, 5), (6, 5), (-1, 5)):
        with pytest.raises(LocalError):
            ledger.costs([], begin, end)
    with pytest.raises(LocalError, match="did you mean 'team'"):
        ledger.costs(["teams"], 0, 5)
    empty = to_api(ledger.costs(["team"], 0, 5))
    assert (empty["rows"], empty["total"]["amount_nanousd"], empty["until_ns"]) == ([], "0", "5")
    ledger.close()


def test_the_names_of_the_command_line_are_the_ledger_s() -> None:
    from interlock.cli import readers

    assert readers.BY == report.DIMENSIONS
