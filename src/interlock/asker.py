"""Who asks, as one of our processes tells it to another over a Unix socket that only this user may open."""

import msgspec

HEADER = "x-interlock-asker"
"""What the teller sets. It never passes on one that it was given from outside."""


class Asker(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody whose key was checked."""

    tenant: str
    principal: str
    key_id: str
    scopes: tuple[str, ...] = ()
    every_tenant: bool = False
    """An operator: sees all tenants, acts in any."""


def write_asker(asker: Asker) -> str:
    """The header's value: names of tenants, principals and keys are ASCII."""
    return msgspec.json.encode(asker).decode()


def read_asker(value: str) -> Asker:
    """Raises: ValueError: it is not one."""
    return msgspec.json.decode(value, type=Asker)
