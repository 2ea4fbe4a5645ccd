"""What answers say of limits: the names and spellings that clients read."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.limits import Denied, Held, Limit, Standing, headers
from interlock.limits.headers import duration, rfc3339
from interlock.limits.limit import NEVER_NS

NOW_NS = 1_700_000_000_000_000_000
S = 1_000_000_000


def standing(
    measure: str, amount: int, used: int, asked: int = 1, in_s: float = 60.0, name: str = "l", others: int = 0
) -> Standing:
    window = None if measure == "concurrency" else "minute"
    limit = Limit(name=name, measure=measure, amount=amount, window=window)  # type: ignore[arg-type]  # of the lists
    ends_ns = NOW_NS + int(in_s * S) if window else NEVER_NS
    return Standing(limit, asked, used, 0, amount, others, ends_ns)


SOME = [
    standing("requests", 100, 40, in_s=360),
    standing("requests", 1_000, 990, name="day", in_s=7_260.5),
    standing("tokens", 5_000, 1_000, 300, in_s=0.017, others=700),
    standing("input_tokens", 4_000, 0, 200),
    standing("concurrency", 3, 0),
    standing("nanousd", 50, 0, 5),
]
HELD = Held(1, (), [], SOME)


def test_openai_clients() -> None:
    assert headers("openai", HELD, NOW_NS) == [
        ("x-ratelimit-limit-requests", "1000"),
        ("x-ratelimit-remaining-requests", "9"),
        ("x-ratelimit-reset-requests", "2h1m1s"),
        ("x-ratelimit-limit-tokens", "5000"),
        ("x-ratelimit-remaining-tokens", "3000"),
        ("x-ratelimit-reset-tokens", "17ms"),
    ]


def test_anthropic_clients() -> None:
    assert headers("anthropic", HELD, NOW_NS) == [
        ("anthropic-ratelimit-requests-limit", "1000"),
        ("anthropic-ratelimit-requests-remaining", "9"),
        ("anthropic-ratelimit-requests-reset", "2023-11-15T00:14:21Z"),
        ("anthropic-ratelimit-tokens-limit", "5000"),
        ("anthropic-ratelimit-tokens-remaining", "3000"),
        ("anthropic-ratelimit-tokens-reset", "2023-11-14T22:13:21Z"),
        ("anthropic-ratelimit-input-tokens-limit", "4000"),
        ("anthropic-ratelimit-input-tokens-remaining", "3800"),
        ("anthropic-ratelimit-input-tokens-reset", "2023-11-14T22:14:20Z"),
    ]


def test_a_refusal_says_which_limit_and_when_to_come_again() -> None:
    some = [standing("requests", 10, 10)]
    denied = Denied(reason="exceeded", limit="ten", retry_after_ns=1_000_000_001, standings=some)
    assert headers("openai", denied, NOW_NS) == [
        ("x-ratelimit-limit-requests", "10"),
        ("x-ratelimit-remaining-requests", "0"),
        ("x-ratelimit-reset-requests", "1m0s"),
        ("retry-after", "2"),
        ("x-interlock-limit", "ten"),
    ]
    never = Denied(reason="too_large", limit="ten")
    assert headers("anthropic", never, NOW_NS) == [("x-interlock-limit", "ten")]


def test_what_was_refused_is_not_taken_off_what_is_left() -> None:
    some = [standing("tokens", 100, 50, asked=60)]
    denied = Denied(reason="exceeded", limit="t", retry_after_ns=1, standings=some)
    assert ("x-ratelimit-remaining-tokens", "50") in headers("openai", denied, NOW_NS)


def test_money_and_calls_at_once_are_nobodys_headers() -> None:
    assert headers("openai", Held(1, (), [], SOME[4:]), NOW_NS) == []
    assert headers("anthropic", Held(-1, (), [], []), NOW_NS) == []


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0s"), (1, "1ms"), (999_000_000, "999ms"), (999_000_001, "1s"), (S, "1s"), (59 * S + 1, "1m0s"),
        (60 * S, "1m0s"), (360 * S, "6m0s"), (3_600 * S, "1h0m0s"), (93_784 * S, "26h3m4s"),
    ],
)  # fmt: skip
def test_durations_as_go_writes_them(ns: int, text: str) -> None:
    assert duration(ns) == text


@given(st.integers(0, 40 * 86_400 * S))
def test_who_waits_as_told_waits_long_enough(ns: int) -> None:
    units = {"h": 3_600 * S, "m": 60 * S, "s": S, "ms": S // 1_000}
    text, total = duration(ns), 0
    for unit in ("h", "ms", "m", "s"):
        number, found, rest = text.partition(unit)
        if found and number.isdigit():
            total, text = total + int(number) * units[unit], rest
    assert text == ""
    assert ns <= total < ns + S
    assert datetime.fromisoformat(rfc3339(NOW_NS + ns)).timestamp() * S >= NOW_NS + ns
