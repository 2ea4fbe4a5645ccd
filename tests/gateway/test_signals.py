"""Signals: who says what, which header counts, and what is refused."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import LocalError
from interlock.gateway.policy import Policy, Rule, Tier, When
from interlock.gateway.signals import Signals, names_route, read_signals, unknown_signals
from interlock.gateway.wire import Call, read
from interlock.identity import Key

KEY = Key(
    id="key_1",
    sha256="0" * 64,
    name="n",
    tenant="acme",
    principal="p",
    scopes=("inference",),
    created_at_ns=0,
    labels={"team": "a"},
)
POLICY = Policy(
    version="v",
    deployments={},
    tiers={"t": Tier(name="t", deployments=())},
    rules=(Rule(name="r", when=When(mode=("plan", "code")), tier="t"), Rule(name="s", when=When(), tier="t")),
    profiles={},
    default_tier="t",
)


def call(model: str = "auto", **fields: object) -> Call:
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}], **fields}
    return read("chat", msgspec.json.encode(body))


def test_key_and_body_are_joined() -> None:
    made = call(stream=True, max_tokens=7)
    signals = read_signals(made, {}, KEY)
    assert (signals.tenant, signals.principal, signals.labels) == ("acme", "p", {"team": "a"})
    assert (signals.format, signals.model, signals.stream, signals.output_tokens_max) == ("chat", "auto", True, 7)
    assert signals.input_tokens == made.input_estimate > 0
    assert (signals.mode, signals.session) == ("", f"conv-{made.opening}") and signals.conversation == made.opening


@pytest.mark.parametrize(
    ("headers", "model", "mode"),
    [
        ({b"x-interlock-mode": b"Plan"}, "auto", "plan"),
        ({b"x-kilocode-mode": b"code"}, "auto", "code"),
        ({b"x-interlock-mode": b"plan", b"x-kilocode-mode": b"code"}, "auto", "plan"),
        ({}, "auto:Plan", "plan"),
        ({b"x-interlock-mode": b"code"}, "auto:plan", "code"),
        ({}, "gpt:plan", ""),
        ({b"x-interlock-mode": b"a" * 64}, "auto", "a" * 64),
    ],
)
def test_the_mode(headers: dict[bytes, bytes], model: str, mode: str) -> None:
    assert read_signals(call(model), headers, KEY).mode == mode


@pytest.mark.parametrize("value", [b"", b" ", b"a b", b"-a", b"a" * 65, b"\xc3\xa4", b"a\n", b"a,b"])
@pytest.mark.parametrize("header", ["x-interlock-mode", "x-kilocode-mode"])
def test_a_mode_that_is_not_a_word_is_refused(header: str, value: bytes) -> None:
    with pytest.raises(LocalError) as caught:
        read_signals(call(), {header.encode(): value}, KEY)
    assert (caught.value.code, caught.value.field) == ("invalid_request", header)
    assert ": b'" not in caught.value.message and "�" not in caught.value.message


@pytest.mark.parametrize("model", ["auto:", "auto:a b", "auto:ä", "auto:" + "a" * 65])
def test_a_mode_in_the_name_is_checked_too(model: str) -> None:
    with pytest.raises(LocalError) as caught:
        read_signals(call(model), {}, KEY)
    assert (caught.value.code, caught.value.field) == ("invalid_request", "model")


@given(st.binary(max_size=300))
def test_a_session_is_visible_ascii_or_refused(value: bytes) -> None:
    good = 0 < len(value) <= 255 and all(0x21 <= byte <= 0x7E for byte in value)
    try:
        session = read_signals(call(), {b"x-interlock-session": value}, KEY).session
    except LocalError as error:
        assert not good
        assert error.field == "x-interlock-session"
    else:
        assert good
        assert session.encode() == value


@pytest.mark.parametrize(
    ("mode", "model", "unknown"),
    [
        ("", "auto", ()),
        ("plan", "auto:plan", ()),
        ("odd", "t", ("mode:odd",)),
        ("", "gpt-x", ("model:gpt-x",)),
        ("odd", "autoplan", ("mode:odd", "model:autoplan")),
    ],
)
def test_what_the_policy_has_no_word_for(mode: str, model: str, unknown: tuple[str, ...]) -> None:
    signals = Signals(format="chat", model=model, tenant="acme", principal="p", mode=mode)
    assert unknown_signals(signals, POLICY) == unknown
    assert names_route(model, POLICY) is not any(u.startswith("model:") for u in unknown)
    assert POLICY.indexed.modes == {"plan", "code"}
