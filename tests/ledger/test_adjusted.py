"""What a provider's bill changes, in the view: attempts with other figures, entries that are no attempts."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import at_least
from tests.ledger.logs import SONNET, RepeatingLog, adopted, log_of, opened, record, run, settled

from interlock.ledger import Adjusted, Ledger, lost
from interlock.log import Record

START_NS, END_NS = 1_000, 90_000
LOST = opened("req_lost")


def adjusted(request_id: str = "req_lost", n: int = 1, **fields: Any) -> Record:
    plain: dict[str, Any] = {
        "attempt": 1,
        "statement": "sha256:00",
        "row": "2026-09-01T00:00:00.000Z claude output",
        "reason": "lost",
        "period_start_ns": START_NS,
        "period_end_ns": END_NS,
        "usage": {"input": 800, "output": 90},
    }
    event = Adjusted(request_id=request_id, **(plain | fields))
    id = request_id if event.tenant else f"{request_id}/1/adjusted/{n}"
    return Record(id=id, type="usage.adjusted", at_ns=5_000 + n, payload=msgspec.json.encode(event))


def own(request_id: str, nanousd: int | None, usage: Mapping[str, int], **fields: Any) -> Record:
    """An entry of its own."""
    named = {"tenant": "acme", "deployment": "sonnet", "provider": "anthropic", "model": "claude", "reason": "price"}
    return adjusted(request_id, amount_nanousd=nanousd, usage=dict(usage), **(named | fields))


def logs(*changes: Record) -> tuple[RepeatingLog, RepeatingLog]:
    usage = log_of(
        usage_0=[record(opened("req_1")), record(settled("req_1"))], usage_1=[record(LOST), record(lost(LOST))]
    )
    other = log_of(config=[adopted("sha256:1", {"sonnet": SONNET})], adjustments=changes)
    return usage, other


@contextmanager
def folded(*changes: Record) -> Iterator[Ledger]:
    with tempfile.TemporaryDirectory() as directory, closing(Ledger(Path(directory) / "view.sqlite")) as ledger:
        run(ledger.catch_up(*logs(*changes)))
        yield ledger


def test_an_attempt_has_the_figures_that_were_billed_and_keeps_what_was_metered() -> None:
    with folded(adjusted()) as ledger:
        found = ledger.explain("req_lost")
        assert found is not None
        [attempt] = found.attempts
        assert attempt.entry is not None
        assert attempt.metered is not None
        assert (attempt.entry.source, attempt.entry.outcome) == ("billed", "lost")
        assert attempt.entry.amount.amount_nanousd == 800 * 3_000 + 90 * 15_000
        assert attempt.metered.amount_nanousd == 700 * 3_000
        assert {one.type: one.standing for one in attempt.records} == {
            "usage.opened": "stands",
            "usage.settled": "stands",
            "usage.adjusted": "stands",
        }
        [row] = ledger.usage()
        assert (row.attempts, row.lost, row.estimated, row.output) == (2, 1, 0, 95)
        assert ledger.cost_nanousd() == row.amount_nanousd


def test_each_attempt_names_the_statement_of_its_own_figures() -> None:
    """Another attempt of the same request may be of another provider, whose bill came later."""
    again = opened("req_lost", 2, deployment="mini", provider="openai")
    usage, other = logs(adjusted(statement="sha256:aa"), adjusted(n=2, attempt=2, statement="sha256:bb"))
    usage.put("usage/1", record(again), record(lost(again)))
    with tempfile.TemporaryDirectory() as directory, closing(Ledger(Path(directory) / "view.sqlite")) as ledger:
        run(ledger.catch_up(usage, other))
        with ledger.metered(["anthropic", "openai"], since_ns=0, until_ns=END_NS) as entries:
            told = {(one.request_id, one.attempt): one.statement for one in entries}
    assert told == {("req_1", 1): "", ("req_lost", 1): "sha256:aa", ("req_lost", 2): "sha256:bb"}


def test_the_newest_adjustment_stands() -> None:
    with folded(adjusted(), adjusted(n=2, usage={"input": 1, "output": 2})) as ledger:
        found = ledger.explain("req_lost")
        assert found is not None
        [attempt] = found.attempts
        assert attempt.entry is not None
        assert attempt.entry.usage == {"input": 1, "output": 2}
        assert [one.standing for one in attempt.records if one.type == "usage.adjusted"] == ["superseded", "stands"]


def test_an_entry_of_its_own_is_in_every_sum_and_is_no_request() -> None:
    changes = [own("adj_1", -500, {"output": -3}), own("adj_2", 700, {"cache_write_1h": 4}, tenant="beta")]
    with folded(*changes) as ledger, folded() as before:
        [now], [then] = ledger.usage(), before.usage()
        assert now.amount_nanousd is not None
        assert then.amount_nanousd is not None
        assert now.amount_nanousd - then.amount_nanousd == 200 == ledger.cost_nanousd() - before.cost_nanousd()
        assert (now.requests, now.attempts) == (then.requests, then.attempts) == (2, 2)
        assert (now.output - then.output, now.input - then.input, now.cache_write) == (-3, 4, 4)
        by = {(row.dimensions["tenant"], row.dimensions["source"]): row for row in ledger.usage(["tenant", "source"])}
        assert (by["beta", "billed"].amount_nanousd, by["beta", "billed"].requests) == (700, 0)
        assert ledger.counts().attempts == 2
        assert ledger.savings(baseline="sonnet").attempts == 2, "what is no attempt has no baseline"
        with ledger.past() as rows:
            assert len(list(rows)) == 2


def test_it_is_dated_by_its_period() -> None:
    with folded(own("adj_1", 7, {"output": 0}, period_start_ns=50_000)) as ledger:
        [row] = ledger.usage(since_ns=50_000, until_ns=50_001)
        assert row.amount_nanousd == 7
        assert ledger.usage(until_ns=50_000)[0].attempts == 2


def test_it_is_explained_to_its_tenant_alone() -> None:
    with folded(own("adj_1", 7, {"output": 1}, tenant="beta")) as ledger:
        assert ledger.explain("adj_1", "acme") is None
        found = ledger.explain("adj_1", "beta")
        assert found is not None
        assert found.amount_nanousd == 7
        [attempt] = found.attempts
        assert attempt.entry is not None
        assert (attempt.entry.state, attempt.entry.rule) == ("adjusting", "price")


def test_a_quantity_without_a_price_is_unpriced_and_calls_are_not() -> None:
    with folded(own("adj_1", None, {"output": 5}), own("adj_2", None, {"requests": 1})) as ledger:
        [row] = ledger.usage(["model"], since_ns=START_NS)[:1]
        assert row.dimensions["model"] == "claude"
        assert (row.amount_nanousd, row.unpriced, row.output) == (None, 1, 5)


def test_what_cannot_be_read_is_counted_and_nothing_else() -> None:
    broken = Record(id="x", type="usage.adjusted", at_ns=1, payload=b'{"request_id":7}')
    huge = own("adj_9", 1 << 70, {})
    other = Record(id="y", type="statement.imported", at_ns=1, payload=b"{}")
    with folded(broken, huge, other) as ledger:
        assert ledger.counts().unread == 2


CHANGES = st.lists(
    st.one_of(
        st.builds(
            lambda n, used: adjusted(n=n, usage={"input": used, "output": n}), st.integers(1, 3), st.integers(0, 9)
        ),
        st.builds(
            lambda n, nano: own(f"adj_{n}_{nano}", nano, {"output": n}), st.integers(-5, 5), st.integers(-99, 99)
        ),
        st.just(adjusted("req_unseen")),
    ),
    max_size=5,
    unique_by=lambda one: one.id,
)


@settings(deadline=None, max_examples=at_least(30))
@given(CHANGES, st.data())
def test_the_view_is_the_same_whatever_order_streams_are_read_in(changes: list[Record], data: st.DataObject) -> None:
    """Adjustments before or after the calls and the prices they concern, in any pieces."""
    usage, other = logs(*changes)
    ends = {stream: len(rows) for log in (usage, other) for stream, rows in log.rows.items()}
    heads = dict.fromkeys(ends, 0)
    with tempfile.TemporaryDirectory() as directory:
        with closing(Ledger(Path(directory) / "a.sqlite")) as ledger:
            while heads != ends:
                stream = data.draw(st.sampled_from([name for name in ends if heads[name] < ends[name]]))
                heads[stream] = data.draw(st.integers(heads[stream] + 1, ends[stream]))
                run(ledger.catch_up(_cut(usage, heads), _cut(other, heads)))
            piecemeal = ledger.dump()
        with closing(Ledger(Path(directory) / "b.sqlite")) as ledger:
            run(ledger.catch_up(usage, other))
            assert ledger.dump() == piecemeal
            [total] = ledger.usage()
            assert total.amount_nanousd == ledger.cost_nanousd()


def _cut(log: RepeatingLog, heads: Mapping[str, int]) -> RepeatingLog:
    return log.cut({stream: heads[stream] for stream in log.rows})


def test_an_entry_is_of_who_is_named_and_counts_no_session() -> None:
    named = {"team": "core", "principal": "ada", "session": "s-9"}
    with folded(own("adj_1", 500, {"output": 2}, **named), own("adj_2", -30, {"output": -1})) as ledger:
        with folded() as before:
            [metered] = before.usage()
        for by, name in named.items():
            statement = ledger.costs([by], 1, 10**9)
            rows = {row.dimensions[by]: row for row in statement.rows}
            assert sum(row.amount_nanousd or 0 for row in statement.rows) == ledger.cost_nanousd()
            assert {row.dimensions[by]: row.amount_nanousd for row in ledger.usage([by])} == {
                one: row.amount_nanousd for one, row in rows.items()
            }
            calls = metered.amount_nanousd if by == "principal" else 0
            assert rows[name].amount_nanousd == (calls or 0) + 500
        alone = {row.dimensions["session"]: row for row in ledger.costs(["session"], 1, 10**9).rows}["s-9"]
        assert (alone.requests, alone.sessions, alone.per_session_nanousd, alone.amount_nanousd) == (0, 0, None, 500)
        explained = ledger.explain("adj_1")
        assert explained is not None and explained.attempts[0].entry is not None
        assert (explained.attempts[0].entry.team, explained.attempts[0].entry.session) == ("core", "s-9")
