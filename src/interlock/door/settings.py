"""`[tools]` of a configuration: values only, read by interlock.config. No secret is in them: they say where one is."""

from typing import Literal

import msgspec

from interlock.credentials import Credential
from interlock.runtime.hands import Resources

HEADER = "authorization: Bearer"
RESOURCES = Resources(disk_bytes=64 << 20)
Grant = Literal["client_credentials", "token_exchange"]


class OAuth(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a token for a server is had: the operator's own, or one on behalf of whoever asks (RFC 8693)."""

    token_url: str
    client_id: str
    client_secret: Credential
    grant: Grant = "client_credentials"
    audience: str = ""
    scope: str = ""
    subject: Credential | None = None
    """Of a token exchange: where the user's own token is; `{tenant}` and `{principal}` in a file's path are theirs."""


class Allow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who may use what; patterns, in which `*` stands for anything."""

    tenants: tuple[str, ...] = ("*",)
    principals: tuple[str, ...] = ("*",)
    tools: tuple[str, ...] = ("*",)
    """As the server names them."""


class ToolServer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One upstream: a URL (Streamable HTTP), or a program that speaks MCP on its standard streams, in a sandbox."""

    name: str
    allow: tuple[Allow, ...]
    url: str = ""
    command: tuple[str, ...] = ()
    read: tuple[str, ...] = ()
    """Paths that the program sees beside /usr, read only. Absolute."""
    env: dict[str, str] = {}
    """Of the program; no secret."""
    resources: Resources = RESOURCES
    """What the program may use; of them `cpus`, `memory_bytes`, `processes`, and `disk_bytes`, which is its /tmp."""
    credential: Credential | None = None
    """What goes out in `header`; `{tenant}` and `{principal}` in a file's path are the caller's."""
    header: str = HEADER
    """Name of the header, and what stands before the credential in it."""
    oauth: OAuth | None = None
    prefix: str | None = None
    """Before the names of its tools and prompts; None: the server's name and `__`; empty: nothing (one server only)."""
    timeout_s: float = 60.0
    result_bytes: int = 1 << 20
    ca_bundle: str = ""

    @property
    def per_principal(self) -> bool:
        """Whether the credential is the caller's own."""
        places = [self.credential, self.oauth.subject if self.oauth else None]
        return any("{" in place.file for place in places if place is not None)


class Tools(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All of it."""

    servers: tuple[ToolServer, ...] = ()
    first_seen: Literal["approve", "ask"] = "approve"
    """What happens to a tool that nobody has seen: it is pinned as it is, or waits for an operator."""
    origins: tuple[str, ...] = ()
    """Of pages whose browsers may call; those of this machine may anyway."""
