"""Brains on the real thing: `interlock serve`, the local model under a grammar, a SQLite store, real processes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest
from tests.e2e.server import Server, provide_model, running

from interlock.clock import SystemClock
from interlock.identity.tokens import Claims, mint
from interlock.runtime.brain.host import Host
from interlock.runtime.brain.model import GatewayModel
from interlock.runtime.brain.parts import Parts
from interlock.runtime.brain.rack import Rack
from interlock.runtime.brain.rulings import Permissions
from interlock.runtime.brain.tools import BUILT_IN
from interlock.runtime.hands.bubblewrap import Bubblewrap
from interlock.runtime.hands.egress import Door, Egress
from interlock.runtime.hands.process import Process
from interlock.runtime.hands.workspaces import Workspaces
from interlock.runtime.sessions.agent import Agent, Budget, Rules, Wire
from interlock.runtime.sessions.blobs import FileBlobs
from interlock.runtime.sessions.event import (
    Answered,
    Call,
    Connected,
    Created,
    Ended,
    Event,
    Failed,
    Finished,
    Said,
    Text,
)
from interlock.runtime.sessions.ports import Store
from interlock.runtime.sessions.sqlite import SqliteStore
from interlock.runtime.sessions.state import State, after, fold
from interlock.testing.loops import run_on

CONFIG = """
default_tier = "all"
[tiers]
all = ["here"]
[deployments.here]
provider = "local"
formats = ["chat", "messages", "responses"]
capabilities = ["tools", "schema"]
"""
CLOCK = SystemClock()


class Place(NamedTuple):
    """What a test has."""

    server: Server
    directory: Path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("brain")
    config = directory / "interlock.toml"
    config.write_text(CONFIG)
    provide_model(directory / "data")
    with running(directory / "data", config=config) as server:
        yield Place(server, directory)


def minter(server: Server, key_id: str) -> Callable[[str, State, Literal["inference", "mcp"]], str]:
    """Tokens for sessions of a key."""
    secret = server.places.read_session_secret()

    def make(session: str, state: State, audience: Literal["inference", "mcp"]) -> str:
        until_ns = CLOCK.now_ns() + 600 * 10**9
        return mint(secret, Claims(session=session, key_id=key_id, audience=audience, expires_at_ns=until_ns))

    return make


@asynccontextmanager
async def hosting(place: Place, name: str, key_id: str) -> AsyncIterator[Parts]:
    """A host that runs."""
    directory = place.directory / name
    directory.mkdir(exist_ok=True)
    store = SqliteStore(directory / "sessions.sqlite", CLOCK)
    hands: dict[str, Any] = {"process": Process(Workspaces(directory / "workspaces", CLOCK, own_users=False), CLOCK)}
    model = GatewayModel(place.server.url)
    parts = Parts(
        store=store,
        blobs=FileBlobs(directory / "blobs"),
        rack=Rack(hands, CLOCK),
        model=model,
        mint=minter(place.server, key_id),
        judge=Permissions(hands),
        clock=CLOCK,
        built_in=BUILT_IN,
        owner=name,
    )
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(Host(parts).run(stop))
        try:
            yield parts
        finally:
            stop.set()
    model.close()
    await store.close()


async def begin(store: Store, session: str, agent: Agent, say: str) -> None:
    """A new session, as the sessions' service makes it."""
    created = Created(tenant="acme", principal="ann", key_id="k", agent=agent, workspace=f"wsp_{session}")
    events: list[Event] = [created, Said(text=say, by="ann")]
    state = State()
    after(state, events, CLOCK.now_ns())
    assert await store.create(session, "acme", "ann", events, state.standing())


async def turn_over(store: Store, session: str) -> list[Event]:
    """All events, once the turn is over."""
    seen = 0
    while True:
        events = [one.event for one in await store.events(session)]
        if isinstance(events[-1], Ended):
            return events
        seen = len(events)
        assert await store.changed(session, after=seen, wait_s=120), f"nothing happens after {events[-1]}"


LOCAL = Agent(
    model="here",
    wire="chat",
    instructions="You use tools.",
    tools=("shell",),
    mode="auto",
    rules=Rules(allow=("shell",)),
    hands="process",
    budget=Budget(steps=4),
    max_output=96,
    constrained=True,
)


def test_a_model_without_tool_calls_uses_a_tool_under_its_grammar(place: Place) -> None:
    key_id, _ = place.server.issue()

    async def main() -> list[Event]:
        async with hosting(place, "grammar", key_id) as parts:
            say = 'Repeat: {"tool": "shell", "arguments": {"command": "echo hello"}}'
            await begin(parts.store, "ses_1", LOCAL, say)
            return await turn_over(parts.store, "ses_1")

    events = run_on("uvloop", main)
    answers = [event for event in events if isinstance(event, Answered)]
    assert all(answer.deployment == "here" and answer.usage["output"] > 0 for answer in answers)
    [call] = [part for part in answers[0].parts if isinstance(part, Call)]
    assert call.name == "shell" and "echo hello" in call.arguments
    results = [event for event in events if isinstance(event, Finished)]
    assert results[0].outcome == "ok" and results[0].content == Text(text="hello\n[exit status 0]")
    explained = place.server.explained(answers[0].request_id)
    assert explained["attempts"][0]["entry"]["outcome"] == "completed"


@pytest.mark.parametrize("wire", ["chat", "messages", "responses"])
def test_the_real_model_is_asked_in_each_format(place: Place, wire: Wire) -> None:
    key_id, _ = place.server.issue()
    agent = Agent(model="here", wire=wire, tools=(), hands="process", max_output=8)

    async def main() -> list[Event]:
        async with hosting(place, wire, key_id) as parts:
            await begin(parts.store, "ses_1", agent, "Say hello.")
            await turn_over(parts.store, "ses_1")
            state = fold(await parts.store.events("ses_1"))
            said = Said(text="And again.", by="ann")
            after(state, [said], CLOCK.now_ns())
            await parts.store.append("ses_1", [said], state.standing(), expect=state.seq - 1)
            return await turn_over(parts.store, "ses_1")

    events = run_on("uvloop", main)
    answers = [event for event in events if isinstance(event, Answered)]
    assert len(answers) == 2 and not [event for event in events if isinstance(event, Failed)]
    assert all(isinstance(answer.parts[0], Text) and answer.parts[0].text for answer in answers)
    assert answers[1].usage["input"] > answers[0].usage["input"], "what was said before was not shown"


def test_a_revoked_key_ends_the_turn_with_its_code(place: Place) -> None:
    key_id, _ = place.server.issue()
    assert place.server.cli("keys", "revoke", key_id).returncode == 0

    async def main() -> list[Event]:
        async with hosting(place, "revoked", key_id) as parts:
            await begin(parts.store, "ses_1", LOCAL, "Say hello.")
            return await turn_over(parts.store, "ses_1")

    events = run_on("uvloop", main)
    [failed] = [event for event in events if isinstance(event, Failed)]
    assert (failed.code, failed.retry_at_ns) == ("key_unknown", None)
    assert isinstance(events[-1], Ended) and events[-1].reason == "failed"


PROGRAM = """
import json, os, sys, urllib.request
asked = {"model": "here", "max_tokens": 8, "messages": [{"role": "user", "content": sys.argv[1]}]}
headers = {"content-type": "application/json", "authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}
url = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
request = urllib.request.Request(url, json.dumps(asked).encode(), headers)
with urllib.request.urlopen(request, timeout=60) as answer:
    print("the model says:", json.load(answer)["choices"][0]["message"]["content"])
try:
    urllib.request.urlopen("http://elsewhere.example/", timeout=10)
except OSError as error:
    print("elsewhere:", error)
"""


def test_an_agent_program_finds_its_model_inside_a_sandbox(place: Place) -> None:
    key_id, _ = place.server.issue()
    make = minter(place.server, key_id)
    model = Door("127.0.0.1", place.server.port, lambda: make("ses_1", State(), "inference"))
    agent = Agent(program=("/usr/bin/python3", "-c", PROGRAM, "{prompt}"), hands="bubblewrap")

    async def main() -> list[Event]:
        directory = place.directory / "program"
        async with hosting(place, "program", key_id) as parts:
            workspaces = Workspaces(directory / "boxes", CLOCK)
            egress = Egress(directory / "egress", door_of=lambda session: model)
            hands = Bubblewrap(workspaces, CLOCK, egress=egress, report=parts.rack.report)
            parts.rack._hands = {"bubblewrap": hands}
            await begin(parts.store, "ses_1", agent, "Say hello.")
            return await turn_over(parts.store, "ses_1")

    events = run_on("uvloop", main)
    answers = [event for event in events if isinstance(event, Answered)]
    assert answers, events
    [said] = answers[0].parts
    assert isinstance(said, Text) and said.text.startswith("the model says: ") and "elsewhere: " in said.text
    reached = {(event.host, event.allowed) for event in events if isinstance(event, Connected)}
    assert reached == {("interlock.internal", True), ("elsewhere.example", False)}
    assert isinstance(events[-1], Ended) and events[-1].reason == "done"
