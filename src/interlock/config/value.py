"""What a configuration is once it is read: frozen values, complete, with every default filled in.

`gateway.policy.Policy` is the part that every worker follows and the log keeps; `Server` is the part that belongs to
this machine and is read at start. Nothing here holds a secret: credentials and keys are named, never contained.
"""

from pathlib import Path
from typing import Literal

import msgspec

from interlock.door.settings import Tools
from interlock.gateway import Policy
from interlock.ledger import Watching
from interlock.limits.settings import Sharing, Warned
from interlock.meters.settings import Settings
from interlock.runtime.settings import RuntimeSettings


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    """What the data port shows its clients. Absolute paths of PEM files."""

    certificate: str
    """The chain, the server's own certificate first."""
    key: str


class LocalModel(msgspec.Struct, frozen=True, kw_only=True):
    """The managed child process that serves the local tier."""

    model: str = "smollm2-135m-instruct"
    """A name that `interlock local fetch` knows, or the absolute path of a `.gguf` file."""
    context: int = 8192
    """Tokens. SmolLM2 was trained on no more."""
    enabled: bool = False
    """Whether to start it; unless the file says, it is started if a deployment has the provider `local`."""
    threads: int | None = None
    """None: the cores that the process may use, less one for the gateway; at least one."""


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """What one machine needs to know and the policy does not."""

    tls: Tls | None = None
    """None: plain HTTP on the data port."""
    region: str = ""
    """Where this machine is: the source of its calls. Empty: not known, and boundaries that ask refuse."""
    journal_sync: Literal["never", "tick"] | int = 1000
    """When usage journals are flushed to the disk (`fdatasync`): never, after every event-loop tick, or every so many
    milliseconds. Whichever it is, a record survives the death of the process; this is about loss of power."""
    local: LocalModel = LocalModel()
    sharing: Sharing | None = None
    """None: limits are this machine's alone."""
    webhook: Warned | None = None
    """None: nobody is warned."""


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """A model that is not served here, and whose price is looked up when the policy is adopted."""

    provider: str
    model: str


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """One whole configuration."""

    policy: Policy
    """Its `version` is that of its content."""
    reference: Reference | None = None
    """What `savings` compares with; its name and price become the policy's `baseline` and `baseline_price`."""
    server: Server = Server()
    ledger: Settings = Settings()
    anomalies: Watching = Watching()
    runtime: RuntimeSettings = RuntimeSettings()
    tools: Tools = Tools()
    source_path: Path | None = None
    """None: the built-in default."""


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration that may be used, and what its author should know about it."""

    config: Config
    file: str
    """What messages call it."""
    warnings: tuple[str, ...] = ()
    """In the form of errors: `FILE:LINE: KEY: what is so`."""
    credentials: frozenset[str] = frozenset()
    """Those of them that are about credentials: nothing to who sends no calls."""

    @property
    def policy(self) -> Policy:
        """The policy to adopt."""
        return self.config.policy
