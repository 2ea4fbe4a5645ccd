"""Signatures, checked by a server that knows AWS's description of SigV4 and nothing of botocore."""

import asyncio
import contextlib
import datetime
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.gateway.providers.sigv4 import KEY, SECRET, TOKEN, emptied, keys, serving, verified

from interlock.errors import LocalError, TransientError
from interlock.gateway.providers.aws import SigV4
from interlock.gateway.providers.bedrock import Converse
from interlock.gateway.providers.ports import Auth

Run = Callable[..., Any]
TARGET = Converse("arn:aws:bedrock:eu-west-1:1:inference-profile/eu.claude-v1:0", anthropic=True).path(True)
BODY = '{"messages": [{"role": "user", "content": [{"text": "ä"}]}]}'.encode()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    emptied(monkeypatch, tmp_path)
    return monkeypatch


async def sent(port: int, host: str, lines: bytes) -> None:
    """The request as the gateway sends it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"POST %b HTTP/1.1\r\nhost: %b\r\nuser-agent: interlock/1\r\ncontent-type: application/json\r\n"
        b"accept-encoding: identity\r\n%bcontent-length: %d\r\n\r\n%b"
        % (TARGET.encode(), host.encode(), lines, len(BODY), BODY)
    )
    assert (await asyncio.wait_for(reader.read(), 10)).startswith(b"HTTP/1.1 200")
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("token", ["", TOKEN])
def test_the_signature_covers_what_arrives(run: Run, environment: pytest.MonkeyPatch, token: str) -> None:
    keys(environment, token)

    async def main() -> None:
        arrived: list[bytes] = []

        async def answer(request: bytes) -> bytes:
            arrived.append(request)
            return b"{}"

        async with serving(answer) as port:
            host = f"127.0.0.1:{port}"
            auth: Auth = SigV4(host, "eu-west-1")
            assert auth.ready(TARGET, BODY) is None
            await sent(port, host, await auth.fetch(TARGET, BODY))
        headers = verified(arrived[0], SECRET, "eu-west-1")
        expected = "content-type;host;x-amz-date" + (";x-amz-security-token" if token else "")
        assert (headers["signed"], headers["key"]) == (expected, KEY)
        assert headers.get("x-amz-security-token", "") == token
        for changed in (arrived[0].replace(b'"user"', b'"uses"'), arrived[0].replace(b"-stream", b"-strean", 1)):
            with pytest.raises(AssertionError):
                verified(changed, SECRET, "eu-west-1")

    run(main)


def test_the_lines_hold_no_secret_and_nothing_else(run: Run, environment: pytest.MonkeyPatch) -> None:
    keys(environment, TOKEN)

    async def main() -> None:
        auth = SigV4("h", "eu-west-1")
        lines = (await auth.fetch(TARGET, BODY)).decode()
        assert lines.endswith("\r\n")
        names = [line.split(": ")[0] for line in lines.splitlines()]
        assert sorted(names) == ["authorization", "x-amz-date", "x-amz-security-token"]
        assert SECRET not in lines + repr(auth)

    run(main)


def container(environment: pytest.MonkeyPatch, port: int) -> None:
    environment.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{port}/credentials")


def credentials(number: int, lifetime: datetime.timedelta) -> bytes:
    expires = datetime.datetime.now(datetime.UTC) + lifetime  # noqa: TID251 - botocore's clock, which no test can set
    document = {"AccessKeyId": f"AKID{number}", "SecretAccessKey": SECRET, "Token": TOKEN}
    return json.dumps({**document, "Expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ")}).encode()


@pytest.mark.parametrize(("lifetime_s", "questions"), [(3600, 1), (300, 4)])
def test_credentials_are_asked_for_once_and_again_when_they_run_out(
    run: Run, environment: pytest.MonkeyPatch, lifetime_s: int, questions: int
) -> None:
    """botocore renews from a quarter of an hour before the end. The first use asks; each later round renews once."""

    async def main() -> None:
        asked = 0

        async def answer(request: bytes) -> bytes:
            nonlocal asked
            asked += 1
            return credentials(asked, datetime.timedelta(seconds=lifetime_s))

        async with serving(answer) as port:
            container(environment, port)
            auth = SigV4("h", "eu-west-1")
            for _ in range(3):
                async with asyncio.TaskGroup() as group:
                    tasks = [group.create_task(auth.fetch(TARGET, BODY)) for _ in range(8)]
                assert len({re.findall(rb"AKID\d+", task.result())[0] for task in tasks}) == 1
        assert asked == questions

    run(main)


def test_a_question_that_nobody_answers_is_given_up_and_joined(run: Run, environment: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        asked, go = 0, asyncio.Event()

        async def answer(request: bytes) -> bytes:
            nonlocal asked
            asked += 1
            await go.wait()
            return credentials(asked, datetime.timedelta(hours=1))

        async with serving(answer) as port:
            container(environment, port)
            auth = SigV4("h", "eu-west-1", timeout_s=0.2)
            for _ in range(2):
                with pytest.raises(TransientError, match="nobody answered") as caught:
                    await auth.fetch(TARGET, BODY)
                assert caught.value.status == 502
            go.set()
            async with asyncio.timeout(10):
                while True:
                    with contextlib.suppress(TransientError):
                        assert b"AKID" in await auth.fetch(TARGET, BODY)
                        break
            assert asked == 1

    run(main)


def test_cancelling_one_caller_leaves_the_question_to_the_others(run: Run, environment: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        came, go = asyncio.Event(), asyncio.Event()

        async def answer(request: bytes) -> bytes:
            came.set()
            await go.wait()
            return credentials(1, datetime.timedelta(hours=1))

        async with serving(answer) as port:
            container(environment, port)
            auth = SigV4("h", "eu-west-1")
            async with asyncio.TaskGroup() as group:
                first = group.create_task(auth.fetch(TARGET, BODY))
                second = group.create_task(auth.fetch(TARGET, BODY))
                async with asyncio.timeout(10):
                    await came.wait()
                first.cancel()
                go.set()
            assert first.cancelled()
            assert b"AKID1" in second.result()

    run(main)


def refused(run: Run, auth: SigV4, kind: type[Exception]) -> str:
    """The message of the error; not even its cause may hold a secret."""

    async def main() -> str:
        with pytest.raises(kind) as caught:
            await auth.fetch(TARGET, BODY)
        error: BaseException | None = caught.value
        while error:
            assert SECRET not in f"{error!r}"
            error = error.__cause__ or error.__context__
        assert isinstance(caught.value, LocalError | TransientError)
        return caught.value.message

    message: str = run(main)
    return message


def test_no_credentials(run: Run) -> None:
    message = refused(run, SigV4("h", "eu-west-1"), LocalError)
    assert message == "credential_missing: no AWS credentials were found"


def test_no_such_profile(run: Run) -> None:
    message = refused(run, SigV4("h", "eu-west-1", profile="nobody"), LocalError)
    assert message == "credential_missing: AWS credentials: ProfileNotFound"


def test_a_profile(run: Run, tmp_path: Path) -> None:
    (tmp_path / "credentials").write_text(f"[p]\naws_access_key_id = {KEY}\naws_secret_access_key = {SECRET}\n")

    async def main() -> bytes:
        return await SigV4("h", "eu-west-1", profile="p").fetch(TARGET, BODY)

    assert KEY.encode() in run(main)


def test_half_a_key(run: Run, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("AWS_ACCESS_KEY_ID", KEY)
    message = refused(run, SigV4("h", "eu-west-1"), LocalError)
    assert message == "credential_missing: AWS credentials: PartialCredentialsError"


def test_a_credential_process_that_prints_its_secret_and_fails(run: Run, tmp_path: Path) -> None:
    script = tmp_path / "process.py"
    script.write_text(f"import sys\nsys.exit({SECRET!r})\n")
    (tmp_path / "config").write_text(f"[profile p]\ncredential_process = {sys.executable} {script}\n")
    message = refused(run, SigV4("h", "eu-west-1", profile="p"), TransientError)
    assert message == "AWS credentials: CredentialRetrievalError"


def test_credentials_that_came_back_expired(run: Run, environment: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async def answer(request: bytes) -> bytes:
            return credentials(1, -datetime.timedelta(hours=1))

        async with serving(answer) as port:
            container(environment, port)
            with pytest.raises(TransientError, match="AWS credentials: RuntimeError"):
                await SigV4("h", "eu-west-1").fetch(TARGET, BODY)

    run(main)


def test_a_token_that_no_header_may_hold(run: Run, environment: pytest.MonkeyPatch) -> None:
    keys(environment, "a\r\nx-evil: 1")
    assert "characters" in refused(run, SigV4("h", "eu-west-1"), LocalError)


def test_without_the_extra(run: Run, environment: pytest.MonkeyPatch) -> None:
    environment.setitem(sys.modules, "botocore.session", None)
    message = refused(run, SigV4("h", "eu-west-1"), LocalError)
    assert message == "credential_missing: install interlock[bedrock]"
