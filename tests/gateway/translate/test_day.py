"""A day-long agent's conversation through every pair: what a target can express is not lost, the rest is listed."""

import itertools
from random import Random
from typing import Any

import msgspec
import pytest
from anthropic.lib.streaming._messages import accumulate_event
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import omit
from openai._models import construct_type
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent
from tests.gateway.cuts import documents
from tests.gateway.translate.audit import READABLE, audit
from tests.gateway.translate.audit_answers import audit_answer
from tests.gateway.translate.day import a_day, answer_of, as_answer
from tests.gateway.translate.same import events_of
from tests.gateway.translate.story import FAMILIES, FORMATS, PDF, Message, Told

from interlock.errors import LocalError
from interlock.gateway.translate import StreamTranslation, Voice, read_request, translate_whole, write_request
from interlock.gateway.translate.neutral import Ask, Envelope, Target, ToolCall
from interlock.ledger import Format

PAIRS = [(client, target) for client in FORMATS for target in FORMATS]


def through(told: Told, target: Format) -> tuple[dict[str, Any], tuple[str, ...]]:
    family = next(iter(READABLE[target].values()))
    ask = read_request(told.format, msgspec.json.encode(told.document))
    body, dropped = write_request(ask, target, Target(model=f"{family}-1", family=family))
    return msgspec.json.decode(body), dropped


def told_to(client: Format, upstream: Format, answer: dict[str, Any]) -> dict[str, Any]:
    """The upstream's whole answer as the client gets it."""
    family = next(family for family, (format, _) in FAMILIES.items() if format == upstream)
    ask = Ask(format=client, stream=False, turns=())
    envelope = Envelope(key="0" * 32, created_at=1, ask=ask, family=family, model="m", input_estimate=1)
    body, unsaid = translate_whole(msgspec.json.encode(answer), upstream, envelope)
    assert unsaid == ()
    document: dict[str, Any] = msgspec.json.decode(body)
    return document


@pytest.mark.parametrize("client", FORMATS)
def test_a_day_holds_everything(client: Format) -> None:
    told = a_day(client, Random(60))
    pieces = [
        piece for message in told.story for piece in (*message.pieces, *(p for q in message.pieces for p in q.inner))
    ]
    kinds = {piece.kind for piece in pieces}
    assert kinds >= {"text", "blank", "image", "pdf", "note", "call", "result", "thinking", "redacted", "item", "plain"}
    assert {message.speaker for message in told.story} == {"system", "user", "assistant"}
    assert {message.family for message in told.story if message.speaker == "assistant"} == {"", *FAMILIES}
    assert sum(message.speaker == "assistant" for message in told.story) == 60
    assert any(piece.kind == "result" and any(p.kind == "image" for p in piece.inner) for piece in pieces)
    assert any(piece.kind == "call" and not piece.arguments for piece in pieces)
    assert any(sum(piece.kind == "call" for piece in message.pieces) > 1 for message in told.story)
    assert {bool(piece.url) for piece in pieces if piece.kind == "image"} == {True, False}
    if client == "messages":
        assert any(piece.cached for piece in pieces)
        assert any(piece.error for piece in pieces)
    else:
        assert any(piece.detail for piece in pieces)
        assert any(piece.kind == "refusal" for piece in pieces)


@pytest.mark.parametrize(("client", "target"), PAIRS)
def test_a_day(client: Format, target: Format) -> None:
    told = a_day(client, Random(60))
    audit(told, target, *through(told, target))


@settings(deadline=None)
@given(st.sampled_from(PAIRS), st.randoms(use_true_random=False), st.integers(1, 6))
def test_any_conversation(pair: tuple[Format, Format], random: Random, turns: int) -> None:
    told = a_day(pair[0], random, turns)
    audit(told, pair[1], *through(told, pair[1]))


@pytest.mark.parametrize(("upstream", "client"), PAIRS)
def test_a_day_of_answers(upstream: Format, client: Format) -> None:
    for message in a_day(upstream, Random(60)).story:
        if message.speaker == "assistant" and not message.family:
            audit_answer(message, client, told_to(client, upstream, as_answer(upstream, message)))


def put_together(client: Format, stream: bytes) -> dict[str, Any]:
    """The stream as the official SDK puts it together, as the whole answer that it stands for."""
    found = documents(stream)
    if client == "chat":
        assert found.pop() == "[DONE]"
        chat: ChatCompletionStreamState[None] = ChatCompletionStreamState()
        for chunk in found:
            list(chat.handle_chunk(ChatCompletionChunk.model_validate(chunk, strict=True)))
        return chat.current_completion_snapshot.model_dump(exclude_unset=True)
    if client == "responses":
        responses: ResponseStreamState[Any] = ResponseStreamState(input_tools=omit, text_format=omit)
        for document in found:
            responses.handle_event(construct_type(type_=ResponseStreamEvent, value=document))  # type: ignore[arg-type]  # it is one
        final: dict[str, Any] = found[-1]["response"]
        return final
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    for event in found:
        snapshot = accumulate_event(event=event, current_snapshot=snapshot, json_bufs=buffers)
    made: dict[str, Any] = snapshot.model_dump(exclude_none=True)
    return made


def streamed(upstream: Format, client: Format, message: Message, random: Random) -> bytes:
    """What a client hears where the upstream streams the message, in fragments of any size."""
    family = next(family for family, (format, _) in FAMILIES.items() if format == upstream)

    def voice(format: Format) -> Voice:
        ask = Ask(format=format, stream=True, turns=())
        return Voice(
            Envelope(key="0" * 32, created_at=1, ask=ask, family=family, model="m", input_estimate=1), joins=False
        )

    def cut(text: str) -> list[str]:
        places = sorted(random.sample(range(1, len(text)), min(3, len(text) - 1))) if text else []
        return [text[a:b] for a, b in itertools.pairwise([0, *places, len(text)]) if b > a]

    own = answer_of(message, "0")
    called = any(isinstance(part, ToolCall) for part in own.parts)
    answer = msgspec.structs.replace(own, finish="tool_calls" if called else "stop", usage={"input": 9, "output": 4})
    speaking, translation = voice(upstream), StreamTranslation(upstream, voice(client))
    said = [speaking.say(event) for event in events_of(answer, cut)]
    heard = b"".join([translation.feed(event) for event in said if event] + [translation.finish()])
    assert translation.complete
    return heard


@pytest.mark.parametrize(("upstream", "client"), PAIRS)
def test_a_day_of_streamed_answers(upstream: Format, client: Format) -> None:
    """The same answers in fragments: what the SDK puts together is all that was said."""
    random = Random(61)
    for message in a_day(upstream, Random(60)).story:
        if message.speaker == "assistant" and not message.family:
            stream = streamed(upstream, client, message, random)
            audit_answer(message, client, put_together(client, stream))


PDF_URL = {"type": "document", "source": {"type": "url", "url": "https://a.test/b.pdf"}}
WORD = {"type": "file", "file": {"filename": "a.docx", "file_data": f"data:application/msword;base64,{PDF}"}}
FILE_URL = {"type": "input_file", "file_url": "https://a.test/b.pdf"}
REFUSED = [
    ("messages", "chat", PDF_URL, "messages[0].content[0]"),
    ("chat", "messages", WORD, "messages[0].content[0]"),
    ("responses", "chat", FILE_URL, "input[0].content[0]"),
]
"""What a target has no place for and no hint is."""


@pytest.mark.parametrize(("client", "target", "part", "path"), REFUSED)
def test_what_is_no_hint_is_refused_by_its_path(
    client: Format, target: Format, part: dict[str, Any], path: str
) -> None:
    name = "input" if client == "responses" else "messages"
    with pytest.raises(LocalError) as caught:
        through(Told(client, {"model": "m", name: [{"role": "user", "content": [part]}]}), target)
    assert caught.value.field == path
    assert (caught.value.code, caught.value.status) == ("invalid_request", 400)
