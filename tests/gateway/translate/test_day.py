"""A day-long agent's conversation through every pair: what a target can express is not lost, the rest is listed."""

from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.gateway.translate.audit import READABLE, audit
from tests.gateway.translate.audit_answers import audit_answer
from tests.gateway.translate.day import a_day, as_answer
from tests.gateway.translate.story import FAMILIES, FORMATS, PDF, Told

from interlock.errors import LocalError
from interlock.gateway.translate import read_request, translate_whole, write_request
from interlock.gateway.translate.neutral import Ask, Envelope, Target
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
