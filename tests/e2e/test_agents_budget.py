"""An agent program's model calls against its session's budget: refused in its own format, counted by the ledger."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from tests.e2e.agents import House, ended, inhabited, kinds
from tests.e2e.server import until

from interlock.client import Session

CALL = 120
"""Tokens of a call, as it is recorded: 100 in, 20 out."""
NANOUSD = 100 * 1_000 + 20 * 2_000
ASKS = r"""
import json, os, sys, urllib.error, urllib.request

def ask(format, stream, most=None):
    root = os.environ["ANTHROPIC_BASE_URL"]
    url = root + ("/v1/messages" if format == "messages" else "/v1/chat/completions")
    said = {"model": "auto", "max_tokens": 50, "stream": stream, "messages": [{"role": "user", "content": sys.argv[1]}]}
    request = urllib.request.Request(url, json.dumps(said).encode(), {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request) as answer:
            answer.read(*most or ())
        return True
    except urllib.error.HTTPError as error:
        print(json.dumps([error.code, error.headers["content-type"], json.loads(error.read())]), flush=True)
        return False
"""
UNTIL_REFUSED = (
    ASKS + "while ask('chat', True) and ask('messages', True) and ask('chat', False) and ask('messages', False): pass\n"
    "ask('chat', False); ask('messages', True)"
)
HANGS_UP = ASKS + "ask('messages', True, [1]); ask('chat', True, [1]); ask('chat', False)"
READS = ASKS + "print('begun', flush=True); ask('chat', True)\nimport time; time.sleep(600)"

GOES_ON = (
    ASKS
    + r"""
import time
print("begun", flush=True)
while True:
    try:
        if not ask("chat", True) or not ask("messages", False):
            time.sleep(0.05)
    except Exception:  # nobody answers there just now, or an answer was cut off
        time.sleep(0.05)
"""
)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with inhabited(tmp_path_factory.mktemp("budget")) as found:
        yield found


def begun(house: House, program: str, **budget: Any) -> Session:
    argv = ["/usr/bin/python3", "-c", program, "{prompt}"]
    return house.acme.run("[hello] ask", agent={"program": argv, "budget": budget})


def of(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in events if event["type"] == kind]


def metered(house: House, session: Session) -> tuple[int, int]:
    """(tokens, nano-USD) of a session, by the ledger."""
    usage = house.server.cli("usage", "--by", "session", "--format", "json")
    rows = [r for r in msgspec.json.decode(usage.stdout)["rows"] if r["dimensions"]["session"] == session.id]
    return sum(int(r["input"]) + int(r["output"]) for r in rows), sum(int(r["amount_nanousd"]) for r in rows)


def used(session: Session) -> tuple[int, int]:
    told = session.show()["used"]
    return told["tokens"], int(told["amount_nanousd"])


def test_a_program_makes_calls_until_it_is_refused_and_goes_on_when_the_budget_is_raised(house: House) -> None:
    session = begun(house, UNTIL_REFUSED, tokens=3 * CALL + 1)
    events = ended(session)
    assert (events[-1]["reason"], events[-1]["detail"]) == ("budget", "361 tokens"), str(events)[-3000:]
    assert (
        len(of(events, "program.called")) == 4
        and [e["outcome"] for e in of(events, "program.metered")] == ["completed"] * 4
    )
    assert session.show()["used"]["steps"] == 4 and used(session) == (4 * CALL, 4 * NANOUSD) == metered(house, session)
    told = [msgspec.json.decode(line) for e in of(events, "brain.noted") for line in e["text"].splitlines()]
    assert [(status, kind) for status, kind, _ in told] == [(403, "application/json")] * 3
    why = "the session's budget is used up (361 tokens); a person may raise it"
    for _, _, body in (told[0], told[1]):
        assert body["error"]["code"] == "budget_exceeded" and body["error"]["message"] == why
    assert told[2][2]["type"] == "error" and told[2][2]["error"]["message"] == why
    refused = [e["why"] for e in of(events, "hands.connected") if not e["allowed"]]
    assert refused == [why] * 3

    session.raise_budget(amount_nanousd=8 * NANOUSD)
    events = ended(session, events[-1]["seq"])
    assert events[-1]["reason"] == "budget" and used(session) == (8 * CALL, 8 * NANOUSD) == metered(house, session)
    assert len(of(events, "program.called")) == 4


def test_a_call_that_is_hung_up_counts_as_the_ledger_has_it(house: House) -> None:
    session = begun(house, HANGS_UP)
    events = ended(session)
    assert events[-1]["reason"] == "done", str(events)[-3000:]
    outcomes = [e["outcome"] for e in of(events, "program.metered")]
    assert len(outcomes) == 3 and outcomes[2] == "completed" and {*outcomes} <= {"cancelled", "completed"}
    assert used(session) == metered(house, session) and used(session)[0] > CALL + 100


def test_what_a_program_has_used_survives_the_death_of_its_worker(house: House) -> None:
    session = begun(house, READS, steps=1)
    for event in session.watch():
        if event["type"] == "program.called":
            os.kill(house.server.pids()["runtime"], signal.SIGKILL)
            break
    events = ended(session)
    assert events[-1]["reason"] in ("failed", "budget"), str(events)[-3000:]
    assert len(of(events, "program.called")) == 1 and kinds(events).count("program.metered") <= 1
    until(lambda: used(session) == metered(house, session), "the log says what the ledger says")


def test_calls_of_a_gateway_that_is_killed_count_before_more_are_let_through(house: House) -> None:
    """Again and again, whatever is in flight then: what nobody could settle is in the budget as the ledger has it."""
    most = 12 * CALL
    session = begun(house, GOES_ON, tokens=most)
    called = 0
    for event in session.watch():
        called += event["type"] == "program.called"
        if event["type"] == "program.called" and called in (2, 5, 8):
            os.kill(house.server.pids()["worker-0"], signal.SIGKILL)
        if event["type"] == "brain.noted" and "budget_exceeded" in event["text"]:  # it would go on for a minute
            session.cancel()
        if event["type"] == "turn.ended":
            break
    assert called >= 8, str(session.events()[-12:])[-4000:]
    until(lambda: used(session) == metered(house, session), "the log says what the ledger says")
    tokens, _ = used(session)
    assert most <= tokens <= most + CALL, "one call is in flight at a time"
