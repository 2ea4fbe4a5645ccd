"""Paths by their text, as a sandbox with a workspace sees them: an oracle of the standard library's own."""

import posixpath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import at_least

from interlock.runtime.permissions.paths import inside, normal, place, protected

parts = st.lists(st.sampled_from(["a", "b", "..", ".", "", "workspace", "c d"]), min_size=1, max_size=8)


@settings(max_examples=at_least(400))
@given(parts=parts, absolute=st.booleans())
def test_a_path_is_inside_if_the_standard_library_says_so(parts: list[str], absolute: bool) -> None:
    text = ("/" if absolute else "") + "/".join(parts)
    real = posixpath.normpath(posixpath.join("/workspace", text))
    real = "/" + real.lstrip("/")  # POSIX lets two slashes stay
    within = real == "/workspace" or real.startswith("/workspace/")
    came_back = within and not inside(normal(text))
    if came_back:  # `../workspace/a`, `/../workspace`: said like that, outside all the same
        assert ".." in parts
        return
    assert inside(normal(text)) == within, text
    if within:
        assert normal(text) == posixpath.relpath(real, "/workspace")


PROTECTED = ".git/hooks/pre-commit .git/config .git a/.git/hooks/x .git/modules/a/config .bashrc a/.bashrc .ssh/x"
FREE = ".git/HEAD .bashrc/a .gitignore git/hooks .github/workflows/a.yml a.md"


@pytest.mark.parametrize(
    ("path", "part"),
    [(path, next(part for part in path.split("/") if part.startswith("."))) for path in PROTECTED.split()]
    + [(path, "") for path in FREE.split()],
)
def test_what_is_protected(path: str, part: str) -> None:
    assert protected(path) == part


def test_links_tell_where_a_path_leads() -> None:
    assert place("a/b", {"a/b": "c"}, "/workspace") == "c"
    assert place("./a", {"a": "c/../d"}, "/workspace") == "d"
    assert not inside(place("a", {"a": ""}, "/workspace"))
    assert not inside(place("a", {"a": "../x"}, "/workspace"))
    assert place("/etc/x", {"/etc/x": "a"}, "/workspace") == "/etc/x"
    assert place("/srv/a", {}, "/srv") == "a"
