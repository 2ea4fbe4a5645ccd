"""The official SDKs, over a real socket, raise the exceptions they should on our errors."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from interlock.gateway.wire import StreamTap, error_body, error_event
from interlock.ledger import Format

SAMPLES = Path(__file__).parent / "samples"
OPENAI: dict[int, type[openai.APIStatusError]] = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    413: openai.APIStatusError,
    429: openai.RateLimitError,
    502: openai.InternalServerError,
    503: openai.InternalServerError,
}
ANTHROPIC: dict[int, tuple[type[anthropic.APIStatusError], str]] = {
    400: (anthropic.BadRequestError, "invalid_request_error"),
    401: (anthropic.AuthenticationError, "authentication_error"),
    403: (anthropic.PermissionDeniedError, "permission_error"),
    404: (anthropic.NotFoundError, "not_found_error"),
    413: (anthropic.APIStatusError, "request_too_large"),
    429: (anthropic.RateLimitError, "rate_limit_error"),
    502: (anthropic.InternalServerError, "api_error"),
    503: (anthropic.InternalServerError, "overloaded_error"),
    504: (anthropic.InternalServerError, "timeout_error"),
}


@contextmanager
def serving(status: int, body: bytes) -> Iterator[str]:
    """A server that gives every POST this answer; its base URL."""
    kind = "text/event-stream" if body.startswith((b"data:", b"event:")) else "application/json"

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def openai_at(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as client:
        yield client


@contextmanager
def anthropic_at(url: str) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=url, api_key="k", max_retries=0) as client:
        yield client


def body(format: Format, status: int) -> bytes:
    return error_body(
        format, status=status, code="invalid_request", message="no: bad", request_id="req_1", field="messages[0].role"
    )


@pytest.mark.parametrize("status", OPENAI)
def test_openai_bodies(status: int) -> None:
    with serving(status, body("chat", status)) as url, openai_at(url) as client:
        with pytest.raises(OPENAI[status]) as raised:
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
        with pytest.raises(OPENAI[status]):
            client.responses.create(model="m", input="hi")
    error = raised.value
    assert type(error) is OPENAI[status]
    assert (error.code, error.param) == ("invalid_request", "messages[0].role")
    assert "no: bad" in error.message
    assert error.type in ("authentication_error", "permission_error", "not_found_error", "rate_limit_error") or (
        error.type == ("server_error" if status >= 500 else "invalid_request_error")
    )


@pytest.mark.parametrize("status", ANTHROPIC)
def test_anthropic_bodies(status: int) -> None:
    with (
        serving(status, body("messages", status)) as url,
        anthropic_at(url) as client,
        pytest.raises(ANTHROPIC[status][0]) as raised,
    ):
        client.messages.create(model="m", max_tokens=5, messages=[{"role": "user", "content": "hi"}])
    document: Any = raised.value.body
    assert document == {
        "type": "error",
        "error": {
            "type": ANTHROPIC[status][1],
            "message": "no: bad",
            "code": "invalid_request",
            "param": "messages[0].role",
        },
        "request_id": "req_1",
    }


def broken(name: str) -> tuple[bytes, StreamTap]:
    """A stream cut in the middle of its fifth event, as it would be forwarded, and its tap."""
    format: Format = "chat" if name.startswith("chat") else "messages" if name.startswith("messages") else "responses"
    events = (SAMPLES / f"{name}.sse").read_bytes().split(b"\n\n")
    tap = StreamTap(format)
    out = tap.feed(b"\n\n".join(events[:5])[:-9])
    return out + tap.finish(), tap


def ended(name: str) -> bytes:
    out, tap = broken(name)
    assert not tap.complete
    return out + error_event(
        tap.format, status=502, code="upstream_closed", message="it broke off", request_id="req_1", tap=tap
    )


def test_chat_stream() -> None:
    with serving(200, ended("chat_text")) as url, openai_at(url) as client:
        stream = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}], stream=True)
        with pytest.raises(openai.APIError, match="it broke off") as raised:
            for _ in stream:
                pass
    assert raised.value.code == "upstream_closed"
    assert b"[DONE]" not in ended("chat_text").splitlines()[-1]


def test_messages_stream() -> None:
    with (
        serving(200, ended("messages_full")) as url,
        anthropic_at(url) as client,
        pytest.raises(anthropic.APIStatusError, match="it broke off") as raised,
        client.messages.stream(model="m", max_tokens=5, messages=[{"role": "user", "content": "hi"}]) as stream,
    ):
        stream.get_final_message()
    document: Any = raised.value.body
    assert (document["error"]["type"], document["error"]["code"]) == ("api_error", "upstream_closed")


def test_responses_stream() -> None:
    with serving(200, ended("responses_full")) as url, openai_at(url) as client:
        events = list(client.responses.create(model="m", input="hi", stream=True))
        with client.responses.stream(model="m", input="hi") as stream:
            last = list(stream)[-1]
            with pytest.raises(RuntimeError):
                stream.get_final_response()
    failed = events[-1]
    assert failed.type == last.type == "response.failed"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert (failed.response.id, failed.response.model, failed.response.status) == ("resp_1", "gpt-5-mini", "failed")
    assert failed.response.created_at == 1757000000
    assert failed.response.error is not None
    assert (failed.response.error.code, failed.response.error.message) == ("upstream_closed", "it broke off")


def test_error_events_read_back_as_errors() -> None:
    for format in ("chat", "messages", "responses"):
        tap = StreamTap(format)
        event = error_event(format, status=504, code="upstream_timeout", message="m\n\nm", request_id="req_1")
        assert tap.feed(event) == event
        assert tap.errored
        assert tap.error_type in ("server_error", "timeout_error", "upstream_timeout")
