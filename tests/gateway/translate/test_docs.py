"""docs/translation.md says what the code does: every field, every hint."""

import re
from pathlib import Path

import pytest
from anthropic.types.message_create_params import MessageCreateParamsBase
from openai.types.chat.completion_create_params import CompletionCreateParamsBase
from openai.types.responses.response_create_params import ResponseCreateParamsBase
from tests.gateway.translate.fields_said import EXAMPLES, outcome
from tests.gateway.translate.story import FORMATS

from interlock.gateway.translate.fields import _HINTS_WITHIN, HINTS
from interlock.ledger import Format

PAGE = (Path(__file__).parents[3] / "docs" / "translation.md").read_text()
WORDS = {"said": "said", "near": "said", "dropped": "dropped", "refused": "refused"}
PARAMS: dict[Format, type] = {
    "chat": CompletionCreateParamsBase,
    "messages": MessageCreateParamsBase,
    "responses": ResponseCreateParamsBase,
}
ELSEWHERE = {"messages", "input", "model", "stream", "stream_options", "metadata", "text", "reasoning", "output_config"}
"""Said in prose, or by their members."""


def section(title: str) -> str:
    match = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert match, title
    return match[1]


def tables(text: str) -> list[list[list[str]]]:
    """Its tables, each as rows of cells, the first row the head."""
    found = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    rows = [[[c.strip() for c in row.strip("|").split("|")] for row in table.splitlines()] for table in found]
    return [[row for row in table if set("".join(row)) - set("- ")] for table in rows]


@pytest.mark.parametrize("client", FORMATS)
def test_every_field_is_on_the_page_with_what_becomes_of_it(client: Format) -> None:
    (table,) = tables(section(f"From {client}"))
    head, *rows = table
    targets: list[Format] = [target for target in FORMATS if f"to {target}" in head]
    assert set(targets) == set(FORMATS) - {client}
    assert [cells[0].replace("`", "") for cells in rows] == list(EXAMPLES[client])
    for field, *cells in rows:
        for title, cell in zip(head[1:], cells, strict=True):
            target: Format = next(target for target in targets if title == f"to {target}")
            assert WORDS[cell] == outcome(client, field.replace("`", ""), target), (field, target)


@pytest.mark.parametrize("client", FORMATS)
def test_no_field_that_the_sdk_knows_is_forgotten(client: Format) -> None:
    named = {re.split(r"[. :]", field)[0] for field in EXAMPLES[client]}
    assert set(PARAMS[client].__annotations__) - named - ELSEWHERE == set()


@pytest.mark.parametrize("client", FORMATS)
def test_what_a_client_says_to_its_own_format_arrives(client: Format) -> None:
    outcomes = {field: outcome(client, field, client) for field in EXAMPLES[client]}
    for field, what in outcomes.items():
        assert what == "said" or (what == "refused" and f"`{field}`" in PAGE), field


def test_every_hint_is_on_the_page_and_no_other() -> None:
    listed = [re.findall(r"`([^`]+)`", "".join(row[0] for row in table)) for table in tables(section("Hints"))]
    assert [sorted(names) for names in listed] == [sorted(HINTS), sorted(_HINTS_WITHIN)]
