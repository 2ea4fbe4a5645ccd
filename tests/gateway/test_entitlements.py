"""What a plan does not hold is not called: who is next, what is told, what is listed, what a cache may give."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from tests.gateway.answers import WHOLE, ask
from tests.gateway.cuts import PARTS, asked, speaking
from tests.gateway.cuts import play as cut
from tests.gateway.rig import FORMATS, PATHS, Rig, Upstream, streamed, whole
from tests.gateway.shared import Gate, Run, held, key_of, play, until, zero
from tests.gateway.test_circuits import ONE
from tests.gateway.test_faults import ERROR

from interlock.ledger import Opened, Refused
from interlock.limits import Entitled, Limit, entitled
from interlock.limits.entitled import matches as _matches

REQUESTS = Limit(name="plan/requests", measure="requests", amount=1, window="month", per=("tenant",), tenants=("acme",))


class Plans:
    """What acme's plan says; set at any time."""

    def __init__(self, on: Rig, *models: str, limits: tuple[Limit, ...] = ()) -> None:
        self.next: list[Entitled] | None = []
        on.gateway.limiting._limiter.plans = self
        self.set(*models, limits=limits)

    def set(self, *models: str, limits: tuple[Limit, ...] = ()) -> None:
        self.next = [Entitled(tenant="acme", plan="gold version 2", models=models, limits=limits)]

    def changed(self, now_ns: int) -> list[Entitled] | None:
        found, self.next = self.next, None if self.next is None else []
        return found


def two() -> tuple[Upstream, Upstream]:
    """Upstreams of `model-0` and `model-1`, in this order of preference."""
    return Upstream(whole(WHOLE["chat"])), Upstream(whole(WHOLE["chat"]))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("stream", [False, True])
def test_a_model_that_is_not_entitled(run: Run, tmp_path: Path, format: str, stream: bool) -> None:
    upstream = Upstream(whole(WHOLE[format]))

    async def test(on: Rig) -> None:
        Plans(on, "small-*", "claude-haiku-4-5")
        for model in ("auto", "d0", "model-0"):
            refused = await on.call(PATHS[format], {**ask(format, stream=stream), "model": model})
            assert refused.status == 403 and "retry-after" not in refused.headers
            error = refused.json["error"]
            assert error["code"] == "not_entitled"
            assert "model model-0 is not in plan gold version 2" in error["message"]
            assert "entitles to small-*, claude-haiku-4-5" in error["message"]
        other = await key_of(on, "bolt")
        assert (await on.call(PATHS[format], ask(format), key=other)).status == 200
        assert len(upstream.seen) == 1
        records = await on.records()
        assert [one.code for one in records if isinstance(one, Refused)] == ["not_entitled"] * 3
        assert [one.tenant for one in records if isinstance(one, Opened)] == ["bolt"], "nothing was opened"

    play(run, tmp_path, test, upstream, rules=())


def test_a_tier_s_first_entitled_candidate_serves(run: Run, tmp_path: Path) -> None:
    first, second = two()

    async def test(on: Rig) -> None:
        plans = Plans(on, "model-1")
        answer = await on.call(PATHS["chat"], ask("chat"))
        assert (answer.status, answer.headers["x-interlock-deployment"]) == (200, "d1")
        plans.set("model-*")
        answer = await on.call(PATHS["chat"], ask("chat"))
        assert answer.headers["x-interlock-deployment"] == "d0", "at once"

    play(run, tmp_path, test, first, second, rules=())


@pytest.mark.parametrize("entitled", ["model-0", "model-1"])
def test_what_may_pass_is_told_before_what_does_not(run: Run, tmp_path: Path, entitled: str) -> None:
    """A limit that is reached says when to come again, wherever in the tier it stands."""
    first, second = two()

    async def test(on: Rig) -> None:
        Plans(on, entitled, limits=(REQUESTS,))
        assert (await on.call(PATHS["chat"], ask("chat"))).status == 200
        refused = await on.call(PATHS["chat"], ask("chat"))
        assert (refused.status, refused.headers["x-interlock-limit"]) == (429, "plan/requests")
        assert refused.json["error"]["code"] == "limit_exceeded"

    play(run, tmp_path, test, first, second, rules=())


def test_an_entitled_model_that_rests_is_not_refused_by_the_plan(run: Run, tmp_path: Path) -> None:
    """A fault that passes is told as one: 403 would be for ever."""
    first, second = two()
    second.scripts = [whole(ERROR, "500 Oops")]

    async def test(on: Rig) -> None:
        plans = Plans(on, "model-1")
        assert (await on.call(PATHS["chat"], ask("chat"))).status == 500
        assert on.gateway.circuits["d1"].state == "open"
        refused = await on.call(PATHS["chat"], ask("chat"))
        assert (refused.status, refused.json["error"]["code"]) == (503, "not_ready")
        assert refused.json["error"]["message"].startswith("d1: ")
        assert "x-interlock-limit" not in refused.headers
        plans.set("none")
        refused = await on.call(PATHS["chat"], ask("chat"))
        assert (refused.status, refused.json["error"]["code"]) == (403, "not_entitled")
        assert not first.seen and len(second.seen) == 1

    resting = msgspec.structs.replace(ONE, open_s=60.0)
    play(run, tmp_path, test, first, second, rules=(), breaker=resting)


def test_an_entitled_model_that_is_loading_is_not_refused_by_the_plan(run: Run, tmp_path: Path) -> None:
    first, second = two()

    async def test(on: Rig) -> None:
        plans = Plans(on, "model-1")
        on.gateway.set_loading("d1", "the model is being loaded")
        refused = await on.call(PATHS["chat"], ask("chat"))
        assert (refused.status, refused.json["error"]["code"]) == (503, "not_ready")
        assert refused.json["error"]["message"] == "d1: the model is being loaded" and refused.headers["retry-after"]
        plans.set("none")
        assert (await on.call(PATHS["chat"], ask("chat"))).status == 403

    play(run, tmp_path, test, first, second, rules=())


def test_only_what_may_be_called_is_listed(run: Run, tmp_path: Path) -> None:
    first, second = two()

    async def listed(on: Rig, key: str | None = None) -> list[str]:
        answer = await on.call("/v1/models", b"", method="GET", key=key)
        return [one["id"] for one in answer.json["data"]]

    async def test(on: Rig) -> None:
        everything = ["auto", "main", "second", "d0", "d1"]
        assert await listed(on) == everything
        plans = Plans(on, "model-1")
        assert await listed(on) == ["auto", "main", "d1"]
        assert await listed(on, await key_of(on, "bolt")) == everything
        assert (await on.call("/v1/models/d1", b"", method="GET")).status == 200
        assert (await on.call("/v1/models/d0", b"", method="GET")).status == 404
        plans.next = None
        answer = await on.call("/v1/models", b"", method="GET")
        assert (answer.status, answer.json["error"]["code"]) == (503, "limits_unavailable")

    play(run, tmp_path, test, first, second, rules=())


def test_a_list_does_not_match_what_was_matched(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """256 patterns against every deployment would hold up the calls of a worker."""
    looked: list[tuple[str, str]] = []

    def counted(pattern: str, text: str) -> bool:
        looked.append((pattern, text))
        return _matches(pattern, text)

    monkeypatch.setattr(entitled, "matches", counted)
    first, second = two()

    async def test(on: Rig) -> None:
        Plans(on, "model-1")
        for _ in range(3):
            assert len((await on.call("/v1/models", b"", method="GET")).json["data"]) == 3
        assert (await on.call(PATHS["chat"], ask("chat"))).status == 200
        assert sorted(looked) == [("model-1", "model-0"), ("model-1", "model-1")]
        looked.clear()

    play(run, tmp_path, test, first, second, rules=())


def test_what_cannot_be_read_lets_nobody_in(run: Run, tmp_path: Path) -> None:
    async def test(on: Rig) -> None:
        plans = Plans(on, "model-0")
        assert (await on.call(PATHS["chat"], zero("chat"))).status == 200
        for body in (zero("chat"), ask("chat")):
            plans.next = None
            refused = await on.call(PATHS["chat"], body)
            assert (refused.status, refused.json["error"]["code"]) == (503, "limits_unavailable"), "kept or not"
            assert "retry-after" in refused.headers

    play(run, tmp_path, test, Upstream(whole(WHOLE["chat"])))


def test_a_kept_answer_is_not_given_to_who_lost_the_model(run: Run, tmp_path: Path) -> None:
    first, second = two()

    async def test(on: Rig) -> None:
        plans = Plans(on, "model-0", "model-1")

        async def called() -> tuple[int, str, str]:
            answer = await on.call(PATHS["chat"], zero("chat"))
            headers = answer.headers
            return answer.status, headers["x-interlock-cache"], headers.get("x-interlock-deployment", "")

        assert [await called() for _ in range(2)] == [(200, "miss", "d0"), (200, "hit", "d0")]
        plans.set("model-1")
        assert [await called() for _ in range(2)] == [(200, "miss", "d1"), (200, "hit", "d1")]
        plans.set("none")
        assert (await called())[0] == 403
        plans.set("model-0", "model-1", limits=(REQUESTS,))
        assert await called() == (200, "hit", "d0"), "it is kept for who may have it"

    play(run, tmp_path, test, first, second)


def test_callers_that_wait_for_one_answer_are_refused_each(run: Run, tmp_path: Path) -> None:
    """Refused by the plan, not by a fault of ours; and who was let in before it changed is answered."""
    gate = Gate()
    upstream = Upstream(held(whole(WHOLE["chat"]), gate))

    async def test(on: Rig) -> None:
        plans = Plans(on, "model-0")
        loop = asyncio.get_running_loop()
        early = [loop.create_task(on.call(PATHS["chat"], zero("chat"))) for _ in range(3)]
        await until(lambda: sum(len(flight.seats) for flight in on.gateway.cache.flights.values()) == 3)
        plans.set("small-*")
        late = [loop.create_task(on.call(PATHS["chat"], zero("chat"))) for _ in range(3)]
        refused = [await task for task in late]
        assert {(one.status, one.json["error"]["code"]) for one in refused} == {(403, "not_entitled")}
        gate.open()
        assert {(await task).status for task in early} == {200}
        codes = [one.code for one in await on.records() if isinstance(one, Refused)]
        assert codes == ["not_entitled"] * 3

    play(run, tmp_path, test, upstream)


def test_counting_tokens_is_not_held_to_it(run: Run, tmp_path: Path) -> None:
    """It costs nothing, and no limit counts it."""

    async def test(on: Rig) -> None:
        Plans(on, "small-*")
        answer = await on.call("/v1/messages/count_tokens", ask("messages"))
        assert answer.status == 200 and answer.json["input_tokens"] > 0

    play(run, tmp_path, test, Upstream(whole(msgspec.json.encode({"input_tokens": 7}))), rules=())


@pytest.mark.parametrize("client", FORMATS)
def test_a_cut_stream_ends_with_what_cut_it(run: Run, tmp_path: Path, client: str) -> None:
    """Whoever would go on is not in the plan: that is not why the client's answer is not whole."""
    first, second = Upstream(streamed(*PARTS["chat"], end=False)), Upstream(whole(WHOLE["chat"]))

    async def test(on: Rig) -> None:
        Plans(on, "model-0")
        answer = await on.call(PATHS[client], asked(client))
        assert b"not_entitled" not in answer.body and b"upstream_closed" in answer.body
        records = await on.records()
        assert not [one for one in records if isinstance(one, Refused)], "it was opened, so it was not refused"
        assert not second.seen

    cut(run, tmp_path, test, first, second, formats=speaking("chat", "chat"))
