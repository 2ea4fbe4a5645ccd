"""Patterns of models against the slow way; whose plan a call is held to; a plan that changes keeps what was counted."""

import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from interlock.limits import (
    Actual,
    Caller,
    Claim,
    Denied,
    Entitled,
    Held,
    Limit,
    Limiter,
    Matcher,
    Page,
    Spent,
    restore,
    survey,
)
from interlock.limits.entitled import matches
from interlock.testing.clock import ManualClock

NOW_NS = 1_790_000_000 * 1_000_000_000
QUOTA = Limit(name="requests", measure="requests", amount=100, window="month")


def tokens(tenant: str, amount: int, *per: str, **more: object) -> Limit:
    made: dict[str, object] = {"name": "plan/tokens", "measure": "tokens", "amount": amount, "window": "month"}
    return Limit(**{**made, "per": ("tenant", *per), "tenants": (tenant,), **more})  # type: ignore[arg-type]  # by name


def plan(tenant: str, *limits: Limit, models: tuple[str, ...] | None = None) -> Entitled:
    return Entitled(tenant=tenant, plan="gold version 1", models=models, limits=limits)


class Known:
    """A port that says once what it was told."""

    def __init__(self, *plans: Entitled) -> None:
        self.next: list[Entitled] | None = list(plans)

    def changed(self, now_ns: int) -> list[Entitled] | None:
        found = self.next
        self.next = None if found is None else []
        return found


def call(tenant: str = "acme", used: int = 10, model: str = "small-1", principal: str = "ada") -> Claim:
    return Claim(id="req/1", key="k", tenant=tenant, principal=principal, model=model, input_tokens=used)


@pytest.fixture
def limiter(tmp_path: Path) -> Limiter:
    Page.create(tmp_path / "limits", slots=1)
    return Limiter(Page(tmp_path / "limits"), 0, ManualClock(NOW_NS), [QUOTA])


ALPHABET = st.text(alphabet="ab*", max_size=8)


@given(ALPHABET, st.text(alphabet="ab", max_size=8))
@example("a*a", "a")
@example("*", "")
@example("a*b*a", "aba")
@example("*ab*ab", "ab")
@example("*ab*ba*", "aba")
def test_a_star_stands_for_any_text(pattern: str, text: str) -> None:
    slow = re.fullmatch(".*".join(re.escape(part) for part in pattern.split("*")), text)
    assert matches(pattern, text) == (slow is not None)


def test_nothing_else_is_special() -> None:
    assert matches("m[0-9]?", "m[0-9]?") and not matches("m[0-9]?", "m1x") and not matches("M*", "m1")
    assert matches("*/*-1", "meta/llama-1")
    assert not matches("a*" * 128 + "b", "a" * 100_000), "in time proportional to both"


def test_a_tenant_is_held_to_its_own_plan(limiter: Limiter) -> None:
    limiter.plans = Known(plan("acme", tokens("acme", 25)), plan("bolt", tokens("bolt", 15)))
    assert limiter.funded
    assert [isinstance(limiter.reserve(call("acme")), Held) for _ in range(3)] == [True, True, False]
    assert [isinstance(limiter.reserve(call("bolt")), Held) for _ in range(2)] == [True, False]
    assert isinstance(limiter.reserve(call("none", 10**6)), Held)
    denied = limiter.reserve(call("acme"))
    assert isinstance(denied, Denied) and (denied.reason, denied.limit, denied.left) == ("exceeded", "plan/tokens", 5)


def test_a_model_that_the_plan_does_not_hold(limiter: Limiter) -> None:
    limiter.plans = known = Known(plan("acme", models=("small-*", "*-mini")), plan("bolt", models=()))
    for model in ("small-1", "x-mini"):
        assert isinstance(limiter.reserve(call(model=model)), Held)
    for _ in range(2):  # as it was found, and as it is remembered
        denied = limiter.reserve(call(model="big-1"))
        assert isinstance(denied, Denied) and (denied.code, denied.retry_after_ns) == ("not_entitled", None)
        assert denied.says == "model big-1 is not in plan gold version 1, which entitles to small-*, *-mini"
    none = limiter.reserve(call("bolt"))
    assert isinstance(none, Denied) and none.says.endswith("entitles to no model")
    assert isinstance(limiter.reserve(call("none", model="big-1")), Held)
    assert len(limiter.page.free_tickets(0)) == limiter.page.tickets - 3, "only what was let in is held"
    known.next = [plan("acme", models=("*",)), Entitled(tenant="bolt")]
    assert isinstance(limiter.reserve(call(model="big-1")), Held), "at once"
    assert isinstance(limiter.reserve(call("bolt")), Held)


def test_many_models_are_named_within_bounds() -> None:
    denied = plan("acme", models=tuple(f"m{n}-{'x' * 200}" for n in range(50))).refusal("y" * 500)
    assert denied is not None and len(denied.says) < 520 and denied.says.endswith(" and 40 more")


def test_what_was_used_stays_used_when_the_plan_changes(limiter: Limiter) -> None:
    limiter.plans = known = Known(plan("acme", tokens("acme", 25)))
    held = limiter.reserve(call(used=20))
    assert isinstance(held, Held)
    limiter.settle(held, Actual(input_tokens=20, output_tokens=0))
    assert isinstance(limiter.reserve(call()), Denied)
    known.next = [plan("acme", tokens("acme", 30))]
    more = limiter.reserve(call())
    assert isinstance(more, Held) and more.standings[-1].used == 20
    limiter.release(more)
    known.next = [plan("acme", tokens("acme", 10**6, "principal"))]
    anew = limiter.reserve(call())
    assert isinstance(anew, Held) and anew.standings[-1].used == 0, "by other scopes it is another counter"
    assert [one.limit.name for one in anew.standings] == ["requests", "plan/tokens"]
    known.next = [Entitled(tenant="acme")]
    free = limiter.reserve(call())
    assert isinstance(free, Held) and [one.limit.name for one in free.standings] == ["requests"]
    assert not limiter._matcher.plans


def test_a_limit_may_be_by_what_no_limit_was_by(limiter: Limiter) -> None:
    """The memory of calls seen must not take two principals for one."""
    limiter.plans = known = Known(plan("acme", tokens("acme", 10)))
    assert isinstance(limiter.reserve(call(principal="ada")), Held)
    assert isinstance(limiter.reserve(call(principal="bob")), Denied)
    known.next = [plan("acme", tokens("acme", 10, "principal"))]
    for principal in ("ada", "bob"):
        assert isinstance(limiter.reserve(call(principal=principal)), Held)
        assert isinstance(limiter.reserve(call(principal=principal)), Denied)


def test_other_policies_and_accounts_keep_plans(limiter: Limiter) -> None:
    limiter.plans = Known(plan("acme", tokens("acme", 10), models=("small-*",)))
    assert isinstance(limiter.reserve(call()), Held)
    limiter.adopt([])
    assert isinstance(limiter.reserve(call()), Denied)

    class Funded:
        def changed(self, now_ns: int) -> list[Limit]:
            return [Limit(name="credit/acme", measure="nanousd", amount=5, window="ever", tenants=("acme",))]

    limiter.funds = Funded()
    denied = limiter.reserve(call(model="big"))
    assert isinstance(denied, Denied) and denied.reason == "not_entitled"


def test_what_cannot_be_read_lets_nobody_in(limiter: Limiter) -> None:
    limiter.plans = known = Known(plan("acme", tokens("acme", 10)))
    assert isinstance(limiter.reserve(call()), Held)
    known.next = None
    denied = limiter.reserve(call("none"))
    assert isinstance(denied, Denied) and denied.code == "limits_unavailable" and limiter.funded


def test_a_plan_s_threshold_is_told(tmp_path: Path) -> None:
    Page.create(tmp_path / "limits", slots=1)
    told: list[tuple[str, int]] = []
    limiter = Limiter(
        Page(tmp_path / "limits"),
        0,
        ManualClock(NOW_NS),
        [],
        lambda crossing: told.append((crossing.limit.name, crossing.percent)),
    )
    limiter.plans = known = Known(plan("acme", tokens("acme", 20, warn_at=(40,))))
    for used, warn_at in ((8, (40,)), (1, ()), (7, (40, 80))):
        known.next = [plan("acme", tokens("acme", 20, warn_at=warn_at))]
        held = limiter.reserve(call())
        assert isinstance(held, Held)
        limiter.settle(held, Actual(input_tokens=used, output_tokens=0))
    assert told == [("plan/tokens", 40), ("plan/tokens", 80)]


def test_a_threshold_may_come_later(limiter: Limiter) -> None:
    told: list[int] = []
    limiter._on_crossing = lambda crossing: told.append(crossing.percent)
    limiter.plans = known = Known(plan("acme", tokens("acme", 10)))
    assert isinstance(limiter.reserve(call(used=0)), Held)
    known.next = [plan("acme", tokens("acme", 10, warn_at=(80,)))]
    held = limiter.reserve(call())
    assert isinstance(held, Held)
    limiter.settle(held, Actual(input_tokens=8, output_tokens=0))
    assert told == [80]


@pytest.mark.parametrize("first", [(80,), (100,)])
def test_another_plan_s_thresholds_are_its_own(limiter: Limiter, first: tuple[int, ...]) -> None:
    """Who used up one plan is warned of the next one's, whatever stands where in the two lists; and not twice."""
    told: list[tuple[int, int]] = []
    limiter._on_crossing = lambda crossing: told.append((crossing.limit.amount, crossing.percent))
    limiter.plans = known = Known(plan("acme", tokens("acme", 10, warn_at=first)))

    def use(used: int) -> None:
        held = limiter.reserve(call(used=used))
        assert isinstance(held, Held)
        limiter.settle(held, Actual(input_tokens=used, output_tokens=0))

    use(10)
    assert told == [(10, first[0])]
    known.next = [plan("acme", tokens("acme", 100, warn_at=(80, 100)))]
    for used in (10, 60, 5):
        use(used)
    assert told[1:] == [(100, 80)]
    known.next = [plan("acme", tokens("acme", 90, warn_at=(80, 100)))]
    use(5)
    assert told[2:] == [(90, 100)], "a downgrade is told where it stands"


def test_a_start_counts_what_the_log_says(limiter: Limiter) -> None:
    plans = {"acme": plan("acme", tokens("acme", 25)), "bolt": plan("bolt", tokens("bolt", 25))}
    spent = [Spent(at_ns=NOW_NS, tenant=of, input_tokens=15, requests=1) for of in ("acme", "acme", "none")]
    assert restore(limiter.page, [QUOTA], spent, NOW_NS, plans) == 2
    callers = [Caller(tenant=of) for of in ("acme", "bolt", "none")]
    found = {(one.limit.name, one.scope): one.used for one in survey(limiter.page, [QUOTA], callers, NOW_NS, plans)}
    assert found == {
        ("requests", ()): 3,
        ("plan/tokens", (("tenant", "acme"),)): 30,
        ("plan/tokens", (("tenant", "bolt"),)): 0,
    }


def test_verdicts_do_not_pile_up() -> None:
    matcher = Matcher([], {}, {"acme": plan("acme", models=("a",))})
    for n in range(20_000):
        assert matcher.refusal("acme", f"m{n}") is not None
    assert len(matcher._verdicts) <= 16_384
