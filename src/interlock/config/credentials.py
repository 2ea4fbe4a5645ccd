"""`credential` and `credentials` of a deployment: where its keys are found. A key itself is refused, and never shown.

Whether a variable is set or a file is there is looked at for a warning only; nothing here reads a key.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from interlock.config.reading import Table
from interlock.config.sections import is_file
from interlock.credentials import Credential

CREDENTIALS_MAX = 16
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_UNUSABLE = "the deployment cannot be used until it is"
_RIGHT = '{ env = "NAME" } or { file = "PATH" }'


class Places:
    """Where keys may be: variables of `env`, files from `folder` on."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self.folder = folder
        self.env = env


def read_credentials(table: Table, places: Places) -> tuple[Credential | None, tuple[Credential, ...]]:
    """(the one, the several); at most one of them is set."""
    one, several = table.take("credential"), table.take("credentials")
    if one is not None and several is not None:
        table.problem("credentials", "found beside `credential`; expected one of the two, with all keys in it")
    credential = None if one is None else _read(table, one, table.at("credential"), places)
    return credential, () if several is None else _several(table, several, places)


def read_reference(table: Table, key: str, places: Places) -> Credential | None:
    """One, under any key; None: it is not there."""
    value = table.take(key)
    return None if value is None else _read(table, value, table.at(key), places)


def _several(table: Table, value: Any, places: Places) -> tuple[Credential, ...]:
    if not isinstance(value, list) or not 0 < len(value) <= CREDENTIALS_MAX:
        found = "nothing in it" if value == [] else "too many" if isinstance(value, list) else "no array"
        table.problem("credentials", f"found {found}; expected an array of 1 to {CREDENTIALS_MAX}, each {_RIGHT}")
        return ()
    paths = [(*table.at("credentials"), index) for index in range(len(value))]
    read = [_read(table, item, path, places) for item, path in zip(value, paths, strict=True)]
    for index, credential in enumerate(read):
        if credential is not None and credential in read[:index]:
            table.notes.problem(paths[index], "names a key that stands here twice")
    return tuple(credential for credential in read if credential is not None)


def _read(table: Table, value: Any, path: tuple[str | int, ...], places: Places) -> Credential | None:
    """One of them. What stands here is never shown: it may be the key itself."""
    if not isinstance(value, dict):
        found = "a literal (not shown)" if isinstance(value, str) else "no table"
        why = "a key must not stand in a file that is copied, logged and versioned"
        table.notes.problem(path, f"found {found}; expected {_RIGHT}: {why}")
        return None
    inner = Table(value, path, table.notes)
    name, file = inner.take("env"), inner.take("file")
    inner.done()
    if (name is None) == (file is None):
        found = "both `env` and `file`" if name is not None else "neither `env` nor `file`"
        table.notes.problem(path, f"found {found}; expected {_RIGHT}")
        return None
    return _file(inner, file, places.folder) if name is None else _variable(inner, name, places.env)


def _file(inner: Table, path: object, folder: Path) -> Credential | None:
    if not isinstance(path, str) or not 0 < len(path) <= 1024 or not path.isprintable():
        inner.problem("file", "not a path (the value is not shown); expected that of a file that holds the key alone")
        return None
    file = (folder / path).absolute()
    if not is_file(file):
        inner.notes.credential(inner.at("file"), f"names a file that is not there; {_UNUSABLE}")
    return Credential(file=str(file))


def _variable(inner: Table, name: object, env: Mapping[str, str]) -> Credential | None:
    if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
        inner.problem("env", "not a variable's name (the value is not shown); expected one, e.g. OPENAI_API_KEY")
        return None
    if not env.get(name):
        inner.notes.credential(inner.at("env"), f"names an environment variable that is not set; {_UNUSABLE}")
    return Credential(env=name)
