"""Providers' usage objects in our kinds, by hand, and with absurd figures."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.gateway.wire.usage import COUNT_MAX, chat_usage, messages_usage, responses_usage
from interlock.ledger import KINDS, PARENTS

CHAT = {
    "prompt_tokens": 100,
    "completion_tokens": 50,
    "total_tokens": 150,
    "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10, "audio_tokens": 5, "text_tokens": 95},
    "completion_tokens_details": {"reasoning_tokens": 20, "audio_tokens": 3, "accepted_prediction_tokens": 1},
}
RESPONSES = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
    "output_tokens": 50,
    "output_tokens_details": {"reasoning_tokens": 20},
    "total_tokens": 150,
}
MESSAGES = {
    "input_tokens": 10,
    "cache_read_input_tokens": 100_000,
    "cache_creation_input_tokens": 1_000,
    "cache_creation": {"ephemeral_5m_input_tokens": 300, "ephemeral_1h_input_tokens": 500},
    "output_tokens": 5,
    "output_tokens_details": {"thinking_tokens": 2},
    "server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 1},
    "service_tier": "standard",
}


def test_by_hand() -> None:
    assert chat_usage(CHAT).usage == {
        "input": 100,
        "cache_read": 60,
        "cache_write": 10,
        "audio_input": 5,
        "output": 50,
        "reasoning": 20,
        "audio_output": 3,
    }
    assert responses_usage(RESPONSES).usage == {
        "input": 100,
        "cache_read": 60,
        "cache_write": 10,
        "output": 50,
        "reasoning": 20,
    }
    assert messages_usage(MESSAGES).usage == {
        "input": 101_010,
        "cache_read": 100_000,
        "cache_write": 200,
        "cache_write_5m": 300,
        "cache_write_1h": 500,
        "output": 5,
        "reasoning": 2,
        "web_search": 3,
    }
    assert not any(f(u).inconsistent for f, u in ((chat_usage, CHAT), (messages_usage, MESSAGES)))


def test_zero_children_are_left_out_and_zero_totals_are_not() -> None:
    zero = {"prompt_tokens": 0, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 0}}
    assert chat_usage(zero) == ({"input": 0, "output": 0}, False)
    zero = {"input_tokens": 0, "output_tokens": 0, "server_tool_use": {"web_search_requests": 0}}
    assert messages_usage(zero) == ({"input": 0, "output": 0}, False)


def test_nulls_are_absent() -> None:
    given: dict[str, Any] = {"input_tokens": 3, "output_tokens": 4, "cache_creation": None, "server_tool_use": None}
    assert messages_usage({**given, "cache_read_input_tokens": None}) == ({"input": 3, "output": 4}, False)


def test_lifetimes_without_their_total() -> None:
    given = {"input_tokens": 1, "output_tokens": 1, "cache_creation": {"ephemeral_1h_input_tokens": 7}}
    assert messages_usage(given) == ({"input": 8, "cache_write_1h": 7, "output": 1}, False)


@pytest.mark.parametrize(
    ("given", "usage"),
    [
        ({"prompt_tokens": -1, "completion_tokens": 2}, {"output": 2}),
        ({"prompt_tokens": 1.5, "completion_tokens": 2}, {"output": 2}),
        ({"prompt_tokens": True, "completion_tokens": 2}, {"output": 2}),
        ({"prompt_tokens": COUNT_MAX + 1, "completion_tokens": 2}, {"output": 2}),
        ({"prompt_tokens": "7", "completion_tokens": 2}, {"output": 2}),
        ({"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 6}}, {"input": 5}),
        ({"prompt_tokens_details": {"cached_tokens": 6}}, {}),
        (
            {"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 4}},
            {"input": 5, "cache_read": 4},
        ),
        ({"completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 6}}, {"output": 5}),
    ],
)
def test_absurd_figures(given: dict[str, Any], usage: dict[str, int]) -> None:
    assert chat_usage(given) == (usage, True)


def test_lifetimes_beyond_their_total_are_not_believed() -> None:
    given = {**MESSAGES, "cache_creation_input_tokens": 700}
    usage, inconsistent = messages_usage(given)
    assert (usage["cache_write"], "cache_write_5m" in usage, inconsistent) == (700, False, True)


COUNT = st.integers(-3, 20) | st.none() | st.booleans() | st.floats() | st.text(max_size=1) | st.just(1 << 60)


def shapes(shape: dict[str, Any]) -> st.SearchStrategy[Any]:
    members = {k: shapes(v) if isinstance(v, dict) else COUNT for k, v in shape.items()}
    return st.fixed_dictionaries({}, optional=members) | COUNT | st.lists(COUNT, max_size=2)


@settings(deadline=None)
@given(chat=shapes(CHAT), responses=shapes(RESPONSES), messages=shapes(MESSAGES))
def test_children_never_exceed_their_parent(chat: Any, responses: Any, messages: Any) -> None:
    for usage, _ in (chat_usage(chat), responses_usage(responses), messages_usage(messages)):
        assert set(usage) <= set(KINDS)
        assert all(type(count) is int and count >= 0 for count in usage.values())
        for parent in ("input", "output"):
            children = [usage.get(kind, 0) for kind, of in PARENTS.items() if of == parent]
            assert sum(children) <= usage.get(parent, 0)
