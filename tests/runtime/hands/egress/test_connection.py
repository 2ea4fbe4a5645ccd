"""The door to the gateway: a program calls models with no secret inside."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from tests.runtime.hands.egress.place import http, place

from interlock.runtime.hands.egress import Admission, Door

Run = Callable[..., object]


def test_the_door_leads_to_the_gateway_with_a_credential_of_ours(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with place(tmp_path, http) as there:
            tokens = iter(["first", "second", "third"])
            await there.open(door=Door("127.0.0.1", there.port, lambda: next(tokens)))
            url, mine = (
                "http://interlock.internal/v1/messages",
                ("-H", "x-api-key: mine", "-H", "Authorization: Bearer mine"),
            )
            for arguments, scheme, token in [
                ((), "http", "first"), (("-p",), "http", "second"), ((), "socks5h", "third")
            ]:  # fmt: skip
                code, out = await there.curl(url, *mine, *arguments, "-d", "{}", scheme=scheme)
                assert code == 0 and "POST /v1/messages HTTP/1.1" in out, out
                assert f"authorization: Bearer {token}\r\n" in out and "mine" not in out
                assert f"host: 127.0.0.1:{there.port}" in out
            assert {(told.host, told.protocol, told.allowed) for told in there.told} == {
                ("interlock.internal", "model", True)
            }

    run(main)


def test_the_door_opens_onto_nothing_else(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with place(tmp_path, http) as there:
            await there.open(door=Door("127.0.0.1", there.port, lambda: "ours"))
            tunnel = b"CONNECT interlock.internal:80 HTTP/1.1\r\n\r\n"
            for data in [
                b"CONNECT interlock.internal:443 HTTP/1.1\r\n\r\n",
                tunnel + b"GET / HTTP/1.1\r\nHost: c.example\r\n\r\n",
                tunnel + b"GET http://c.example/ HTTP/1.1\r\nHost: interlock.internal\r\n\r\n",
                b"GET http://interlock.internal/ HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\nHost: interlock.internal\r\n\r\n",
                f"GET http://127.0.0.1:{there.port}/ HTTP/1.1\r\n\r\n".encode(),
                b"GET http://interlock.internal/ HTTP/1.1\r\n\r\n"
                + f"GET /2 HTTP/1.1\r\nHost: 127.0.0.1:{there.port}\r\nAuthorization: Bearer mine\r\n\r\n".encode(),
            ]:
                assert b"Bearer ours" not in await there.say(data), data
            assert all(not told.allowed for told in there.told) and len(there.told) == 6

    run(main)


def test_without_a_door_nobody_answers_there(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with place(tmp_path, http) as there:
            await there.open()
            assert b"403" in await there.say(b"GET http://interlock.internal/ HTTP/1.1\r\n\r\n")

    run(main)


def test_the_doors_answer_comes_as_it_is_sent(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        more = asyncio.Event()

        async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\ndata: 1\n\n")
            await more.wait()
            writer.write(b"data: 2\n\n")
            writer.close()

        async with place(tmp_path, stream) as there:
            await there.open(door=Door("127.0.0.1", there.port, lambda: "ours"))
            reader, writer = await asyncio.open_unix_connection(there.socket)
            writer.write(b"GET http://interlock.internal/ HTTP/1.1\r\n\r\n")
            async with asyncio.timeout(2):
                assert (await reader.readuntil(b"data: 1\n\n")).startswith(b"HTTP/1.1 200 OK")
                more.set()
                assert await reader.read() == b"data: 2\n\n"
            writer.close()

    run(main)


def test_what_is_refused_is_told_in_its_own_format_and_never_sent(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        asked: list[tuple[str, str]] = []
        sent: list[bytes] = []

        async def gateway(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            sent.append(await reader.read())
            writer.close()

        async def admit(method: str, target: str) -> Admission:
            asked.append((method, target))
            return Admission(why_not="no budget", status=403, body=b'{"error":{"code":"budget_exceeded"}}')

        body = tmp_path / "body"
        body.write_bytes(b"x" * (4 << 20))  # more than any buffer on the way: the client writes while it is refused
        async with place(tmp_path / "proxy", gateway) as there:
            await there.open(door=Door("127.0.0.1", there.port, lambda: "ours", admit))
            code, out = await there.curl(
                "http://interlock.internal/v1/messages?beta=1", "-d", f"@{body}", "-H", "Expect:"
            )
            assert code == 0 and "HTTP/1.1 403 Forbidden" in out and "content-type: application/json" in out, out
            assert out.endswith('{"error":{"code":"budget_exceeded"}}') and "x-interlock-egress: refused" in out
            assert asked == [("POST", "/v1/messages?beta=1")] and not sent
            told = await there.one()
            assert (told.protocol, told.allowed, told.why) == ("model", False, "no budget")

    run(main)


def test_the_end_of_what_passed_is_told_once_however_it_ends(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        ends: list[str] = []
        heard = asyncio.Event()

        async def admit(method: str, target: str) -> Admission:
            return Admission(over=lambda: ends.append(target))

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            if b"/whole" in head:
                writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
            else:
                heard.set()
                await reader.read()
            writer.close()

        async with place(tmp_path, silent) as there:
            await there.open(door=Door("127.0.0.1", there.port, lambda: "ours", admit))
            assert (await there.curl("http://interlock.internal/whole"))[0] == 0
            assert ends == ["/whole"]
            reader, writer = await asyncio.open_unix_connection(there.socket)
            writer.write(b"GET http://interlock.internal/whole-2 HTTP/1.1\r\n\r\n")
            assert (await reader.read()).endswith(b"content-length: 0\r\n\r\n")
            assert ends.pop() == "/whole-2", "over when the gateway has said all, whatever its client still holds open"
            writer.close()
            await there.say(b"GET http://interlock.internal/hung-up HTTP/1.1\r\n\r\n")
            assert ends == ["/whole", "/hung-up"]
            heard.clear()
            _, writer = await asyncio.open_unix_connection(there.socket)
            writer.write(b"GET http://interlock.internal/closed HTTP/1.1\r\n\r\n")
            await heard.wait()
            await there.egress.close("box")  # the sandbox is gone
            writer.close()
            await there.open(door=Door("127.0.0.1", 1, lambda: "ours", admit))
            assert b"502" in await there.say(b"GET http://interlock.internal/nobody HTTP/1.1\r\n\r\n")
            assert ends == ["/whole", "/hung-up", "/closed", "/nobody"]

    run(main)
