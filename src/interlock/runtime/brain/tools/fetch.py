"""`fetch`: a GET of a web address, from inside the sandbox, so that its egress rules hold whoever is asked.

The rules are also read here, for each address and each one that it redirects to: the sandbox's refusal is a connection
that fails, and a model is to be told why. That nobody is reached whom the rules do not name is the sandbox's to hold.
"""

import fnmatch
from typing import Annotated, Any
from urllib.parse import SplitResult, urljoin, urlsplit

import msgspec

from interlock.runtime.brain.tools.ports import Done, Use, decoded, ran
from interlock.runtime.hands import Command
from interlock.runtime.sessions.event import Effect

BYTES_MAX = 512 * 1024
HEAD_BYTES_MAX = 64 * 1024
REDIRECTS_MAX = 5
TIME_S = 60.0
_REDIRECTS = (301, 302, 303, 307, 308)


class _Arguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    url: Annotated[str, msgspec.Meta(min_length=8, max_length=4096)]


class Fetch:
    """Pure: a GET."""

    name = asks_as = "fetch"
    description = "Get what is at an http or https address, as text. Only hosts that the session's rules name."
    effect: Effect = "pure"
    schema: dict[str, Any] = {  # noqa: RUF012 - a class of constants; nothing writes to it
        "type": "object",
        "properties": {"url": {"type": "string"}},
        "required": ["url"],
        "additionalProperties": False,
    }

    def check(self, arguments: dict[str, Any]) -> str:
        wrong = decoded(arguments, _Arguments)
        return wrong or why_no_url(arguments["url"])

    async def run(self, arguments: dict[str, Any], use: Use) -> Done:
        url = arguments["url"]
        for _ in range(REDIRECTS_MAX + 1):
            refused = why_no_url(url) or why_not_allowed(url, use.resources.egress)
            if refused:
                return Done(outcome="error", content=f"Not fetched: {refused}".encode())
            done, url = await self._once(url, use)
            if not url:
                return done
        return Done(outcome="error", content=f"Not fetched: more than {REDIRECTS_MAX} redirects".encode())

    async def _once(self, url: str, use: Use) -> tuple[Done, str]:
        """(what came, where it redirects to: empty if nowhere)."""
        time_s = min(TIME_S, use.time_s)
        argv: tuple[str, ...] = (
            "curl",
            "-sS",
            "-i",
            "--globoff",
            "--proto",
            "=http,https",
            "--suppress-connect-headers",
        )
        argv += ("--max-time", f"{time_s:.0f}", "-H", "accept-encoding: identity", "--url", url)
        limit = BYTES_MAX + HEAD_BYTES_MAX
        run = await ran(use, Command(argv=argv, time_s=time_s + 5), limit=limit, quiet=True)
        output = bytes(run.output)
        if not run.cut and (run.stop is None or run.stop.status != "completed" or run.stop.exit_code):
            return Done(outcome="error", content=output[-2000:] or b"curl could not be run in the sandbox"), ""
        status, headers, body = _answer(output)
        if status in _REDIRECTS and headers.get("location"):
            return Done(content=b""), urljoin(url, headers["location"])
        if b"\0" in body[:8192]:
            body = f"[{headers.get('content-type', 'not text')}, {len(body)} bytes, is not text]".encode()
        rest = b"\n[there is more, which was not fetched]" if run.cut else b""
        head = f"HTTP {status} {headers.get('content-type', '')}\n\n".encode()
        return Done(outcome="ok" if 200 <= status < 300 else "error", content=head + body[:BYTES_MAX] + rest), ""


def why_no_url(url: str) -> str:
    """Why this is no address to fetch; empty: it is one."""
    if any(ord(char) <= 0x20 or ord(char) == 0x7F for char in url):
        return "an address holds no spaces or control characters"
    try:
        split = urlsplit(url)
        port = split.port
    except ValueError as error:
        return f"the address is not well formed: {error}"
    if split.scheme not in ("http", "https") or not split.hostname or port == 0:
        return "the address must begin with http:// or https:// and name a host"
    return "the address must not hold a user name or password" if "@" in split.netloc else ""


def why_not_allowed(url: str, egress: tuple[str, ...]) -> str:
    """Why the sandbox may not connect there; empty: it may."""
    split: SplitResult = urlsplit(url)
    host = (split.hostname or "").rstrip(".").lower()
    port = split.port or (443 if split.scheme == "https" else 80)
    for rule in egress:
        name, _, allowed = rule.rpartition(":")
        name = name.strip("[]").lower()
        inside = host.endswith(name[1:]) if name.startswith("*.") else host == name
        if inside and fnmatch.fnmatch(str(port), allowed):
            return ""
    return f"{host}:{port} is not among the addresses that this session may connect to"


def _answer(output: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers (names in lower case) and body of what `curl -i` wrote; interim answers passed over."""
    while True:
        head, _, body = output.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        words = lines[0].split(" ")
        status = int(words[1]) if len(words) > 1 and words[0].startswith("HTTP/") and words[1].isdigit() else 0
        if not 100 <= status < 200 or not body:
            break
        output = body
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers.setdefault(name.strip().lower(), value.strip())
    return status, headers, body
