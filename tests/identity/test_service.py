"""Identity: issuing, revoking, racing writers, the first admin. Against real SQLite."""

import asyncio
import re
import stat
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from interlock.errors import InterlockError, LocalError
from interlock.identity import UNATTRIBUTED, Denied, Identity, Key, Tenant, ensure_admin, service
from interlock.identity.rules import SCOPES, duration_ns
from interlock.log.sqlite import SqliteLog
from interlock.testing.clock import ManualClock

NOW_NS = 1_800_000_000_000_000_000
HOUR_NS = 3_600_000_000_000


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    with closing(SqliteLog(tmp_path / "log.sqlite")) as opened:
        yield opened


def test_a_secret_is_shown_once_and_never_stored(log: SqliteLog) -> None:
    identity = Identity(log, ManualClock(NOW_NS))
    key, secret = asyncio.run(identity.issue(tenant="acme", name="laptop", expires="2h", labels={"team": "b"}))
    assert re.fullmatch(r"ilk_[A-Za-z0-9_-]{43}", secret)
    assert key.sha256 == sha256(secret.encode()).hexdigest()
    assert key.principal == "laptop"
    assert key.expires_at_ns == NOW_NS + 2 * HOUR_NS
    records = log.read_after("identity", 0)
    assert [one.record.type for one in records] == ["tenant.created", "key.issued"]
    assert not any(secret[4:].encode() in one.record.payload for one in records)
    assert identity.directory.admit(secret, NOW_NS, "inference") == key


def test_a_second_writer_sees_what_the_first_wrote(log: SqliteLog) -> None:
    first, second = Identity(log, ManualClock(NOW_NS)), Identity(log, ManualClock(NOW_NS))
    key, secret = asyncio.run(first.issue(tenant="acme", name="laptop"))
    asyncio.run(second.revoke(key.id, "lost"))
    asyncio.run(first.refresh())
    assert first.directory.admit(secret, NOW_NS, "inference") == Denied("key_unknown")
    assert [(one.key.id, one.revoked and one.revoked.reason) for one in asyncio.run(first.list("acme"))] == [
        (key.id, "lost")
    ]


def test_racing_writers_create_a_tenant_once(log: SqliteLog) -> None:
    async def race() -> None:
        writers = [Identity(log, ManualClock(NOW_NS)) for _ in range(8)]
        async with asyncio.TaskGroup() as group:
            for number, writer in enumerate(writers):
                group.create_task(writer.issue(tenant="acme", name=f"key{number}"))

    asyncio.run(race())
    types = [one.record.type for one in log.read_after("identity", 0)]
    assert sorted(types) == ["key.issued"] * 8 + ["tenant.created"]
    assert types[0] == "tenant.created"


def test_racing_writers_together_keep_the_limit(log: SqliteLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "KEYS_MAX", 3)

    async def issue(identity: Identity) -> bool:
        try:
            await identity.issue(tenant="acme", name="laptop")
        except LocalError:
            return False
        return True

    async def race() -> list[bool]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(issue(Identity(log, ManualClock(NOW_NS)))) for _ in range(8)]
        return [task.result() for task in tasks]

    assert sum(asyncio.run(race())) == 3


def test_racing_revocations_leave_one_record_and_one_answer(log: SqliteLog) -> None:
    writers = [Identity(log, ManualClock(NOW_NS)) for _ in range(6)]
    key = asyncio.run(writers[0].issue(tenant="acme", name="laptop")).key

    async def race() -> set[str]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one.revoke(key.id, f"by{i}")) for i, one in enumerate(writers)]
        return {task.result().reason for task in tasks}

    assert len(asyncio.run(race())) == 1
    assert [one.record.type for one in log.read_after("identity", 0)].count("key.revoked") == 1


def test_everybody_is_told_after_the_commit_even_of_what_stood_before(log: SqliteLog) -> None:
    told: list[tuple[int, int]] = []
    identity = Identity(log, ManualClock(NOW_NS), lambda head: told.append((head, len(log.read_after("identity", 0)))))
    key = asyncio.run(identity.issue(tenant="acme", name="laptop")).key
    asyncio.run(identity.revoke(key.id))
    asyncio.run(identity.revoke(key.id))
    assert told == [(2, 2), (3, 3), (3, 3)]


def test_nobody_is_called_what_stands_for_nobody(log: SqliteLog) -> None:
    identity = Identity(log, ManualClock(NOW_NS))
    for attempt in (
        identity.create_tenant(UNATTRIBUTED),
        identity.issue(tenant=UNATTRIBUTED, name="laptop"),
    ):
        with pytest.raises(LocalError, match="stands for what nobody used") as caught:
            asyncio.run(attempt)
        assert caught.value.field == "tenant"


def test_a_tenant_may_be_created_again_but_not_changed(log: SqliteLog) -> None:
    identity = Identity(log, ManualClock(NOW_NS))
    for _ in range(2):
        found = asyncio.run(identity.create_tenant("acme", "eu", profiles={"eu"}))
        assert found == Tenant(name="acme", boundary="eu")
    with pytest.raises(LocalError, match="exists with boundary 'eu'") as caught:
        asyncio.run(identity.create_tenant("acme"))
    assert caught.value.code == "conflict"
    key = asyncio.run(identity.issue(tenant="acme", name="laptop")).key
    assert identity.directory.boundaries(key) == ("eu",)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("tenant", {"tenant": "Acme"}),
        ("tenant", {"tenant": ""}),
        ("tenant", {"tenant": "a" * 64}),
        ("name", {"name": "a b"}),
        ("name", {"name": "x\n"}),
        ("principal", {"principal": "-"}),
        ("scopes", {"scopes": ["root"]}),
        ("scopes", {"scopes": []}),
        ("boundary", {"boundary": "mars"}),
        ("expires", {"expires": "0d"}),
        ("expires", {"expires": "3651d"}),
        ("expires", {"expires": "1w"}),
        ("expires", {"expires": "٣d"}),
        ("labels", {"labels": {"a": ""}}),
        ("labels", {"labels": {f"n{i}": "v" for i in range(17)}}),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_written(log: SqliteLog, field: str, wrong: dict[str, object]) -> None:
    good: dict[str, object] = {"tenant": "acme", "name": "laptop", "profiles": {"eu"}}
    with pytest.raises(LocalError) as caught:
        asyncio.run(Identity(log, ManualClock(NOW_NS)).issue(**{**good, **wrong}))  # type: ignore[arg-type]  # wrong on purpose
    assert (caught.value.field, caught.value.code) == (field, "invalid_request")
    assert log.read_after("identity", 0) == []


def test_an_unknown_key_cannot_be_revoked(log: SqliteLog) -> None:
    with pytest.raises(LocalError) as caught:
        asyncio.run(Identity(log, ManualClock(NOW_NS)).revoke("key_nobody"))
    assert caught.value.code == "not_found"


def test_durations() -> None:
    assert [duration_ns(text) for text in ("90m", "12h", "30d")] == [90 * HOUR_NS // 60, 12 * HOUR_NS, 720 * HOUR_NS]


def test_the_first_admin_is_written_once(log: SqliteLog, tmp_path: Path) -> None:
    identity = Identity(log, ManualClock(NOW_NS))
    path = asyncio.run(ensure_admin(identity, tmp_path))
    secret = path.read_text().strip()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for scope in SCOPES:
        assert isinstance(identity.directory.admit(secret, NOW_NS, scope), Key)
    asyncio.run(ensure_admin(identity, tmp_path))
    assert path.read_text().strip() == secret
    assert len(identity.directory.keys) == 1
    assert [found.name for found in tmp_path.iterdir() if "admin" in found.name] == ["admin.key"]


def test_racing_first_starts_agree_on_one_admin(log: SqliteLog, tmp_path: Path) -> None:
    identities = [Identity(log, ManualClock(NOW_NS)) for _ in range(4)]

    async def race() -> None:
        async with asyncio.TaskGroup() as group:
            for one in identities:
                group.create_task(ensure_admin(one, tmp_path))

    asyncio.run(race())
    secret = (tmp_path / "admin.key").read_text().strip()
    directory = asyncio.run(identities[0].refresh())
    assert isinstance(directory.admit(secret, NOW_NS, "admin"), Key)
    assert len(directory.keys) - len(directory.revoked) == 1


def test_a_foreign_admin_key_is_refused(log: SqliteLog, tmp_path: Path) -> None:
    (tmp_path / "admin.key").write_text("ilk_of_another_log\n")
    with pytest.raises(InterlockError, match="no key of this log"):
        asyncio.run(ensure_admin(Identity(log, ManualClock(NOW_NS)), tmp_path))
