"""Sessions as tenants' programs use them: over HTTP and with the client."""

import functools
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any

import msgspec
import pytest
from tests.e2e.agents import ALLOW, SCRIPTS, House, ended, inhabited, kinds
from tests.e2e.server import until

from interlock.client import Agents, Refused, Session


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with inhabited(tmp_path_factory.mktemp("agents")) as found:
        yield found


def test_a_session_from_its_first_word_to_its_last(house: House) -> None:
    session = house.acme.run("[write] something", agent=ALLOW, title="a title", labels={"team": "x"})
    events = ended(session)
    assert events[0]["type"] == "session.created" and events[0]["tenant"] == "acme"
    [finished] = [event for event in events if event["type"] == "tool.finished"]
    assert finished["outcome"] == "ok" and finished["content"]["text"].startswith("written\n")
    assert kinds(events)[-1] == "turn.ended" and events[-1]["reason"] == "done"
    shown = session.show()
    assert (shown["status"], shown["title"], shown["labels"]) == ("idle", "a title", {"team": "x"})
    assert shown["used"]["steps"] == 2 and int(shown["used"]["amount_nanousd"]) > 0
    assert session.read("here.txt") == b"written\n"
    assert session.result(finished["seq"]).startswith(b"written\n")
    # Every step was metered, under the session's name and the key's tenant.
    usage = house.server.cli("usage", "--by", "session,tenant", "--format", "json")
    rows = [row for row in msgspec.json.decode(usage.stdout)["rows"] if row["dimensions"]["session"] == session.id]
    assert [row["dimensions"]["tenant"] for row in rows] == ["acme"], rows
    assert int(rows[0]["amount_nanousd"]) == int(shown["used"]["amount_nanousd"])


def test_the_same_request_twice_is_one_session_and_one_message(house: House) -> None:
    one = house.acme.run("[hello]", id="mine")
    two = house.acme.run("[hello]", id="mine")
    assert one.id == two.id
    with pytest.raises(Refused) as refused:
        house.acme.run("[hello] otherwise", id="mine")
    assert refused.value.code == "conflict"
    ended(one)
    assert one.say("again", id="m1") == one.say("again", id="m1")
    assert kinds(ended(one)).count("user.said") == 2
    assert house.other.run("[hello]", id="mine").id != one.id, "another tenant's id is another's"


def test_tenants_do_not_know_each_other(house: House) -> None:
    session = house.acme.run("[hello]")
    ended(session)
    stranger = house.other.session(session.id)
    for attempt in (stranger.show, stranger.events, stranger.cancel, stranger.fork, lambda: stranger.say("x")):
        with pytest.raises(Refused) as refused:
            attempt()
        assert (refused.value.status, refused.value.code) == (404, "session_unknown")
    with pytest.raises(Refused, match="session_unknown"):
        list(stranger.watch(until_idle=True))
    with pytest.raises(Refused, match="session_unknown"):
        stranger.read("here.txt")
    assert session.id not in [row["session"] for row in house.other.sessions(limit=500)]
    assert session.id in [row["session"] for row in house.operator.sessions(limit=500)]
    assert house.operator.session(session.id).show()["tenant"] == "acme"


def test_mistakes_are_named(house: House) -> None:
    key = house.keys["acme"]
    for body, field in (
        ({"agent": {"mode": "yolo"}}, "agent.mode"),
        ({"agent": {"rules": {"allow": ["shell("]}}}, "rules"),
        ({"agent": {"budget": {"steps": -1}}}, "steps"),
        ({"agent": {"hands": "docker"}}, "hands"),
        ({"agent": {"compaction": "none"}}, "agent.compaction"),
        ({"agent": {"mode": "bypass"}}, "kernel of its own"),
        ({"agent": {"resources": {"memory_bytes": 1}}}, "memory"),
        ({"say": "x" * 2_000_000}, "body"),
        ({"agents": {}}, "agents"),
    ):
        status, told = house.ask("POST", "/v1/sessions", key, body)
        assert status in (400, 413), (body, told)
        assert field in (told["error"]["field"] or "") or field in told["error"]["message"], told
    status, told = house.ask("GET", "/v1/sessions?limit=ten", key)
    assert (status, told["error"]["field"]) == (400, "limit")
    status, told = house.ask("GET", "/v1/sessions/none", key)
    assert (status, told["error"]["code"]) == (404, "session_unknown")


def test_a_person_is_asked_and_the_answer_is_for_these_arguments_once(house: House) -> None:
    session = house.acme.run("[write]", agent={"mode": "default"})
    [asked] = until(session_asks(session), "it asks")
    assert session.show()["status"] == "waiting"
    assert asked in house.acme.approvals() and asked not in house.other.approvals()
    with pytest.raises(Refused, match="approval_closed"):
        session.approve(asked["approval"], "0" * 64)
    runner = Agents(house.url, house.issue("acme", "sessions:run"))
    with pytest.raises(Refused, match="scope_missing"):
        runner.session(session.id).approve(asked["approval"], asked["arguments_sha256"])
    session.approve(asked["approval"], asked["arguments_sha256"], note="go on")
    with pytest.raises(Refused, match="approval_closed"):
        session.deny(asked["approval"], asked["arguments_sha256"])
    events = ended(session)
    [started] = [event for event in events if event["type"] == "tool.started"]
    assert started["approval"] == asked["approval"] and session.read("here.txt") == b"written\n"


def test_of_two_who_answer_at_once_one_decides_and_the_other_is_told(house: House) -> None:
    """From clients of their own, as over two connections; what runs is what the one said whose answer stands."""
    session = house.acme.run("[write]", agent={"mode": "default"})
    other = Agents(house.url, house.issue("acme")).session(session.id)
    for turn in range(8):
        [asked] = until(session_asks(session), "it asks")
        words = (asked["approval"], asked["arguments_sha256"])
        ways = [functools.partial(session.approve, *words), functools.partial(other.deny, *words)]
        after = session.events()[-1]["seq"]
        with ThreadPoolExecutor(2) as pool:
            answers = [pool.submit(way) for way in ways[:: 1 if turn % 2 else -1]]
        failed = [error for answer in answers if (error := answer.exception()) is not None]
        assert [error.code for error in failed if isinstance(error, Refused)] == ["approval_closed"], failed
        events = ended(session, after)
        [answer] = [event for event in events if event["type"] == "approval.answered"]
        [finished] = [event for event in events if event["type"] == "tool.finished"]
        assert finished["outcome"] == ("ok" if answer.get("approved") else "denied")
        session = house.acme.run("[write]", agent={"mode": "default"})
        other = Agents(house.url, house.keys["acme"]).session(session.id)


def session_asks(session: Session) -> Any:
    return lambda: session.show()["approvals"]


def test_denied_and_expired_are_two_things(house: House) -> None:
    denied = house.acme.run("[write]", agent={"mode": "default"})
    [asked] = until(session_asks(denied), "it asks")
    denied.deny(asked["approval"], asked["arguments_sha256"], note="not today")
    expired = house.acme.run("[write]", agent={"mode": "default", "approval_s": 1})
    outcomes = {}
    for name, session in (("denied", denied), ("expired", expired)):
        [finished] = [event for event in ended(session) if event["type"] == "tool.finished"]
        outcomes[name] = finished["outcome"]
        assert name == "expired" or "not today" in finished["content"]["text"]
    assert outcomes == {"denied": "denied", "expired": "expired"}
    with pytest.raises(Refused):
        denied.read("here.txt")


def test_cancel_kills_what_runs_at_once(house: House) -> None:
    session = house.acme.run("[long]", agent=ALLOW)
    until(lambda: "tool.started" in kinds(session.events()), "it runs")
    session.cancel("enough")
    events = ended(session)
    assert events[-1]["reason"] == "cancelled"
    [finished] = [event for event in events if event["type"] == "tool.finished"]
    assert finished["outcome"] == "cancelled"
    with pytest.raises(Refused):
        session.read("ended.txt")
    session.say("and on")
    assert ended(session)[-1]["reason"] == "done", "a cancelled session goes on when it is told something"


def test_a_fork_goes_its_own_way(house: House) -> None:
    parent = house.acme.run("[two] first", agent=ALLOW)
    head = ended(parent)[-1]["seq"]
    fork = parent.fork(say="now the second")
    parent.say("now the second")
    for session in (parent, fork):
        ended(session)
        assert session.read("log.txt") == b"one\ntwo\n"
    log = fork.events()
    assert log[0]["parent"] == parent.id and log[0]["parent_seq"] == head
    assert [e["type"] for e in log[1:head]] == [e["type"] for e in parent.events()[1:head]]
    early = parent.fork(at=2)
    assert early.show()["parent_seq"] == 2


def test_a_reset_leaves_the_model_the_summary_and_the_log_everything(house: House) -> None:
    session = house.acme.run("[hello] one")
    ended(session)
    shown = session.reset("They said hello.")
    session.say("[hello] two")
    events = ended(session)
    [cut] = [event for event in events if event["type"] == "context.cut"]
    assert (cut["kind"], cut["summary"]) == ("summary", "They said hello.") and shown["status"] == "idle"
    first, second = (event["usage"]["input"] for event in events if event["type"] == "model.answered")
    assert second == first, "the model was shown a beginning again"
    busy = house.acme.run("[long]", agent=ALLOW)
    until(lambda: "tool.started" in kinds(busy.events()), "it runs")
    with pytest.raises(Refused, match="conflict"):
        busy.reset()
    busy.cancel()


def test_what_the_window_no_longer_holds_is_summed_up_and_metered(house: House) -> None:
    session = house.acme.run("[hello] 1 " + "word " * 400, agent={"context_tokens": 2_000})
    for turn in range(2, 5):
        ended(session)
        session.say(f"[hello] {turn} " + "word " * 400)
    events = ended(session)
    place, cut = next((n, event) for n, event in enumerate(events) if event["type"] == "context.cut")
    assert (cut["kind"], cut["summary"]) == ("summary", SCRIPTS["hello"][0]["text"])
    asked, answered = events[place - 2 : place]
    assert asked["until_seq"] == cut["before_seq"] and answered["parts"] == []
    assert kinds(events).count("turn.ended") == 4 and kinds(events).count("user.said") == 4
    used = session.show()["used"]
    calls = kinds(events).count("model.asked")
    assert used["steps"] == calls == kinds(events).count("model.answered") > 4
    usage = house.server.cli("usage", "--by", "session", "--format", "json")
    [row] = [row for row in msgspec.json.decode(usage.stdout)["rows"] if row["dimensions"]["session"] == session.id]
    assert int(row["amount_nanousd"]) == int(used["amount_nanousd"])
    session.compact()
    *_, asked, _, cut, end = ended(session)
    assert (cut["kind"], cut["before_seq"], end["reason"]) == ("summary", asked["until_seq"], "done")
    refused = house.server.cli("sessions", "compact", session.id)
    assert refused.returncode != 0 and "nothing to sum up" in refused.stderr
    plain = house.acme.run("[hello] " + "word " * 2_000, agent={"context_tokens": 2_000, "compaction": "window"})
    ended(plain)
    plain.say("[hello] again")
    assert [event["kind"] for event in ended(plain) if event["type"] == "context.cut"] == ["window"]


def test_a_large_result_is_beside_the_log(house: House) -> None:
    session = house.acme.run("[large]", agent=ALLOW)
    [finished] = [event for event in ended(session) if event["type"] == "tool.finished"]
    whole = "".join(f"{n}\n" for n in range(1, 20001))
    assert finished["content"]["type"] == "blob" and finished["content"]["bytes"] >= len(whole)
    assert session.result(finished["seq"]).decode().startswith(whole)


def test_a_budget_ends_a_turn_and_more_lets_it_go_on(house: House) -> None:
    session = house.acme.run("[many]", agent={**ALLOW, "budget": {"steps": 2}})
    assert ended(session)[-1]["reason"] == "budget" and session.show()["used"]["steps"] == 2
    session.raise_budget(steps=20)
    assert ended(session)[-1]["reason"] == "done"


def test_a_stream_goes_on_behind_what_was_seen_and_tells_words_as_they_come(house: House) -> None:
    session = house.acme.run("", agent=ALLOW)
    connection = HTTPConnection("127.0.0.1", house.server.api_port, timeout=20)
    headers = {"authorization": f"Bearer {house.keys['acme']}", "last-event-id": "1"}
    connection.request("GET", f"/v1/sessions/{session.id}/stream?after=0", headers=headers)
    answer = connection.getresponse()
    assert answer.headers["content-type"].startswith("text/event-stream")
    session.say("[hello]")
    lines = [answer.readline() for _ in range(4)]
    assert lines[0] == b"id: 2\n" and lines[1] == b"event: user.said\n", "the header outranks the parameter"
    seen = b""
    while b"turn.ended" not in seen:
        seen += answer.readline()
    assert b"event: delta" in seen and seen.index(b"event: delta") < seen.index(b"event: model.answered")
    connection.close()
    told = list(session.watch(after=1, deltas=True, until_idle=True))
    assert [e["type"] for e in told][-1] == "turn.ended", "who comes later is told all of the log"


def test_files_in_and_out_stay_in_the_workspace(house: House) -> None:
    session = house.acme.run("[hello]")
    data = os.urandom(3_000_000)
    session.write("deep/in/file name.bin", data)
    assert session.read("deep/in/file name.bin") == data
    for path in ("../../secret", "/etc/passwd", "deep/../../x"):
        with pytest.raises(Refused):
            session.read(path)
    with pytest.raises(Refused) as missing:
        session.read("none")
    assert missing.value.status in (400, 404)


def test_a_workspace_that_is_removed_is_told_and_the_session_lives(house: House) -> None:
    """From outside, with its sandbox held: no brain fails over it, and no other session notices."""
    session = house.acme.run("[two]", agent=ALLOW)
    first = ended(session)
    shutil.rmtree(house.server.places.root / "workspaces" / session.show()["workspace"])
    before = house.server.pids()["runtime"]
    session.say("again")
    events = ended(session, first[-1]["seq"])
    [lost] = [event for event in events if event["type"] == "hands.lost"]
    assert lost["reason"] == "the workspace was removed, with all that was in it"
    [finished] = [event for event in events if event["type"] == "tool.finished"]
    assert finished["content"]["text"] == f"Not allowed: {lost['reason']}; the next call begins with an empty one"
    assert events[-1]["reason"] == "done"
    session.write("new.txt", b"new")
    assert session.read("new.txt") == b"new", "it has another"
    assert house.server.pids()["runtime"] == before


def test_a_log_of_large_events_is_told_piece_by_piece(house: House) -> None:
    """Whoever attaches and reads nothing holds no more of the server's memory than a piece; who reads gets all."""
    session = house.acme.run("")
    texts = [f"[hello] {number} " + "x" * 200_000 for number in range(12)]
    for text in texts:
        session.say(text)
    until(lambda: session.show()["status"] == "idle", "all was answered")
    page = session.events()
    assert 0 < len(page) < session.show()["head"]
    assert sum(len(msgspec.json.encode(event)) for event in page) < (1 << 20) + 300_000
    events = ended(session)
    assert [event["text"] for event in events if event["type"] == "user.said"] == texts
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))


def test_a_workspace_that_went_while_no_sandbox_held_it_is_told_once(house: House) -> None:
    """As one that expired. A person who writes into the empty one before its agent looks hides nothing."""
    session = house.acme.run("[two]", agent=ALLOW)
    first = ended(session)
    workspace = house.server.places.root / "workspaces" / session.show()["workspace"]
    house.server.stop()
    shutil.rmtree(workspace)
    house.server.start()
    until(house.server.places.runtime_socket.is_socket, "agents can run")
    session.write("new.txt", b"new")
    session.say("again")
    events = ended(session, first[-1]["seq"])
    [lost] = [event for event in events if event.get("workspace")]
    assert (lost["type"], lost["reason"]) == ("hands.lost", "the workspace was removed, with all that was in it")
    [finished] = [event for event in events if event["type"] == "tool.finished"]
    assert finished["content"]["text"] == f"Not allowed: {lost['reason']}; the next call begins with an empty one"
    session.say("[two] more")
    assert not [event for event in ended(session, events[-1]["seq"]) if event.get("workspace")], "once"
