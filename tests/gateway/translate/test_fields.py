"""Fields that nobody took: refused by name, unless they are hints, which are listed."""

import pytest

from interlock.errors import LocalError
from interlock.gateway.translate.fields import HINTS, is_hint, name_of_field, settle_fields, unsayable
from interlock.gateway.translate.neutral import Ask
from interlock.ledger import Format


def ask(fields: dict[str, object], format: Format = "chat") -> Ask:
    return Ask(format=format, stream=False, turns=(), fields=fields)


def test_hints_are_listed_and_what_was_taken_is_neither() -> None:
    dropped: list[str] = []
    fields = {"seed": 1, "logprobs": True, "messages[0].content[2].cache_control": {}, "messages[1].annotations": [{}]}
    settle_fields(ask(fields), ["logprobs"], "messages", dropped.append)
    assert sorted(dropped) == ["messages[0].content[2].cache_control", "messages[1].annotations", "seed"]


@pytest.mark.parametrize("path", ["logprobs", "logit_bias", "unheard_of", "messages[1].name", "tools[0].seed"])
def test_anything_else_is_refused_by_its_path(path: str) -> None:
    with pytest.raises(LocalError) as raised:
        settle_fields(ask({path: 1}), [], "messages", lambda _: None)
    assert raised.value.field == path
    assert raised.value.status == 400
    assert path in raised.value.message
    assert "messages" in raised.value.message


def test_a_hint_at_the_top_is_none_within() -> None:
    assert all(is_hint(hint) for hint in HINTS)
    assert not is_hint("messages[0].user")
    assert is_hint("tools[3].cache_control")
    assert is_hint("input[0].content[0].detail")


def test_the_reason_can_be_given() -> None:
    assert str(unsayable("a.b", "chat", "is too round")) == "a.b: cannot be translated to chat: it is too round"


@pytest.mark.parametrize(
    ("format", "field", "name"),
    [
        ("chat", "max_output", "max_completion_tokens"),
        ("messages", "max_output", "max_tokens"),
        ("responses", "max_output", "max_output_tokens"),
        ("messages", "reasoning", "thinking"),
        ("responses", "reasoning", "reasoning"),
        ("messages", "top_k", "top_k"),
        ("messages", "user", "metadata.user_id"),
    ],
)
def test_fields_are_called_as_the_client_calls_them(format: Format, field: str, name: str) -> None:
    assert name_of_field(ask({}, format), field) == name
