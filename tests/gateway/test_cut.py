"""A stream that breaks off: by rule another candidate goes on from the text so far, and the client hears one stream."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from openai._models import construct_type
from openai.types.responses import ResponseStreamEvent
from tests.gateway.answers import EVENTS, USAGE, chat_delta, data, named
from tests.gateway.cuts import (
    ERROR,
    MID_ERROR,
    PARTS,
    TOOL,
    Run,
    asked,
    documents,
    failed,
    gated,
    judged,
    listen,
    play,
    speaking,
    total,
)
from tests.gateway.rig import (
    FORMATS,
    PATHS,
    Rig,
    Script,
    Upstream,
    silent,
    streamed,
    whole,
)
from tests.gateway.test_faults import held

from interlock.gateway.translate import GO_ON, Voice, going_on
from interlock.gateway.translate.neutral import Ask, Envelope, Schema, TextDelta, Thinks
from interlock.ledger import Opened


@pytest.fixture(autouse=True, scope="module")
def warm() -> None:
    """The SDKs build their types when they are first used, for longer than a loop may be blocked."""
    for document in documents(b"".join(EVENTS["responses"])):
        construct_type(type_=ResponseStreamEvent, value=document)


@pytest.mark.parametrize("client", FORMATS)
@pytest.mark.parametrize("one", FORMATS)
@pytest.mark.parametrize("two", FORMATS)
def test_a_cut_text_arrives_whole(run: Run, tmp_path: Path, client: str, one: str, two: str) -> None:
    first, second = Upstream(streamed(*PARTS[one], end=False)), Upstream(streamed(*EVENTS[two]))

    async def test(on: Rig) -> None:
        answer = await on.call(PATHS[client], asked(client))
        assert (answer.status, answer.complete) == (200, True)
        settled = await on.settled(2)
        assert judged(client, answer.body) == ("AB hi", total(settled))
        assert [(s.attempt, s.outcome, s.error) for s in settled] == [
            (1, "truncated", "upstream_closed"),
            (2, "completed", ""),
        ]
        assert settled[0].source in ("estimated", "counted")
        assert (settled[1].source, settled[1].usage) == ("reported", USAGE)
        opened = [r for r in await on.records() if isinstance(r, Opened)]
        splices = [msgspec.json.decode(r.decision)["splices"] for r in opened]
        assert "continued" not in splices[0] and "continued" in splices[1]
        assert [r.deployment for r in opened] == ["d0", "d1"]

    play(run, tmp_path, test, first, second, formats=speaking(one, two))
    body = second.seen[0].json
    assert second.seen[0].path == PATHS[two]
    turns = body["input" if two == "responses" else "messages"]
    assert [turn["role"] for turn in turns[-3:]] == ["user", "assistant", "user"]
    assert "AB " in json.dumps(turns[-2]) and GO_ON in json.dumps(turns[-1])


@pytest.mark.parametrize("words", ["AB", "AB "])
@pytest.mark.parametrize("two", FORMATS)
def test_a_model_that_takes_a_prefill_gets_its_words_alone(run: Run, tmp_path: Path, two: str, words: str) -> None:
    """Not where they end in white space, which Anthropic refuses in a last message."""
    first, second = Upstream(streamed(chat_delta(words), end=False)), Upstream(streamed(*EVENTS[two]))

    def prefilling(made: Any) -> Any:
        changed = msgspec.structs.replace(made.deployments["d1"], capabilities=("prefill",))
        return msgspec.structs.replace(made, deployments={**made.deployments, "d1": changed})

    async def test(on: Rig) -> None:
        answer = await on.call(PATHS["chat"], asked("chat"))
        assert judged("chat", answer.body)[0] == words + "hi"

    play(run, tmp_path, test, first, second, formats=speaking("chat", two), edit=prefilling)
    turns = second.seen[0].json["input" if two == "responses" else "messages"]
    assert turns[-1]["role"] == ("assistant" if words == "AB" else "user")


def test_no_prefill_where_the_model_is_to_think() -> None:
    asks = Ask(format="messages", stream=True, turns=())
    for reasoning, role in ((None, "assistant"), (Thinks(off=True), "assistant"), (Thinks(effort="low"), "user")):
        made = going_on(msgspec.structs.replace(asks, reasoning=reasoning), "words", prefill=True)
        assert made.turns[-1].role == role


ENDS = {"stall": "upstream_timeout", "malformed": "upstream_invalid", "early end": "upstream_closed"}
CUTS: dict[str, Callable[[str], Script]] = {
    "stall": lambda format: held(*PARTS[format]),
    "malformed": lambda format: streamed(*PARTS[format], b'data: {"choi\n\n'),
    "early end": lambda format: streamed(*PARTS[format]),
}


@pytest.mark.parametrize("client", FORMATS)
@pytest.mark.parametrize("one", FORMATS)
@pytest.mark.parametrize("cut", CUTS)
def test_whatever_cuts_it(run: Run, tmp_path: Path, client: str, one: str, cut: str) -> None:
    first, second = Upstream(CUTS[cut](one)), Upstream(streamed(*EVENTS["chat"]))

    async def test(on: Rig) -> None:
        answer = await on.call(PATHS[client], asked(client))
        assert judged(client, answer.body) == ("AB hi", total(await on.settled(2)))
        assert [s.outcome for s in await on.settled(2)] == ["truncated", "completed"]
        assert [s.error for s in await on.settled(2)] == [ENDS[cut], ""]

    play(run, tmp_path, test, first, second, formats=speaking(one, "chat"))


def test_arguments_that_no_messages_client_could_read(run: Run, tmp_path: Path) -> None:
    """The writer ends the stream in an error of its own; the attempt is settled as what it was, and nobody goes on."""
    heard = asyncio.Event()
    function = {"name": "f", "arguments": "[1"}
    call = {"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "c", "function": function}]}}
    rest = data({"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [call]})
    first, second = Upstream(gated(heard, [chat_delta("A")], rest)), Upstream(streamed(*EVENTS["chat"]))

    async def test(on: Rig) -> None:
        answer = await listen(on, "messages", heard, b'"A"')
        failed("messages", answer.body)
        assert [s.error for s in await on.settled(1)] == ["upstream_invalid"]

    play(run, tmp_path, test, first, second, formats=speaking("chat", "chat"))
    assert not second.seen


@pytest.mark.parametrize("client", FORMATS)
@pytest.mark.parametrize("one", FORMATS)
@pytest.mark.parametrize("cut", ["error event", "reset"])
def test_what_cuts_it_after_it_was_heard(run: Run, tmp_path: Path, client: str, one: str, cut: str) -> None:
    heard = asyncio.Event()
    first = Upstream(gated(heard, PARTS[one], MID_ERROR[one], by_reset=cut == "reset"))

    async def test(on: Rig) -> None:
        answer = await listen(on, client, heard, b'"B "')
        assert judged(client, answer.body) == ("AB hi", total(await on.settled(2)))
        assert [s.outcome for s in await on.settled(2)] == ["truncated", "completed"]

    play(run, tmp_path, test, first, Upstream(streamed(*EVENTS["chat"])), formats=speaking(one, "chat"))


@pytest.mark.parametrize("client", FORMATS)
def test_a_refusal_amid_a_stream_is_not_routed_around(run: Run, tmp_path: Path, client: str) -> None:
    heard = asyncio.Event()
    filtered = data({"error": {"message": "no", "type": "invalid_request_error", "code": "content_filter"}})
    first, second = Upstream(gated(heard, [chat_delta("A")], filtered)), Upstream(streamed(*EVENTS["chat"]))

    async def test(on: Rig) -> None:
        answer = await listen(on, client, heard, b'"A"')
        failed(client, answer.body)
        assert on.gateway.circuits["d0"]._failed_s == []

    play(run, tmp_path, test, first, second, formats=speaking("chat", "chat"))
    assert not second.seen


THINKING = {
    "chat": [
        data(
            {
                "id": "c",
                "object": "chat.completion.chunk",
                "model": "m",
                "choices": [{"index": 0, "delta": {"reasoning_content": "hm"}, "finish_reason": None}],
            }
        )
    ],
    "messages": [
        EVENTS["messages"][0],
        named({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}}),
        named({"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}}),
    ],
}
REFUSING = {
    "chat": [
        chat_delta("A"),
        data(
            {
                "id": "c",
                "object": "chat.completion.chunk",
                "model": "m",
                "choices": [{"index": 0, "delta": {"refusal": "I will not"}, "finish_reason": None}],
            }
        ),
    ]
}
FINISHED = {"chat": EVENTS["chat"][:3], "messages": EVENTS["messages"][:6]}
NEVER = {
    f"{name} {one}": events
    for name, by_format in {
        "tool call": TOOL,
        "thinking only": THINKING,
        "refusal": REFUSING,
        "finished": FINISHED,
    }.items()
    for one, events in by_format.items()
}


@pytest.mark.parametrize("client", FORMATS)
@pytest.mark.parametrize("case", NEVER)
def test_what_nobody_goes_on_with(run: Run, tmp_path: Path, client: str, case: str) -> None:
    """A tool call, reasoning alone, a refusal, an answer whose end was said: none of them is another's to continue."""
    first, second = Upstream(streamed(*NEVER[case], end=False)), Upstream(streamed(*EVENTS["chat"]))

    async def test(on: Rig) -> None:
        answer = await on.call(PATHS[client], asked(client))
        assert answer.complete
        failed(client, answer.body)
        [settled] = await on.settled(1)
        assert settled.outcome == "truncated"

    play(run, tmp_path, test, first, second, formats=speaking(case.rsplit(" ", 1)[1], "chat"))
    assert not second.seen


def test_json_by_a_schema_begins_anew_so_nobody_goes_on(run: Run, tmp_path: Path) -> None:
    first, second = Upstream(streamed(*PARTS["chat"], end=False)), Upstream(streamed(*EVENTS["chat"]))
    shape = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}

    async def test(on: Rig) -> None:
        answer = await on.call(PATHS["chat"], asked("chat", response_format=shape))
        failed("chat", answer.body)

    play(run, tmp_path, test, first, second, formats=speaking("chat", "chat"))
    assert not second.seen


def test_how_much_text_is_kept() -> None:
    asks = Ask(format="chat", stream=True, turns=())
    envelope = Envelope(key="a" * 32, created_at=1, ask=asks, family="f", model="m", input_estimate=1)
    keeping, idle = Voice(envelope, joins=True), Voice(envelope, joins=False)
    for voice in (keeping, idle):
        assert not voice.can_go_on
        voice.say(TextDelta("a\r\n"))
    assert (keeping.so_far, keeping.can_go_on, idle.so_far, idle.can_go_on) == ("a\r\n", True, "", False)
    for _ in range(40):
        keeping.say(TextDelta("x" * 65_536))
    assert not keeping.can_go_on and len(keeping.so_far) < 2_000_000
    schemed = msgspec.structs.replace(envelope, ask=msgspec.structs.replace(asks, schema=Schema()))
    by_schema = Voice(schemed, joins=True)
    by_schema.say(TextDelta("{"))
    assert not by_schema.can_go_on


@pytest.mark.parametrize("client", FORMATS)
def test_the_second_is_cut_too_and_the_third_goes_on(run: Run, tmp_path: Path, client: str) -> None:
    ups = [Upstream(streamed(*PARTS[f], end=False)) for f in ("chat", "messages")]
    third = Upstream(streamed(*EVENTS["responses"]))

    async def test(on: Rig) -> None:
        answer = await on.call(PATHS[client], asked(client))
        assert judged(client, answer.body) == ("AB AB hi", total(await on.settled(3)))
        assert [s.outcome for s in await on.settled(3)] == ["truncated", "truncated", "completed"]

    play(run, tmp_path, test, *ups, third, formats=speaking("chat", "messages", "responses"))
    assert "AB AB " in third.seen[0].body.decode()


@pytest.mark.parametrize("client", FORMATS)
@pytest.mark.parametrize("tried", [1, 2])
def test_nobody_is_left(run: Run, tmp_path: Path, client: str, tried: int) -> None:
    """The whole of what was said, then the format's own error event."""
    ups = [Upstream(streamed(*PARTS["chat"], end=False)) for _ in range(tried)]

    async def test(on: Rig) -> None:
        answer = await on.call(PATHS[client], asked(client))
        assert answer.complete
        failed(client, answer.body)
        assert answer.body.count(b'"B "') == tried
        assert len(await on.settled(tried)) == tried

    play(run, tmp_path, test, *ups, formats=speaking(*["chat"] * 4))


@pytest.mark.parametrize(
    ("status", "asks_third"), [("500 Oops", True), ("429 Slow", True), ("401 No", True), ("400 No", False)]
)
def test_a_second_that_answers_with_an_error(run: Run, tmp_path: Path, status: str, asks_third: bool) -> None:
    first, second = Upstream(streamed(*PARTS["chat"], end=False)), Upstream(whole(ERROR, status))
    third = Upstream(streamed(*EVENTS["chat"]))

    async def test(on: Rig) -> None:
        answer = await on.call(PATHS["chat"], asked("chat"))
        if asks_third:
            assert judged("chat", answer.body)[0] == "AB hi"
        else:
            failed("chat", answer.body)
        await on.settled(3 if asks_third else 2)

    play(run, tmp_path, test, first, second, third, formats=speaking(*["chat"] * 3))
    assert bool(third.seen) is asks_third


def test_a_client_that_hangs_up_between_the_two(run: Run, tmp_path: Path) -> None:
    first, second = Upstream(streamed(*PARTS["chat"], end=False)), Upstream(silent)

    async def test(on: Rig) -> None:
        reader, writer = await on.connect()
        writer.write(on.request(PATHS["chat"], msgspec.json.encode(asked("chat"))))
        await reader.readuntil(b'"B "')
        while not second.seen:
            await asyncio.sleep(0.005)
        writer.close()
        assert [s.outcome for s in await on.settled(2)] == ["truncated", "cancelled"]
        async with asyncio.timeout(2):
            await second.closed.wait()

    play(run, tmp_path, test, first, second, formats=speaking("chat", "chat"))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("end", [True, False])
def test_without_the_rule_bytes_pass(run: Run, tmp_path: Path, format: str, end: bool) -> None:
    """Also where the tier has a second candidate, which is not asked after the first word."""
    events = EVENTS[format] if end else PARTS[format]
    first, second = Upstream(streamed(*events, end=end)), Upstream(streamed(*EVENTS[format]))

    async def test(on: Rig) -> None:
        answer = await on.call(PATHS[format], asked(format))
        assert answer.body.startswith(b"".join(events))
        rest = answer.body[len(b"".join(events)) :]
        assert rest == b"" if end else failed(format, rest)
        [settled] = await on.settled(1)
        assert settled.outcome == ("completed" if end else "truncated")

    play(run, tmp_path, test, first, second, on_cut="error")
    assert not second.seen
    assert first.seen[0].json == {**asked(format), "model": "model-0"}


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("on_cut", ["error", "continue"])
@pytest.mark.parametrize("fault", ["close", "stall"])
def test_a_stream_whose_own_end_has_come_is_whole(
    run: Run, tmp_path: Path, format: str, on_cut: str, fault: str
) -> None:
    """Whatever becomes of its framing: no error may follow `[DONE]`."""
    script = streamed(*EVENTS[format], end=False) if fault == "close" else held(*EVENTS[format])

    async def test(on: Rig) -> None:
        answer = await on.call(PATHS[format], asked(format))
        assert (
            judged(format, answer.body)[0] == "hi" if on_cut == "continue" else answer.body == b"".join(EVENTS[format])
        )
        [settled] = await on.settled(1)
        assert (settled.outcome, settled.usage) == ("completed", USAGE)

    play(run, tmp_path, test, Upstream(script), Upstream(silent), on_cut=on_cut)
