"""One question at a time, early, bounded; a good token is never given up."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from interlock.errors import InterlockError, LocalError, TransientError
from interlock.gateway.providers.ports import Auth
from interlock.gateway.providers.tokens import AGAIN_S, EARLY_S, StaticHeader, Token, TokenAuth
from interlock.testing.clock import ManualClock

Run = Callable[..., object]
S = 1_000_000_000
HOUR = 3600 * S


class Maker:
    """Answers from a list, an error by raising it; behind a gate."""

    def __init__(self, clock: ManualClock, *answers: Exception | int) -> None:
        """answers: errors, or how long the next token lives, in nanoseconds."""
        self.gate = threading.Event()
        self.gate.set()
        self.count = 0
        self._clock = clock
        self._answers = list(answers)

    def __call__(self) -> Token:
        self.count += 1
        assert self.gate.wait(30)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        headers = {"authorization": f"Bearer secret-{self.count}"}
        return Token(headers=headers, expires_at_ns=self._clock.now_ns() + answer)


def line(number: int) -> bytes:
    return f"authorization: Bearer secret-{number}\r\n".encode()


def test_asked_early_and_kept_until_then(run: Run) -> None:
    clock = ManualClock()
    maker = Maker(clock, HOUR, HOUR)
    tokens: Auth = TokenAuth(maker, clock)

    async def main() -> None:
        assert tokens.ready("/", b"") is None
        assert await tokens.fetch("/", b"") == line(1)
        clock.advance(HOUR - EARLY_S * S - 1)
        assert tokens.ready("/", b"") == await tokens.fetch("/", b"") == line(1)
        assert maker.count == 1
        clock.advance(1)
        assert tokens.ready("/", b"") is None
        assert await tokens.fetch("/", b"") == tokens.ready("/", b"") == line(2)

    run(main)


def test_one_question_for_all_and_a_cancelled_asker_changes_nothing(run: Run) -> None:
    clock = ManualClock()
    maker = Maker(clock, HOUR)
    tokens = TokenAuth(maker, clock)

    async def main() -> None:
        maker.gate.clear()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(tokens.fetch("/", b"")) for _ in range(5)]
            for _ in range(3):
                await asyncio.sleep(0)
            tasks[0].cancel()
            await asyncio.wait({tasks[0]})
            maker.gate.set()
        assert [task.result() for task in tasks[1:]] == [line(1)] * 4
        assert tasks[0].cancelled()
        assert maker.count == 1

    run(main)


def test_nobody_answers_in_time_and_the_answer_still_counts_later(run: Run) -> None:
    clock = ManualClock()
    maker = Maker(clock, HOUR)
    tokens = TokenAuth(maker, clock, timeout_s=0.01)

    async def main() -> None:
        maker.gate.clear()
        try:
            for _ in range(2):
                with pytest.raises(TransientError) as raised:
                    await tokens.fetch("/", b"")
                assert raised.value.code == "upstream_timeout"
        finally:
            maker.gate.set()
        for _ in range(1000):
            if tokens.ready("/", b"") is not None:
                break
            await asyncio.sleep(0.01)
        assert tokens.ready("/", b"") == line(1)
        assert maker.count == 1

    run(main)


@pytest.mark.parametrize("late", [True, False], ids=["no answer", "an error"])
def test_a_good_token_outlives_a_failed_renewal(run: Run, late: bool) -> None:
    clock = ManualClock()
    maker = Maker(clock, HOUR, TransientError("down"), HOUR)
    tokens = TokenAuth(maker, clock, timeout_s=0.01 if late else 20)

    async def main() -> None:
        while tokens.ready("/", b"") is None:
            try:
                await tokens.fetch("/", b"")
            except TransientError:  # slower than its bound
                continue
        clock.advance(HOUR - EARLY_S * S)
        if late:
            maker.gate.clear()
            assert await tokens.fetch("/", b"") == line(1)
            maker.gate.set()
            return
        assert await tokens.fetch("/", b"") == line(1)
        clock.advance(AGAIN_S * S - 1)
        assert tokens.ready("/", b"") == line(1)
        assert maker.count == 2
        clock.advance(1)
        assert tokens.ready("/", b"") is None
        assert await tokens.fetch("/", b"") == line(3)

    run(main)


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (TransientError("down"), TransientError, "upstream_unreachable"),
        (LocalError("credential_missing: x", code="upstream_auth"), LocalError, "upstream_auth"),
        (KeyError("access_token"), TransientError, "upstream_unreachable"),
    ],
)
def test_an_expired_token_is_not_sent(run: Run, error: Exception, kind: type[InterlockError], code: str) -> None:
    clock = ManualClock()
    tokens = TokenAuth(Maker(clock, HOUR, error), clock)

    async def main() -> None:
        await tokens.fetch("/", b"")
        clock.advance(HOUR)
        assert tokens.ready("/", b"") is None
        with pytest.raises(kind) as raised:
            await tokens.fetch("/", b"")
        assert raised.value.code == code

    run(main)


def test_a_token_that_lives_shortly_is_not_asked_for_every_time(run: Run) -> None:
    clock = ManualClock()
    maker = Maker(clock, 100 * S, 100 * S, 10 * S)
    tokens = TokenAuth(maker, clock)

    async def main() -> None:
        await tokens.fetch("/", b"")
        clock.advance(AGAIN_S * S - 1)
        assert tokens.ready("/", b"") == line(1)
        clock.advance(1)
        assert await tokens.fetch("/", b"") == line(2)
        clock.advance(AGAIN_S * S)
        assert await tokens.fetch("/", b"") == line(3)
        clock.advance(10 * S)
        assert tokens.ready("/", b"") is None

    run(main)


@pytest.mark.parametrize("secret", ["a\r\nx: y", "ü", "", "a\x00"])
def test_nothing_gets_into_a_header_that_may_not(run: Run, secret: str) -> None:
    clock = ManualClock()
    tokens = TokenAuth(lambda: Token(headers={"authorization": secret}, expires_at_ns=clock.now_ns() + HOUR), clock)

    async def main() -> None:
        with pytest.raises(LocalError):
            await tokens.fetch("/", b"")

    run(main)
    with pytest.raises(LocalError):
        StaticHeader("api-key", secret)


def test_a_static_key(run: Run) -> None:
    key: Auth = StaticHeader("api-key", "k")

    async def main() -> None:
        assert key.ready("/", b"") == await key.fetch("/", b"") == b"api-key: k\r\n"

    run(main)
