"""Where credentials go, and whose they are."""

import asyncio
from pathlib import Path

import httpx2
import pytest

from interlock.clock import SystemClock
from interlock.credentials import Credential
from interlock.door.broker import Broker
from interlock.door.redaction import Redactor
from interlock.door.settings import Allow, ToolServer
from interlock.errors import LocalError
from interlock.identity import Bearer

SECRET = "hush-0123456789"


def server(**more: object) -> ToolServer:
    given: dict[str, object] = {"credential": Credential(env="HUSH")} | more
    return ToolServer(name="s", allow=(Allow(),), url="https://api.example/mcp", **given)  # type: ignore[arg-type]  # the test says what fits


def attached(made: ToolServer, url: str, bearer: Bearer) -> httpx2.Headers:
    """Headers of a request as it leaves."""

    async def main() -> httpx2.Headers:
        auth = Broker(Redactor(), SystemClock()).auth(made, bearer)
        assert auth is not None
        request = httpx2.Request("POST", url)
        flow = auth.async_auth_flow(request)
        sent = await flow.__anext__()
        await flow.aclose()
        return sent.headers

    return asyncio.run(main())


ADA = Bearer(key_id="k", tenant="acme", principal="ada")


def test_a_credential_goes_to_its_own_origin_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUSH", SECRET)
    assert attached(server(), "https://api.example/mcp?x", ADA)["authorization"] == f"Bearer {SECRET}"
    assert attached(server(header="x-api-key"), "https://api.example/", ADA)["x-api-key"] == SECRET
    for url in ("https://api.example.evil/mcp", "http://api.example/mcp", "https://api.example:444/mcp"):
        assert SECRET not in repr(attached(server(), url, ADA).raw)


def test_a_name_stays_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "users" / "x").mkdir(parents=True)
    (tmp_path / "other").write_text(SECRET)
    (tmp_path / "users" / "ada@acme.example").write_text(SECRET)
    made = server(credential=Credential(file=str(tmp_path / "users" / "{principal}")))
    broker = Broker(Redactor(), SystemClock())

    def secret(principal: str) -> str:
        return asyncio.run(broker.secret(made, Bearer(key_id="k", tenant="acme", principal=principal)))

    assert secret("ada@acme.example") == SECRET
    for name in ("x/../../other", "../other", "..", ".", "x/.."):
        with pytest.raises(LocalError, match="credential_missing"):
            secret(name)


def test_what_is_used_is_learnt_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUSH", SECRET)
    redactor = Redactor()
    assert asyncio.run(Broker(redactor, SystemClock()).secret(server(), ADA)) == SECRET
    assert SECRET not in redactor.text(f"a {SECRET} b")
    monkeypatch.setenv("HUSH", "short")
    with pytest.raises(LocalError, match="shorter than 8"):
        asyncio.run(Broker(redactor, SystemClock()).secret(server(), ADA))


def test_who_asks_for_nothing_is_sent_nothing() -> None:
    assert Broker(Redactor(), SystemClock()).auth(server(credential=None), ADA) is None
