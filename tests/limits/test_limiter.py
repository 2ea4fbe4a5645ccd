"""Reserve, settle, release against a plain model: two workers on one page, a clock that moves, workers that die."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, precondition, rule
from tests.examples import at_least

from interlock.limits import Actual, Claim, Crossing, Denied, Held, Limit, Limiter, Page, worker_died
from interlock.limits.limit import end_ns
from interlock.limits.page import HELD, PARTS_MAX, PROBES, USED
from interlock.testing.clock import ManualClock
from interlock.units import INT64_MAX

S = 1_000_000_000
SLOTS = (0, 1)
LIMITS = (
    Limit(name="requests", measure="requests", amount=6, window="minute", per=("key",)),
    Limit(name="input", measure="input_tokens", amount=90, window="hour", tenants=("t0",)),
    Limit(name="output", measure="output_tokens", amount=120, window="minute", per=("session",)),
    Limit(name="tokens", measure="tokens", amount=150, window="day", per=("tenant", "model")),
    Limit(name="money", measure="nanousd", amount=1_000, window="month", per=("tenant",), models=("m0",)),
    Limit(name="at-once", measure="concurrency", amount=3, per=("principal",)),
)
Scope = tuple[str, tuple[str, ...], int]
"""(limit, the values it is for, the end of the window)."""


def amounts_of(claim: Claim) -> dict[str, int | None]:
    return {
        "requests": claim.requests,
        "input_tokens": claim.input_tokens,
        "output_tokens": claim.output_tokens,
        "tokens": claim.input_tokens + claim.output_tokens,
        "concurrency": 1,
        "nanousd": claim.nanousd,
    }


class Model:
    """What is used and held, in dicts; calls by id."""

    def __init__(self) -> None:
        self.limits = {limit.name: limit for limit in LIMITS}
        self.used: dict[Scope, int] = {}
        self.held: dict[str, dict[Scope, int]] = {}

    def wanted(self, claim: Claim, now_ns: int) -> dict[Scope, int | None]:
        found: dict[Scope, int | None] = {}
        for limit in self.limits.values():
            if (limit.tenants and claim.tenant not in limit.tenants) or (
                limit.models and claim.model not in limit.models
            ):
                continue
            per = [(claim.tenant, claim.session) if s == "session" else (claim.tenant, claim.principal)
                   if s == "principal" else getattr(claim, s) for s in limit.per]  # fmt: skip
            found[limit.name, tuple(map(str, per)), end_ns(limit.window, now_ns)] = amounts_of(claim)[limit.measure]
        return found

    def taken(self, scope: Scope) -> int:
        return self.used.get(scope, 0) + sum(held.get(scope, 0) for held in self.held.values())

    def missing(self, claim: Claim, now_ns: int) -> set[str]:
        """Limits that refuse it."""
        wanted = self.wanted(claim, now_ns)
        unpriced = {scope[0] for scope, amount in wanted.items() if amount is None}
        return unpriced or {s[0] for s, a in wanted.items() if self.taken(s) + (a or 0) > self.limits[s[0]].amount}

    def settle(self, call: str, actual: Actual | None) -> None:
        for scope, reserved in self.held.pop(call).items():
            measure = self.limits[scope[0]].measure
            if actual is None or measure == "concurrency":
                continue
            read, written = actual.input_tokens, actual.output_tokens
            spent = {
                "requests": None,
                "input_tokens": read,
                "output_tokens": written,
                "tokens": None if read is None or written is None else read + written,
                "nanousd": actual.nanousd,
            }[measure]
            self.used[scope] = self.used.get(scope, 0) + (reserved if spent is None else spent)


CLAIMS = st.builds(
    Claim,
    id=st.just(""),
    key=st.sampled_from(("k0", "k1")),
    tenant=st.sampled_from(("t0", "t1")),
    principal=st.sampled_from(("p0", "p1")),
    session=st.sampled_from(("", "s0")),
    model=st.sampled_from(("m0", "m1")),
    requests=st.sampled_from((0, 1, 1, 1)),
    input_tokens=st.integers(0, 40),
    output_tokens=st.integers(0, 50),
    nanousd=st.one_of(st.none(), st.integers(0, 400)),
)
UNKNOWN_OR = st.one_of(st.none(), st.integers(0, 60))
ACTUALS = st.builds(Actual, input_tokens=UNKNOWN_OR, output_tokens=UNKNOWN_OR, nanousd=UNKNOWN_OR)


class TwoWorkers(RuleBasedStateMachine):
    """The page agrees with the model after every step, whoever made it."""

    calls = Bundle("calls")

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "limits"
        self.clock = ManualClock()
        self.model = Model()
        self.number = 0
        Page.create(self.path, slots=len(SLOTS), rows=64, tickets=8)
        self.workers = [Limiter(Page(self.path), slot, self.clock, LIMITS) for slot in SLOTS]
        self.open: list[dict[str, Held]] = [{} for _ in SLOTS]

    def teardown(self) -> None:
        for worker in getattr(self, "workers", ()):
            worker.page.close()
        if hasattr(self, "folder"):
            self.folder.cleanup()

    @rule(target=calls, slot=st.sampled_from(SLOTS), claim=CLAIMS)
    def reserve(self, slot: int, claim: Claim) -> tuple[int, str]:
        self.number += 1
        call = f"req_{self.number}/1"
        claim = Claim(**{name: getattr(claim, name) for name in claim.__struct_fields__} | {"id": call})
        missing = self.model.missing(claim, self.clock.now_ns())
        outcome = self.workers[slot].reserve(claim)
        if missing:
            assert isinstance(outcome, Denied)
            assert outcome.limit in missing
        elif len(self.open[slot]) == 8:
            assert isinstance(outcome, Denied)
            assert outcome.reason == "full"
        else:
            assert isinstance(outcome, Held)
            self.open[slot][call] = outcome
            wanted = self.model.wanted(claim, self.clock.now_ns())
            self.model.held[call] = {scope: amount or 0 for scope, amount in wanted.items()}
            for one in outcome.standings:
                assert one.left_after == one.limit.amount - one.used - one.held - one.asked >= 0
        return slot, call

    @rule(call=consumes(calls), actual=ACTUALS)
    def settle(self, call: tuple[int, str], actual: Actual) -> None:
        slot, name = call
        if held := self.open[slot].pop(name, None):
            self.workers[slot].settle(held, actual)
            self.model.settle(name, actual)
            self.workers[slot].settle(held, actual)  # a second time changes nothing

    @rule(call=consumes(calls))
    def release(self, call: tuple[int, str]) -> None:
        slot, name = call
        if held := self.open[slot].pop(name, None):
            self.workers[slot].release(held)
            self.model.settle(name, None)

    @rule(by_s=st.sampled_from((1, 20, 60, 3_600, 86_400, 31 * 86_400)))
    def wait(self, by_s: int) -> None:
        self.clock.advance(by_s * S)

    @rule(slot=st.sampled_from(SLOTS), actual=ACTUALS, lost=st.booleans())
    def die(self, slot: int, actual: Actual, lost: bool) -> None:
        """A worker dies; the log says of each second call what it used, or of none."""
        known = {call: actual for n, call in enumerate(sorted(self.open[slot])) if lost and n % 2}
        self.workers[slot].page.close()
        page = Page(self.path)
        assert worker_died(page, slot, known.get) == len(self.open[slot])
        for call in self.open[slot]:
            self.model.settle(call, known.get(call))
        self.open[slot] = {}
        self.workers[slot] = Limiter(page, slot, self.clock, tuple(self.model.limits.values()))

    @precondition(lambda self: hasattr(self, "model"))
    @rule(name=st.sampled_from([limit.name for limit in LIMITS]), amount=st.sampled_from((0, 1, 50, 500)))
    def change(self, name: str, amount: int) -> None:
        """A new policy: another amount, the same counters."""
        old = self.model.limits[name]
        new = Limit(name=name, measure=old.measure, amount=amount, window=old.window, per=old.per,
                    tenants=old.tenants, models=old.models)  # fmt: skip
        self.model.limits[name] = new
        for worker in self.workers:
            worker.adopt(tuple(self.model.limits.values()))

    @invariant()
    def the_page_agrees(self) -> None:
        if not hasattr(self, "model"):
            return
        now_ns, page = self.clock.now_ns(), self.workers[0].page
        rows = [at for _, at in page.open_rows(now_ns)]
        scopes = {*self.model.used, *(scope for held in self.model.held.values() for scope in held)}
        current = [scope for scope in scopes if scope[2] > now_ns]
        used = sorted(filter(None, (self.model.used.get(scope, 0) for scope in current)))
        taken = sorted(filter(None, map(self.model.taken, current)))
        assert sorted(filter(None, (page.words[at + USED] for at in rows))) == used
        assert sorted(filter(None, (page.words[at + USED] + page.words[at + HELD] for at in rows))) == taken


TestTwoWorkers = TwoWorkers.TestCase
TestTwoWorkers.settings = settings(max_examples=at_least(150), stateful_step_count=40, deadline=None)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def limiter(tmp_path: Path, clock: ManualClock, *limits: Limit, **sizes: int) -> Limiter:
    Page.create(tmp_path / "limits", slots=1, **sizes)  # type: ignore[arg-type]  # rows and tickets
    return Limiter(Page(tmp_path / "limits"), 0, clock, limits)


def test_a_call_without_a_limit_is_admitted_and_recorded_nowhere(tmp_path: Path, clock: ManualClock) -> None:
    only = limiter(tmp_path, clock, LIMITS[1])
    held = only.reserve(Claim(id="r/1", tenant="t9"))
    assert isinstance(held, Held)
    assert (held.ticket, held.standings) == (-1, [])
    only.settle(held, Actual())


def test_an_unpriced_call_is_refused_where_money_is_limited(tmp_path: Path, clock: ManualClock) -> None:
    only = limiter(tmp_path, clock, LIMITS[4])
    denied = only.reserve(Claim(id="r/1", tenant="t0", model="m0", nanousd=None))
    assert isinstance(denied, Denied)
    assert (denied.reason, denied.limit, denied.code) == ("unpriced", "money", "unpriced")
    assert isinstance(only.reserve(Claim(id="r/1", tenant="t0", model="m0", nanousd=0)), Held)
    assert isinstance(only.reserve(Claim(id="r/1", tenant="t0", model="m1", nanousd=None)), Held)


def test_the_window_turns_at_its_end_and_not_before(tmp_path: Path, clock: ManualClock) -> None:
    only = limiter(tmp_path, clock, Limit(name="one", measure="requests", amount=1, window="minute"))
    rest = end_ns("minute", clock.now_ns()) - clock.now_ns()
    held = only.reserve(Claim(id="r/1"))
    assert isinstance(held, Held)
    clock.advance(rest - 1)
    denied = only.reserve(Claim(id="r/2"))
    assert isinstance(denied, Denied)
    assert denied.retry_after_ns == SOON
    only.settle(held, Actual())
    denied = only.reserve(Claim(id="r/2"))
    assert isinstance(denied, Denied)
    assert denied.retry_after_ns == 1
    clock.advance(1)
    assert isinstance(only.reserve(Claim(id="r/3")), Held)


SOON = 1_000_000_000


def test_a_call_counts_where_it_was_admitted(tmp_path: Path, clock: ManualClock) -> None:
    only = limiter(tmp_path, clock, Limit(name="t", measure="tokens", amount=10, window="minute"))
    held = only.reserve(Claim(id="r/1", input_tokens=10))
    assert isinstance(held, Held)
    clock.advance(60 * S)
    only.settle(held, Actual(input_tokens=10, output_tokens=0))
    assert isinstance(only.reserve(Claim(id="r/2", input_tokens=10)), Held)


def test_what_was_held_in_a_window_that_is_over_is_nobodys(tmp_path: Path, clock: ManualClock) -> None:
    only = limiter(tmp_path, clock, Limit(name="t", measure="tokens", amount=10, window="minute"))
    old = [only.reserve(Claim(id="r/1", input_tokens=4)) for _ in range(2)]
    clock.advance(60 * S)
    new = only.reserve(Claim(id="r/2", input_tokens=5))
    assert isinstance(new, Held)
    assert isinstance(old[0], Held)
    assert isinstance(old[1], Held)
    only.settle(old[0], Actual(input_tokens=4, output_tokens=0))
    only.release(old[1])
    refused = only.reserve(Claim(id="r/3", input_tokens=6))
    assert isinstance(refused, Denied)
    assert [(one.used, one.held) for one in refused.standings] == [(0, 5)]


def test_a_clock_that_goes_back_opens_no_window_again(tmp_path: Path) -> None:
    late = ManualClock()
    limit = Limit(name="one", measure="requests", amount=1, window="minute")
    ahead = limiter(tmp_path, late, limit)
    late.advance(60 * S)
    assert isinstance(ahead.reserve(Claim(id="r/1")), Held)
    behind = Limiter(Page(tmp_path / "limits"), 0, ManualClock(), [limit])
    assert isinstance(behind.reserve(Claim(id="r/2")), Denied)


def test_amounts_up_to_the_end_of_int64(tmp_path: Path, clock: ManualClock) -> None:
    only = limiter(tmp_path, clock, Limit(name="m", measure="nanousd", amount=INT64_MAX, window="month"))
    held = only.reserve(Claim(id="r/1", nanousd=INT64_MAX))
    assert isinstance(held, Held)
    assert isinstance(only.reserve(Claim(id="r/2", nanousd=1)), Denied)
    only.settle(held, Actual(nanousd=INT64_MAX - 1))
    last = only.reserve(Claim(id="r/3", nanousd=1))
    assert isinstance(last, Held)
    only.settle(last, Actual(nanousd=INT64_MAX))  # more than the counter holds: it stays at its end
    denied = only.reserve(Claim(id="r/4", nanousd=1))
    assert isinstance(denied, Denied)
    assert denied.left == 0


@pytest.mark.parametrize(
    "claim",
    [
        {"requests": -1}, {"input_tokens": -1}, {"output_tokens": -1}, {"nanousd": -1}, {"id": "x" * 49}, {"id": "ü"},
    ],
)  # fmt: skip
def test_a_claim_that_would_give_instead_of_take_is_a_defect(claim: dict[str, object]) -> None:
    with pytest.raises(AssertionError):
        Claim(**{"id": "r/1", **claim})  # type: ignore[arg-type]  # on purpose
    for field in claim.keys() & {"input_tokens", "output_tokens", "nanousd"}:
        with pytest.raises(AssertionError):
            Actual(**{field: -1})


def test_a_full_table_refuses_new_scopes_and_forgets_none(tmp_path: Path, clock: ManualClock) -> None:
    limits = [
        Limit(name="day", measure="requests", amount=1, window="day", per=("key",)),
        Limit(name="at-once", measure="concurrency", amount=1, per=("session",)),
    ]
    only = limiter(tmp_path, clock, *limits, rows=1, tickets=1024)
    for n in range(PROBES - 1):
        held = only.reserve(Claim(id="r/1", key=f"k{n}", session="s"))
        assert isinstance(held, Held)
        only.settle(held, Actual())
    last = only.reserve(Claim(id="r/1", key="k", session="s"))  # takes the idle counter's row, and has none for its own
    assert isinstance(last, Denied)
    assert (last.reason, last.limit, last.code) == ("full", "at-once", "limits_unavailable")
    known = only.reserve(Claim(id="r/1", key="k0", session="s"))
    assert isinstance(known, Denied)
    only.adopt(limits[:1])
    known, new = only.reserve(Claim(id="r/1", key="k0")), only.reserve(Claim(id="r/1", key="new"))
    assert isinstance(known, Denied)
    assert isinstance(new, Denied)
    assert (known.reason, new.reason) == ("exceeded", "full")
    clock.advance(86_400 * S)
    assert isinstance(only.reserve(Claim(id="r/1", key="new")), Held)


def test_no_counter_of_a_call_gets_the_row_of_another_of_it(tmp_path: Path, clock: ManualClock) -> None:
    """In a full table the idle counter of calls at once is what a new one would take."""
    limits = [
        Limit(name="at-once", measure="concurrency", amount=1),
        Limit(name="day", measure="requests", amount=9, window="day", per=("key",)),
    ]
    only = limiter(tmp_path, clock, *limits, rows=1, tickets=1024)
    for n in range(PROBES - 1):
        held = only.reserve(Claim(id="r/1", key=f"k{n}"))
        assert isinstance(held, Held)
        only.settle(held, Actual())
    new = only.reserve(Claim(id="r/1", key="new"))
    assert isinstance(new, Denied)
    assert new.reason == "full"
    assert isinstance(only.reserve(Claim(id="r/1", key="k0")), Denied | Held)


def test_more_limits_than_a_ticket_holds_refuse(tmp_path: Path, clock: ManualClock) -> None:
    every = [Limit(name=f"l{n}", measure="requests", amount=9, window="day") for n in range(PARTS_MAX + 1)]
    only = limiter(tmp_path, clock, *every)
    denied = only.reserve(Claim(id="r/1"))
    assert isinstance(denied, Denied)
    assert denied.reason == "full"
    only.adopt(every[:-1])
    held = only.reserve(Claim(id="r/1"))
    assert isinstance(held, Held)
    only.settle(held, Actual())
    assert all(one.left_after == 8 for one in held.standings)


def test_names_of_one_tenant_are_not_another_tenants(tmp_path: Path, clock: ManualClock) -> None:
    only = limiter(tmp_path, clock, Limit(name="s", measure="requests", amount=1, window="day", per=("session",)))
    assert isinstance(only.reserve(Claim(id="r/1", tenant="a", session="b/c")), Held)
    assert isinstance(only.reserve(Claim(id="r/1", tenant="a/b", session="c")), Held)
    assert isinstance(only.reserve(Claim(id="r/1", tenant="a", session="b/c")), Denied)
    assert isinstance(only.reserve(Claim(id="r/1", tenant="x", session="b/c")), Held)
    assert isinstance(only.reserve(Claim(id="r/1", tenant="a", session="")), Held)
    assert isinstance(only.reserve(Claim(id="r/2", tenant="a", session="")), Denied)


def test_thresholds_are_said_once_in_each_window(tmp_path: Path, clock: ManualClock) -> None:
    limit = Limit(name="t", measure="tokens", amount=100, window="day", per=("tenant",), warn_at=(50, 80, 100))
    said: list[Crossing] = []
    Page.create(tmp_path / "limits", slots=1)
    only = Limiter(Page(tmp_path / "limits"), 0, clock, [limit], said.append)

    def use(tokens: int) -> list[int]:
        held = only.reserve(Claim(id="r/1", tenant="acme"))
        assert isinstance(held, Held)
        del said[:]
        only.settle(held, Actual(input_tokens=tokens, output_tokens=0))
        return [one.percent for one in said]

    assert [use(n) for n in (49, 1, 1, 40, 9)] == [[], [50], [], [80], [100]]
    assert (said[0].used, said[0].scope, said[0].limit) == (100, (("tenant", "acme"),), limit)
    assert use(0) == []
    clock.advance(86_400 * S)
    assert use(90) == [80], "what jumps over several is one warning"
    assert use(1) == []
