"""The clients' own stream helpers, which are stricter than their iterators, on the real local model, as it pleases.

No temperature is set: an answer that begins with part of a character, and so without `message_start`, is among them.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from tests.e2e.server import Server, provide_model, running

EMOJI: Any = [{"role": "user", "content": "Reply with one emoji only 😀🎉"}]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data: Path = tmp_path_factory.mktemp("helpers") / "data"
    provide_model(data)
    with running(data) as server:
        yield server


def test_openai_responses_stream(server: Server) -> None:
    with (
        openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.admin, timeout=60, max_retries=0) as client,
        client.responses.stream(model="auto", input="Say hello.", max_output_tokens=8) as stream,
    ):
        events = list(stream)
        final = stream.get_final_response()
    assert final.usage is not None and final.usage.output_tokens > 0
    assert [event.sequence_number for event in events] == list(range(len(events)))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert final.output_text == text != ""


def test_openai_chat_stream(server: Server) -> None:
    hello: Any = [{"role": "user", "content": "Say hello."}]  # the helper raises where an answer is cut at its limit
    with (
        openai.OpenAI(base_url=f"{server.url}/v1", api_key=server.admin, timeout=60, max_retries=0) as client,
        client.chat.completions.stream(model="auto", messages=hello, max_tokens=500, temperature=0) as stream,
    ):
        assert stream.get_final_completion().choices[0].finish_reason == "stop"


def test_anthropic_messages_stream(server: Server) -> None:
    with anthropic.Anthropic(base_url=server.url, api_key=server.admin, timeout=60, max_retries=0) as client:
        for _ in range(20):
            with client.messages.stream(model="auto", max_tokens=6, messages=EMOJI) as stream:
                final = stream.get_final_message()
            assert final.usage.output_tokens > 0
            assert final.usage.input_tokens > 0
