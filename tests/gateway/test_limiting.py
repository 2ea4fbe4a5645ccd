"""Calls held to limits: whatever becomes of a call, nothing stays held, and what it used is counted once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.gateway.answers import EVENTS, MESSAGES, WHOLE, ask
from tests.gateway.rig import PATHS, Rig, Script, Upstream, policy, rig, silent, streamed, whole

from interlock.errors import LogUnavailable
from interlock.gateway.limiting import most
from interlock.ledger import Price, Refused, Step
from interlock.limits import Denied, Limit, NeedsLease
from interlock.limits.page import HELD, USED

Run = Callable[..., Any]

PRICE = Price(per_mtok={"input": 1_000_000, "output": 2_000_000}, source="override")
CONCURRENCY = Limit(name="one", measure="concurrency", amount=1)
MINUTE = Limit(name="requests", measure="requests", amount=3, window="month", per=("tenant",))
TOKENS = Limit(name="tokens", measure="tokens", amount=10_000, window="month")
MONEY = Limit(name="money", measure="nanousd", amount=10**9, window="month")


@asynccontextmanager
async def held_to(
    tmp_path: Path, limits: tuple[Limit, ...], *scripts: Script, second: Script | None = None, **fields: Any
) -> AsyncIterator[tuple[Rig, list[Upstream]]]:
    upstreams = [Upstream(*scripts), *([Upstream(second)] if second else [])]
    made = policy([await one.start() for one in upstreams], **fields)
    deployments = {name: msgspec.structs.replace(one, price=PRICE) for name, one in made.deployments.items()}
    made = msgspec.structs.replace(made, deployments=deployments, quotas=limits, reserve={"": 50})
    try:
        async with asyncio.timeout(20), rig(tmp_path, made) as on:
            yield on, upstreams
    finally:
        for one in upstreams:
            await one.stop()


def counters(on: Rig) -> dict[str, tuple[int, int]]:
    """By limit's name: (used, held), of the counters that were found last."""
    limiter = on.gateway.limiting._limiter
    page = limiter.page
    page.lock()
    try:
        found = {}
        for target in limiter._matcher._targets.values():
            at = page.find(target.key)
            found[target.limit.name] = (page.words[at + USED], page.words[at + HELD]) if at >= 0 else (0, 0)
        return found
    finally:
        page.unlock()


async def settled(on: Rig, count: int) -> dict[str, tuple[int, int]]:
    await on.settled(count)
    await asyncio.sleep(0.05)
    return counters(on)


@pytest.mark.parametrize("format", ["chat", "responses", "messages"])
@pytest.mark.parametrize("stream", [False, True])
def test_what_a_call_used_is_counted_and_nothing_held(run: Run, tmp_path: Path, format: str, stream: bool) -> None:
    async def main() -> None:
        script = streamed(*EVENTS[format]) if stream else whole(WHOLE[format])
        async with held_to(tmp_path, (CONCURRENCY, MINUTE, TOKENS, MONEY), script) as (on, _):
            for n in range(1, 4):
                answer = await on.call(PATHS[format], ask(format, stream=stream))
                assert answer.status == 200
                cost = 20 * 1 + 5 * 2
                assert await settled(on, n) == {
                    "one": (0, 0),
                    "requests": (n, 0),
                    "tokens": (25 * n, 0),
                    "money": (cost * n, 0),
                }
            refused = await on.call(PATHS[format], ask(format, stream=stream))
            assert refused.status == 429 and refused.headers["x-interlock-limit"] == "requests"
            assert [r.code for r in await on.records() if isinstance(r, Refused)] == ["limit_exceeded"]

    run(main, blocking_s=1.0)


def test_in_the_client_s_own_spelling(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        theirs = "x-ratelimit-limit-requests: 77\r\nanthropic-ratelimit-requests-limit: 77\r\n"
        script = whole(MESSAGES, headers=theirs)
        async with held_to(tmp_path, (MINUTE, TOKENS), script) as (on, _):
            answer = await on.call(PATHS["messages"], ask("messages"))
            assert answer.headers["anthropic-ratelimit-requests-limit"] == "3", "ours, not the upstream's"
            assert answer.headers["anthropic-ratelimit-requests-remaining"] == "2"
            assert answer.headers["anthropic-ratelimit-tokens-limit"] == "10000"
            assert "x-ratelimit-limit-requests" not in answer.headers

    run(main)


def test_without_limits_the_upstream_s_own_pass(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        script = whole(MESSAGES, headers="anthropic-ratelimit-requests-limit: 77\r\n")
        async with held_to(tmp_path, (), script) as (on, _):
            answer = await on.call(PATHS["messages"], ask("messages"))
            assert answer.headers["anthropic-ratelimit-requests-limit"] == "77"

    run(main)


def test_a_fault_and_the_next_candidate_are_one_request(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        broken = whole(b'{"error":{"message":"x"}}', "500 Oops")
        async with held_to(tmp_path, (CONCURRENCY, MINUTE, TOKENS), broken, second=whole(WHOLE["chat"])) as (on, ups):
            answer = await on.call(PATHS["chat"], ask("chat"))
            assert answer.status == 200 and answer.headers["x-interlock-deployment"] == "d1"
            assert await settled(on, 2) == {"one": (0, 0), "requests": (1, 0), "tokens": (25, 0)}
            assert len(ups[0].seen) == len(ups[1].seen) == 1

    run(main)


def test_a_limit_of_one_deployment_leads_to_the_next(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        dry = Limit(name="dry", measure="requests", amount=1, window="month", deployments=("d0",))
        async with held_to(tmp_path, (dry,), whole(WHOLE["chat"]), second=whole(WHOLE["chat"])) as (on, _):
            served = [(await on.call(PATHS["chat"], ask("chat"))).headers["x-interlock-deployment"] for _ in range(3)]
            assert served == ["d0", "d1", "d1"]

    run(main)


def test_a_fault_is_not_hidden_by_the_limit_of_the_next(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        dry = Limit(name="dry", measure="requests", amount=0, window="month", deployments=("d1",))
        broken = whole(b'{"error":{"message":"it is broken"}}', "500 Oops")
        async with held_to(tmp_path, (dry, CONCURRENCY), broken, second=whole(WHOLE["chat"])) as (on, ups):
            answer = await on.call(PATHS["chat"], ask("chat"))
            assert answer.status == 500 and "it is broken" in answer.body.decode()
            assert (len(ups[0].seen), len(ups[1].seen)) == (1, 0)
            assert (await settled(on, 1))["one"] == (0, 0)

    run(main)


def test_a_limit_of_a_deployment_counts_each_attempt_there(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        second = Limit(name="second", measure="requests", amount=2, window="month", deployments=("d1",))
        each = Limit(name="each", measure="requests", amount=9, window="month", per=("model",))
        broken = whole(b'{"error":{"message":"x"}}', "500 Oops")
        async with held_to(tmp_path, (second, each, MINUTE), broken, second=whole(WHOLE["chat"])) as (on, _):
            statuses = [(await on.call(PATHS["chat"], ask("chat"))).status for _ in range(3)]
            assert statuses == [200, 200, 500]
            found = await settled(on, 5)
            assert found["second"] == (2, 0) and found["requests"] == (3, 0)

    run(main)


def test_several_answers_are_reserved_each(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        small = Limit(name="small", measure="output_tokens", amount=30, window="day")
        async with held_to(tmp_path, (small,), whole(WHOLE["chat"])) as (on, _):
            body = {**ask("chat"), "max_tokens": 10}
            assert (await on.call(PATHS["chat"], {**body, "n": 4})).json["error"]["code"] == "limit_too_small"
            assert (await on.call(PATHS["chat"], {**body, "n": 3})).status == 200

    run(main)


def test_a_tier_of_two_hundred_is_denied_one_after_the_other(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        none = Limit(name="none", measure="requests", amount=1, window="day")
        async with held_to(tmp_path, (none,), whole(WHOLE["chat"])) as (on, ups):
            made = on.gateway.policy
            many = {f"d{n}": msgspec.structs.replace(made.deployments["d0"], name=f"d{n}") for n in range(200)}
            tier = msgspec.structs.replace(made.tiers["main"], deployments=tuple(many))
            on.gateway.adopt(msgspec.structs.replace(made, deployments=many, tiers={**made.tiers, "main": tier}))
            statuses = [(await on.call(PATHS["chat"], ask("chat"))).status for _ in range(2)]
            assert statuses == [200, 429] and len(ups[0].seen) == 1
            assert not caplog.records, "not one within the other, to the end of the stack"

    run(main, blocking_s=1.0)


def test_who_hangs_up_holds_nothing(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with held_to(tmp_path, (CONCURRENCY, TOKENS), silent, whole(WHOLE["chat"])) as (on, ups):
            _, writer = await on.connect()
            writer.write(on.request(PATHS["chat"], msgspec.json.encode(ask("chat"))))
            while not ups[0].seen:
                await asyncio.sleep(0.01)
            assert counters(on)["one"] == (0, 1)
            busy = await on.call(PATHS["chat"], ask("chat"))
            assert busy.status == 429 and busy.headers["retry-after"] == "1"
            writer.close()
            found = await settled(on, 1)
            assert found["one"] == (0, 0) and found["tokens"][1] == 0
            assert (await on.call(PATHS["chat"], ask("chat"))).status == 200

    run(main)


def test_what_could_not_be_written_down_holds_nothing(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with held_to(tmp_path, (CONCURRENCY,), whole(WHOLE["chat"])) as (on, ups):
            stage = on.gateway.journal.stage

            def full(*arguments: Any, **more: Any) -> None:
                raise LogUnavailable("no room")

            on.gateway.journal.stage = full  # type: ignore[method-assign] # the fault
            assert (await on.call(PATHS["chat"], ask("chat"))).status == 503
            on.gateway.journal.stage = stage  # type: ignore[method-assign] # it passes
            assert counters(on) == {"one": (0, 0)} and not ups[0].seen
            assert (await on.call(PATHS["chat"], ask("chat"))).status == 200

    run(main)


@pytest.mark.parametrize(
    ("limit", "body", "status", "code"),
    [
        (Limit(name="small", measure="output_tokens", amount=10, window="day"), {}, 400, "limit_too_small"),
        (Limit(name="small", measure="output_tokens", amount=10, window="day"), {"max_tokens": 10}, 200, ""),
        (Limit(name="small", measure="nanousd", amount=10, window="day"), {}, 400, "limit_too_small"),
        (Limit(name="none", measure="requests", amount=0, window="day"), {}, 400, "limit_too_small"),
    ],
)
def test_what_never_fits(run: Run, tmp_path: Path, limit: Limit, body: dict[str, Any], status: int, code: str) -> None:
    async def main() -> None:
        async with held_to(tmp_path, (limit,), whole(WHOLE["chat"])) as (on, ups):
            answer = await on.call(PATHS["chat"], {**ask("chat"), **body})
            assert answer.status == status
            if code:
                assert answer.json["error"]["code"] == code and not ups[0].seen
                assert "retry-after" not in answer.headers

    run(main)


def test_no_more_is_reserved_than_the_model_can_write(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        small = Limit(name="small", measure="output_tokens", amount=10, window="day")
        async with held_to(tmp_path, (small,), whole(WHOLE["chat"])) as (on, _):
            assert (await on.call(PATHS["chat"], ask("chat"))).status == 400, "50 are reserved"
            short = {
                name: msgspec.structs.replace(one, max_output=5) for name, one in on.gateway.policy.deployments.items()
            }
            on.gateway.adopt(msgspec.structs.replace(on.gateway.policy, deployments=short))
            assert (await on.call(PATHS["chat"], ask("chat"))).status == 200

    run(main)


def test_counting_tokens_costs_nothing(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        none = Limit(name="none", measure="requests", amount=0, window="day")
        async with held_to(tmp_path, (none,), whole(b'{"input_tokens":5}')) as (on, _):
            assert (await on.call("/v1/messages/count_tokens", ask("messages"))).status == 200
            assert (await on.call(PATHS["messages"], ask("messages"))).status == 400

    run(main)


def test_waiting_for_a_share(run: Run, tmp_path: Path) -> None:
    """The authority of several machines answers later: the call waits, and whoever hangs up meanwhile is not sent."""

    async def main() -> None:
        async with held_to(tmp_path, (MINUTE,), whole(WHOLE["chat"])) as (on, ups):
            limiter = on.gateway.limiting._limiter
            reserve = limiter.reserve
            answers: list[asyncio.Future[Any]] = []
            claims: list[Any] = []

            async def lease(needs: NeedsLease) -> Any:
                claims.append(needs.claim)
                answers.append(asyncio.get_running_loop().create_future())
                return await answers[-1]

            limiter.reserve = NeedsLease  # type: ignore[method-assign] # the share is short
            limiter.lease = lease  # type: ignore[method-assign] # the authority
            call = asyncio.ensure_future(on.call(PATHS["chat"], ask("chat")))
            _, writer = await on.connect()
            writer.write(on.request(PATHS["chat"], msgspec.json.encode(ask("chat"))))
            while len(answers) < 2:
                await asyncio.sleep(0.01)
            writer.close()
            await asyncio.sleep(0.05)
            for future, claim in zip(answers, claims, strict=True):
                future.set_result(reserve(claim))
            assert (await call).status == 200
            found = await settled(on, 2)
            assert found["requests"][1] == 0 and len(ups[0].seen) == 1
            reader, writer = await on.connect()
            writer.write(on.request(PATHS["chat"], msgspec.json.encode(ask("chat"))))
            while len(answers) < 3:
                await asyncio.sleep(0.01)
            answers[2].set_result(Denied(reason="away", limit="requests", retry_after_ns=7 * 10**9))
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            writer.close()
            assert head.startswith(b"http/1.1 503") and b"retry-after: 7\r\n" in head
            assert head.count(b"retry-after") == 1

    run(main)


@pytest.mark.parametrize(
    ("price", "tokens", "nanousd"),
    [
        (None, (1, 1), None),
        (PRICE, (1_000_000, 1_000_000), 3_000_000),
        (PRICE, (1, 0), 1),
        (Price(per_mtok={"input": 1, "output": 1}), (1, 1), 1),
        (
            Price(per_mtok={"input": 10, "cache_write": 12, "cache_read": 1, "output": 20, "reasoning": 30}),
            (10**6, 10**6),
            42,
        ),
        (
            Price(
                per_mtok={"input": 1, "output": 1}, above=(Step(input_tokens=5, per_mtok={"input": 7, "output": 9}),)
            ),
            (10**6, 10**6),
            16,
        ),
        (Price(per_mtok={"output": 1}), (1, 1), None),
    ],
)
def test_the_most_that_it_costs(price: Price | None, tokens: tuple[int, int], nanousd: int | None) -> None:
    assert most(price, *tokens) == nanousd
