"""The header lines of an answer: what is passed on from the upstream, and what Interlock adds."""

from collections.abc import Mapping
from urllib.parse import quote

from interlock.gateway.translate.loose import STATUS
from interlock.ledger import Format

_PASSED = frozenset(
    {
        b"content-type",
        b"retry-after",
        b"retry-after-ms",
        b"x-should-retry",
        b"request-id",
        b"x-request-id",
        b"openai-processing-ms",
        b"openai-version",
        b"cache-control",
    }
)
_PASSED_PREFIXES = (b"anthropic-ratelimit-", b"x-ratelimit-")


JSON = b"content-type: application/json\r\n"

SSE = b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
_DROPPED_BYTES_MAX = 1024


def passed_headers(upstream: Mapping[bytes, bytes], besides: bytes = b"") -> bytes:
    """The lines of the upstream's answer that the client gets to see, without the one named `besides`."""
    return b"".join(
        [
            b"%b: %b\r\n" % (name, value)
            for name, value in upstream.items()
            if (name in _PASSED or name.startswith(_PASSED_PREFIXES)) and name != besides
        ]
    )


def own_headers(request_id: str, tier: str = "", deployment: str = "") -> bytes:
    """Lines that say what Interlock did. Names of tiers and deployments are plain ASCII by configuration."""
    return (
        f"x-interlock-request-id: {request_id}\r\n"
        + (f"x-interlock-tier: {tier}\r\n" if tier else "")
        + (f"x-interlock-deployment: {deployment}\r\n" if deployment else "")
    ).encode()


def without_own(lines: bytes) -> bytes:
    """Lines of an answer to another call, without those that are about that call."""
    return b"".join(
        line for line in lines.splitlines(keepends=True) if not line.startswith(b"x-interlock-") or _same_for_all(line)
    )


def _same_for_all(line: bytes) -> bool:
    return line.startswith(b"x-interlock-dropped:")


def cache_header(how: str, why: str = "") -> bytes:
    """Where the answer is from; and, of a call that the cache has nothing to do with, the member that is why (which the
    client may have made up)."""
    reason = f"x-interlock-cache-reason: {quote(why[:64], safe='')}\r\n" if why else ""
    return f"x-interlock-cache: {how}\r\n{reason}".encode()


def stream_headers(upstream: Mapping[bytes, bytes], translated: bool) -> bytes:
    """The lines that a stream begins with."""
    return SSE + passed_headers(upstream, b"content-type") if translated else passed_headers(upstream)


def dropped_header(paths: tuple[str, ...]) -> bytes:
    """The line that lists what translation left out, in at most 1 KiB. Paths hold names that clients made up."""
    listed: list[str] = []
    size = 0
    for path in paths:
        shown = quote(path, safe="[]._-:/ ()")
        size += len(shown) + 2
        if size > _DROPPED_BYTES_MAX:
            listed.append(f"and {len(paths) - len(listed)} more")
            break
        listed.append(shown)
    return f"x-interlock-dropped: {', '.join(listed)}\r\n".encode()


def status_of(error_type: str) -> int:
    """The HTTP status that an error in a stream would have had."""
    return STATUS.get(error_type, 500)


def client_status(status: int, format: Format) -> int:
    """An upstream's status for a client of `format`: 529 is Anthropic's own word for 503, 424 Bedrock's for 502."""
    if status == 424:
        return 502
    return 503 if status == 529 and format != "messages" else status
