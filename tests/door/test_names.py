"""Names and addresses of many servers, side by side."""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from interlock.door.names import SERVER, listed, shown, unwrapped, wrapped

NAMES = st.text(min_size=1, max_size=128)
PROVIDERS = re.compile(r"[a-zA-Z0-9_-]{1,64}")


@given(st.lists(NAMES, max_size=20))
@example(["a.b", "a_b", "a/b"])
@example(["x" * 200, "x" * 201])
@example(["a_b", "a.b"])
def test_every_name_is_listed_once_as_providers_take_it(names: list[str]) -> None:
    found = listed("server__", names)
    assert sorted(found.values()) == sorted(set(names)), "none is lost"
    assert all(PROVIDERS.fullmatch(name) and name.startswith("server__") for name in found)


@given(st.lists(NAMES, max_size=10), st.lists(NAMES, max_size=10), NAMES)
def test_a_name_that_needs_no_mark_is_its_own(first: list[str], second: list[str], name: str) -> None:
    plain = re.sub(r"[^A-Za-z0-9_-]", "x", name)[:40]
    for others in (first, second):
        assert listed("server__", [*others, plain])["server__" + plain] == plain


def test_without_a_prefix_names_are_the_servers_own() -> None:
    assert listed("", ["a.b", "a_b"]) == {"a.b": "a.b", "a_b": "a_b"}
    assert shown("", "any/thing") == "any/thing"


@given(st.from_regex(SERVER, fullmatch=True), st.text(min_size=1, max_size=60))
def test_an_address_finds_its_server(server: str, uri: str) -> None:
    assert unwrapped(wrapped(server, uri)) == (server, uri)


def test_an_address_without_a_server_is_itself() -> None:
    assert unwrapped("test://a") == ("", "test://a")
    assert unwrapped("Data+x://a") == ("", "Data+x://a")
    assert wrapped("", "test://a") == "test://a"
