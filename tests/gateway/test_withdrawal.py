"""What a withdrawal concerns, and that whoever it concerns is out: of the decision, and of the send."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.gateway.answers import ask
from tests.gateway.policies import BOUNDARIES, DEPLOYMENTS, NOT_READY, SIGNALS, policies
from tests.gateway.rig import Script, Seen, Upstream, policy, rig, whole

from interlock.errors import LogUnavailable
from interlock.gateway import Deployment, Facts, Limits, Policy, Signals, version_of
from interlock.gateway.router import Router
from interlock.gateway.routing import decide
from interlock.gateway.withdrawal import REINSTATED, WITHDRAWN, Kind, Withdrawal, affected, fold

Run = Callable[..., Any]


def withdrawal(kind: Kind, name: str) -> Withdrawal:
    return Withdrawal(kind=kind, name=name, reason="gone", at_ns=1)


@pytest.mark.parametrize(
    ("kind", "name", "concerned"),
    [
        ("provider", "bedrock", True),
        ("provider", "bed", False),
        ("deployment", "d", True),
        ("deployment", "e", False),
        ("model", "claude-opus-4-5", True),
        ("model", "claude-*", True),
        ("model", "opus", False),
        ("region", "eu-central-1", True),
        ("region", "de", True),
        ("region", "eu", True),
        ("region", "eu-west-1", False),
        ("region", "us", False),
        ("agreement", "dpa", True),
        ("agreement", "other", False),
    ],
)
def test_whom_it_concerns(kind: Kind, name: str, concerned: bool) -> None:
    facts = Facts(geographies=("eu-central-1",), agreements=("dpa",))
    deployment = Deployment(
        name="d",
        provider="bedrock",
        base_url="",
        model="claude-opus-4-5",
        family="c",
        formats=("messages",),
        facts=facts,
    )
    assert (affected({"d": deployment}, [withdrawal(kind, name)]) != {}) is concerned
    placed = msgspec.structs.replace(deployment, facts=Facts(), region="eu-central-1")
    if kind == "region":
        assert (affected({"d": placed}, [withdrawal(kind, name)]) != {}) is concerned


def test_what_stands() -> None:
    one, two = withdrawal("model", "m"), withdrawal("provider", "p")
    standing = fold({}, WITHDRAWN, msgspec.json.encode(one))
    standing = fold(standing, WITHDRAWN, msgspec.json.encode(two))
    later = msgspec.structs.replace(one, reason="other")
    assert fold(standing, WITHDRAWN, msgspec.json.encode(later))["model", "m"] == one
    assert fold(standing, "policy.adopted", b"not read") is standing
    assert set(fold(standing, REINSTATED, msgspec.json.encode(one))) == {("provider", "p")}


@given(policies(), NOT_READY, SIGNALS, BOUNDARIES, st.dictionaries(st.sampled_from(DEPLOYMENTS), st.just("why")))
def test_nobody_who_is_withdrawn_serves(
    made: Policy, not_ready: dict[str, str], signals: Signals, boundaries: tuple[str, ...], withdrawn: dict[str, str]
) -> None:
    route = decide(signals, made, boundaries, not_ready, withdrawn=withdrawn)
    assert not set(route.ranked) & set(withdrawn)
    before = decide(signals, made, boundaries, not_ready)
    assert route.ranked == [name for name in before.ranked if name not in withdrawn]
    assert Router(made, not_ready, {}, withdrawn).route(signals, boundaries).route == route
    if before.ranked and not route.ranked and not any(c.stage in ("ready", "shape") for c in route.candidates):
        assert route.code == "withdrawn"


def test_one_that_was_chosen_is_not_sent_to(run: Run, tmp_path: Path) -> None:
    """It is withdrawn between the decision and the write of the record: the next candidate gets the call."""

    async def main() -> None:
        first, second = Upstream(whole(b"{}")), Upstream(whole(ANSWER))
        made = policy([await first.start(), await second.start()])
        async with asyncio.timeout(10), rig(tmp_path, made) as on:
            stage = on.gateway.journal.stage

            def late(id: str, type: str, at_ns: int, payload: bytes, done: Any = None, **more: Any) -> None:
                def then(error: LogUnavailable | None) -> None:
                    on.gateway.adopt(made, [withdrawal("deployment", "d0")])
                    done(error)

                stage(
                    id,
                    type,
                    at_ns,
                    payload,
                    then if type == "usage.opened" and not on.gateway.withdrawn else done,
                    **more,
                )

            on.gateway.journal.stage = late  # type: ignore[method-assign] # the moment
            answer = await on.call("/v1/chat/completions", ask("chat"))
            assert answer.status == 200 and answer.headers["x-interlock-deployment"] == "d1"
            assert not first.seen and len(second.seen) == 1
            settled = (await on.settled(2))[0]
            assert (settled.outcome, settled.error, settled.usage) == ("failed", "withdrawn", {})
        await first.stop()
        await second.stop()

    run(main)


def held(go: asyncio.Event, then: Script) -> Script:
    """Answer once `go` is set."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        await go.wait()
        await then(reader, writer, seen)

    return script


async def until(condition: Callable[[], Any]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


def changed(made: Policy, name: str, **changes: Any) -> Policy:
    """The same with another deployment of that name."""
    other = msgspec.structs.replace(made.deployments[name], **changes)
    made = msgspec.structs.replace(made, deployments={**made.deployments, name: other}, version="")
    return msgspec.structs.replace(made, version=version_of(made))


def test_one_that_waits_for_a_connection_is_not_sent(run: Run, tmp_path: Path) -> None:
    """Nor is one whose connection is being made: neither had begun to be sent."""

    async def main() -> None:
        go = asyncio.Event()
        first = Upstream(held(go, whole(ANSWER)))
        made = policy([await first.start()], limits=Limits(upstream_connections=1))
        async with asyncio.timeout(10), rig(tmp_path, made) as on, asyncio.TaskGroup() as group:
            calls = [group.create_task(on.call("/v1/chat/completions", ask("chat"))) for _ in range(3)]
            await until(lambda: len(first.seen) == 1 and len(on.gateway.exchanges) == 3)
            on.gateway.adopt(made, [withdrawal("deployment", "d0")])
            go.set()
            answers = [await call for call in calls]
            assert sorted(answer.status for answer in answers) == [200, 403, 403]
            assert {answer.json["error"]["code"] for answer in answers if answer.status != 200} == {"withdrawn"}
            assert len(first.seen) == 1
            assert sorted(one.error for one in await on.settled(3)) == ["", "withdrawn", "withdrawn"]
        await first.stop()

    run(main)


@pytest.mark.parametrize("keeps", [False, True])
def test_a_later_policy_makes_no_difference_to_calls_that_run(run: Run, tmp_path: Path, keeps: bool) -> None:
    """Whether it has the deployment no more, or another one under the name."""

    async def main() -> None:
        go = asyncio.Event()
        first, second = Upstream(held(go, whole(b"{}", "500 no"))), Upstream(whole(ANSWER))
        ports = [await first.start(), await second.start()]
        made = changed(policy(ports), "d1", provider="gone")
        async with asyncio.timeout(10), rig(tmp_path, made) as on, asyncio.TaskGroup() as group:
            call = group.create_task(on.call("/v1/chat/completions", ask("chat")))
            await until(lambda: first.seen)
            on.gateway.adopt(policy(ports if keeps else ports[:1]), [withdrawal("provider", "gone")])
            go.set()
            await call
            assert not second.seen
        await first.stop()
        await second.stop()

    run(main)


@pytest.mark.parametrize("leaves", [False, True])
def test_who_leaves_an_agreement_is_not_sent_under_it(run: Run, tmp_path: Path, leaves: bool) -> None:
    """The call was decided while it was accepted, and comes to the deployment when it is not any more."""

    async def main() -> None:
        go = asyncio.Event()
        first, second = Upstream(held(go, whole(b"{}", "500 no"))), Upstream(whole(ANSWER))
        ports = [await first.start(), await second.start()]
        made = changed(policy(ports), "d1", facts=Facts(agreements=("dpa",)))
        async with asyncio.timeout(10), rig(tmp_path, made) as on, asyncio.TaskGroup() as group:
            await on.identity.accept("acme", "dpa")
            call = group.create_task(on.call("/v1/chat/completions", ask("chat")))
            await until(lambda: first.seen)
            if leaves:
                await on.identity.leave("acme", "dpa")
            go.set()
            answer = await call
            assert (answer.status, len(second.seen)) == ((403, 0) if leaves else (200, 1))
        await first.stop()
        await second.stop()

    run(main)


ANSWER = msgspec.json.encode(
    {
        "id": "x",
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
    }
)
