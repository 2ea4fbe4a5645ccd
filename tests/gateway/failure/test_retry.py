"""One fault: the whole table, headers as they come, and waits that are bounded, spread and always the same."""

import time
from email.utils import formatdate

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from interlock.errors import CODES
from interlock.gateway.failure import Action, Fault, judge, retry_after_s, should_retry, wait_s
from interlock.gateway.failure.retry import AFTER_S_MAX
from interlock.gateway.policy import Retries

NOW_S = 1_790_000_000.0
RETRIES = st.builds(Retries, rounds=st.integers(0, 10), backoff_s=st.floats(0.001, 60), wait_s_max=st.floats(0.001, 60))

STATUSES = {
    400: Fault(Action.NEVER),
    401: Fault(Action.NEXT, key="refused"),
    402: Fault(Action.NEXT, key="refused"),
    403: Fault(Action.NEXT, key="refused"),
    404: Fault(Action.NEXT),
    405: Fault(Action.NEVER),
    408: Fault(Action.AGAIN),
    409: Fault(Action.AGAIN),
    413: Fault(Action.NEVER),
    422: Fault(Action.NEVER),
    424: Fault(Action.AGAIN, counts=True),
    429: Fault(Action.AGAIN, key="limited"),
    451: Fault(Action.NEVER),
    500: Fault(Action.AGAIN, counts=True),
    501: Fault(Action.NEXT),
    502: Fault(Action.AGAIN, counts=True),
    503: Fault(Action.AGAIN, counts=True),
    504: Fault(Action.AGAIN, counts=True),
    505: Fault(Action.NEXT),
    524: Fault(Action.AGAIN, counts=True),
    529: Fault(Action.AGAIN, counts=True),
}
UPSTREAM = {
    "upstream_unreachable": Fault(Action.AGAIN, counts=True),
    "upstream_timeout": Fault(Action.AGAIN, counts=True),
    "upstream_closed": Fault(Action.AGAIN, counts=True),
    "upstream_error": Fault(Action.AGAIN, counts=True),
    "upstream_invalid": Fault(Action.NEXT, counts=True),
    "upstream_auth": Fault(Action.NEXT),
    "busy": Fault(Action.AGAIN),
    "withdrawn": Fault(Action.NEXT),
}


class TestJudge:
    @pytest.mark.parametrize(("status", "fault"), STATUSES.items())
    def test_by_status(self, status: int, fault: Fault) -> None:
        assert judge("upstream_error", status) == fault

    @pytest.mark.parametrize("code", CODES)
    def test_by_code(self, code: str) -> None:
        assert judge(code, 0) == UPSTREAM.get(code, Fault(Action.NEVER))
        if code not in ("upstream_error", "upstream_auth"):
            assert judge(code, 503) == judge(code, 0), "what broke an answer off outweighs how it began"

    def test_a_refused_credential_is_told_by_its_status(self) -> None:
        assert judge("upstream_auth", 401) == STATUSES[401]

    @given(st.sampled_from(sorted(CODES)), st.integers(0, 999), st.sampled_from([None, True, False]))
    def test_what_holds_for_all(self, code: str, status: int, again: bool | None) -> None:
        fault, plain = judge(code, status, again=again), judge(code, status)
        assert not (fault.counts and fault.key), "a key's trouble is not the deployment's"
        assert not (fault.counts and fault.action is Action.NEVER)
        assert (fault.action is Action.NEVER) == (plain.action is Action.NEVER), "a refusal is never routed around"
        assert again is not False or fault.action is not Action.AGAIN
        if code == "upstream_error" and 400 <= status < 500:
            assert not fault.counts, "a client can cause any 4xx"
        if again is not False:
            assert fault == plain

    def test_a_429_that_need_not_be_tried_again_is_about_the_request(self) -> None:
        assert judge("upstream_error", 429, again=False) == Fault(Action.NEXT)
        assert judge("upstream_error", 401, again=False) == STATUSES[401]


class TestHeaders:
    @pytest.mark.parametrize(
        ("headers", "told"),
        [
            ({}, None),
            ({b"retry-after": b"7"}, 7.0),
            ({b"retry-after": b" 0 "}, 0.0),
            ({b"retry-after": b"1.5"}, 1.5),
            ({b"retry-after": b"3", b"retry-after-ms": b"250"}, 0.25),
            ({b"retry-after": b"3", b"retry-after-ms": b"soon"}, 3.0),
            ({b"retry-after": b"999999999999"}, AFTER_S_MAX),
            ({b"retry-after-ms": b"999999999999"}, AFTER_S_MAX),
            ({b"retry-after": b"9999999999999"}, None),
            ({b"retry-after": formatdate(NOW_S + 42, usegmt=True).encode()}, 42.0),
            ({b"retry-after": formatdate(NOW_S - 42, usegmt=True).encode()}, 0.0),
            ({b"retry-after": b"Mon Sep 21 14:13:20 2026"}, 0.0),
            ({b"retry-after": b"Mon Sep 21 14:14:20 2026"}, 60.0),
            ({b"retry-after": b"Fri, 31 Dec 9999 23:59:59 GMT"}, AFTER_S_MAX),
            ({b"retry-after": b"Fri, 31 Dec 9999 23:59:59 -2359"}, AFTER_S_MAX),
            ({b"retry-after": b"Mon, 99 Sep 2026 25:61:61 GMT"}, None),
            *(
                ({b"retry-after": text}, None)
                for text in (b"", b"-1", b"nan", b"inf", b"1e3", b"soon", b"\xff", b"1,2")
            ),
            ({b"retry-after": b"Mon" + b" " * 100_000}, None),
            ({b"retry-after": formatdate(NOW_S + 42, usegmt=True).encode() + b" " * 20}, None),
        ],
    )
    def test_retry_after(self, headers: dict[bytes, bytes], told: float | None) -> None:
        assert retry_after_s(headers, NOW_S) == told

    def test_a_date_without_a_zone_is_utc_wherever_we_are(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        try:
            assert retry_after_s({b"retry-after": b"Mon Sep 21 14:14:20 2026"}, NOW_S) == 60.0
        finally:
            monkeypatch.undo()
            time.tzset()

    @given(st.binary(max_size=60) | st.text("0123456789 .,:+-GMTSunJan", max_size=45).map(str.encode), st.booleans())
    @example(b"Mon, 1 Jan 0000 00:00:00 GMT", False)
    @example(b"1 Jan 99999999999999999999", False)
    def test_any_bytes_are_bounded_or_nothing(self, value: bytes, ms: bool) -> None:
        told = retry_after_s({b"retry-after-ms" if ms else b"retry-after": value}, NOW_S)
        assert told is None or 0.0 <= told <= AFTER_S_MAX

    @pytest.mark.parametrize(
        ("value", "said"), [(b"true", True), (b" False", False), (b"", None), (b"maybe", None), (b"1", None)]
    )
    def test_should_retry(self, value: bytes, said: bool | None) -> None:
        assert should_retry({b"x-should-retry": value}) is said
        assert should_retry({}) is None


class TestWaits:
    @given(st.integers(-1, 20), st.none() | st.floats(0, 100), st.text(max_size=5), RETRIES)
    def test_bounds(self, round: int, told_s: float | None, key: str, retries: Retries) -> None:
        wait = wait_s(round, told_s, key, retries)
        assert wait == wait_s(round, told_s, key, retries)
        worth = 1 <= round <= retries.rounds and (told_s is None or told_s <= retries.wait_s_max)
        assert (wait is not None) == worth
        if wait is not None:
            assert (told_s or 0.0) <= wait <= retries.wait_s_max
            assert wait - (told_s or 0.0) <= retries.backoff_s * 2 ** (round - 1) + 1e-9

    @given(st.integers(1, 10), st.text(max_size=5), RETRIES, st.floats(0, 100))
    def test_nobody_waits_for_what_is_due_after_the_deadline(
        self, round: int, key: str, retries: Retries, left_s: float
    ) -> None:
        wait = wait_s(round, None, key, retries)
        assume(wait is not None)
        assert wait is not None
        assert wait_s(round, None, key, retries, left_s=left_s) == (wait if wait < left_s else None)

    def test_calls_are_spread_over_the_whole_window_which_doubles(self) -> None:
        retries = Retries(rounds=10, backoff_s=0.5, wait_s_max=10.0)
        for round, window_s in ((1, 0.5), (2, 1.0), (3, 2.0), (10, 10.0)):
            waits = [wait_s(round, None, f"req_{number}", retries) for number in range(1000)]
            tenths = [0] * 10
            for wait in waits:
                assert wait is not None
                tenths[int(wait / window_s * 10)] += 1
            assert min(tenths) > 60, (round, tenths)

    def test_one_call_waits_differently_each_round(self) -> None:
        retries = Retries(rounds=3, backoff_s=1.0, wait_s_max=60.0)
        waits = [wait_s(round, None, "req_1", retries) or 0.0 for round in (1, 2, 3)]
        assert len({wait / 2**round for round, wait in enumerate(waits)}) == 3
