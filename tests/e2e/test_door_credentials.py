"""Credentials of tool servers: each caller's own, tokens had and had again, and where none of them goes."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qsl

import pytest
from tests.door.rogue import Answer, Rogue, rogue, said, tool
from tests.e2e.doors import client, configured, failed, over_http, told
from tests.e2e.server import Server, running

CLIENT_SECRET = "client-secret-0815"


class Tokens:
    """A token endpoint that remembers what it was asked, and names each token after its subject."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.url = ""
        self.status = 200


@contextmanager
def tokens() -> Iterator[Tokens]:
    made = Tokens()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Nothing."""

        def do_POST(self) -> None:
            form = dict(parse_qsl(self.rfile.read(int(self.headers["content-length"])).decode()))
            made.asked.append(form)
            token = f"token-{len(made.asked)}-for-{form.get('subject_token', form['client_id'])}"
            body = json.dumps({"access_token": token, "token_type": "Bearer", "expires_in": 3600}).encode()
            if made.status != 200:
                body = json.dumps({"error": "invalid_client", "echo": form}).encode()
            self.send_response(made.status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{http.server_port}/token"
    thread = Thread(target=http.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


class House:
    """One server with tool servers that each ask for another kind of credential."""

    def __init__(self, server: Server, wild: Rogue, elsewhere: Rogue, issuer: Tokens, root: Path) -> None:
        self.server, self.wild, self.elsewhere, self.issuer, self.root = server, wild, elsewhere, issuer, root


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    root = tmp_path_factory.mktemp("credentials")
    for user in ("ada", "bob"):
        (root / "users" / "acme").mkdir(parents=True, exist_ok=True)
        (root / "users" / "acme" / user).write_text(f"subject-of-{user}\n")
    with rogue() as wild, rogue() as elsewhere, tokens() as issuer:
        wild.tools = [tool(name) for name in ("work", "count", "moved", "moved_here")]
        counts: dict[str, int] = {}

        def count(_: Rogue, params: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
            session = headers["mcp-session-id"]
            counts[session] = counts.get(session, 0) + 1
            return said(str(counts[session]))

        def moved(to: str) -> Any:
            return lambda *_: (307, {"location": to}, b"")

        wild.scripts |= {"count": count, "moved": moved(elsewhere.url), "moved_here": moved("/mcp?again")}
        oauth = f'token_url = "{issuer.url}"\nclient_id = "interlock"\nclient_secret = {{ env = "CLIENT_SECRET" }}'
        config = configured(
            root / "interlock.toml",
            over_http("own", wild.url, 'credential = { file = "users/{tenant}/{principal}" }', 'header = "x-key"'),
            over_http("machine", wild.url, "[tools.servers.oauth]", oauth, 'scope = "tools"'),
            over_http(
                "behalf",
                wild.url,
                "[tools.servers.oauth]",
                oauth,
                'grant = "token_exchange"',
                'audience = "wild"',
                'subject = { file = "users/{tenant}/{principal}" }',
            ),
        )
        with running(root / "data", config=config, workers=1, env={"CLIENT_SECRET": CLIENT_SECRET}) as server:
            yield House(server, wild, elsewhere, issuer, root)


def key_of(server: Server, principal: str) -> str:
    return server.issue("--scope", "tools", "--principal", principal)[1]


def asked(house: House, grant: str) -> list[dict[str, str]]:
    return [form for form in house.issuer.asked if form["grant_type"] == grant]


def call(house: House, key: str, *names: str, mode: str = "legacy") -> list[str]:
    async def main() -> list[str]:
        async with client(house.server, key, mode=mode) as mcp:
            results = [await mcp.call_tool(name) for name in names]
            return [failed(one) if one.is_error else told(one) for one in results]

    return asyncio.run(main())


def test_each_caller_is_somebody_else_to_the_server(house: House) -> None:
    ada, bob = (key_of(house.server, name) for name in ("ada", "bob"))
    house.wild.seen.clear()
    assert call(house, ada, "own__work") == call(house, bob, "own__work") == ["done"]
    assert [headers["x-key"] for headers in house.wild.calls("work")] == ["subject-of-ada", "subject-of-bob"]


def test_state_that_a_server_keeps_is_never_shared(house: House) -> None:
    ada, bob = (key_of(house.server, name) for name in ("ada", "bob"))
    assert call(house, ada, "own__count", "own__count") == ["1", "2"]
    assert call(house, bob, "own__count") == ["1"]
    for mode in ("auto", "auto"):
        assert call(house, bob, "own__count", mode=mode) != ["3"], "nor through a connection that is kept"
    assert call(house, ada, "own__count") == ["1"], "another session of hers is another one there"


def test_who_has_no_credential_is_told_so_and_others_are_served(house: House) -> None:
    eve, ada = (key_of(house.server, name) for name in ("eve", "ada"))
    (text,) = call(house, eve, "own__work")
    assert "credential_missing" in text and "users/acme/eve" in text
    assert call(house, ada, "own__work") == ["done"]
    dots = key_of(house.server, "x/../../data/admin.key")
    (text,) = call(house, dots, "own__work")
    assert "credential_missing" in text, "a principal's name does not leave the folder"


def test_a_token_is_had_once_and_again_when_it_is_refused(house: House) -> None:
    key = key_of(house.server, "ada")
    house.wild.seen.clear()
    assert call(house, key, "machine__work") == call(house, key, "machine__work") == ["done"]
    (form,) = asked(house, "client_credentials")  # of all that the process has asked so far: the client lists tools
    assert form == {
        "grant_type": "client_credentials",
        "client_id": "interlock",
        "client_secret": CLIENT_SECRET,
        "scope": "tools",
    }
    token = house.wild.calls("work")[0]["authorization"].removeprefix("Bearer ")

    def refuse(message: dict[str, Any], headers: dict[str, str]) -> Answer | None:
        return (401, {}, b"") if token in headers.get("authorization", "") else None

    house.wild.before = refuse
    try:
        assert call(house, key, "machine__work") == ["done"]
    finally:
        house.wild.before = lambda message, headers: None
    assert len(asked(house, "client_credentials")) == 2
    assert token not in house.wild.calls("work")[-1]["authorization"]


def test_a_token_is_exchanged_for_each_user(house: House) -> None:
    house.wild.seen.clear()
    for name in ("ada", "bob", "ada"):
        assert call(house, key_of(house.server, name), "behalf__work") == ["done"]
    forms = asked(house, "urn:ietf:params:oauth:grant-type:token-exchange")
    assert sorted(form["subject_token"] for form in forms) == ["subject-of-ada", "subject-of-bob"], "each once"
    form = forms[0]
    assert form["subject_token_type"] == "urn:ietf:params:oauth:token-type:access_token"
    assert form["audience"] == "wild"
    shown = [headers["authorization"] for headers in house.wild.calls("work")]
    assert [one.rpartition("-")[2] for one in shown] == ["ada", "bob", "ada"]


def test_an_issuer_that_refuses_is_not_quoted(house: House) -> None:
    house.issuer.status = 401
    try:
        key = key_of(house.server, "ada")
        (house.root / "users" / "acme" / "ann").write_text("subject-of-ann\n")
        (text,) = call(house, key_of(house.server, "ann"), "behalf__work")
        assert "the token endpoint refuses: 401" in text
        assert CLIENT_SECRET not in text and "subject-of-ann" not in text
        assert call(house, key, "own__work") == ["done"]
    finally:
        house.issuer.status = 200
    assert CLIENT_SECRET not in house.server.said and "subject-of" not in house.server.said


def test_no_header_follows_a_redirect_to_another_origin(house: House) -> None:
    key = key_of(house.server, "ada")
    house.elsewhere.seen.clear()
    (text,) = call(house, key, "own__moved")
    assert "Redirect to" in text and "not followed" in text
    assert house.elsewhere.seen == []


def test_a_server_that_forgot_the_session_is_asked_again(house: House) -> None:
    key = key_of(house.server, "ada")

    async def main() -> None:
        async with client(house.server, key) as mcp:
            assert told(await mcp.call_tool("own__work")) == "done"
            house.wild.sessions.clear()
            assert told(await mcp.call_tool("own__work")) == "done", "it has started again, and nobody notices"

    asyncio.run(main())
