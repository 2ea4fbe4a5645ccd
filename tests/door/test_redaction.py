"""Secrets taken out of whatever upstreams say."""

import logging
from base64 import b64encode

from hypothesis import given
from hypothesis import strategies as st

from interlock.door.redaction import DEPTH_MAX, REPLACEMENT, SECRETS_MAX, RedactingFormatter, Redactor

SECRET = "hush-0123456789"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.just(SECRET) | st.just(f"a{SECRET}b"),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5) | st.just(SECRET), inner, max_size=4)
    ),
    max_leaves=30,
)


@given(JSON)
def test_no_secret_is_left_anywhere(value: object) -> None:
    redactor = Redactor()
    redactor.learn(SECRET)
    found = redactor.value(value)
    assert SECRET not in repr(found)
    assert redactor.value(found) == found
    if SECRET not in repr(value):
        assert found == value, "nothing else is touched"


def test_basic_credentials_are_found() -> None:
    redactor = Redactor()
    redactor.learn(SECRET)
    assert redactor.text(f"Basic {b64encode(SECRET.encode()).decode()}").startswith(f"Basic {REPLACEMENT}")


def test_what_is_nested_without_end_is_cut() -> None:
    value: object = SECRET
    for _ in range(DEPTH_MAX + 10):
        value = [value]
    redactor = Redactor()
    redactor.learn(SECRET)
    assert SECRET not in repr(redactor.value(value))


def test_the_oldest_secrets_are_forgotten_not_the_newest() -> None:
    redactor = Redactor()
    for number in range(SECRETS_MAX + 1):
        redactor.learn(f"secret-{number:08}")
        redactor.learn(SECRET)
    assert redactor.text(f"{SECRET} secret-{SECRETS_MAX:08} secret-00000000") == (
        f"{REPLACEMENT} {REPLACEMENT} secret-00000000"
    )


def test_tracebacks_are_redacted_too() -> None:
    redactor = Redactor()
    redactor.learn(SECRET)
    try:
        raise ValueError(f"could not read {SECRET}")
    except ValueError as error:
        record = logging.LogRecord("mcp", logging.ERROR, "f", 1, "bad: %s", (SECRET,), (ValueError, error, None))
    assert SECRET not in RedactingFormatter(redactor).format(record)
