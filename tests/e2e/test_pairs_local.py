"""The nine pairs with the official clients on the real local model, which speaks all three formats.

Three deployments are one managed model, each reached in one format. What it says without a temperature is the same
however it is asked for and handed over; what it reports is what the ledger has.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.e2e.clients import Clients, Shown, shown
from tests.e2e.server import Server, provide_model, running
from tests.gateway.rig import FORMATS

SMALL = 12
LIMITS = {"chat": "max_tokens", "responses": "max_output_tokens", "messages": "max_tokens"}
CUT = {"chat": "length", "responses": "max_output_tokens", "messages": "max_tokens"}
SILENT = "responses"
"""Where llama.cpp does not say that an answer was cut at its limit: it is `completed`."""
ENDED = {"chat": "stop", "responses": "completed", "messages": "end_turn"}


class Place(NamedTuple):
    """What a test has."""

    server: Server
    clients: Clients


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory: Path = tmp_path_factory.mktemp("local")
    lines = ['default_tier = "all"', "[tiers]", f"all = {[f'to-{format}' for format in FORMATS]}"]
    for format in FORMATS:
        lines += [
            f"[deployments.to-{format}]",
            'provider = "local"',
            f'formats = ["{format}"]',
            'capabilities = ["tools"]',
        ]
    config = directory / "interlock.toml"
    config.write_text("\n".join([*lines, ""]))
    provide_model(directory / "data")
    with running(directory / "data", config=config) as server:
        clients = Clients(server.url, server.admin)
        yield Place(server, clients)
        clients.close()


def ask(place: Place, client: str, upstream: str, said: str, limit: int, *, stream: bool) -> Shown:
    """What the model says, checked against what was settled."""
    asked: dict[str, Any] = {"model": f"to-{upstream}", LIMITS[client]: limit, "extra_body": {"temperature": 0}}
    asked["input" if client == "responses" else "messages"] = [{"role": "user", "content": said}]
    got = place.clients.ask(client, asked, stream=stream)
    [attempt] = place.server.explained(got.request_id)["attempts"]
    entry = attempt["entry"]
    assert (entry["deployment"], entry["outcome"], entry["source"]) == (f"to-{upstream}", "completed", "reported")
    says = shown(client, got.document)
    kinds = {kind: count for kind, count in says.usage.items() if count}
    assert kinds == {kind: count for kind, count in entry["usage"].items() if count}
    assert kinds["input"] > 0
    assert 0 < kinds["output"] <= limit
    return says


@pytest.mark.parametrize("upstream", FORMATS)
@pytest.mark.parametrize("client", FORMATS)
def test_the_words_are_the_same_whole_streamed_and_translated(place: Place, client: str, upstream: str) -> None:
    said = "Count from one to ten in words."
    native = ask(place, upstream, upstream, said, SMALL, stream=False)
    of_whole = ask(place, client, upstream, said, SMALL, stream=False)
    of_stream = ask(place, client, upstream, said, SMALL, stream=True)
    assert native.text.strip()
    assert of_whole.text == of_stream.text == native.text
    assert of_whole.finish == of_stream.finish == (ENDED if upstream == SILENT else CUT)[client]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("upstream", FORMATS)
@pytest.mark.parametrize("client", FORMATS)
def test_an_answer_that_ends_by_itself(place: Place, client: str, upstream: str, stream: bool) -> None:
    says = ask(place, client, upstream, "Say hello.", 200, stream=stream)
    assert says.text.strip()
    assert says.finish == ENDED[client]


@pytest.mark.parametrize("upstream", FORMATS)
def test_count_tokens(place: Place, upstream: str) -> None:
    """Counted by the model where it can count a Messages request, else our estimate, which names itself."""
    raw = place.clients.anthropic.messages.with_raw_response.count_tokens(
        model=f"to-{upstream}", messages=[{"role": "user", "content": "Say hello, and then say it again."}]
    )
    counted = raw.parse().input_tokens
    says = ask(place, "messages", upstream, "Say hello, and then say it again.", SMALL, stream=False)
    if upstream == "messages":
        assert counted == says.usage["input"]
        assert "x-interlock-estimate" not in raw.headers
    else:
        assert counted > 0
        assert raw.headers["x-interlock-estimate"]
