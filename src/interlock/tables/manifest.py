"""What `manifest.json` says: which files are the tables, and up to which record of the log. Pure.

A file that it does not name is no part of a table, whatever stands beside it.
"""

from hashlib import sha256

import msgspec

from interlock.errors import InterlockError

FORMAT = 1
NAME = "manifest.json"


class Damaged(InterlockError):
    """A file is missing, cut short or changed; it is named. The tables are a view: clear them and fill them again."""

    default_code = "view_corrupt"

    def __init__(self, name: str, what: str) -> None:
        super().__init__(f"{name}: {what}; the tables are to be made again from the log")
        self.name = name
        self.what = what


class File(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One Parquet file. It is written once and never changed."""

    name: str
    """Its path below the place, with `/`."""
    table: str
    part: str = ""
    """The days it is for: `2026-11-01`, `2026-11`, or empty for any."""
    tenant: str = ""
    """The one it is for; empty: any."""
    rows: int
    bytes: int
    crc32: int
    first_tenant: str
    last_tenant: str
    first_day: str
    """ISO 8601, as `last_day`."""
    last_day: str
    first_seq: int
    """Records of the log from which its rows came: none before this one, none after `last_seq`."""
    last_seq: int
    leaving: bool = False
    """On its way to an archive: not merged any more."""


class Horizon(msgspec.Struct, frozen=True, kw_only=True):
    """What has left for good: rows of days before `before` that came from records of the log up to `seq`."""

    before: str
    """ISO 8601."""
    seq: int
    chain: str
    """Hex: the log's chain value at `seq`."""


def horizon_key(table: str, tenant: str = "") -> str:
    """Of whose rows a horizon is: a table's, or one tenant's of a table."""
    return f"{table}/{tenant}" if tenant else table


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    format: int = FORMAT
    history: str
    """Changes when the tables are made again: files of two histories hold the same rows."""
    seq: int = 0
    """All rows of the log up to this record are in the files."""
    chain: str = ""
    """Hex: the log's chain value there."""
    notes: dict[str, int] = {}
    """What the filler keeps with its rows."""
    next: int = 1
    """A number that no file has had."""
    columns: dict[str, list[tuple[str, str]]]
    """By table: (name, type)."""
    horizons: dict[str, Horizon] = {}
    """By `horizon_key`: what has left (of an archive: what has come)."""
    archive: bool = False
    """Whether it is what left other tables, and not to be filled or cleared."""
    files: tuple[File, ...] = ()
    check: str = ""
    """Hex SHA-256 of this document with `check` empty."""


def encode(manifest: Manifest) -> bytes:
    """As it is stored: JSON, one file a line, for those who look."""
    digest = sha256(_bytes(msgspec.structs.replace(manifest, check=""))).hexdigest()
    return _bytes(msgspec.structs.replace(manifest, check=digest))


def decode(content: bytes) -> Manifest:
    """Raises: Damaged: it is not what was stored, or of another version."""
    try:
        manifest = msgspec.json.decode(content, type=Manifest)
    except msgspec.DecodeError as error:
        raise Damaged(NAME, "it cannot be read") from error
    if manifest.format != FORMAT:
        raise Damaged(NAME, f"format {manifest.format} is not {FORMAT}")
    if encode(manifest) != content:
        raise Damaged(NAME, "it was changed")
    return manifest


def _bytes(manifest: Manifest) -> bytes:
    head = msgspec.json.encode(msgspec.structs.replace(manifest, files=()))
    head = head.replace(b',"horizons":{}', b"").replace(b',"archive":false', b"")  # as before there were any
    before, after = head.split(b'"files":[]', 1)
    files = b",\n".join(msgspec.json.encode(file) for file in manifest.files)
    return before + b'"files":[\n' + files + b"\n]" + after + b"\n"
