"""What is no conversation (embeddings, counting), and who is asked with which key and in which words."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.gateway.answers import CHAT, EVENTS, MESSAGES, USAGE, ask
from tests.gateway.providers import frames
from tests.gateway.rig import PATHS, Rig, Script, Seen, Upstream, policy, raw, rig, silent, streamed, whole
from tests.gateway.test_faults import ERROR, FAST

from interlock.gateway import Credential, Policy, Retries
from interlock.gateway.answer import dropped_header, stream_headers
from interlock.gateway.translate.carrier import Carried, carry
from interlock.gateway.wire import read
from interlock.ledger import Opened, Refused, Settled

Run = Callable[..., Any]
VECTORS = json.dumps(
    {
        "object": "list",
        "model": "model-0",
        "data": [{"object": "embedding", "index": 0, "embedding": [0.1]}],
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    }
).encode()
SEAL = carry(Carried(family="other", kind="item", seal="abc", id="rs_1"))


def play(run: Run, tmp_path: Path, test: Any, *upstreams: Upstream, edit: Any = None, **options: Any) -> None:
    async def main() -> None:
        ports = [await upstream.start() for upstream in upstreams]
        made = policy(ports, **{"timeouts": FAST, **options})
        made = edit(made) if edit else made
        try:
            async with rig(tmp_path / "data", made) as on:
                await test(on)
                assert not on.gateway.exchanges
        finally:
            for upstream in upstreams:
                await upstream.stop()

    run(main, blocking_s=1.0)


def deployed(made: Policy, name: str, **changes: Any) -> Policy:
    """The policy with a deployment changed."""
    changed = msgspec.structs.replace(made.deployments[name], **changes)
    return msgspec.structs.replace(made, deployments={**made.deployments, name: changed})


# embeddings


def test_embeddings_pass_and_are_metered_by_their_prompt(run: Run, tmp_path: Path) -> None:
    asked = {"model": "auto", "input": ["a", "b"], "stream": True, "encoding_format": "float"}

    async def test(on: Rig) -> None:
        answer = await on.call("/v1/embeddings", asked)
        assert (answer.status, answer.body) == (200, VECTORS)
        assert answer.headers["x-interlock-deployment"] == "d1"
        [settled] = await on.settled(1)
        assert (settled.outcome, settled.source, settled.usage["input"]) == ("completed", "reported", 7)

    ups = Upstream(whole(CHAT)), Upstream(whole(VECTORS))
    play(run, tmp_path, test, *ups, formats=(("chat",), ("chat", "embeddings")))
    assert not ups[0].seen
    assert ups[1].seen[0].path == "/v1/embeddings"
    assert ups[1].seen[0].json == {**asked, "model": "model-1"}


def test_embeddings_with_nobody_who_has_them(run: Run, tmp_path: Path) -> None:
    async def test(on: Rig) -> None:
        answer = await on.call("/v1/embeddings", {"model": "auto", "input": "a"})
        assert (answer.status, answer.json["error"]["code"]) == (400, "no_candidate")
        [refused] = await on.records()
        assert isinstance(refused, Refused)

    play(run, tmp_path, test, Upstream(whole(VECTORS)))


@pytest.mark.parametrize("given", [SEAL, [SEAL, "x"]])
def test_a_text_that_looks_like_a_carrier_is_embedded(run: Run, tmp_path: Path, given: Any) -> None:
    async def test(on: Rig) -> None:
        assert (await on.call("/v1/embeddings", {"model": "auto", "input": given})).status == 200

    play(run, tmp_path, test, Upstream(whole(VECTORS)), formats=(("embeddings",),))


def test_nobody_streams_embeddings() -> None:
    assert read("embeddings", b'{"model":"m","input":"a","stream":true}').stream is False
    assert read("count_tokens", msgspec.json.encode(ask("messages", stream=True))).stream is False


# count_tokens


def anthropic(made: Policy) -> Policy:
    return deployed(made, "d0", provider="anthropic")


def test_tokens_are_counted_by_who_can(run: Run, tmp_path: Path) -> None:
    async def test(on: Rig) -> None:
        answer = await on.call("/v1/messages/count_tokens", ask("messages"))
        assert (answer.status, answer.json) == (200, {"input_tokens": 9})
        assert "x-interlock-estimate" not in answer.headers
        [settled] = await on.settled(1)
        assert (settled.outcome, settled.source, settled.usage) == ("completed", "none", {})
        [opened] = [r for r in await on.records() if isinstance(r, Opened)]
        assert (opened.format, opened.input_estimate) == ("count_tokens", 0)

    upstream = Upstream(whole(b'{"input_tokens":9}'))
    play(run, tmp_path, test, upstream, edit=anthropic)
    assert upstream.seen[0].path == "/v1/messages/count_tokens"
    assert upstream.seen[0].headers["anthropic-version"] == "2023-06-01"


@pytest.mark.parametrize("case", ["another provider", "another format", "carried reasoning"])
def test_where_nobody_can_count_they_are_estimated(run: Run, tmp_path: Path, case: str) -> None:
    """Carried reasoning: only another family reads it, and the provider would refuse the request for it."""
    asked: dict[str, Any] = ask("messages")
    if case == "carried reasoning":
        thought = {"type": "thinking", "thinking": "hm", "signature": SEAL}
        answered = {"role": "assistant", "content": [thought, {"type": "text", "text": "a"}]}
        asked = {**asked, "messages": [*asked["messages"], answered, *asked["messages"]]}
    body = msgspec.json.encode(asked)

    async def test(on: Rig) -> None:
        answer = await on.call("/v1/messages/count_tokens", body)
        assert (answer.status, answer.json) == (200, {"input_tokens": (len(body) + 3) // 4})
        assert answer.headers["x-interlock-estimate"] == "json-bytes/4.v1"
        assert await on.records() == []

    upstream = Upstream(whole(b'{"input_tokens":9}'))
    formats = (("chat",) if case == "another format" else ("messages",),)
    play(run, tmp_path, test, upstream, formats=formats, edit=None if case == "another provider" else anthropic)
    assert not upstream.seen


# several keys of one deployment


def keyed(tmp_path: Path, count: int) -> Callable[[Policy], Policy]:
    tmp_path.mkdir(parents=True, exist_ok=True)
    names = []
    for index in range(count):
        (tmp_path / f"key{index}").write_text(f"sk-{index}")
        names.append(Credential(file=str(tmp_path / f"key{index}")))
    return lambda made: deployed(made, "d0", credentials=tuple(names))


def by_key(answers: dict[str, Script], used: list[str]) -> Script:
    """Answer as is said for the key, else well; note which was used."""

    async def script(reader: Any, writer: Any, seen: Seen) -> None:
        key = seen.headers["authorization"].removeprefix("bearer ")
        used.append(key)
        await answers.get(key, whole(CHAT))(reader, writer, seen)

    return script


@pytest.mark.parametrize("status", ["429 Slow", "401 No", "402 Pay", "403 No"])
def test_the_next_key_is_tried_at_once(run: Run, tmp_path: Path, status: str) -> None:
    used: list[str] = []

    async def test(on: Rig) -> None:
        used.clear()
        assert (await on.call(PATHS["chat"], ask("chat"))).status == 200
        assert used == ["sk-0", "sk-1"]
        assert [s.outcome for s in await on.settled(2)] == ["failed", "completed"]
        assert (await on.call(PATHS["chat"], ask("chat"))).status == 200
        assert used[2:] == ["sk-1"], "the other one rests"
        assert bool(on.gateway.upstreams["d0"].keys.report(on.gateway.loop.time())) is not status.startswith("429")

    limited = whole(ERROR, status, "retry-after: 60\r\n")
    play(run, tmp_path, test, Upstream(by_key({"sk-0": limited}, used)), edit=keyed(tmp_path, 2))


def test_all_keys_are_limited(run: Run, tmp_path: Path) -> None:
    used: list[str] = []
    limited = whole(ERROR, "429 Slow", "retry-after: 60\r\n")

    async def test(on: Rig) -> None:
        used.clear()
        answer = await on.call(PATHS["chat"], ask("chat"))
        assert (answer.status, answer.headers["retry-after"]) == (429, "60")
        assert used == ["sk-0", "sk-1", "sk-2"]
        assert on.gateway.circuits["d0"].wait_s(on.gateway.loop.time()) > 50

    upstream = Upstream(by_key({f"sk-{i}": limited for i in range(3)}, used))
    play(run, tmp_path, test, upstream, edit=keyed(tmp_path, 3), retries=Retries(rounds=2))


def test_a_limit_that_is_over_at_once_is_not_hammered(run: Run, tmp_path: Path) -> None:
    """`Retry-After: 0` while the other key rests: the key that the call has tried is not taken again and again."""
    used: list[str] = []
    answers = {
        "sk-0": whole(ERROR, "429 Slow", "retry-after: 0\r\n"),
        "sk-1": whole(ERROR, "429 Slow", "retry-after: 60\r\n"),
    }

    async def test(on: Rig) -> None:
        used.clear()
        for _ in range(2):
            assert (await on.call(PATHS["chat"], ask("chat"))).status == 429
        assert used == ["sk-0", "sk-1", "sk-0"]

    play(run, tmp_path, test, Upstream(by_key(answers, used)), edit=keyed(tmp_path, 2))


def test_the_keys_of_the_next_deployment_are_its_own(run: Run, tmp_path: Path) -> None:
    """Those that were tried in vain at one deployment are forgotten at the next."""
    used: list[str] = []
    limited = whole(ERROR, "429 Slow", "retry-after: 60\r\n")

    def both(made: Policy) -> Policy:
        made = keyed(tmp_path, 2)(made)
        return deployed(made, "d1", credentials=made.deployments["d0"].credentials)

    async def test(on: Rig) -> None:
        used.clear()
        assert (await on.call(PATHS["chat"], ask("chat"))).status == 200
        assert used == ["sk-0", "sk-1", "sk-0", "sk-1"]

    first = Upstream(by_key({"sk-0": limited, "sk-1": limited}, used))
    play(run, tmp_path, test, first, Upstream(by_key({"sk-0": limited}, used)), edit=both)


def test_a_429_about_the_request_leaves_the_key_alone(run: Run, tmp_path: Path) -> None:
    used: list[str] = []
    too_long = whole(ERROR, "429 Long", "x-should-retry: false\r\n")

    async def test(on: Rig) -> None:
        used.clear()
        assert (await on.call(PATHS["chat"], ask("chat"))).status == 429
        assert used == ["sk-0"]

    upstream = Upstream(by_key({"sk-0": too_long}, used))
    play(run, tmp_path, test, upstream, edit=keyed(tmp_path, 2), retries=Retries(rounds=2))


# what cannot be said, and what is left out


def test_what_is_dropped_is_listed_and_nothing_else(run: Run, tmp_path: Path) -> None:
    asked = {**ask("chat"), "seed": 4, "user": "u", "verbosity": "low"}

    async def test(on: Rig) -> None:
        answer = await on.call(PATHS["chat"], asked)
        assert (answer.status, answer.json["choices"][0]["message"]["content"]) == (200, "hi")
        listed = answer.headers["x-interlock-dropped"].split(", ")
        assert "seed" in listed and set(listed) <= {"seed", "verbosity"}
        [opened] = [r for r in await on.records() if isinstance(r, Opened)]
        assert "dropped:seed" in msgspec.json.decode(opened.decision)["splices"]
        assert (await on.settled(1))[0].usage == USAGE

    play(run, tmp_path, test, Upstream(whole(MESSAGES)), formats=(("messages",),))


@pytest.mark.parametrize("name", ["a\r\nx-evil: 1", 'a"b', "ü\u2028", "a, b", "x" * 5_000, "a\x00b", "%0d%0a"])
def test_names_that_clients_make_up_stay_within_one_line(run: Run, tmp_path: Path, name: str) -> None:
    """An unknown field is refused, not dropped: its name comes back in the error's JSON and in no header."""
    line = dropped_header((f"metadata.{name}",) * 50)
    assert line.isascii() and len(line) < 1200
    assert line.count(b"\r\n") == 1 and line.endswith(b"\r\n") and b"\x00" not in line
    assert dropped_header((f"metadata.{name}",)).count(b", ") == 0

    async def test(on: Rig) -> None:
        answer = await on.call(PATHS["chat"], {**ask("chat"), name: {"a": 1}})
        assert answer.status == 400
        assert "x-evil" not in answer.headers
        assert answer.json["error"]["param"] in (name, "body")
        [refused] = await on.records()
        assert isinstance(refused, Refused) and refused.code == "invalid_request"

    play(run, tmp_path, test, Upstream(whole(MESSAGES)), formats=(("messages",),))


def test_who_cannot_say_it_is_passed_over_for_one_who_can(run: Run, tmp_path: Path) -> None:
    asked = {**ask("chat"), "logprobs": True}

    async def test(on: Rig) -> None:
        answer = await on.call(PATHS["chat"], asked)
        assert (answer.status, answer.body, answer.headers["x-interlock-deployment"]) == (200, CHAT, "d1")
        [settled] = await on.settled(1)
        assert settled.attempt == 1

    first, second = Upstream(whole(MESSAGES)), Upstream(whole(CHAT))
    play(run, tmp_path, test, first, second, formats=(("messages",), ("chat",)))
    assert not first.seen


def test_nobody_after_a_failure_can_say_it(run: Run, tmp_path: Path) -> None:
    """What the one who could say it answered stands."""
    asked = {**ask("chat"), "logprobs": True}

    async def test(on: Rig) -> None:
        answer = await on.call(PATHS["chat"], asked)
        assert (answer.status, answer.body) == (500, ERROR)

    first, second = Upstream(whole(ERROR, "500 Oops")), Upstream(whole(MESSAGES))
    play(run, tmp_path, test, first, second, formats=(("chat",), ("messages",)))
    assert not second.seen


@pytest.mark.parametrize("stream", [True, False])
def test_nobody_can_say_it(run: Run, tmp_path: Path, stream: bool) -> None:
    async def test(on: Rig) -> None:
        answer = await on.call(PATHS["chat"], {**ask("chat", stream=stream), "logprobs": True})
        assert (answer.status, answer.json["error"]["param"]) == (400, "logprobs")
        [refused] = await on.records()
        assert isinstance(refused, Refused)
        assert msgspec.json.decode(refused.decision)["winner"] == "d0"

    first = Upstream(whole(MESSAGES))
    play(run, tmp_path, test, first, formats=(("messages",),))
    assert not first.seen


def test_a_carrier_in_a_body_that_could_pass_is_read(run: Run, tmp_path: Path) -> None:
    """Reasoning of another family came in Anthropic's own format: it is taken out, not passed for a signature."""
    thought = {"type": "thinking", "thinking": "hm", "signature": SEAL}
    turns = [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": [thought, {"type": "text", "text": "a"}]},
        {"role": "user", "content": "and?"},
    ]

    async def test(on: Rig) -> None:
        answer = await on.call(PATHS["messages"], {**ask("messages"), "messages": turns})
        assert (answer.status, answer.json["content"][0]["text"]) == (200, "hi")
        [settled] = await on.settled(1)
        assert isinstance(settled, Settled) and settled.usage == USAGE

    upstream = Upstream(whole(MESSAGES))
    play(run, tmp_path, test, upstream, formats=(("messages",),), edit=anthropic)
    assert b"ilk1." not in upstream.seen[0].body


def test_a_decoded_stream_is_not_announced_as_it_came() -> None:
    """Bedrock's framing ends at the gateway: the client gets server-sent events, and is told so."""
    lines = stream_headers({b"content-type": b"application/vnd.amazon.eventstream", b"request-id": b"r"}, True)
    assert b"content-type: text/event-stream" in lines and b"amazon" not in lines and b"request-id: r" in lines


def test_bedrock_s_own_stream_in_its_own_format(run: Run, tmp_path: Path) -> None:
    """Nothing is translated, and the bytes are not the upstream's all the same."""
    payloads = [event.partition(b"data: ")[2].strip() for event in EVENTS["messages"]]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\n\r\n"

    def on_bedrock(made: Policy) -> Policy:
        (tmp_path / "key").write_text("bedrock-key")
        place = made.deployments["d0"].base_url.removesuffix("/v1")
        key = Credential(file=str(tmp_path / "key"))
        return deployed(
            made, "d0", provider="bedrock", api="anthropic", region="us-east-1", base_url=place, credential=key
        )

    async def test(on: Rig) -> None:
        answer = await on.call(PATHS["messages"], ask("messages", stream=True))
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.body.rstrip().endswith(payloads[-1])
        [settled] = await on.settled(1)
        assert (settled.outcome, settled.usage) == ("completed", USAGE)

    upstream = Upstream(raw(head, *map(frames.chunk, payloads)))
    play(run, tmp_path, test, upstream, formats=(("messages",),), edit=on_bedrock)


@pytest.mark.parametrize("upstream", ["messages", "chat"])
def test_a_number_that_no_float_holds_is_refused(run: Run, tmp_path: Path, upstream: str) -> None:
    async def test(on: Rig) -> None:
        body = b'{"model":"auto","temperature":1e400,"input":"hi"}'
        answer = await on.call(PATHS["responses"], body)
        assert (answer.status, answer.json["error"]["code"]) == (400, "invalid_json")

    play(run, tmp_path, test, Upstream(silent), formats=[(upstream,)])


def test_an_event_of_any_depth_is_a_fault_of_the_upstream(run: Run, tmp_path: Path) -> None:
    deep = b'data: {"a":' + b"[" * 6000 + b"]" * 6000 + b"}\n\n"

    async def test(on: Rig) -> None:
        answer = await on.call(PATHS["messages"], ask("messages", stream=True))
        assert (answer.status, answer.json["error"]["code"]) == (502, "upstream_invalid")

    play(run, tmp_path, test, Upstream(streamed(deep)), formats=[("chat",)])
