"""The Directory: who is admitted, and what stops the fold."""

from hashlib import sha256

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.errors import TransientError
from interlock.identity import Denied, Directory, Key, Revoked, Tenant
from interlock.identity.directory import SECRET_CHARS
from interlock.log import Record, Stored

SECRET = "ilk_" + "a" * 43


def key(secret: str = SECRET, **fields: object) -> Key:
    base = Key(
        id="key_1",
        sha256=sha256(secret.encode()).hexdigest(),
        name="laptop",
        tenant="acme",
        principal="ada",
        scopes=("inference",),
        created_at_ns=0,
    )
    return msgspec.structs.replace(base, **fields)


def stored(seq: int, type_: str, value: object, schema: int = 1) -> Stored:
    record = Record(id=f"r{seq}", type=type_, at_ns=0, payload=msgspec.json.encode(value), schema=schema)
    return Stored(stream="identity", seq=seq, record=record, chain=b"")


def directory(*entries: tuple[str, object]) -> Directory:
    found = Directory()
    for seq, (type_, value) in enumerate(entries, 1):
        found.apply(stored(seq, type_, value))
    return found


def test_the_secret_as_issued_is_admitted_as_its_key() -> None:
    assert directory(("key.issued", key())).admit(SECRET, 5, "inference") == key()


@given(st.text(max_size=60) | st.text("ab", min_size=43, max_size=43).map(lambda tail: "ilk_" + tail))
def test_any_other_secret_is_unknown(secret: str) -> None:
    found = directory(("key.issued", key())).admit(secret, 5, "inference")
    assert found == (key() if secret == SECRET else Denied("key_unknown"))


@pytest.mark.parametrize("secret", ["", "ilk_" + "é" * 43, "\ud800" * SECRET_CHARS, "x" * 10_000_000, SECRET + " "])
def test_a_secret_of_another_form_is_unknown(secret: str) -> None:
    assert directory(("key.issued", key())).admit(secret, 5, "inference") == Denied("key_unknown")


def test_a_key_expires_at_its_moment() -> None:
    found = directory(("key.issued", key(expires_at_ns=100)))
    assert isinstance(found.admit(SECRET, 99, "inference"), Key)
    assert found.admit(SECRET, 100, "inference") == Denied("key_expired")


def test_a_scope_that_is_not_held_is_missing() -> None:
    assert directory(("key.issued", key())).admit(SECRET, 5, "admin") == Denied("scope_missing")


def test_a_revoked_key_is_unknown_and_its_first_reason_stands() -> None:
    first, second = Revoked(key_id="key_1", at_ns=1, reason="lost"), Revoked(key_id="key_1", at_ns=2, reason="again")
    found = directory(("key.issued", key()), ("key.revoked", first), ("key.revoked", second))
    assert found.admit(SECRET, 5, "inference") == Denied("key_unknown")
    assert found.revoked == {"key_1": first}


def test_tenant_and_key_boundaries_are_both_told() -> None:
    found = directory(("tenant.created", Tenant(name="acme", boundary="eu")), ("key.issued", key(boundary="private")))
    assert found.boundaries(found.keys["key_1"]) == ("eu", "private")
    assert found.boundaries(key(boundary="eu")) == ("eu",)
    assert found.boundaries(key(tenant="nobody")) == ()


def test_a_record_folded_before_is_skipped() -> None:
    found = directory(("key.issued", key()), ("key.revoked", Revoked(key_id="key_1", at_ns=1)))
    found.apply(stored(1, "key.issued", key()))
    assert found.admit(SECRET, 5, "inference") == Denied("key_unknown")


@pytest.mark.parametrize(
    "record",
    [
        stored(3, "key.issued", key()),
        stored(2, "key.suspended", {}),
        stored(2, "key.issued", key(), schema=2),
        stored(2, "key.issued", {"id": "key_2"}),
        stored(2, "key.issued", key(id="key_2", sha256="not hex")),
        stored(2, "key.revoked", Revoked(key_id="nobody", at_ns=1)),
        stored(2, "tenant.created", 7),
    ],
)
def test_what_cannot_be_read_stops_the_fold(record: Stored) -> None:
    found = directory(("key.issued", key()))
    with pytest.raises(TransientError, match=f"record {record.seq} of stream 'identity'") as caught:
        found.apply(record)
    assert caught.value.code == "directory_unavailable"
    assert found.seq == 1
