"""A provider's name for a model is found where one fits, and never guessed between two."""

import pytest

from interlock.reconciling.names import Names, undated, words


@pytest.mark.parametrize(
    ("theirs", "ours", "wanted"),
    [
        (["gpt-4o-mini-2024-07-18"], ("gpt-4o-mini", ""), "gpt-4o-mini-2024-07-18"),
        (["gpt-4o-mini"], ("fast", "gpt-4o-mini-2024-07-18"), "gpt-4o-mini"),
        (["gpt-4o", "gpt-4o-2024-08-06"], ("gpt-4o", "gpt-4o-2024-08-06"), "gpt-4o-2024-08-06"),
        (["gpt-4o-2024-08-06", "gpt-4o-2024-11-20"], ("gpt-4o", ""), "gpt-4o"),
        (["claude-3-5-haiku-20241022"], ("claude-3-5-haiku-latest", ""), "claude-3-5-haiku-20241022"),
        (["Claude4Sonnet"], ("us.anthropic.claude-sonnet-4-20250514-v1:0", ""), "Claude4Sonnet"),
        (["Claude4.5Sonnet", "Claude4Sonnet"], ("eu.anthropic.claude-sonnet-4-5-20250929-v1:0", ""), "Claude4.5Sonnet"),
        (["Claude Sonnet 4.5"], ("anthropic.claude-sonnet-4-5-20250929-v1:0", ""), "Claude Sonnet 4.5"),
        (["NovaPro", "NovaLite"], ("amazon.nova-pro-v1:0", ""), "NovaPro"),
        (["Llama3-1-405B"], ("meta.llama3-1-405b-instruct-v1:0", ""), "Llama3-1-405B"),
        (["gpt-4o-0806"], ("gpt-4o", "gpt-4o-2024-08-06"), "gpt-4o-0806"),
        (["gpt-4o-mini"], ("gpt-4o", ""), "gpt-4o"),
        (["gpt-4.1"], ("gpt-4", ""), "gpt-4"),
        ([], ("a", "b"), "b"),
    ],
)
def test_names(theirs: list[str], ours: tuple[str, str], wanted: str) -> None:
    assert Names(theirs, {}, []).theirs(ours) == wanted


def test_a_lost_call_has_the_answer_that_others_of_its_name_had() -> None:
    names = Names(
        ["gpt-4o-2024-08-06", "gpt-4o-2024-11-20"],
        {},
        [(("gpt-4o", "gpt-4o-2024-08-06"), 3), (("gpt-4o", "gpt-4o-2024-11-20"), 5), (("gpt-4o", ""), 1)],
    )
    assert names.theirs(("gpt-4o", "")) == "gpt-4o-2024-11-20"
    assert names.theirs(("gpt-4o", "gpt-4o-2024-08-06")) == "gpt-4o-2024-08-06"


def test_a_name_given_by_hand_goes_first() -> None:
    names = Names(["x", "gpt-4o"], {"gpt-4o": "x"}, [])
    assert names.theirs(("gpt-4o", "")) == "x"


def test_forms() -> None:
    assert undated("gpt-4o-2024-08-06") == "gpt-4o"
    assert undated("claude@20250929") == "claude"
    assert words("gpt-4o-mini") != words("gpt-4o")
