"""The real model answers in three formats, whole and streamed, with the usage that the gateway will read."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import xllamacpp
from tests.local.model import model_path
from tests.local.serving import events, post, serving, status_and_json

from interlock.errors import LocalError
from interlock.gateway import Limits
from interlock.local import LocalModel, serve

MESSAGES = [{"role": "user", "content": "Say hello."}]
SAME = {"model": "x", "temperature": 0}  # always the same words, and more of them than are asked for
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": SAME | {"messages": MESSAGES, "max_tokens": 6},
    "/v1/responses": SAME | {"input": "Say hello.", "max_output_tokens": 6},
    "/v1/messages": SAME | {"messages": MESSAGES, "max_tokens": 6},
}
PROMPT_TOKENS = 33  # of "Say hello." with SmolLM2's template and its own system prompt


@pytest.fixture(scope="module")
def model() -> Iterator[LocalModel]:
    with serving(context=256, parallel=2) as model:
        yield model


def test_chat_completions_whole(model: LocalModel) -> None:
    status, answer = status_and_json(post(model, "/v1/chat/completions", BODIES["/v1/chat/completions"]))
    assert status == 200 and answer["model"] == "smollm2-135m-instruct"
    assert answer["choices"][0]["message"]["content"] and answer["choices"][0]["finish_reason"] == "length"
    usage = answer["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (PROMPT_TOKENS, 6, 39)
    assert 0 <= usage["prompt_tokens_details"]["cached_tokens"] < PROMPT_TOKENS


def test_chat_completions_streamed_with_usage_only_if_asked(model: LocalModel) -> None:
    body = BODIES["/v1/chat/completions"] | {"stream": True}
    silent = events(post(model, "/v1/chat/completions", body))
    assert silent[-1] == "[DONE]"
    assert not any("usage" in event for event in silent[:-1])
    told = events(post(model, "/v1/chat/completions", body | {"stream_options": {"include_usage": True}}))
    assert told[-2]["choices"] == [] and told[-2]["usage"]["completion_tokens"] == 6
    assert told[-3]["choices"][0]["finish_reason"] == "length"


def test_responses_whole_and_streamed(model: LocalModel) -> None:
    status, answer = status_and_json(post(model, "/v1/responses", BODIES["/v1/responses"]))
    assert status == 200
    assert answer["output"][0]["content"][0]["text"]
    assert (answer["usage"]["input_tokens"], answer["usage"]["output_tokens"]) == (PROMPT_TOKENS, 6)
    last = events(post(model, "/v1/responses", BODIES["/v1/responses"] | {"stream": True}))[-1]
    assert last["type"] == "response.completed"
    assert (last["response"]["usage"]["input_tokens"], last["response"]["usage"]["output_tokens"]) == (PROMPT_TOKENS, 6)


def test_messages_whole_and_streamed_count_cached_tokens_apart(model: LocalModel) -> None:
    status, answer = status_and_json(post(model, "/v1/messages", BODIES["/v1/messages"]))
    assert status == 200 and answer["content"][0]["text"] and answer["stop_reason"] == "max_tokens"
    usage = answer["usage"]
    assert usage["input_tokens"] + usage["cache_read_input_tokens"] == PROMPT_TOKENS
    assert usage["output_tokens"] == 6
    # Not with any words: llama.cpp forgets message_start where the first token is part of a character.
    stream = events(post(model, "/v1/messages", BODIES["/v1/messages"] | {"stream": True}))
    started = stream[0]["message"]["usage"]
    assert started["input_tokens"] + started["cache_read_input_tokens"] == PROMPT_TOKENS
    assert stream[-2]["usage"] == {"output_tokens": 6} and stream[-1] == {"type": "message_stop"}


@pytest.mark.parametrize("path", BODIES)
def test_every_endpoint_asks_for_the_key(model: LocalModel, path: str) -> None:
    for key in ("", "Bearer ", "Bearer wrong"):
        status, answer = status_and_json(post(model, path, BODIES[path], {"Authorization": key}))
        assert (status, answer["error"]["type"]) == (401, "authentication_error")
    assert status_and_json(post(model, path, BODIES[path], {"Authorization": "", "x-api-key": model.api_key}))[0] == 200


@pytest.mark.parametrize("path", BODIES)
def test_a_prompt_beyond_the_context_is_refused_before_anything_is_generated(model: LocalModel, path: str) -> None:
    long = "word " * 400
    body = BODIES[path] | (
        {"input": long} if path.endswith("responses") else {"messages": [MESSAGES[0] | {"content": long}]}
    )
    status, answer = status_and_json(post(model, path, body | {"stream": True}))
    assert status == 400
    assert answer["error"]["type"] == "exceed_context_size_error" and answer["error"]["n_ctx"] == 256


def test_an_answer_without_a_limit_ends(model: LocalModel) -> None:
    body = {"messages": MESSAGES, "ignore_eos": True, "max_tokens": None}
    _, answer = status_and_json(post(model, "/v1/chat/completions", body))
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["total_tokens"] <= 256


def test_the_limits_are_what_the_documentation_says() -> None:
    options = serve.Options(model=model_path(), alias="m")
    limits = serve._parameters(xllamacpp, options)
    assert (limits.n_ctx, limits.n_parallel, limits.n_predict) == (16384, 2, 1024)
    assert limits.cpuparams.n_threads == limits.cpuparams_batch.n_threads == serve.spare_cores()
    assert (limits.timeout_read, limits.cache_ram_mib, limits.ui, limits.endpoint_slots) == (120, 256, False, False)
    assert limits.n_threads_http > Limits().upstream_connections


def serve_in_child(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "interlock.local", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.gguf"
    with model_path().open("rb") as whole:
        damaged.write_bytes(whole.read(1_000_000))
    done = serve_in_child("--model", str(damaged), "--port", "0")
    assert done.returncode == 1
    assert "could not serve" in done.stderr and "[not_ready]" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "none.gguf"], "there is no model at 'none.gguf'"),
        (["--model", "gpt"], "'gpt' is neither"),
        (["--model", "pyproject.toml.gguf", "--api-key-env", "NOT_SET_ANYWHERE"], "NOT_SET_ANYWHERE is not set"),
    ],
)
def test_wrong_arguments_are_named(arguments: list[str], said: str) -> None:
    done = serve_in_child(*arguments)
    assert done.returncode == 1 and said in done.stderr


@pytest.mark.parametrize(
    ("flag", "value"), [("--port", "65536"), ("--ctx", "0"), ("--threads", "x"), ("--parallel", "-1")]
)
def test_numbers_out_of_bounds_are_wrong_usage(flag: str, value: str) -> None:
    assert serve_in_child(flag, value).returncode == 2


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])
def test_an_address_that_others_reach_needs_a_key(host: str, tmp_path: Path) -> None:
    options = serve.Options(model=tmp_path / "m.gguf", alias="m", host=host)
    with pytest.raises(LocalError, match="so an API key is needed"):
        serve.serve(options)


def test_without_the_package_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    (tmp_path / "m.gguf").touch()
    with pytest.raises(LocalError, match=r"pip install 'interlock\[local\]'") as caught:
        serve.serve(serve.Options(model=tmp_path / "m.gguf", alias="m"))
    assert caught.value.code == "not_ready"
