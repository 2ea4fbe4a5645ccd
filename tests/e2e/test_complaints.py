"""What users of other gateways complain about, as black-box checks: each test names the public threads (`project#N`).

A server of its own process, its real ledger, and upstreams whose every byte the test decides. Told elsewhere:

- tool calls that interleave, tools without arguments, the second tool (litellm#25561 #25836 #29491 #29286 #18238,
  bifrost#3441 #4890 #6342), Responses streams that no client reads (litellm#22102 #19368 #37852 #17246, llm-rosetta#56,
  openai/codex#12798), finish reasons, usage with every cached kind: test_pairs.py;
- thinking and signatures (litellm#38809 #31654, onyx#13691, any-llm#1312, ruby_llm#896, openai-agents#4155), images in
  results (litellm#23712 #20403 #16195 #6953, claude-code-router#1678), parallel results in one user turn (kosong#45,
  pydantic-ai#653, OmniRoute#4882, hindsight#3910, adk-rust#279): test_pairs_turns.py;
- a revoked key (litellm#9820 #2149 #1775 #35662): test_revoke.py; a killed server: test_crash.py;
- parameters and cache breakpoints that a format has no word for: test_complaints_requests.py;
- the sixteen faults and who is asked next: tests/gateway/test_faults.py.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, NamedTuple

import anthropic
import msgspec
import openai
import pytest
from tests.e2e import recorded
from tests.e2e.calls import connected
from tests.e2e.clients import Clients, shown
from tests.e2e.configs import three_formats
from tests.e2e.server import Server, running, until
from tests.e2e.test_hang_up import LAST
from tests.e2e.test_pairs import request
from tests.e2e.upstream import scripted_upstream
from tests.gateway.rig import FORMATS, SSE_HEAD, Seen, Upstream, chunk, silent, streamed, whole

PAIRS = list(product(FORMATS, FORMATS))
MAKE: dict[str, Callable[..., recorded.Recording]] = {
    "chat": recorded.chat,
    "responses": recorded.responses,
    "messages": recorded.messages,
}
HELLO = {format: make([recorded.text("Hello there, how are you?")]) for format, make in MAKE.items()}
MORE = """
[deployments.unpriced]
provider = "scripted"
model = "nobody-knows-its-price"
base_url = "http://127.0.0.1:{port}/v1"
[deployments.second]
provider = "scripted"
model = "gpt-5.2"
base_url = "http://127.0.0.1:{second}/v1"
[timeouts]
connect_s = 0.3
first_byte_s = 0.7
first_token_s = 0.7
idle_s = 2
total_s = 15
keep_alive_s = 0.2
[retries]
rounds = 0
[breaker]
failures = 0
[affinity]
cache_s = 0
"""
"""The tests' calls begin alike, so they are one conversation: which none of the upstreams shall keep."""


class Place(NamedTuple):
    """What a test has."""

    server: Server
    upstream: Upstream
    second: Upstream
    clients: Clients


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("complaints")
    with scripted_upstream() as (upstream, port), scripted_upstream() as (second, second_port):
        tiers = {f"after-{format}": [f"to-{format}", "second"] for format in FORMATS}
        more = MORE.format(port=port, second=second_port)
        config = three_formats(directory / "interlock.toml", port, tiers=tiers, more=more)
        with running(directory / "data", config=config) as server:
            clients = Clients(server.url, server.admin)
            yield Place(server, upstream, second, clients)
            clients.close()


def entries(place: Place, request_id: str, count: int = 1) -> list[dict[str, Any]]:
    """Of every attempt of a call, once all are settled."""

    def found() -> list[dict[str, Any]] | None:
        explained = place.server.control(f"/v1/explain/{request_id}") or {"attempts": []}
        made = [attempt["entry"] for attempt in explained["attempts"]]
        return made if len(made) == count and all(entry["state"] == "settled" for entry in made) else None

    settled: list[dict[str, Any]] = until(found, f"{count} attempts of {request_id} are settled", 5.0)
    return settled


def raw_stream(place: Place, client: str, asked: dict[str, Any]) -> Any:
    """The SDK's iterator of events, without its helper."""
    if client == "chat":
        return place.clients.openai.chat.completions.create(**asked, stream=True)
    if client == "responses":
        return place.clients.openai.responses.create(**asked, stream=True)
    return place.clients.anthropic.messages.create(**asked, stream=True)


# 1, 2: money

READ, WRITTEN, FRESH, OUTPUT = 100_000, 1_000, 10, 5
NANOUSD = FRESH * 5_000 + READ * 500 + WRITTEN * 6_250 + OUTPUT * 25_000
"""By hand, at 5, 0.5, 6.25 and 25 dollars per million tokens: 5.6425 cents."""
CACHED_USAGE: dict[str, dict[str, Any]] = {
    "chat": {
        "prompt_tokens": FRESH + READ + WRITTEN,
        "completion_tokens": OUTPUT,
        "total_tokens": FRESH + READ + WRITTEN + OUTPUT,
        "prompt_tokens_details": {"cached_tokens": READ, "cache_write_tokens": WRITTEN},
        "completion_tokens_details": {"reasoning_tokens": 0},
    },
    "responses": {
        "input_tokens": FRESH + READ + WRITTEN,
        "input_tokens_details": {"cached_tokens": READ, "cache_write_tokens": WRITTEN},
        "output_tokens": OUTPUT,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": FRESH + READ + WRITTEN + OUTPUT,
    },
    "messages": {
        "input_tokens": FRESH,
        "cache_read_input_tokens": READ,
        "cache_creation_input_tokens": WRITTEN,
        "cache_creation": {"ephemeral_5m_input_tokens": WRITTEN, "ephemeral_1h_input_tokens": 0},
        "output_tokens": OUTPUT,
    },
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_cached_tokens_are_priced_once_and_right(place: Place, client: str, upstream: str, stream: bool) -> None:
    """litellm#11364 #9812 #5443 #40006 #40016 #31282, bifrost#904 #3451, langwatch#7018, stakgraph#1688, bfe#1343."""
    answer = MAKE[upstream]([recorded.text("Hello.")], usage=CACHED_USAGE[upstream])
    place.upstream.scripts = [streamed(*answer.events) if stream else whole(answer.whole)]
    got = place.clients.ask(client, request(client, upstream, tools=False), stream=stream)
    [entry] = entries(place, got.request_id)
    assert entry["amount"]["amount_nanousd"] == str(NANOUSD)
    usage = shown(client, got.document).usage
    assert (usage["input"], usage["cache_read"], usage["output"]) == (FRESH + READ + WRITTEN, READ, OUTPUT)
    assert sum(count for kind, count in usage.items() if kind.startswith("cache_write")) == WRITTEN


def test_what_the_command_says_is_the_sum_by_hand(place: Place) -> None:
    """litellm#11364, bifrost#3451 ($1.86 recorded, $1.06 spent): the same in the report, where a bill is read."""
    _, key = place.server.issue("--principal", "payer")
    answer = MAKE["messages"]([recorded.text("Hello.")], usage=CACHED_USAGE["messages"])
    clients = Clients(place.server.url, key)
    for client in FORMATS:
        place.upstream.scripts = [whole(answer.whole)]
        clients.ask(client, request(client, "messages", tools=False), stream=False)
    clients.close()
    rows = place.server.json("usage", "--by", "principal")["rows"]
    [row] = [row for row in rows if row["dimensions"]["principal"] == "payer"]
    assert (row["requests"], row["amount_nanousd"]) == (3, str(3 * NANOUSD))


@pytest.mark.parametrize("client", FORMATS)
def test_a_model_without_a_price_is_unpriced_and_not_free(place: Place, client: str) -> None:
    """litellm#36561 #25874 #24949 #24770 #40741 #35914: never 0; headroom#3732: never guessed."""
    place.upstream.scripts = [whole(HELLO["chat"].whole)]
    _, key = place.server.issue("--principal", f"poor-{client}")
    clients = Clients(place.server.url, key)
    asked = request(client, "chat", tools=False) | {"model": "unpriced"}
    got = clients.ask(client, asked, stream=False)
    clients.close()
    [entry] = entries(place, got.request_id)
    assert entry["amount"]["amount_nanousd"] is None
    assert entry["usage"] == HELLO["chat"].usage
    rows = place.server.json("usage", "--by", "principal")["rows"]
    [row] = [row for row in rows if row["dimensions"]["principal"] == f"poor-{client}"]
    assert (row["unpriced"], row["amount_nanousd"]) == (1, None)


# 13: hang-ups

LONG = {format: make([recorded.text("one two three four five six " * 20)]) for format, make in MAKE.items()}


@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_a_client_that_hangs_up_after_five_chunks(place: Place, client: str, upstream: str) -> None:
    """litellm#30630 #34953, one-switch#3 #4, CLIProxyAPI#5819, sub2api#1357, Floway#447, Kilo-Org/cloud#4795,
    codebuddy2api#22: the upstream sees the close within a second, and what was consumed is written down."""
    place.upstream.scripts = [streamed(*LONG[upstream].events[:20], hold=asyncio.Event())]
    place.upstream.closed.clear()
    stream = raw_stream(place, client, request(client, upstream, tools=False))
    request_id = stream.response.headers["x-interlock-request-id"]
    for _ in range(5):
        next(stream)
    stream.close()
    until(place.upstream.closed.is_set, "the upstream sees the close", 1.0)
    [entry] = entries(place, request_id)
    assert entry["outcome"] == "cancelled"
    assert entry["source"] in ("reported", "estimated", "counted")
    assert entry["usage"]["input"] > 0
    assert entry["usage"]["output"] > 0
    assert int(entry["amount"]["amount_nanousd"]) > 0


# 12: message_start


@pytest.mark.parametrize("upstream", FORMATS)
def test_message_start_says_the_input_tokens(place: Place, upstream: str) -> None:
    """envoyproxy/ai-gateway#2352, vercel/ai#17326: clients show their context window by it."""
    place.upstream.scripts = [streamed(*HELLO[upstream].events)]
    with raw_stream(place, "messages", request("messages", upstream, tools=False)) as stream:
        events = list(stream)
    assert events[0].type == "message_start"
    assert events[0].message.usage.input_tokens > 0
    usage = events[-2].usage
    total = usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens
    assert total == HELLO[upstream].usage["input"]


# 14: silence, and streams that break off


@pytest.mark.parametrize(
    ("client", "upstream", "first"), [*((*pair, "no word") for pair in PAIRS), *((f, f, "no byte") for f in FORMATS)]
)
def test_a_silent_upstream_is_left_for_the_next(place: Place, client: str, upstream: str, first: str) -> None:
    """litellm#6957 #27967 #40404 #28216 #29808 #19077 #26067 #32835 #38606, bifrost#7034 #4005: before the first word,
    also where the next candidate speaks another format; both attempts are metered."""
    opening = HELLO[upstream].events[:1]
    place.upstream.scripts = [silent if first == "no byte" else streamed(*opening, hold=asyncio.Event())]
    place.second.scripts = [streamed(*HELLO["chat"].events)]
    asked = request(client, upstream, tools=False) | {"model": f"after-{upstream}"}
    got = place.clients.ask(client, asked, stream=True)
    assert shown(client, got.document).text == "Hello there, how are you?"
    assert got.headers["x-interlock-tier"] == f"after-{upstream}"
    left, right = entries(place, got.request_id, 2)
    assert (left["deployment"], right["deployment"]) == (f"to-{upstream}", "second")
    assert left["outcome"] != "completed" == right["outcome"]


@pytest.mark.parametrize("framed", [False, True], ids=["cut", "ended too early"])
@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_a_truncated_stream_is_never_a_success(place: Place, client: str, upstream: str, framed: bool) -> None:
    """Portkey's failoverbench S08 S09 S14, litellm#6957 #27967: neither for the client nor in the ledger."""
    place.upstream.scripts = [streamed(*LONG[upstream].events[:20], end=framed)]
    request_id, seen = "", []
    try:
        with raw_stream(place, client, request(client, upstream, tools=False)) as stream:
            request_id = stream.response.headers["x-interlock-request-id"]
            for event in stream:
                seen.append(event)
        assert client == "responses", "the client took it for whole"
        assert seen[-1].type in ("response.failed", "error")
    except (openai.APIError, anthropic.APIError) as error:
        assert "upstream" in str(error)
    assert len(seen) > 1
    [entry] = entries(place, request_id)
    assert entry["outcome"] == "truncated"


# 15: errors


ERRORS = {
    "chat": {"error": {"message": "slow down", "type": "requests", "param": None, "code": "rate_limit_exceeded"}},
    "messages": {"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}, "request_id": "req_1"},
}
ERRORS["responses"] = ERRORS["chat"]


@pytest.mark.parametrize("status", [429, 529, 503])
@pytest.mark.parametrize(("client", "upstream"), PAIRS)
def test_an_upstream_s_limit_keeps_its_status_and_its_pause(
    place: Place, client: str, upstream: str, status: int
) -> None:
    """litellm#37767, aisix#144, headroom#1495, better-ccflare#236, fak#1361, langwatch#6207, litellm-rs#833: OpenAI's
    clients know no 529, which is Anthropic's 503."""
    headers = "retry-after: 17\r\nx-ratelimit-remaining-requests: 0\r\n"
    place.upstream.scripts = [whole(msgspec.json.encode(ERRORS[upstream]), f"{status} Nope", headers)]
    with pytest.raises((openai.APIStatusError, anthropic.APIStatusError)) as caught:
        place.clients.ask(client, request(client, upstream, tools=False), stream=client == "chat")
    error: Any = caught.value
    kept = status if status != 529 or client in (upstream, "messages") else 503
    assert error.status_code == kept
    assert error.response.headers["retry-after"] == "17"
    assert error.response.headers["x-ratelimit-remaining-requests"] == "0"
    assert "slow down" in error.message
    if status == 429:
        assert isinstance(error, openai.RateLimitError | anthropic.RateLimitError)
    [entry] = entries(place, error.response.headers["x-interlock-request-id"])
    assert (entry["outcome"], entry["usage"]) == ("failed", {})


# 20: keep-alive


@pytest.mark.parametrize("client", FORMATS)
def test_a_client_is_kept_awake_while_an_upstream_thinks(place: Place, client: str) -> None:
    """bifrost#5010 #5212, litellm#34374 #37322, theopenco/llmgateway#1541, openclaw#70739."""
    gate = threading.Event()

    async def thinks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        writer.write(SSE_HEAD)
        while not gate.is_set():
            await asyncio.sleep(0.01)
        for event in HELLO["messages"].events:
            writer.write(chunk(event))
        writer.write(b"0\r\n\r\n")

    async def main() -> bytes:
        async with asyncio.timeout(10), connected(place.server.port, place.server.admin) as caller:
            caller.send("thinks", client, stream=True, model="to-messages")
            comments = await caller.reader.readuntil(b": keep-alive\n\n")
            assert b"data:" not in comments
            gate.set()
            return await caller.reader.readuntil(LAST[client])

    place.upstream.scripts = [thinks]
    assert b"Hello " in asyncio.run(main())


# 9: tool calls as servers really send them

_CHUNK = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def _calls(*calls: dict[str, Any], finish: str | None = None) -> bytes:
    delta = {"tool_calls": list(calls)} if calls else {}
    return recorded.data(_CHUNK | {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def _function(name: str | None, arguments: str, **beside: Any) -> dict[str, Any]:
    named = {"name": name} if name is not None else {}
    return {**beside, "type": "function", "function": {**named, "arguments": arguments}}


ODD_CALLS: dict[str, list[bytes]] = {
    "all arguments in the first fragment": [
        _calls(_function("a", '{"x":1}', index=0, id="call_1")),
        _calls(_function("b", '{"y":2}', index=1, id="call_2")),
    ],
    "both in one chunk": [
        _calls(_function("a", '{"x":1}', index=0, id="call_1"), _function("b", '{"y":2}', index=1, id="call_2")),
    ],
    "no index": [
        _calls(_function("a", '{"x":', id="call_1")),
        _calls(_function(None, "1}")),
        _calls(_function("b", '{"y":2}', id="call_2")),
    ],
    "name and id repeated": [
        _calls(_function("a", '{"x":', index=0, id="call_1")),
        _calls(_function("a", "1}", index=0, id="call_1")),
        _calls(_function("b", '{"y":2}', index=1, id="call_2")),
    ],
    "the second begins before the first is whole": [
        _calls(_function("a", '{"x"', index=0, id="call_1")),
        _calls(_function("b", '{"y"', index=1, id="call_2")),
        _calls(_function(None, ":1}", index=0), _function(None, ":2}", index=1)),
    ],
}


@pytest.mark.parametrize("said", ["tool_calls", "stop"])
@pytest.mark.parametrize("odd", ODD_CALLS)
@pytest.mark.parametrize("client", ["responses", "messages"])
def test_no_argument_and_no_second_tool_is_lost(place: Place, client: str, odd: str, said: str) -> None:
    """litellm#25561 #25836 #29491 #29286 #18238, bifrost#3441 (only the first tool) #4890 #6342."""
    usage = recorded.data(_CHUNK | {"choices": [], "usage": recorded.CHAT_USAGE})
    place.upstream.scripts = [streamed(*ODD_CALLS[odd], _calls(finish=said), usage, b"data: [DONE]\n\n")]
    got = place.clients.ask(client, request(client, "chat"), stream=True)
    says = shown(client, got.document)
    assert says.calls == [("call_1", "a", {"x": 1}), ("call_2", "b", {"y": 2})]
    assert says.finish == {"responses": "completed", "messages": "tool_use"}[client]
