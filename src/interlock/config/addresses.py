"""What every address in a configuration must be; each table adds what only its own must be."""

from urllib.parse import SplitResult, urlsplit

VALKEY = ("redis", "rediss", "valkey", "valkeys")
"""Schemes of a Valkey or Redis server's address; those with an s are over TLS."""
VALKEY_RULE = "redis:// or valkey:// (TLS: rediss:// or valkeys://)"


def read_address(text: str, schemes: tuple[str, ...]) -> tuple[SplitResult | None, str]:
    """An address's parts; or None and why it is wrong, in words without its text, which may hold a password."""
    if not text.isascii() or not text.isprintable() or " " in text or len(text) > 1024:
        return None, "it has spaces, control or non-ASCII characters, or is longer than 1024"
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None, "it is not a URL"
    if parts.scheme not in schemes or not parts.hostname or port == 0:
        known = f"{', '.join(schemes[:-1])} or {schemes[-1]}"
        return None, f"it has no {known} scheme, or no host"
    if parts.password is not None:
        return None, "it holds a password, which belongs into `credential`"
    return parts, ""
