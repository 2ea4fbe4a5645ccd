"""The official clients, given a base URL and a key alone, on the real local model; then what the ledger says.

What a client was shown is compared with what is recorded, to the token.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import anthropic
import openai
import pytest
from tests.e2e.server import Server, provide_model, running, until

TIERS = {"plan": "frontier", "edit": "balanced", "review": "frontier"}
RULES = {"plan": "thinking-modes", "edit": "working-modes", "review": "thinking-modes"}
"""What the built-in rules say."""
MESSAGES: Any = [{"role": "user", "content": "Say hello."}]
SMALL = 8
# temperature=0 throughout: an answer whose first token is a part of a character (an emoji) loses its `message_start` in
# llama.cpp, and anthropic's client can make nothing of the rest.
BOUNDED_S = 60.0


class Shown(NamedTuple):
    """What a client was told about one call."""

    request_id: str
    input: int | None
    """All input tokens, cached ones included; None: the client did not ask."""
    cache_read: int | None
    output: int | None
    text: str


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    data = tmp_path_factory.mktemp("sdks") / "data"
    provide_model(data)
    with running(data) as server:
        yield server


_clients = contextlib.ExitStack()


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """What a test leaves open is closed with it, and not by the collector in the midst of another."""
    with _clients:
        yield


def openai_client(server: Server, key: str, **options: Any) -> openai.OpenAI:
    made = openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, timeout=BOUNDED_S, max_retries=0, **options)
    return _clients.enter_context(made)


def anthropic_client(server: Server, key: str, **options: Any) -> anthropic.Anthropic:
    made = anthropic.Anthropic(base_url=server.url, api_key=key, timeout=BOUNDED_S, max_retries=0, **options)
    return _clients.enter_context(made)


# each call: the same few words, by one SDK in one way


def chat_whole(server: Server, key: str, headers: Mapping[str, str]) -> Shown:
    client = openai_client(server, key, default_headers=headers)
    raw = client.chat.completions.with_raw_response.create(
        model="auto", messages=MESSAGES, max_tokens=SMALL, temperature=0
    )
    answer = raw.parse()
    return _chat_shown(raw.headers, answer.usage, answer.choices[0].message.content or "")


def _chat_streamed(server: Server, key: str, headers: Mapping[str, str], **options: Any) -> Shown:
    client = openai_client(server, key, default_headers=headers)
    raw = client.chat.completions.with_raw_response.create(
        model="auto", messages=MESSAGES, max_tokens=SMALL, temperature=0, stream=True, **options
    )
    chunks = list(raw.parse())
    usages = [chunk.usage for chunk in chunks if chunk.usage]
    assert [bool(chunk.choices) for chunk in chunks].count(False) == len(usages), "an event the client did not ask for"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    return _chat_shown(raw.headers, usages[0] if usages else None, text)


def chat_streamed(server: Server, key: str, headers: Mapping[str, str]) -> Shown:
    shown = _chat_streamed(server, key, headers)
    assert shown.input is None, "usage that the client did not ask for was shown to it"
    return shown


def chat_streamed_with_usage(server: Server, key: str, headers: Mapping[str, str]) -> Shown:
    shown = _chat_streamed(server, key, headers, stream_options={"include_usage": True})
    assert shown.input is not None
    return shown


def _chat_shown(headers: Mapping[str, str], usage: Any, text: str) -> Shown:
    request_id = headers["x-interlock-request-id"]
    if usage is None:
        return Shown(request_id, None, None, None, text)
    cached = usage.prompt_tokens_details.cached_tokens
    return Shown(request_id, usage.prompt_tokens, cached, usage.completion_tokens, text)


def responses_whole(server: Server, key: str, headers: Mapping[str, str]) -> Shown:
    client = openai_client(server, key, default_headers=headers)
    raw = client.responses.with_raw_response.create(
        model="auto", input="Say hello.", max_output_tokens=SMALL, temperature=0
    )
    return _response_shown(raw.headers, raw.parse())


def responses_streamed(server: Server, key: str, headers: Mapping[str, str]) -> Shown:
    client = openai_client(server, key, default_headers=headers)
    raw = client.responses.with_raw_response.create(
        model="auto", input="Say hello.", max_output_tokens=SMALL, temperature=0, stream=True
    )
    events = list(raw.parse())
    last = events[-1]
    assert last.type == "response.completed"
    told = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert told == last.response.output_text
    return _response_shown(raw.headers, last.response)


def _response_shown(headers: Mapping[str, str], answer: Any) -> Shown:
    usage = answer.usage
    cached = usage.input_tokens_details.cached_tokens
    return Shown(headers["x-interlock-request-id"], usage.input_tokens, cached, usage.output_tokens, answer.output_text)


def messages_whole(server: Server, key: str, headers: Mapping[str, str]) -> Shown:
    client = anthropic_client(server, key, default_headers=headers)
    raw = client.messages.with_raw_response.create(
        model="auto", messages=MESSAGES, max_tokens=SMALL, extra_body={"temperature": 0}
    )
    return _message_shown(raw.headers, raw.parse())


def messages_streamed(server: Server, key: str, headers: Mapping[str, str]) -> Shown:
    client = anthropic_client(server, key, default_headers=headers)
    with client.messages.stream(
        model="auto", messages=MESSAGES, max_tokens=SMALL, extra_body={"temperature": 0}
    ) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
        shown = _message_shown(stream.response.headers, message)
    assert shown.text == text
    return shown


def _message_shown(headers: Mapping[str, str], answer: Any) -> Shown:
    usage = answer.usage
    cached = usage.cache_read_input_tokens or 0
    text = "".join(block.text for block in answer.content)
    return Shown(headers["x-interlock-request-id"], usage.input_tokens + cached, cached, usage.output_tokens, text)


CALLS: list[Callable[[Server, str, Mapping[str, str]], Shown]] = [
    chat_whole,
    chat_streamed,
    chat_streamed_with_usage,
    responses_whole,
    responses_streamed,
    messages_whole,
    messages_streamed,
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_what_a_client_was_shown_is_what_the_ledger_says(server: Server, call: Callable[..., Shown]) -> None:
    _, key = server.issue("--principal", call.__name__)
    shown = {mode: call(server, key, {"x-interlock-mode": mode, "x-interlock-session": mode}) for mode in TIERS}
    for mode, one in shown.items():
        assert one.text.strip(), "the model said nothing"
        _check_explained(server, call.__name__, mode, one)
    rows = server.json("usage", "--by", "principal,mode,tier,session")["rows"]
    mine = {row["dimensions"]["mode"]: row for row in rows if row["dimensions"]["principal"] == call.__name__}
    assert mine.keys() == TIERS.keys()
    for mode, row in mine.items():
        assert row["dimensions"]["tier"] == TIERS[mode] and row["dimensions"]["session"] == mode
        assert (row["requests"], row["attempts"], row["open"], row["unpriced"], row["lost"]) == (1, 1, 0, 0, 0)
        assert row["amount_nanousd"] == "0"
        if shown[mode].input is not None:
            assert (row["input"], row["cache_read"], row["output"]) == shown[mode][1:4]


def _check_explained(server: Server, principal: str, mode: str, shown: Shown) -> None:
    told = server.json("explain", shown.request_id)
    assert told["problem"] is None and told["refused"] == []
    (attempt,) = told["attempts"]
    entry = attempt["entry"]
    assert (entry["tenant"], entry["principal"], entry["mode"], entry["tier"]) == (
        "acme",
        principal,
        mode,
        TIERS[mode],
    )
    assert (entry["state"], entry["outcome"], entry["source"]) == ("settled", "completed", "reported")
    assert (entry["deployment"], entry["model"]) == ("local", "smollm2-135m-instruct")
    assert 1 <= entry["usage"]["output"] <= SMALL  # it may end by itself before the limit
    if shown.input is not None:
        usage = entry["usage"]
        assert (usage["input"], usage.get("cache_read", 0), usage["output"]) == shown[1:4]
    opened, settled = (record["payload"] for record in attempt["records"])
    decision = opened["decision"]
    assert (decision["rule"], decision["tier"], decision["winner"]) == (RULES[mode], TIERS[mode], "local")
    hidden = opened["format"] == "chat" and opened["stream"] and shown.input is None
    assert ("stream_options.include_usage" in decision["splices"]) == hidden
    assert settled["upstream_model"] == "smollm2-135m-instruct"


def test_a_model_that_is_a_mode_or_a_tier(server: Server) -> None:
    _, key = server.issue()
    client = openai_client(server, key)
    for model, tier in (("auto:plan", "frontier"), ("frontier", "frontier"), ("auto:edit", "balanced")):
        raw = client.chat.completions.with_raw_response.create(
            model=model, messages=MESSAGES, max_tokens=SMALL, temperature=0
        )
        assert raw.headers["x-interlock-tier"] == tier, model


def test_models_are_listed_to_both(server: Server) -> None:
    _, key = server.issue()
    for listed in (openai_client(server, key).models.list(), anthropic_client(server, key).models.list()):
        assert {"auto", "frontier", "balanced", "small", "local"} <= {model.id for model in listed}


@pytest.mark.parametrize("mode", TIERS)
def test_the_llm_command(server: Server, mode: str, tmp_path: Path) -> None:
    _, key = server.issue("--principal", f"llm-{mode}")
    (tmp_path / "extra-openai-models.yaml").write_text(
        f'- {{model_id: auto, model_name: auto, api_base: "{server.url}/v1", api_key_name: interlock, '
        f"headers: {{x-interlock-mode: {mode}}}}}\n"
    )
    for more in ([], ["--no-stream"]):
        argv = [str(Path(sys.executable).parent / "llm"), "-m", "auto", "--key", key, *more]
        done = subprocess.run(
            [*argv, "-o", "max_tokens", str(SMALL), "-o", "temperature", "0", "Say hello."],
            env={**os.environ, "LLM_USER_PATH": str(tmp_path)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BOUNDED_S,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip(), "the model said nothing"
    rows = server.json("usage", "--by", "principal,mode,tier")["rows"]
    (row,) = [row for row in rows if row["dimensions"]["principal"] == f"llm-{mode}"]
    assert (row["dimensions"]["mode"], row["dimensions"]["tier"]) == (mode, TIERS[mode])
    assert (row["requests"], row["attempts"], row["estimated"]) == (2, 2, 0)
    assert 2 <= row["output"] <= 2 * SMALL


def test_a_bad_key_is_an_authentication_error(server: Server) -> None:
    for key in ("ilk_" + "A" * 43, "nonsense"):
        with pytest.raises(openai.AuthenticationError) as of_openai:
            chat_whole(server, key, {})
        assert of_openai.value.code == "key_unknown"
        with pytest.raises(anthropic.AuthenticationError) as of_anthropic:
            messages_whole(server, key, {})
        assert _code(of_anthropic.value) == "key_unknown"
        with pytest.raises(openai.AuthenticationError):
            openai_client(server, key).models.list()


def test_a_bad_body_is_a_bad_request_error(server: Server) -> None:
    _, key = server.issue()
    bad: Any = "not a list"
    with pytest.raises(openai.BadRequestError) as of_openai:
        openai_client(server, key).chat.completions.create(model="auto", messages=bad)
    assert of_openai.value.code == "invalid_request"
    with pytest.raises(openai.BadRequestError):
        openai_client(server, key).responses.create(model="auto", input="hi", max_output_tokens=bad)
    with pytest.raises(anthropic.BadRequestError) as of_anthropic:
        anthropic_client(server, key).messages.create(model="auto", messages=bad, max_tokens=SMALL)
    assert _code(of_anthropic.value) == "invalid_request"


def _code(error: anthropic.APIStatusError) -> str:
    body: Any = error.body
    return str(body["error"]["code"])


def test_a_boundary_is_a_permission_denied_error(tmp_path: Path) -> None:
    (tmp_path / "interlock.toml").write_text(
        'default_tier = "main"\n[deployments.far]\nprovider = "far"\nbase_url = "http://127.0.0.1:9/v1"\nmodel = "m"\n'
        'formats = ["chat", "responses", "messages"]\nboundary = { geographies = ["us"] }\n'
        '[tiers]\nmain = ["far"]\n[boundaries.eu]\ngeographies = ["eu"]\n'
    )
    with running(tmp_path / "data", config=tmp_path / "interlock.toml") as server:
        _, key = server.issue("--boundary", "eu")
        for call in (chat_whole, chat_streamed, responses_whole):
            with pytest.raises(openai.PermissionDeniedError) as of_openai:
                call(server, key, {})
            assert of_openai.value.code == "boundary_refused"
            assert "eu" in of_openai.value.message and "far" in of_openai.value.message
        for ask in (messages_whole, messages_streamed):
            with pytest.raises(anthropic.PermissionDeniedError) as of_anthropic:
                ask(server, key, {})
            assert _code(of_anthropic.value) == "boundary_refused"
        told = server.json("explain", of_anthropic.value.response.headers["x-interlock-request-id"])
        assert told["attempts"] == [] and told["refused"][0]["payload"]["code"] == "boundary_refused"


def test_a_killed_local_model_comes_back(server: Server) -> None:
    """While it is away calls are told to come again; they are not lost and no other process suffers."""
    _, key = server.issue()
    before = server.pids()
    os.kill(before["local"], 9)
    until(lambda: server.pids().get("local", before["local"]) != before["local"], "another model process")

    def answered() -> bool:
        try:
            return bool(chat_whole(server, key, {}).text)
        except (openai.InternalServerError, openai.APIStatusError) as error:
            assert error.status_code in (502, 503), error
            return False

    until(answered, "the model answers again", 30.0)
    after = server.pids()
    assert {k: v for k, v in after.items() if k != "local"} == {k: v for k, v in before.items() if k != "local"}
