"""What is told of connections out of a sandbox, until a session's log takes it."""

import pytest

from interlock.clock import SystemClock
from interlock.runtime.brain.rack import Rack
from interlock.runtime.hands import egress
from interlock.runtime.sessions.event import Connected


def test_all_that_the_proxy_tells_comes_into_the_log() -> None:
    rack = Rack({}, SystemClock())
    said = egress.Connected(
        sandbox="sbx", host="secret.example", port=53, allowed=False, protocol="dns", address="192.0.2.53",
        sent_bytes=29, received_bytes=1, why="a packet around the proxy",
    )  # fmt: skip
    rack.report("session", said)
    (found,) = rack.told("session")
    assert {name: getattr(found, name) for name in said.__struct_fields__} == {
        name: getattr(said, name) for name in said.__struct_fields__
    }
    assert rack.told("session") == []


def test_of_more_than_wait_the_number_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interlock.runtime.brain.rack.TOLD_MAX", 3)
    rack = Rack({}, SystemClock())
    for number in range(5):
        rack.report("session", Connected(sandbox="sbx", host=f"{number}.example", port=1, allowed=False))
    *first, last = rack.told("session")
    assert [one.host for one in first] == ["0.example", "1.example", "2.example"]
    assert (last.sandbox, last.host, last.allowed) == ("sbx", "", False) and last.why.startswith("2 more attempts")
    assert rack.told("session") == []
