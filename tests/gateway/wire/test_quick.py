"""The quick reading of a whole answer says what the long one says, or nothing."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import at_least
from tests.gateway.answers import WHOLE

from interlock.gateway.wire import quick
from interlock.gateway.wire.reading import Reading, read_whole
from interlock.ledger import Format

READ = (
    *("complete", "errored", "finish_reason", "upstream_id", "upstream_model"),
    *("usage", "raw", "source", "inconsistent", "created_at"),
)
FORMATS: tuple[Format, ...] = ("chat", "responses", "messages")
COUNT = st.integers(0, 30) | st.sampled_from([None, -1, 1.5, "3", True, 1 << 53, (1 << 53) + 1])
WORD = st.sampled_from(["stop", "", None, 7, "x" * 300, "é", "\u0000"])


def drawn(names: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=dict.fromkeys(names.split(), COUNT))


INPUT = st.none() | drawn("cached_tokens cache_write_tokens audio_tokens") | COUNT
OUTPUT = st.none() | drawn("reasoning_tokens audio_tokens thinking_tokens") | COUNT
USAGE = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(["prompt_tokens", "completion_tokens", "input_tokens", "output_tokens"], COUNT),
        **dict.fromkeys(["cache_read_input_tokens", "cache_creation_input_tokens"], COUNT),
        "prompt_cache_hit_tokens": COUNT,
        **dict.fromkeys(["prompt_tokens_details", "input_tokens_details"], INPUT),
        **dict.fromkeys(["completion_tokens_details", "output_tokens_details"], OUTPUT),
        "cache_creation": st.none() | drawn("ephemeral_5m_input_tokens ephemeral_1h_input_tokens"),
        "server_tool_use": st.none() | drawn("web_search_requests"),
    },
)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "usage": USAGE,
        **dict.fromkeys(["id", "model", "stop_reason", "status", "type"], WORD),
        "error": st.sampled_from([None, {}, {"type": "x"}, "no"]),
        "choices": st.lists(st.fixed_dictionaries({}, optional={"finish_reason": WORD}), max_size=3),
    },
)


def said(reading: Reading) -> dict[str, Any]:
    return {name: getattr(reading, name) for name in READ}


def agree(format: Format, body: bytes) -> None:
    quickly = said(read_whole(format, body))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quick, "read", lambda format, body: None)
        assert quickly == said(read_whole(format, body)), body


@settings(max_examples=at_least(1500), deadline=None)
@given(st.sampled_from(FORMATS), CHANGES)
def test_the_two_agree(format: Format, changes: dict[str, Any]) -> None:
    document = msgspec.json.decode(WHOLE[format])
    if "usage" in changes:
        changes["usage"] = {**document["usage"], **changes["usage"]}
    agree(format, json.dumps({**document, **changes}).encode())


@pytest.mark.parametrize("format", FORMATS)
def test_documented_answers_are_read_quickly(format: Format) -> None:
    assert quick.read(format, WHOLE[format]) is not None


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'{"id"', b'{"id": "other", "id"'),
        (b'"usage": {', b'"usage": {"output_tokens": 9, "completion_tokens": 9, '),
        (b'"hi"', b'"\xff"'),
        (b'"hi"', b"NaN"),
        (b'{"id"', b'{"created_at": 5, "id"'),
        (b'{"id"', b'{"created_at": 5.5, "id"'),
    ],
)
def test_they_agree_on_what_can_be_read_in_two_ways(format: Format, old: bytes, new: bytes) -> None:
    assert old in WHOLE[format]
    agree(format, WHOLE[format].replace(old, new, 1))


@pytest.mark.parametrize("format", FORMATS)
def test_they_agree_on_every_cut(format: Format) -> None:
    for end in range(len(WHOLE[format])):
        agree(format, WHOLE[format][:end])
