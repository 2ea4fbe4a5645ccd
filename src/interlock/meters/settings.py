"""Where a ledger's tables stand, and for how long rows stay in them: frozen values, read from the configuration."""

from pathlib import Path
from typing import Literal

import msgspec

from interlock.credentials import Credential, read_credential
from interlock.tables.store import CACHE_BYTES_MAX


class Store(msgspec.Struct, frozen=True, kw_only=True):
    """A directory, or a store that speaks S3."""

    place: str = ""
    """An absolute path, or `s3://bucket/prefix`; empty: in the data directory."""
    endpoint: str = ""
    """Of a store: its address; empty: Amazon's."""
    region: str = ""
    access_key_id: Credential | None = None
    """None, as the others: where Amazon's own tools look."""
    secret_access_key: Credential | None = None
    session_token: Credential | None = None
    cache_bytes: int = CACHE_BYTES_MAX
    """Of a store: of the copies of its files."""

    @property
    def remote(self) -> bool:
        """Whether it is beyond this machine's file systems."""
        return self.place.startswith("s3://")

    def options(self) -> dict[str, str]:
        """As `tables.objects` takes them, secrets read now. Raises: LocalError: one is not where it should be."""
        plain = {"endpoint": self.endpoint, "region": self.region}
        secret = {
            "access_key_id": self.access_key_id,
            "secret_access_key": self.secret_access_key,
            "session_token": self.session_token,
        }
        read = {name: read_credential(value) for name, value in secret.items() if value is not None}
        return {name: value for name, value in plain.items() if value} | read


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """How long a table's rows stay. Days are UTC's; those that a row counts in."""

    keep_days: int | None = None
    """So many days before today; None: for ever."""
    then: Literal["archive", "drop"] = "drop"
    tenants: dict[str, int] = {}
    """Of these tenants so many, and then they are dropped."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """[ledger]"""

    tables: Store = Store()
    archive: Store | None = None
    """Where rows go that are archived."""
    events: Rule = Rule()
    rollups: Rule = Rule()

    def place(self, default: Path) -> str:
        """Of the tables, in a data directory in which they stand at `default`."""
        return self.tables.place or str(default)


def is_where(one: Settings | None, other: Settings | None) -> bool:
    """Whether the tables stand in the same place by both."""
    return one is other or (one is not None and other is not None and one.tables == other.tables)
