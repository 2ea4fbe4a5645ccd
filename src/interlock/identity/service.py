"""Changes to the `identity` stream: tenants, keys, revocations. Each is durable and known to all before it is answered.

It holds no secret after it has handed it out, and it knows no policy: the names of the profiles are passed in.
"""

import os
from base64 import urlsafe_b64encode
from collections.abc import Callable, Collection, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import msgspec

from interlock.clock import Clock
from interlock.errors import InterlockError, LocalError
from interlock.identity import rules
from interlock.identity.directory import Directory
from interlock.identity.value import KEY_PREFIX, STREAM, Accepted, Key, Left, Revoked, Tenant
from interlock.ids import new_id
from interlock.log import Conflict, Log, Record

KEYS_MAX = 100_000
"""Ever issued in one stream: every worker holds them all (about 1 KB each)."""
_TRIES = 32  # each lost race means that somebody else's append went through

ADMIN_TENANT = "default"


class Issued(NamedTuple):
    """A new key. `secret` exists nowhere else: show it once."""

    key: Key
    secret: str


class Listed(NamedTuple):
    """A key as it stands."""

    key: Key
    revoked: Revoked | None


class Identity:
    """One writer of the stream. There may be others in other processes: an append expects the head it saw."""

    def __init__(self, log: Log, clock: Clock, committed: Callable[[int], None] = lambda head: None) -> None:
        """`committed` is called with the stream's head when a change is durable, before the method returns
        (`Generation.raise_to` is what it is for)."""
        self.directory = Directory()
        self._log = log
        self._clock = clock
        self._committed = committed

    async def refresh(self) -> Directory:
        """Fold what has been appended since."""
        async for stored in self._log.read(STREAM, after=self.directory.seq):
            self.directory.apply(stored)
        return self.directory

    async def create_tenant(self, name: str, boundary: str = "", *, profiles: Collection[str] = ()) -> Tenant:
        """Idempotent. Raises: LocalError: a bad name or boundary; `conflict` if it stands with another boundary."""
        tenant = Tenant(name=rules.check_own_tenant(name), boundary=rules.check_boundary(boundary, profiles))

        def decide(directory: Directory) -> list[Record]:
            standing = directory.tenants.get(name)
            if standing is None:
                return [self._tenant_record(tenant)]
            if standing != tenant:
                raise LocalError(
                    f"tenant {name!r} exists with boundary {standing.boundary!r}", code="conflict", field="boundary"
                )
            return []

        await self._change(decide)
        return tenant

    async def issue(
        self,
        *,
        tenant: str,
        name: str,
        principal: str = "",
        scopes: Sequence[str] = ("inference",),
        boundary: str = "",
        expires: str = "",
        labels: Mapping[str, str] | None = None,
        subjects: Sequence[str] = (),
        profiles: Collection[str] = (),
    ) -> Issued:
        """A new key; its tenant is created if need be. `expires`: `90m`, `12h`, `30d`, or empty for never.

        Raises: LocalError: the field that is wrong is named.
        """
        now_ns = self._clock.now_ns()
        secret = KEY_PREFIX + urlsafe_b64encode(os.urandom(32)).decode().rstrip("=")
        key = Key(
            id=new_id("key", now_ns),
            sha256=sha256(secret.encode()).hexdigest(),
            name=rules.check_name(name, "name"),
            tenant=rules.check_own_tenant(tenant),
            principal=rules.check_name(principal or name, "principal"),
            scopes=rules.check_scopes(scopes),
            created_at_ns=now_ns,
            expires_at_ns=now_ns + rules.duration_ns(expires) if expires else None,
            boundary=rules.check_boundary(boundary, profiles),
            labels=rules.check_labels(labels or {}),
            subjects=rules.check_subjects(subjects),
        )

        def decide(directory: Directory) -> list[Record]:
            if len(directory.keys) >= KEYS_MAX:
                raise LocalError(f"the stream holds {KEYS_MAX} keys, and that is the limit", field="name")
            new_tenant = [] if tenant in directory.tenants else [self._tenant_record(Tenant(name=tenant))]
            return [*new_tenant, self._record(f"{key.id}/issued", "key.issued", key)]

        await self._change(decide)
        return Issued(key, secret)

    async def list(self, tenant: str | None = None) -> Sequence[Listed]:
        """Every key ever issued (to `tenant`), oldest first."""
        directory = await self.refresh()
        keys = [key for key in directory.keys.values() if tenant in (None, key.tenant)]
        return [Listed(key, directory.revoked.get(key.id)) for key in keys]

    async def revoke(self, key_id: str, reason: str = "") -> Revoked:
        """From the moment this returns, nobody on this machine admits the key. Idempotent: the first reason stands.

        Raises: LocalError: `not_found`.
        """
        revoked = Revoked(key_id=key_id, at_ns=self._clock.now_ns(), reason=rules.check_reason(reason))

        def decide(directory: Directory) -> list[Record]:
            if key_id not in directory.keys:
                raise LocalError(f"there is no key {key_id!r}", code="not_found", field="key_id")
            if key_id in directory.revoked:
                return []
            return [self._record(f"{key_id}/revoked", "key.revoked", revoked)]

        await self._change(decide)
        return self.directory.revoked[key_id]

    async def accept(self, tenant: str, agreement: str, by: str = "") -> Accepted:
        """Idempotent: the first acceptance that stands is returned. Raises: LocalError: no such tenant, a bad name."""
        made = Accepted(
            tenant=rules.check_tenant(tenant),
            agreement=rules.check_name(agreement, "agreement"),
            at_ns=self._clock.now_ns(),
            by=rules.check_name(by, "by") if by else "",
        )

        def decide(directory: Directory) -> list[Record]:
            if tenant not in directory.tenants:
                raise LocalError(f"there is no tenant {tenant!r}", code="not_found", field="tenant")
            if agreement in directory.accepted.get(tenant, ()):
                return []
            return [self._record(f"agreement/{new_id('ag', made.at_ns)}/accepted", "agreement.accepted", made)]

        await self._change(decide)
        return self.directory.accepted[tenant][agreement]

    async def leave(self, tenant: str, agreement: str, reason: str = "") -> None:
        """From the moment this returns, no call of the tenant's is sent under the agreement. Idempotent.

        Raises: LocalError `not_found`: the tenant never was under it.
        """
        left = Left(tenant=tenant, agreement=agreement, at_ns=self._clock.now_ns(), reason=rules.check_reason(reason))

        def decide(directory: Directory) -> list[Record]:
            if agreement not in directory.accepted.get(tenant, ()):
                raise LocalError(
                    f"tenant {tenant!r} has not accepted {agreement!r}", code="not_found", field="agreement"
                )
            return [self._record(f"agreement/{new_id('ag', left.at_ns)}/left", "agreement.left", left)]

        await self._change(decide)

    async def _change(self, decide: Callable[[Directory], Sequence[Record]]) -> None:
        """Decide on the newest state, append if it is still the newest, fold it, tell everybody.

        Everybody is told even if nothing was new: the writer before us may have died between commit and telling.
        """
        for _ in range(_TRIES):
            directory = await self.refresh()
            records = decide(directory)
            if records and isinstance(await self._log.append(STREAM, records, expect=directory.seq), Conflict):
                continue
            await self.refresh()
            self._committed(self.directory.seq)
            return
        raise InterlockError(f"the identity stream moved on {_TRIES} times in a row; retry", code="conflict")

    def _tenant_record(self, tenant: Tenant) -> Record:
        return self._record(f"tenant/{tenant.name}", "tenant.created", tenant)

    def _record(self, record_id: str, type_: str, value: msgspec.Struct) -> Record:
        return Record(id=record_id, type=type_, at_ns=self._clock.now_ns(), payload=msgspec.json.encode(value))


async def ensure_admin(identity: Identity, data_dir: Path) -> Path:
    """DIR/admin.key (mode 0600) with the secret of an admin of tenant `default`; a file that is there is left alone.

    Raises: LocalError: the file's key is not of this log (the log was removed, or the file comes from elsewhere).
    """
    path = data_dir / "admin.key"
    if path.exists():
        digest = sha256(path.read_bytes()[:4096].strip()).hexdigest()
        directory = await identity.refresh()
        if not any(key.sha256 == digest for key in directory.keys.values()):
            raise LocalError(f"{path} holds no key of this log: move it away, and a new one is written", field="data")
        return path
    issued = await identity.issue(tenant=ADMIN_TENANT, name="admin", scopes=rules.SCOPES)
    temporary = path.with_name(f".admin.key.{issued.key.id}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(issued.secret + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(temporary, path)  # unlike a rename, this fails if somebody was faster
    except FileExistsError:
        await identity.revoke(issued.key.id, "another process wrote admin.key first")
    finally:
        temporary.unlink()
    return path
