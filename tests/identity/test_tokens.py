"""Session tokens: what they say is what was minted, and nothing else is believed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.identity import Bearer, Claims, Denied, mint, read
from interlock.identity.tokens import TOKEN_CHARS_MAX

SECRET = bytes(range(32))
CLAIMS = Claims(session="s-1", key_id="key_1", audience="mcp", expires_at_ns=100, tools=("github.*",))
WORDS = st.text(max_size=20)


@given(
    WORDS,
    WORDS,
    st.sampled_from(("inference", "mcp")),
    st.integers(1, 1 << 62),
    st.lists(WORDS, max_size=3),
    st.binary(min_size=32, max_size=32),
)
def test_what_is_minted_is_read(
    session: str, key: str, audience: str, end: int, tools: list[str], secret: bytes
) -> None:
    claims = Claims(session=session, key_id=key, audience=audience, expires_at_ns=end, tools=tuple(tools))  # type: ignore[arg-type]  # one of the two
    token = mint(secret, claims)
    assert token.startswith("ils_") and token.isascii() and token.isprintable() and " " not in token
    assert read(secret, token, end - 1) == claims
    assert read(secret, token, end) == Denied("key_expired")


@given(st.integers(0, 10_000), st.integers(0, 127))
def test_no_character_can_be_another(at: int, other: int) -> None:
    token = mint(SECRET, CLAIMS)
    at %= len(token)
    if chr(other) != token[at]:
        assert isinstance(read(SECRET, token[:at] + chr(other) + token[at + 1 :], 1), Denied)


@pytest.mark.parametrize(
    "token",
    [
        "",
        "ils_",
        "ils_.",
        ".",
        "ilk_" + "x" * 43,
        "ils_e30.",
        "ils_" + "a" * TOKEN_CHARS_MAX + ".b",
        "ils_é.é",
        "ils_e30",
    ],
)
def test_what_is_no_token_is_unknown(token: str) -> None:
    assert read(SECRET, token, 1) == Denied("key_unknown")


def test_another_secret_is_another_server() -> None:
    assert read(bytes(32), mint(SECRET, CLAIMS), 1) == Denied("key_unknown")
    with pytest.raises(AssertionError):
        mint(b"short", CLAIMS)


def test_claims_of_another_version_are_unknown() -> None:
    import hmac
    from base64 import urlsafe_b64encode

    body = "ils_" + urlsafe_b64encode(b'{"session":"s","audience":"moon"}').decode().rstrip("=")
    mac = urlsafe_b64encode(hmac.digest(SECRET, body.encode(), "sha256")).decode().rstrip("=")
    assert read(SECRET, f"{body}.{mac}", 1) == Denied("key_unknown")


def test_a_bearer_with_a_key_is_bound_by_no_pattern() -> None:
    assert Bearer(key_id="k", tenant="t", principal="p").tools is None
