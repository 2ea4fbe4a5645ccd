"""What is remembered of a connection's calls: it never answers otherwise than if nothing were remembered."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import at_least
from tests.gateway.answers import CHAT, ask
from tests.gateway.policies import policies
from tests.gateway.rig import PATHS, Rig, Upstream, policy, read_answer, rig, whole

from interlock.clock import Clock
from interlock.gateway import Policy, Profile, Rule, When, records
from interlock.gateway.router import Router
from interlock.gateway.routing import decide
from interlock.gateway.signals import MODE_HEADERS, SESSION_HEADER, TASK_HEADER, read_signals
from interlock.gateway.way import WAYS_MAX, Caller, Way
from interlock.gateway.wire import Call, read
from interlock.identity import Key, SharedDirectory
from interlock.ledger import Opened

Run = Callable[..., Any]

# Text that breaks a template, or a search in JSON, if anything does.
NAME = st.text(st.sampled_from('a%bd"\\:,{}1 é😀\x00\u2028'), max_size=6) | st.sampled_from(
    [
        '"attempt":1',
        '"input_estimate":1',
        '"input_tokens":12,',
        "%b",
        "%d",
        "%%",
        "req_" + "0" * 32,
        "0" * 24,
        "conv-" + "0" * 24,
    ]
)
KEY = st.builds(
    Key,
    id=NAME,
    sha256=st.just("0" * 64),
    name=NAME,
    tenant=NAME,
    principal=NAME,
    scopes=st.just(("inference",)),
    created_at_ns=st.just(0),
    labels=st.dictionaries(NAME | st.just("team"), NAME, max_size=2),
)
FLAGS = st.booleans()
SIZE = st.integers(1, 14) | st.integers(1, 1 << 53)
CALL = st.builds(
    Call,
    format=st.sampled_from(["chat", "responses", "messages", "embeddings", "count_tokens"]),
    model=NAME | st.sampled_from(["auto", "auto:plan", "d0", "d1", "t1"]),
    stream=FLAGS,
    max_output=st.none() | st.integers(0, 3) | SIZE,
    tools=FLAGS,
    tool_result=FLAGS,
    images=FLAGS,
    reasoning=FLAGS,
    schema=FLAGS,
    chore=FLAGS,
    messages=SIZE,
    session=NAME,
    input_estimate=SIZE,
    includes_usage=FLAGS,
    stream_options=FLAGS,
    opening=st.sampled_from(["", "0" * 24, "ab" * 12]),
    tool=NAME,
)
SPLICES = st.sampled_from(
    [(), ("model",), ("model", "stream_options.include_usage"), ("translated:chat", "dropped:%d")]
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        MODE_HEADERS[0]: st.sampled_from([b"plan", b"Code"]),
        MODE_HEADERS[1]: st.just(b"build"),
        SESSION_HEADER: st.sampled_from([b"s%d", b'"s1"']),
        TASK_HEADER: st.sampled_from([b"t%b", b'"attempt":1', b"0" * 24]),
    },
)


@st.composite
def neighbours(draw: st.DrawFn) -> list[Call]:
    """Calls that differ in one thing from the one before: where a memory goes wrong."""
    calls = [draw(CALL)]
    for field in draw(st.lists(st.sampled_from(Call.__struct_fields__), max_size=12)):
        calls.append(msgspec.structs.replace(calls[-1], **{field: getattr(draw(CALL), field)}))
    return calls


@settings(max_examples=at_least(120))
@given(policies(), KEY, HEADERS, neighbours())
def test_a_way_is_what_would_be_decided(made: Policy, key: Key, headers: dict[bytes, bytes], calls: list[Call]) -> None:
    caller, router = Caller(headers, key, 1, ("eu",)), Router(made, {})
    for call in calls:
        signals = read_signals(call, headers, key)
        way = caller.way(call, router)
        assert way.signals(call) == signals
        assert way.routed.route == decide(signals, made, ("eu",), {})


@settings(max_examples=at_least(120))
@given(policies(), KEY, HEADERS, neighbours(), SPLICES, st.integers(1, 20), NAME)
def test_the_record_is_the_encoder_s_byte_for_byte(
    made: Policy,
    key: Key,
    headers: dict[bytes, bytes],
    calls: list[Call],
    splices: tuple[str, ...],
    attempt: int,
    name: str,
) -> None:
    caller, router = Caller(headers, key, 1, ()), Router(made, {})
    deployment = msgspec.structs.replace(made.deployments["d0"], name=name, model=name)
    for number, call in enumerate(calls):
        way, request_id = caller.way(call, router), f"req_{number:032x}"
        for _ in range(2):  # as it is learnt, and as it is remembered
            opened = way.opened(request_id, attempt, call, deployment, splices)
            record = records.opened(
                request_id, attempt, key, call, read_signals(call, headers, key), way.routed, deployment, splices
            )
            assert opened == msgspec.json.encode(record)


def plain_call(model: str) -> Call:
    return read("chat", msgspec.json.encode({**ask("chat"), "model": model}))


def plain_key() -> Key:
    return Key(id="k", sha256="0" * 64, name="n", tenant="t", principal="p", scopes=("inference",), created_at_ns=0)


def test_what_is_remembered_is_bounded() -> None:
    made = policy([1])
    caller, router = Caller({}, plain_key(), 1, ()), Router(made, {})
    for number in range(5 * WAYS_MAX):
        caller.way(plain_call(f"m{number}"), router)
        assert len(caller._ways) <= WAYS_MAX


def test_what_a_client_can_name_without_end_is_not_remembered() -> None:
    made = policy([1])
    router = Router(made, {})
    call = plain_call("auto")
    signals = read_signals(call, {}, plain_key())
    way = Way(plain_key(), signals, router.route(signals, ()), derived=True)
    for number in range(20):
        way.opened("req_1", 1, call, made.deployments["d0"], ("translated:messages", f"dropped:x{number}"))
    assert not way._templates


def test_each_conversation_is_spread_by_itself() -> None:
    made = policy([1, 2])
    equals = msgspec.structs.replace(made.tiers["main"], spread=({"d0": 1, "d1": 1},))
    router = Router(msgspec.structs.replace(made, tiers={**made.tiers, "main": equals}), {})
    caller = Caller({}, plain_key(), 1, ())
    calls = [msgspec.structs.replace(plain_call("auto"), opening=f"{number:024x}") for number in range(20)]
    first = [caller.way(call, router).routed.route.winner for call in calls]
    assert set(first) == {"d0", "d1"}
    assert [caller.way(call, router).routed.route.winner for call in reversed(calls)] == first[::-1]


def test_a_longer_prompt_may_take_another_way() -> None:
    made = policy([1, 2])
    long = Rule(name="long", when=When(input_tokens_min=100), tier="second")
    router = Router(msgspec.structs.replace(made, rules=(long,)), {})
    caller = Caller({}, plain_key(), 1, ())
    sizes = (99, 100, 5, 500)
    calls = [msgspec.structs.replace(plain_call("auto"), input_estimate=size) for size in sizes]
    assert [caller.way(call, router).routed.route.rule for call in calls] == ["default", "long", "default", "long"]


def test_another_router_is_asked_anew() -> None:
    made = policy([1, 2])
    caller, call = Caller({}, plain_key(), 1, ()), plain_call("auto")
    before, after = Router(made, {}), Router(made, {"d0": "loading"})
    assert [caller.way(call, router).routed.route.winner for router in (before, after, before)] == ["d0", "d1", "d0"]


# on one connection


class Talk:
    """One client connection."""

    def __init__(self, on: Rig, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.on = on
        self._reader = reader
        self._writer = writer

    async def say(
        self, *headers: str, key: str | None = None, body: Any = None, format: str = "chat"
    ) -> tuple[int, str]:
        """(status, deployment, or the error's code)."""
        content = msgspec.json.encode(body or ask(format))
        self._writer.write(self.on.request(PATHS[format], content, *headers, key=key))
        answer = await read_answer(self._reader)
        if answer.status == 200:
            return 200, answer.headers["x-interlock-deployment"]
        return answer.status, answer.json["error"]["code"]


def talk(run: Run, tmp_path: Path, test: Any, *, count: int = 1, boundary: str = "", **options: Any) -> list[Upstream]:
    """Run `test(talk)` on one connection to a gateway with deployments `d0`, `d1`, ..."""
    upstreams = [Upstream(whole(CHAT)) for _ in range(count)]

    async def main() -> None:
        made = policy([await upstream.start() for upstream in upstreams], **options)
        try:
            async with rig(tmp_path / "data", made, boundary=boundary) as on:
                reader, writer = await on.connect()
                try:
                    await test(Talk(on, reader, writer))
                finally:
                    writer.close()
        finally:
            for upstream in upstreams:
                await upstream.stop()

    run(main, blocking_s=1.0)
    return upstreams


def test_a_revoked_key_is_refused_on_the_very_next_call(run: Run, tmp_path: Path) -> None:
    async def test(talk: Talk) -> None:
        assert [await talk.say() for _ in range(3)] == [(200, "d0")] * 3
        [listed] = await talk.on.identity.list()
        await talk.on.identity.revoke(listed.key.id)
        assert await talk.say() == (401, "key_unknown")
        assert await talk.say() == (401, "key_unknown")

    talk(run, tmp_path, test)


def test_a_revoked_key_is_refused_where_another_connection_has_heard_of_it_first(run: Run, tmp_path: Path) -> None:
    async def test(talk: Talk) -> None:
        other = await talk.on.identity.issue(tenant="b", name="b", boundary="", profiles=set(), scopes=("inference",))
        assert await talk.say() == (200, "d0")
        revoked = next(listed for listed in await talk.on.identity.list() if listed.key.tenant == "acme")
        await talk.on.identity.revoke(revoked.key.id)
        assert (await talk.on.call(PATHS["chat"], ask("chat"), key=other.secret)).status == 200
        assert await talk.say() == (401, "key_unknown")

    talk(run, tmp_path, test)


class Later:
    """A clock that is set."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.by_ns = 0
        self.monotonic_ns = clock.monotonic_ns

    def now_ns(self) -> int:
        return self._clock.now_ns() + self.by_ns


def test_a_key_that_expires_is_refused_on_the_very_next_call(run: Run, tmp_path: Path) -> None:
    async def test(talk: Talk) -> None:
        gateway = talk.on.gateway
        gateway.clock = clock = Later(gateway.clock)
        brief = await talk.on.identity.issue(
            tenant="acme", name="brief", boundary="", profiles=set(), scopes=("inference",), expires="12h"
        )
        assert [await talk.say(key=brief.secret) for _ in range(2)] == [(200, "d0")] * 2
        clock.by_ns = 12 * 3600 * 1_000_000_000
        assert await talk.say(key=brief.secret) == (401, "key_expired")
        assert await talk.say() == (200, "d0")

    talk(run, tmp_path, test)


def test_a_key_is_every_call_s_own(run: Run, tmp_path: Path) -> None:
    async def test(talk: Talk) -> None:
        other = await talk.on.identity.issue(
            tenant="other", name="else", boundary="", profiles=set(), scopes=("inference",)
        )
        admin = await talk.on.identity.issue(tenant="x", name="x", boundary="", profiles=set(), scopes=("admin",))
        wrong = other.secret[:-1] + ("A" if other.secret[-1] != "A" else "B")
        assert await talk.say() == (200, "d0")
        assert await talk.say(key=wrong) == (401, "key_unknown")
        assert await talk.say(key=other.secret) == (200, "d0")
        assert await talk.say(key=admin.secret) == (403, "scope_missing")
        assert await talk.say(key="") == (401, "key_missing")
        assert await talk.say(f"x-api-key: {other.secret}", key="") == (200, "d0")
        assert await talk.say() == (200, "d0")
        opened = [record for record in await talk.on.records() if isinstance(record, Opened)]
        assert [record.tenant for record in opened] == ["acme", "other", "other", "acme"]

    talk(run, tmp_path, test)


def test_calls_in_one_write_are_each_their_own_caller_s(run: Run, tmp_path: Path) -> None:
    async def test(talk: Talk) -> None:
        body = msgspec.json.encode(ask("chat"))
        keys = [talk.on.secret, "ilk_" + "x" * 43, talk.on.secret, "", talk.on.secret]
        talk._writer.write(b"".join(talk.on.request(PATHS["chat"], body, key=key) for key in keys))
        assert [(await read_answer(talk._reader)).status for _ in keys] == [200, 401, 200, 401, 200]

    talk(run, tmp_path, test)


def test_mode_and_session_are_every_call_s_own(run: Run, tmp_path: Path) -> None:
    async def test(talk: Talk) -> None:
        assert await talk.say("x-interlock-mode: plan", "x-interlock-session: a") == (200, "d0")
        assert await talk.say("x-interlock-mode: code", "x-interlock-session: a") == (200, "d0")
        assert await talk.say("x-interlock-mode: code", "x-interlock-session: b") == (200, "d0")
        assert await talk.say("x-interlock-mode: co de", "x-interlock-session: b") == (400, "invalid_request")
        assert await talk.say() == (200, "d0")
        opened = [record for record in await talk.on.records() if isinstance(record, Opened)]
        found = [(record.mode, record.session, record.tier) for record in opened]
        opening = f"conv-{plain_call('auto').opening}"
        assert found == [("plan", "a", "second"), ("code", "a", "main"), ("code", "b", "main"), ("", opening, "main")]

    talk(run, tmp_path, test)


def _boundary(made: Policy) -> Policy:
    return msgspec.structs.replace(made, boundary="mars", version="other")


def _profile(made: Policy) -> Policy:
    return msgspec.structs.replace(made, profiles={"eu": Profile(name="eu", geographies=("us",))}, version="other")


@pytest.mark.parametrize(
    ("change", "under", "then"), [(_boundary, "", (403, "boundary_refused")), (_profile, "eu", (200, "d1"))]
)
def test_another_policy_counts_for_the_very_next_call(
    run: Run, tmp_path: Path, change: Callable[[Policy], Policy], under: str, then: tuple[int, str]
) -> None:
    async def test(talk: Talk) -> None:
        assert [await talk.say() for _ in range(2)] == [(200, "d0")] * 2
        talk.on.gateway.adopt(change(talk.on.gateway.policy))
        assert await talk.say() == then

    talk(run, tmp_path, test, count=2, boundary=under)


def test_another_boundary_in_the_directory_counts_for_the_very_next_call(run: Run, tmp_path: Path) -> None:
    async def test(talk: Talk) -> None:
        assert [await talk.say() for _ in range(2)] == [(200, "d0")] * 2
        shared = talk.on.gateway.directory
        assert isinstance(shared, SharedDirectory)
        shared.directory.tenants["acme"] = msgspec.structs.replace(shared.directory.tenants["acme"], boundary="mars")
        await talk.on.identity.create_tenant("new")  # any record after it
        assert await talk.say() == (403, "boundary_refused")

    talk(run, tmp_path, test)


def test_readiness_counts_for_the_very_next_call(run: Run, tmp_path: Path) -> None:
    async def test(talk: Talk) -> None:
        gateway = talk.on.gateway
        assert [await talk.say() for _ in range(2)] == [(200, "d0")] * 2
        gateway.set_loading("d0", "loading")
        assert await talk.say() == (200, "d1")
        gateway.set_loading("d0", "")
        assert await talk.say() == (200, "d0")
        gateway.circuits["d0"].cool(gateway.loop.time() + 60, "a test")
        gateway.circuits_moved()
        assert await talk.say() == (200, "d1")

    talk(run, tmp_path, test, count=2)


def test_nothing_is_remembered_of_a_connection_that_is_gone(run: Run, tmp_path: Path) -> None:
    async def test(talk: Talk) -> None:
        await talk.say()
        [connection] = talk.on.gateway.connections
        assert isinstance(connection.known, Caller)
        talk._writer.close()
        async with asyncio.timeout(5):
            while talk.on.gateway.connections:
                await asyncio.sleep(0)
        assert connection.known is None

    talk(run, tmp_path, test)
