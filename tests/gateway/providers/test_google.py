"""google-auth against a token endpoint on this machine, with the files that Google hands out."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs

import jwt
import pytest
from tests.gateway.providers.accounts import KEY, google_file, service_account
from tests.gateway.providers.endpoint import Endpoint, endpoint

from interlock.clock import SystemClock
from interlock.errors import LocalError, TransientError
from interlock.gateway.providers import google
from interlock.gateway.providers.google import SCOPE, google_auth
from interlock.testing.clock import ManualClock

Run = Callable[..., object]
HOUR = 3600 * 1_000_000_000
AUDIENCE = "https://oauth2.googleapis.com/token"
"""Whatever the file's `token_uri`; an authorized user's file has no say in whom to ask either."""


@pytest.fixture
def tokens() -> Iterator[Endpoint]:
    with endpoint({"access_token": "secret-1", "expires_in": 3600, "token_type": "Bearer"}) as made:
        yield made


@pytest.fixture
def file(tokens: Endpoint, tmp_path: Path) -> Path:
    """A service account's."""
    return service_account(tmp_path, tokens.url)


@pytest.fixture(autouse=True)
def far_from_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """google-auth's times are UTC, but do not say so."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


def clock_now() -> ManualClock:
    """google-auth counts from the machine's time."""
    return ManualClock(SystemClock.now_ns())


@pytest.mark.parametrize("default", [False, True])
def test_a_service_account(
    run: Run, tokens: Endpoint, file: Path, default: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if default:
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    clock = clock_now()
    auth = google_auth(clock, "" if default else str(file))

    async def main() -> None:
        tokens.asked.clear()
        assert auth.ready("/", b"") is None
        assert await auth.fetch("/", b"") == b"authorization: Bearer secret-1\r\n"
        assert auth.ready("/", b"") == b"authorization: Bearer secret-1\r\n"
        form = parse_qs(tokens.asked[0].body.decode())
        claims = jwt.decode(form["assertion"][0], KEY.public_key(), algorithms=["RS256"], audience=AUDIENCE)
        assert (claims["scope"], claims["iss"]) == (SCOPE, "a@p.iam.gserviceaccount.com")
        clock.advance(HOUR)
        assert auth.ready("/", b"") is None
        tokens.answer = {"access_token": "secret-2", "expires_in": 7200}
        assert await auth.fetch("/", b"") == b"authorization: Bearer secret-2\r\n"
        assert len(tokens.asked) == 2
        tokens.answer = {"access_token": "secret-1", "expires_in": 3600}

    run(main)


def test_an_external_account(run: Run, tokens: Endpoint, tmp_path: Path) -> None:
    (tmp_path / "subject").write_text("a.b.c")
    path = google_file(
        tmp_path,
        type="external_account",
        audience="//iam.googleapis.com/x",
        subject_token_type="urn:ietf:params:oauth:token-type:jwt",
        token_url=f"{tokens.url}/sts",
        credential_source={"file": str(tmp_path / "subject")},
        quota_project_id="q",
    )

    async def main() -> None:
        tokens.asked.clear()
        tokens.answer = {
            "access_token": "secret-3",
            "expires_in": 3600,
            "token_type": "Bearer",
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        }
        assert await google_auth(clock_now(), str(path)).fetch("/", b"") == (
            b"authorization: Bearer secret-3\r\nx-goog-user-project: q\r\n"
        )
        assert parse_qs(tokens.asked[0].body.decode())["subject_token"] == ["a.b.c"]

    run(main)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"type":"service_account"}', b"\xff", None])
def test_files_that_are_none(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "credentials.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LocalError) as raised:
        google_auth(clock_now(), str(path))
    assert raised.value.message.startswith("credential_missing: ")
    assert raised.value.code == "upstream_auth"


def test_refused(run: Run, tokens: Endpoint, file: Path) -> None:
    auth = google_auth(clock_now(), str(file))

    async def main() -> None:
        tokens.status, tokens.answer = 400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
        with pytest.raises(LocalError) as raised:
            await auth.fetch("/", b"")
        assert "Invalid JWT Signature." in raised.value.message
        assert "PRIVATE" not in raised.value.message

    run(main)


@pytest.mark.parametrize("gone", [True, False], ids=["refuses", "is silent"])
def test_nobody_answers(run: Run, file: Path, tokens: Endpoint, gone: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(google, "EXCHANGE_S", 0.1)
    if gone:
        file.write_bytes(file.read_bytes().replace(tokens.url.encode(), b"http://127.0.0.1:9"))
    else:
        tokens.gate.clear()
    auth = google_auth(clock_now(), str(file))

    async def main() -> None:
        with pytest.raises(TransientError):
            await auth.fetch("/", b"")

    run(main)


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "google.auth", None)
    with pytest.raises(LocalError) as raised:
        google_auth(clock_now())
    assert raised.value.message == "credential_missing: install interlock[google]"
