"""The header lines of an answer: what is passed on from the upstream, and what Interlock adds."""

from collections.abc import Mapping

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
