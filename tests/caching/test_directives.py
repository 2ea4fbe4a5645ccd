"""Cache-Control of a request, by RFC 9111."""

import pytest

from interlock.caching import Directives, read_directives

NONE = Directives()


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (b"", NONE),
        (b"no-store", Directives(no_store=True)),
        (b"No-Cache", Directives(no_cache=True)),
        (b"no-cache, no-store", Directives(no_store=True, no_cache=True)),
        (b"no-cache ,,\tNO-STORE;", Directives(no_store=True, no_cache=True)),
        (b"max-age=0", Directives(max_age_s=0)),
        (b"max-age = 60", Directives(max_age_s=60)),
        (b'max-age="60", min-fresh=5', Directives(max_age_s=60, min_fresh_s=5)),
        (b"max-age=60, max-age=5", Directives(max_age_s=60)),
        (b"max-age=sixty", Directives(max_age_s=0)),
        (b"max-age=-1", Directives(max_age_s=0)),
        (b"max-age", Directives(max_age_s=0)),
        (b"min-fresh=x", Directives(min_fresh_s=1 << 31)),
        (b"max-age=99999999999", Directives(max_age_s=1 << 31)),
        (b"max-age=" + b"9" * 5000, Directives(max_age_s=0)),
        ("max-age=\N{ARABIC-INDIC DIGIT FIVE}".encode(), Directives(max_age_s=0)),
        (b'private="no-store", extension="a, no-cache"', NONE),
        (b"no-transform, only-if-cached, max-stale=5, no-storey, xno-cache", NONE),
    ],
)
def test_directives_are_read(value: bytes, read: Directives) -> None:
    assert read_directives(value) == read
