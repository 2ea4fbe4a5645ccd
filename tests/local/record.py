"""Record what the local model answers, byte for byte, into tests/data/local: `python -m tests.local.record`, by hand.

Not a test. The samples let wire tests run without the model, and show in a diff what a new xllamacpp changed.
"""

from pathlib import Path
from typing import Any

from tests.local.serving import post, serving

PLACE = Path(__file__).parent.parent / "data" / "local"
USER = [{"role": "user", "content": "Say hello."}]
CHAT: dict[str, Any] = {"model": "x", "messages": USER, "max_tokens": 4, "temperature": 0, "seed": 1}
RESPONSES: dict[str, Any] = {"model": "x", "input": "Say hello.", "max_output_tokens": 4, "temperature": 0, "seed": 1}
LONG = [{"role": "user", "content": "word " * 400}]
STREAM = {"stream": True}
WITH_USAGE = STREAM | {"stream_options": {"include_usage": True}}

SAMPLES: dict[str, tuple[str, object]] = {
    "chat-whole": ("/v1/chat/completions", CHAT),
    "chat-stream": ("/v1/chat/completions", CHAT | STREAM),
    "chat-stream-usage": ("/v1/chat/completions", CHAT | WITH_USAGE),
    "chat-stream-stop": ("/v1/chat/completions", CHAT | WITH_USAGE | {"max_tokens": 60, "stop": ["!"]}),
    "chat-n2": ("/v1/chat/completions", CHAT | {"n": 2}),
    "responses-whole": ("/v1/responses", RESPONSES),
    "responses-stream": ("/v1/responses", RESPONSES | STREAM),
    "messages-whole": ("/v1/messages", CHAT),
    "messages-stream": ("/v1/messages", CHAT | STREAM),
    "messages-count-tokens": ("/v1/messages/count_tokens", CHAT),
    "error-context-chat": ("/v1/chat/completions", CHAT | {"messages": LONG}),
    "error-context-messages-stream": ("/v1/messages", CHAT | STREAM | {"messages": LONG}),
    "error-json": ("/v1/chat/completions", b'{"messages": [,]}'),
    "error-messages-missing": ("/v1/messages", {"max_tokens": 1}),
    "error-route": ("/v1/nope", CHAT),
}


def main() -> None:
    """Ask each in turn; what one leaves in the prompt cache shows in the next one's figures."""
    with serving(context=256, parallel=2) as model:
        for name, (path, body) in SAMPLES.items():
            (PLACE / f"{name}.txt").write_bytes(post(model, path, body))
        refused = post(model, "/v1/messages", CHAT, {"Authorization": "Bearer wrong"})
        (PLACE / "error-key.txt").write_bytes(refused)


if __name__ == "__main__":
    main()
