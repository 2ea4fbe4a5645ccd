"""How names and addresses of many servers stand side by side. Pure.

A tool of server `github` that is called `search.code` is listed as `github__search_code`: model providers take
`[A-Za-z0-9_-]{1,64}`. A resource keeps its address, behind the server's name and a plus sign, which a URI's scheme may
hold (RFC 3986, section 3.1): `github+repo://x/y`.
"""

import re
from collections.abc import Iterable, Mapping
from hashlib import sha256

NAME_CHARS_MAX = 64
"""OpenAI's limit, the smallest of the providers'."""
SERVER = re.compile(r"[a-z][a-z0-9-]{0,30}")
"""A server's name: no underscore, so that `__` ends it; a letter first, so that it may begin a URI's scheme."""
_OTHER = re.compile(r"[^A-Za-z0-9_-]")
_MARK_CHARS = 8


def shown(prefix: str, name: str) -> str:
    """The name under which a tool is listed. With an empty prefix: its own, as it is.

    >>> shown("github__", "search.code")
    'github__search_code'
    """
    if not prefix:
        return name
    whole = prefix + _OTHER.sub("_", name)
    return whole if len(whole) <= NAME_CHARS_MAX else _marked(whole, name)


def listed(prefix: str, names: Iterable[str]) -> Mapping[str, str]:
    """The server's names by those that they are listed under. Of several that would look alike, each gets a mark made
    from its own name, so that a name means the same whatever else is listed.
    """
    names = list(dict.fromkeys(names))
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(shown(prefix, name), []).append(name)
    found: dict[str, str] = {}
    for under, same in alike.items():
        for name in same:
            plain = len(same) == 1 or under == prefix + name
            found[under if plain else _marked(prefix + _OTHER.sub("_", name), name)] = name
    return found


def _marked(whole: str, name: str) -> str:
    mark = sha256(name.encode()).hexdigest()[:_MARK_CHARS]
    return f"{whole[: NAME_CHARS_MAX - _MARK_CHARS - 1]}_{mark}"


def wrapped(scheme: str, uri: str) -> str:
    """A resource's address among those of all servers; `scheme`: the server's name, or empty: as it is."""
    return f"{scheme}+{uri}" if scheme else uri


def unwrapped(uri: str) -> tuple[str, str]:
    """(the server's name, its own address); the name is empty if the address has none before it.

    >>> unwrapped("github+repo://x/a+b")
    ('github', 'repo://x/a+b')
    """
    scheme, plus, rest = uri.partition("+")
    return (scheme, rest) if plus and SERVER.fullmatch(scheme) else ("", uri)
