"""One answer (a thought, a text, a call) as each provider sends it, whole and streamed, and what else is known of it.

Shapes are the providers' documented ones; nobody but the tests of tests/gateway/providers judges them.
"""

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from tests.gateway.providers.said_by_azure import (
    AZURE_REFUSED,
    CHAT,
    CHAT_BROKEN,
    CHAT_EVENTS,
    RESPONSE,
    RESPONSES_BROKEN,
    RESPONSES_EVENTS,
    hear_chat,
    hear_responses,
)
from tests.gateway.providers.said_by_clouds import (
    ANTHROPIC,
    ANTHROPIC_BROKEN,
    ANTHROPIC_EVENTS,
    ANTHROPIC_SPOKEN,
    AWS_REFUSED,
    CLAUDE_KINDS,
    CONVERSE,
    CONVERSE_EVENTS,
    FRAMED_EVENTS,
    GEMINI,
    GEMINI_EVENTS,
    GEMINI_KINDS,
    GOOGLE_REFUSED,
    OVERLOADED,
    THROTTLED,
    hear_anthropic,
    hear_converse,
    hear_gemini,
)
from tests.gateway.providers.turn import SECRET, Heard, json_of
from tests.gateway.rig import Script, Seen, chunk, whole

from interlock.gateway import Deployment
from interlock.ledger import Format

EVENTSTREAM, SSE = "application/vnd.amazon.eventstream", "text/event-stream"


class Provider(NamedTuple):
    """How one is configured, what it is asked for, and what it answers."""

    settings: dict[str, Any]
    """Of the deployment."""
    path: str
    """`{method}` stands for what differs between whole and streamed."""
    methods: tuple[str, str]
    """Whole, streamed."""
    header: tuple[str, str]
    hear: Callable[[dict[str, Any]], Heard]
    answer: bytes
    events: list[bytes]
    """Of a stream, as they are cut at the upstream."""
    spoken: int
    """So many of them say a first part of the text, and not the end."""
    kinds: dict[str, int]
    refused: dict[int, bytes]
    """Error bodies by status."""
    broken: bytes
    """An error within a stream."""
    content_type: str = SSE
    thinks: bool = True
    """It shows its thoughts."""

    def deployment(self, port: int, name: str = "d0", **changes: Any) -> dict[str, Any]:
        """The members of the deployment that differ from another's."""
        return {"base_url": f"http://127.0.0.1:{port}", **self.settings, **changes}

    def streamed(
        self, events: list[bytes] | None = None, *, go: asyncio.Event | None = None, then: bytes = b""
    ) -> Script:
        """A script that sends the stream, each event in a chunk; where there is `go`, waits for it; sends `then`."""
        sent = self.events if events is None else events

        async def script(reader: Any, writer: Any, seen: Seen) -> None:
            head = f"HTTP/1.1 200 OK\r\ncontent-type: {self.content_type}\r\ntransfer-encoding: chunked\r\n\r\n"
            writer.write(head.encode())
            for event in sent:
                writer.write(chunk(event))
                await writer.drain()
            if go is not None:
                await asyncio.wait_for(go.wait(), 10)
            writer.write((chunk(then) if then else b"") + b"0\r\n\r\n")

        return script

    def answers(self, stream: bool) -> Script:
        """A script that gives the answer."""
        return self.streamed() if stream else whole(self.answer)


def placed(deployment: Deployment, provider: Provider, port: int, **changes: Any) -> Deployment:
    """The deployment, at the provider's."""
    return msgspec.structs.replace(deployment, **provider.deployment(port, **changes))


_AZURE_KINDS = {"input": 35, "cache_read": 8, "output": 9, "reasoning": 3}
_CLAUDE = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
_ON_BEDROCK = f"/model/{_CLAUDE.replace(':', '%3A')}/{{method}}"
_ON_VERTEX = "/v1/projects/my-project/locations/europe-west4/publishers"
_MESSAGES: tuple[Format, ...] = ("messages",)
_BEDROCK = {"provider": "bedrock", "model": _CLAUDE, "family": "claude", "formats": _MESSAGES, "region": "eu-central-1"}
_VERTEX = {"provider": "vertex", "formats": _MESSAGES, "project": "my-project", "region": "europe-west4"}
_GPT = {"provider": "azure", "model": "my gpt", "family": "gpt"}
_BEARER, _KEY, _GOOGLE_KEY = ("authorization", f"bearer {SECRET}"), ("api-key", SECRET), ("x-goog-api-key", SECRET)
_GENERATE = ("generateContent", "streamGenerateContent?alt=sse")

PROVIDERS = {
    "converse": Provider(
        settings={**_BEDROCK, "api": "converse"},
        path=_ON_BEDROCK,
        methods=("converse", "converse-stream"),
        header=_BEARER,
        hear=hear_converse,
        answer=CONVERSE,
        events=CONVERSE_EVENTS,
        spoken=5,
        kinds=CLAUDE_KINDS,
        refused=AWS_REFUSED,
        broken=THROTTLED,
        content_type=EVENTSTREAM,
    ),
    "claude on bedrock": Provider(
        settings={**_BEDROCK, "api": "anthropic"},
        path=_ON_BEDROCK,
        methods=("invoke", "invoke-with-response-stream"),
        header=_BEARER,
        hear=hear_anthropic("bedrock-2023-05-31"),
        answer=ANTHROPIC,
        events=FRAMED_EVENTS,
        spoken=ANTHROPIC_SPOKEN,
        kinds=CLAUDE_KINDS,
        refused=AWS_REFUSED,
        broken=THROTTLED,
        content_type=EVENTSTREAM,
    ),
    "claude on vertex": Provider(
        settings={**_VERTEX, "api": "anthropic", "model": "claude-sonnet-4@20250514", "family": "claude"},
        path=f"{_ON_VERTEX}/anthropic/models/claude-sonnet-4@20250514:{{method}}",
        methods=("rawPredict", "streamRawPredict"),
        header=_BEARER,
        hear=hear_anthropic("vertex-2023-10-16"),
        answer=ANTHROPIC,
        events=ANTHROPIC_EVENTS,
        spoken=ANTHROPIC_SPOKEN,
        kinds=CLAUDE_KINDS,
        refused=GOOGLE_REFUSED,
        broken=ANTHROPIC_BROKEN,
    ),
    "gemini on vertex": Provider(
        settings={**_VERTEX, "api": "gemini", "model": "gemini-3-pro", "family": "gemini"},
        path=f"{_ON_VERTEX}/google/models/gemini-3-pro:{{method}}",
        methods=_GENERATE,
        header=_BEARER,
        hear=hear_gemini,
        answer=GEMINI,
        events=GEMINI_EVENTS,
        spoken=2,
        kinds=GEMINI_KINDS,
        refused=GOOGLE_REFUSED,
        broken=OVERLOADED,
    ),
    "gemini": Provider(
        settings={"provider": "gemini", "formats": _MESSAGES, "model": "gemini-3-pro", "family": "gemini"},
        path="/v1beta/models/gemini-3-pro:{method}",
        methods=_GENERATE,
        header=_GOOGLE_KEY,
        hear=hear_gemini,
        answer=GEMINI,
        events=GEMINI_EVENTS,
        spoken=2,
        kinds=GEMINI_KINDS,
        refused=GOOGLE_REFUSED,
        broken=OVERLOADED,
    ),
    "azure, dated": Provider(
        settings={**_GPT, "formats": ("chat",), "api_version": "2024-10-21"},
        path="/openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21",
        methods=("", ""),
        header=_KEY,
        hear=hear_chat,
        answer=CHAT,
        events=CHAT_EVENTS,
        spoken=3,
        kinds=_AZURE_KINDS,
        refused=AZURE_REFUSED,
        broken=CHAT_BROKEN,
        thinks=False,
    ),
    "azure, v1": Provider(
        settings={**_GPT, "formats": ("chat",)},
        path="/openai/v1/chat/completions",
        methods=("", ""),
        header=_KEY,
        hear=hear_chat,
        answer=CHAT,
        events=CHAT_EVENTS,
        spoken=3,
        kinds=_AZURE_KINDS,
        refused=AZURE_REFUSED,
        broken=CHAT_BROKEN,
        thinks=False,
    ),
    "azure, responses": Provider(
        settings={**_GPT, "formats": ("responses",), "api_version": "preview"},
        path="/openai/v1/responses?api-version=preview",
        methods=("", ""),
        header=_KEY,
        hear=hear_responses,
        answer=json_of(RESPONSE),
        events=RESPONSES_EVENTS,
        spoken=11,
        kinds=_AZURE_KINDS,
        refused=AZURE_REFUSED,
        broken=RESPONSES_BROKEN,
    ),
}
