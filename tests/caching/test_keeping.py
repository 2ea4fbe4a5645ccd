"""What is kept, for how long, and how it is read back."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.caching.entries import SECOND_NS, entry

from interlock.caching import Directives, age_s, kept_lines
from interlock.caching.keeping import fresh, from_bytes, lifetime_ms, to_bytes, until_ns

KEY = b"k" * 32
NONE = Directives()


def test_an_entry_comes_back_as_it_was() -> None:
    made = entry(body=b"\x00\xff{}", made_at_ns=5)
    assert from_bytes(to_bytes(made), KEY, "acme") == made


def test_what_is_under_the_wrong_key_or_of_another_tenant_or_version_is_no_entry() -> None:
    made = entry()
    assert from_bytes(to_bytes(made), b"x" * 32, "acme") is None
    assert from_bytes(to_bytes(made), KEY, "other") is None
    assert from_bytes(to_bytes(msgspec.structs.replace(made, schema=2)), KEY, "acme") is None


@given(st.binary(max_size=200), st.integers(0, 300))
def test_no_bytes_are_an_error(noise: bytes, cut: int) -> None:
    whole = to_bytes(entry())
    assert from_bytes(noise, KEY, "acme") is None
    assert from_bytes(whole[: min(cut, len(whole) - 1)], KEY, "acme") is None


def test_lines_that_tell_of_the_call_are_not_kept() -> None:
    lines = (
        b"content-type: text/event-stream\r\nX-Request-Id: r\r\nx-ratelimit-remaining-tokens: 9\r\nretry-after: 1\r\n"
        b"Cache-Control: no-cache\r\nx-interlock-request-id: req_1\r\nx-interlock-tier: main\r\n"
        b"x-interlock-deployment: d0\r\nx-interlock-cache: miss\r\nx-interlock-dropped: top_k\r\nset-cookie: a=b\r\n"
    )
    kept = b"content-type: text/event-stream\r\nCache-Control: no-cache\r\nx-interlock-dropped: top_k\r\n"
    assert kept_lines(lines) == kept == entry(lines=lines).lines


@given(st.binary(min_size=32, max_size=32), st.integers(1, 86_400 * 30))
def test_a_lifetime_is_within_a_tenth_of_what_was_set(key: bytes, ttl_s: int) -> None:
    assert 0.9 * ttl_s * 1000 - 1 <= lifetime_ms(key, ttl_s) <= 1.1 * ttl_s * 1000


def test_lifetimes_of_what_came_together_are_spread() -> None:
    lives = [lifetime_ms(bytes([n]) * 32, 1000) for n in range(256)]
    assert (min(lives), len(set(lives))) == (900_000, 256)
    assert max(lives) > 1_098_000


@pytest.mark.parametrize(
    ("now_s", "ttl_s", "asked", "is_fresh"),
    [
        (0, 100, NONE, True),
        (89.9, 100, NONE, True),
        (90, 100, NONE, False),
        (50, 10, NONE, False),  # the lifetime was made shorter since
        (50, 100, Directives(max_age_s=50), True),
        (50.1, 100, Directives(max_age_s=50), False),
        (1, 100, Directives(max_age_s=0), False),
        (0, 100, Directives(max_age_s=0), True),
        (50, 100, Directives(min_fresh_s=39), True),
        (50, 100, Directives(min_fresh_s=40), False),
        (-5, 100, NONE, True),  # made on a machine whose clock is ahead
    ],
)
def test_freshness(now_s: float, ttl_s: int, asked: Directives, is_fresh: bool) -> None:
    made = entry(bytes(32), made_at_ns=1000 * SECOND_NS)
    now_ns = 1000 * SECOND_NS + int(now_s * SECOND_NS)
    assert fresh(made, now_ns, ttl_s, asked) is is_fresh
    assert age_s(made, now_ns) == max(int(now_s), 0)
    assert until_ns(made, ttl_s) == 1000 * SECOND_NS + ttl_s * 900_000_000
