"""Answers given again, over real sockets: what is kept, who may have it, what is written down of it."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.gateway.answers import CHAT, CHAT_USAGE, EVENTS, USAGE, WHOLE, chat_delta
from tests.gateway.rig import FORMATS, PATHS, Answer, Rig, Upstream, raw, streamed, whole
from tests.gateway.shared import Run, cached, key_of, play, records_of, rules, until, zero

from interlock.caching import Settings as CacheSettings
from interlock.gateway import Facts, Policy, Profile, Retries, Rule, When, version_of
from interlock.gateway.withdrawal import Withdrawal
from interlock.ledger import Opened, Settled

CACHE = "x-interlock-cache"
EMBEDDING = b'{"object":"list","data":[{"embedding":[0.5]}],"model":"m","usage":{"prompt_tokens":3,"total_tokens":3}}'


def how(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.headers.get(CACHE, "")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("format", FORMATS)
def test_an_equal_call_is_answered_again_and_metered_as_a_hit(
    run: Run, tmp_path: Path, format: str, stream: bool
) -> None:
    upstream = Upstream(streamed(*EVENTS[format]) if stream else whole(WHOLE[format], headers="x-request-id: up\r\n"))

    async def test(on: Rig) -> None:
        first = await on.call(PATHS[format], zero(format, stream=stream))
        second = await on.call(PATHS[format], zero(format, stream=stream), "x-interlock-session: s2")
        assert (how(first), how(second)) == ((200, "miss"), (200, "hit"))
        assert second.complete and second.body == first.body
        assert second.headers["content-type"] == first.headers["content-type"]
        assert 0 <= int(second.headers["age"]) <= 10 and "age" not in first.headers
        assert "x-request-id" not in second.headers
        for name in ("x-interlock-tier", "x-interlock-deployment"):
            assert second.headers[name] == first.headers[name]
        made, given = first.headers["x-interlock-request-id"], second.headers["x-interlock-request-id"]
        assert made != given
        opened, settled = await records_of(on, given, 2)
        assert isinstance(opened, Opened) and isinstance(settled, Settled)
        assert (opened.answer_of, opened.session, opened.deployment, opened.attempt) == (made, "s2", "d0", 1)
        assert msgspec.json.decode(opened.decision)["cache"] == "all"
        assert (settled.outcome, settled.source, settled.usage) == ("completed", "cached", {"cache_hit": 1})
        assert settled.avoided == USAGE
        assert (await records_of(on, made, 2))[1].usage == USAGE
        assert on.gateway.cache.answers == {(format, "miss"): 1, (format, "hit"): 1}
        assert on.gateway.requests == {(format, "ok"): 2}
        assert on.gateway.metering.attempts == {("d0", "completed"): 1}
        assert sum(on.gateway.metering.tokens.values()) == sum(USAGE.values())

    play(run, tmp_path, test, upstream)
    assert len(upstream.seen) == 1


def test_nothing_is_cached_without_a_rule_that_says_so(run: Run, tmp_path: Path) -> None:
    upstream = Upstream(whole(CHAT))
    made = (Rule(name="plain", when=When(tools=False), tier="main"), *rules())

    async def test(on: Rig) -> None:
        for _ in range(2):
            assert how(await on.call(PATHS["chat"], zero("chat"))) == (200, "")
        tools = [{"type": "function", "function": {"name": "f"}}]
        for result in ("miss", "hit"):
            assert how(await on.call(PATHS["chat"], zero("chat", tools=tools))) == (200, result)

    play(run, tmp_path, test, upstream, rules=made)
    assert len(upstream.seen) == 3


def test_a_call_that_names_its_deployment_is_cached_by_the_first_rule_it_matches(run: Run, tmp_path: Path) -> None:
    upstream = Upstream(whole(EMBEDDING))

    async def test(on: Rig) -> None:
        body = {"model": "d0", "input": "hello"}
        assert [how(await on.call("/v1/embeddings", body))[1] for _ in range(2)] == ["miss", "hit"]
        decision = msgspec.json.decode((await on.records())[2].decision)  # type: ignore[union-attr]  # it is opened
        assert (decision["rule"], decision["cache"]) == ("model", "all")

    play(run, tmp_path, test, upstream, formats=[("embeddings",)])
    assert len(upstream.seen) == 1


def test_one_tenant_s_answers_are_never_another_s(run: Run, tmp_path: Path) -> None:
    answers = [CHAT.replace(b'"hi"', text) for text in (b'"for acme"', b'"for other"')]
    upstream = Upstream(*map(whole, answers), whole(b"{}", "500 Oops"))

    async def test(on: Rig) -> None:
        other = await key_of(on, "other")
        colleague = await key_of(on, "acme", name="colleague")
        bodies = [(await on.call(PATHS["chat"], zero("chat"), key=key)).body for key in (None, other) * 3]
        assert bodies == answers * 3
        shared = await on.call(PATHS["chat"], zero("chat"), key=colleague)
        assert (how(shared), shared.body) == ((200, "hit"), answers[0])

    play(run, tmp_path, test, upstream)
    assert len(upstream.seen) == 2


def test_a_rule_may_keep_principals_apart(run: Run, tmp_path: Path) -> None:
    upstream = Upstream(whole(CHAT))

    async def test(on: Rig) -> None:
        colleague = await key_of(on, "acme", name="colleague")
        found = [how(await on.call(PATHS["chat"], zero("chat"), key=key))[1] for key in (None, colleague) * 2]
        assert found == ["miss", "miss", "hit", "hit"]

    play(run, tmp_path, test, upstream, rules=rules(share="principal"))


def test_a_boundary_makes_another_question(run: Run, tmp_path: Path) -> None:
    upstreams = Upstream(whole(CHAT)), Upstream(whole(CHAT))

    async def test(on: Rig) -> None:
        inside = await key_of(on, "acme", name="inside", boundary="eu")
        found = [how(await on.call(PATHS["chat"], zero("chat"), key=key))[1] for key in (None, inside) * 2]
        assert found == ["miss", "miss", "hit", "hit"]

    play(run, tmp_path, test, *upstreams)


@pytest.mark.parametrize(
    ("changes", "header", "why"),
    [
        ({"temperature": 0.5}, "", "temperature"),
        ({"n": 2}, "", "n"),
        ({"web\r\nx-evil: 1": True}, "", "web%0d%0ax-evil%3a%201"),
        ({}, "cache-control: no-store", "no-store"),
        ({"messages": [{"role": "user", "content": "hi", "reasoning_details": []}]}, "", "reasoning"),
    ],
)
def test_what_does_not_qualify_passes_as_ever_and_says_why(
    run: Run, tmp_path: Path, changes: dict[str, Any], header: str, why: str
) -> None:
    upstream = Upstream(whole(CHAT))

    async def test(on: Rig) -> None:
        for _ in range(2):
            answer = await on.call(PATHS["chat"], zero("chat", **changes), *([header] if header else []))
            assert how(answer) == (200, "bypass")
            assert answer.headers["x-interlock-cache-reason"] == why
            assert "x-evil" not in answer.headers
        assert on.gateway.cache.answers == {("chat", "bypass"): 2}

    play(run, tmp_path, test, upstream)
    assert len(upstream.seen) == 2


def test_counting_tokens_is_not_the_cache_s_business(run: Run, tmp_path: Path) -> None:
    async def test(on: Rig) -> None:
        assert how(await on.call("/v1/messages/count_tokens", zero("messages"))) == (200, "")

    play(run, tmp_path, test, Upstream(whole(b"{}")))


def test_a_client_may_ask_for_a_new_answer(run: Run, tmp_path: Path) -> None:
    answers = [CHAT.replace(b'"hi"', b'"%d"' % n) for n in range(3)]
    upstream = Upstream(*map(whole, answers))

    async def test(on: Rig) -> None:
        async def asked(*headers: str) -> tuple[str, int]:
            answer = await on.call(PATHS["chat"], zero("chat"), *headers)
            return answer.headers[CACHE], answers.index(answer.body)

        assert await asked() == ("miss", 0)
        assert await asked("cache-control: no-cache") == ("bypass", 1)
        assert await asked() == ("hit", 1)
        assert await asked("cache-control: max-age=3600") == ("hit", 1)
        assert await asked("cache-control: min-fresh=3600") == ("miss", 2)
        assert await asked() == ("hit", 2)

    play(run, tmp_path, test, upstream)


ENDS = {
    "error": whole(b'{"error":{"message":"no","type":"x"}}', "429 Too Many Requests"),
    "refused": whole(b'{"error":{"message":"no","type":"x"}}', "400 Bad Request"),
    "error in 200": whole(b'{"error":{"message":"no","type":"x"}}'),
    "filtered": whole(CHAT.replace(b'"stop"', b'"content_filter"')),
    "broken json": whole(CHAT[:-2]),
    "cut": streamed(chat_delta("h"), end=False),
    "error in a stream": streamed(chat_delta("h"), b'data: {"error":{"message":"no"}}\n\n'),
    "filtered stream": streamed(chat_delta("h"), chat_delta("", "content_filter"), CHAT_USAGE, b"data: [DONE]\n\n"),
    "closed": raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"),
}


@pytest.mark.parametrize("end", ENDS)
def test_what_did_not_end_well_is_not_kept(run: Run, tmp_path: Path, end: str) -> None:
    stream = "stream" in end or end == "cut"
    upstream = Upstream(ENDS[end])

    async def test(on: Rig) -> None:
        found = [await on.call(PATHS["chat"], zero("chat", stream=stream)) for _ in range(2)]
        assert [answer.headers.get(CACHE) for answer in found] == ["miss", "miss"]
        assert len(on.gateway.cache.memory) == 0
        assert not on.gateway.cache.flights and not on.gateway.exchanges

    play(run, tmp_path, test, upstream)
    assert len(upstream.seen) == 2


def test_an_answer_joined_from_two_models_is_not_kept(run: Run, tmp_path: Path) -> None:
    cut = [Upstream(streamed(*EVENTS["chat"][:2], end=False)), Upstream(streamed(*EVENTS["chat"]))]
    made = tuple(msgspec.structs.replace(rule, on_cut="continue") for rule in rules())

    async def test(on: Rig) -> None:
        for _ in range(2):
            answer = await on.call(PATHS["chat"], zero("chat", stream=True))
            assert answer.complete and b"[DONE]" in answer.body
            assert how(answer) == (200, "miss")

    play(run, tmp_path, test, *cut, rules=made)
    assert [len(upstream.seen) for upstream in cut] == [2, 2]


def test_an_answer_of_the_second_candidate_is_kept(run: Run, tmp_path: Path) -> None:
    upstreams = Upstream(whole(b"{}", "500 Oops")), Upstream(whole(CHAT))

    async def test(on: Rig) -> None:
        first, second = [await on.call(PATHS["chat"], zero("chat")) for _ in range(2)]
        assert (how(first), how(second)) == ((200, "miss"), (200, "hit"))
        assert second.headers["x-interlock-deployment"] == "d1"
        opened = (await records_of(on, second.headers["x-interlock-request-id"], 2))[0]
        assert (opened.deployment, opened.model) == ("d1", "model-1")

    play(run, tmp_path, test, *upstreams)


def test_a_translated_answer_is_given_again_as_it_was(run: Run, tmp_path: Path) -> None:
    upstream = Upstream(whole(CHAT))

    async def test(on: Rig) -> None:
        said = [{"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]}]
        first, second = [await on.call(PATHS["messages"], zero("messages", messages=said)) for _ in range(2)]
        assert (how(first), how(second), second.body) == ((200, "miss"), (200, "hit"), first.body)
        assert second.json["type"] == "message"
        dropped = "messages[0].content[0].cache_control"
        assert second.headers["x-interlock-dropped"] == first.headers["x-interlock-dropped"] == dropped

    play(run, tmp_path, test, upstream, formats=[("chat",)])


def changed(old: Policy, **changes: Any) -> Policy:
    made = msgspec.structs.replace(old, version="", **changes)
    return msgspec.structs.replace(made, version=version_of(made))


def test_a_policy_that_changes_who_may_answer_changes_the_question(run: Run, tmp_path: Path) -> None:
    upstream = Upstream(whole(CHAT))

    async def test(on: Rig) -> None:
        async def asked() -> str:
            return how(await on.call(PATHS["chat"], zero("chat")))[1]

        old = on.gateway.policy
        assert [await asked(), await asked()] == ["miss", "hit"]
        dearer = msgspec.structs.replace(old.deployments["d0"], context_window=100_000)
        on.gateway.adopt(changed(old, deployments={"d0": dearer}))
        assert [await asked(), await asked()] == ["miss", "hit"]
        moved = msgspec.structs.replace(dearer, facts=Facts(geographies=("us",)))
        on.gateway.adopt(changed(old, deployments={"d0": moved}))
        assert await asked() == "miss"
        on.gateway.adopt(changed(old, retries=Retries(rounds=3)))
        assert await asked() == "hit", "what does not bear on the answer changes nothing"
        on.gateway.adopt(changed(old, rules=rules(hit_nanousd=5)))
        assert await asked() == "hit"
        withdrawn = Withdrawal(kind="deployment", name="d0", reason="a leak", at_ns=1)
        on.gateway.adopt(old, [withdrawn])
        answer = await on.call(PATHS["chat"], zero("chat"))
        assert (how(answer), answer.json["error"]["code"]) == ((403, ""), "withdrawn")
        on.gateway.adopt(changed(old, rules=()))
        assert (await asked(), len(on.gateway.cache.memory)) == ("", 0)
        on.gateway.adopt(old)
        assert await asked() == "miss"

    play(run, tmp_path, test, upstream)


def test_an_answer_is_given_while_its_deployment_rests(run: Run, tmp_path: Path) -> None:
    upstreams = Upstream(whole(CHAT), whole(b"{}", "500 Oops")), Upstream(whole(CHAT))

    async def test(on: Rig) -> None:
        assert how(await on.call(PATHS["chat"], zero("chat"))) == (200, "miss")
        for n in range(6):
            await on.call(PATHS["chat"], zero("chat", seed=n))
        assert "d0" in on.gateway.resting
        answer = await on.call(PATHS["chat"], zero("chat"))
        assert (how(answer), answer.headers["x-interlock-deployment"]) == ((200, "hit"), "d0")
        on.gateway.set_loading("d0", "it is loading")
        assert how(await on.call(PATHS["chat"], zero("chat"))) == (200, "hit")

    play(run, tmp_path, test, *upstreams)


@pytest.mark.parametrize(
    ("profile", "facts", "shelved"),
    [
        (Profile(name="eu", geographies=("eu",)), Facts(), False),
        (Profile(name="eu", geographies=("eu",)), Facts(geographies=("us",)), False),
        (Profile(name="eu", geographies=("eu",)), Facts(geographies=("eu",)), True),
        (Profile(name="eu", local_only=True), Facts(geographies=("eu",)), False),
        (Profile(name="eu", local_only=True), Facts(local=True), True),
    ],
)
def test_an_answer_under_a_boundary_leaves_the_worker_only_for_a_place_inside(
    profile: Profile, facts: Facts, shelved: bool
) -> None:
    from interlock.gateway.reuse import reuse_of
    from interlock.gateway.routing import Route, decide
    from interlock.gateway.signals import Signals

    made = cached([1], profiles={"eu": profile}, cache_facts=facts)
    local = msgspec.structs.replace(made.deployments["d0"], facts=Facts(local=True, geographies=("eu",)))
    made = msgspec.structs.replace(made, deployments={"d0": local})
    signals = Signals(format="chat", model="auto", tenant="acme", principal="p")

    def found(*boundary: str, sensitive: tuple[str, ...] = ()) -> bool:
        said = msgspec.structs.replace(signals, sensitive=sensitive)
        route: Route = decide(said, made, boundary, {})
        reuse = reuse_of(route, said, made)
        assert reuse is not None
        return reuse.shelved

    assert found() is True
    assert found("eu") is shelved
    assert found("eu", sensitive=("iban",)) is found(sensitive=("iban",)) is False


def test_a_password_that_is_missing_costs_nothing_but_hits(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from interlock.gateway import Credential

    settings = CacheSettings(url="redis://127.0.0.1:1", credential=Credential(env="NO_SUCH_PASSWORD"))

    async def test(on: Rig) -> None:
        found = [how(await on.call(PATHS["chat"], zero("chat"))) for _ in range(2)]
        assert found == [(200, "miss"), (200, "hit")]

    play(run, tmp_path, test, Upstream(whole(CHAT)), cache=settings)
    assert "NO_SUCH_PASSWORD" in caplog.text


def test_a_hit_that_cannot_be_written_down_is_not_given(run: Run, tmp_path: Path) -> None:
    from interlock.errors import LogUnavailable

    async def test(on: Rig) -> None:
        await on.call(PATHS["chat"], zero("chat"))
        journal = on.gateway.metering._journal
        stage = journal.stage

        def full(*args: Any, **options: Any) -> None:
            raise LogUnavailable("no room")

        journal.stage = full  # type: ignore[method-assign]  # a disk that is full
        answer = await on.call(PATHS["chat"], zero("chat"))
        assert (answer.status, answer.json["error"]["code"]) == (503, "log_unavailable")
        journal.stage = stage  # type: ignore[method-assign]  # there is room again
        assert how(await on.call(PATHS["chat"], zero("chat"))) == (200, "hit")
        assert len(on.gateway.metering._open_seqs) == 0

    play(run, tmp_path, test, Upstream(whole(CHAT)))


def test_hits_take_their_turn_on_a_connection(run: Run, tmp_path: Path) -> None:
    async def test(on: Rig) -> None:
        from tests.gateway.rig import read_answer

        request = on.request(PATHS["chat"], msgspec.json.encode(zero("chat")))
        reader, writer = await on.connect()
        writer.write(request * 5)
        assert [how(await read_answer(reader))[1] for _ in range(5)] == ["miss"] + ["hit"] * 4
        writer.close()
        reader, writer = await on.connect()
        writer.write(request)
        writer.close()  # before it can be answered
        await until(lambda: not on.gateway.connections)
        await asyncio.sleep(0.05)
        assert len(on.gateway.metering._open_seqs) == 0

    play(run, tmp_path, test, Upstream(whole(CHAT)))
