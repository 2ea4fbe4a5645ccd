"""Who may come in: a fold of the `identity` stream, held in memory by every process that admits callers.

Pure: no clock, no I/O, no secrets (a secret is hashed and forgotten). It does not decide what a key may reach:
boundaries and rules are the gateway's.
"""

from hashlib import sha256

import msgspec

from interlock.errors import TransientError
from interlock.identity.value import KEY_PREFIX, Accepted, Key, Left, Revoked, Scope, Tenant
from interlock.log import Stored
from interlock.log.record import SCHEMA

SECRET_CHARS = len(KEY_PREFIX) + 43
"""Of every secret that was ever issued: 32 random bytes in base64url. Anything else is refused unhashed."""


class Denied(msgspec.Struct, frozen=True):
    """Not admitted. `code` is one of interlock.errors.CODES."""

    code: str


_UNKNOWN = Denied("key_unknown")
_EXPIRED = Denied("key_expired")
_SCOPE_MISSING = Denied("scope_missing")


class Directory:
    """Tenants, and keys by the digest of their secret.

    `seq` is the last record folded. A record it cannot read stops the fold (it may be a revocation), and whoever admits
    by this directory then has to refuse.
    """

    def __init__(self) -> None:
        self.seq = 0
        self.tenants: dict[str, Tenant] = {}
        self.keys: dict[str, Key] = {}
        """Every key ever issued, by id."""
        self.revoked: dict[str, Revoked] = {}
        """By key id."""
        self.accepted: dict[str, dict[str, Accepted]] = {}
        """By tenant and agreement; what it has left is not there."""
        self._live: dict[bytes, Key] = {}

    def apply(self, stored: Stored) -> None:
        """Fold the next record; one that was folded before is skipped.

        Raises: TransientError `directory_unavailable`: a gap, or a record of a type or schema from a later version.
        """
        if stored.seq <= self.seq:
            return
        record = stored.record
        if stored.seq != self.seq + 1 or record.schema > SCHEMA:
            raise _unreadable(stored, "does not follow on" if record.schema <= SCHEMA else "has a later schema")
        try:
            self._fold(record.type, record.payload)
        except (msgspec.DecodeError, ValueError, KeyError) as error:
            raise _unreadable(stored, str(error)) from error
        self.seq = stored.seq

    def _fold(self, type_: str, payload: bytes) -> None:
        match type_:
            case "tenant.created":
                tenant = msgspec.json.decode(payload, type=Tenant)
                self.tenants[tenant.name] = tenant
            case "key.issued":
                key = msgspec.json.decode(payload, type=Key)
                self._live[bytes.fromhex(key.sha256)] = key
                self.keys[key.id] = key
            case "key.revoked":
                revoked = msgspec.json.decode(payload, type=Revoked)
                self._live.pop(bytes.fromhex(self.keys[revoked.key_id].sha256), None)
                self.revoked.setdefault(revoked.key_id, revoked)
            case "agreement.accepted":
                accepted = msgspec.json.decode(payload, type=Accepted)
                self.accepted.setdefault(accepted.tenant, {})[accepted.agreement] = accepted
            case "agreement.left":
                left = msgspec.json.decode(payload, type=Left)
                self.accepted.get(left.tenant, {}).pop(left.agreement, None)
            case _:
                raise ValueError(f"type {type_!r} is not known here")

    def admit(self, secret: str, now_ns: int, scope: Scope) -> Key | Denied:
        """The key that `secret` is, if it is live at `now_ns` and holds `scope`.

        An unknown secret costs what a known one does: one SHA-256 and one lookup by digest, so time tells nothing.
        """
        if len(secret) != SECRET_CHARS or not secret.isascii():
            return _UNKNOWN
        key = self._live.get(sha256(secret.encode()).digest())
        return _UNKNOWN if key is None else self._admitted(key, now_ns, scope)

    def _admitted(self, key: Key, now_ns: int, scope: Scope) -> Key | Denied:
        if key.expires_at_ns is not None and now_ns >= key.expires_at_ns:
            return _EXPIRED
        return key if scope in key.scopes else _SCOPE_MISSING

    def admit_id(self, key_id: str, now_ns: int, scope: Scope) -> Key | Denied:
        """As `admit`, of a key that is named by a token of its own."""
        key = self.keys.get(key_id)
        if key is None or key_id in self.revoked:
            return _UNKNOWN
        return self._admitted(key, now_ns, scope)

    def boundaries(self, key: Key) -> tuple[str, ...]:
        """Names of the profiles that a call with `key` is under: its tenant's and its own (they intersect)."""
        tenant = self.tenants.get(key.tenant)
        names = (tenant.boundary if tenant else "", key.boundary)
        return tuple(dict.fromkeys(filter(None, names))) if any(names) else ()

    def agreements(self, key: Key) -> tuple[str, ...]:
        """What the key's tenant has accepted, sorted."""
        return tuple(sorted(self.accepted.get(key.tenant, ())))


def _unreadable(stored: Stored, why: str) -> TransientError:
    return TransientError(
        f"record {stored.seq} of stream {stored.stream!r} cannot be folded: {why}", code="directory_unavailable"
    )
