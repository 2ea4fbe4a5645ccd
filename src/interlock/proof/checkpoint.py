"""A checkpoint: what every stream held at one moment, signed. Pure.

    {"signature":"…","statement":{"at_ns":"…","format":"interlock-checkpoint/1","number":7,"previous":"…",
     "public_key":"…","streams":{"events/0":{"chain":"…","seq":120},…}}}

There is one spelling: keys sorted, no white space, everything in ASCII, so that any JSON library can make the signed
bytes again. The signature (Ed25519) is over the statement's bytes; `previous` is the SHA-256 of the whole document
before it, or 64 zeros. It decides nothing about files (writing.py) and judges no stream (check.py).
"""

from collections.abc import Mapping
from hashlib import sha256

import msgspec

from interlock.errors import LocalError
from interlock.log.check import check_stream

FORMAT = "interlock-checkpoint/1"
STREAM = "checkpoints"
"""The journal that they stand in."""
TYPE = "checkpoint.signed"
FIRST_PREVIOUS = "0" * 64
KEY_CHARS = 64

_encode = msgspec.json.Encoder(order="sorted").encode


class Tip(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far a stream goes."""

    seq: int
    """Of its last record; at least 1."""
    chain: str
    """Hex: the chain value after it."""


class Statement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is signed."""

    at_ns: str
    """Wall clock, Unix epoch, UTC."""
    format: str = FORMAT
    number: int
    """From 1, without gaps."""
    previous: str
    public_key: str
    """Hex, of the signer."""
    streams: dict[str, Tip]


class _Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    signature: str
    statement: Statement


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One that was read or made; whether its signature is good, `keys.is_signed` says."""

    statement: Statement
    signature: str
    document: bytes

    @property
    def number(self) -> int:
        return self.statement.number

    @property
    def streams(self) -> Mapping[str, Tip]:
        return self.statement.streams

    @property
    def signed(self) -> bytes:
        """The bytes that the signature is over."""
        return _encode(self.statement)

    @property
    def hash(self) -> str:
        """Hex: what the next one names as `previous`."""
        return sha256(self.document).hexdigest()


def signed_bytes(statement: Statement) -> bytes:
    """What is to be signed."""
    return _encode(statement)


def make(statement: Statement, signature: bytes) -> Checkpoint:
    """The checkpoint of a statement and its signature."""
    document = _Document(signature=signature.hex(), statement=statement)
    return Checkpoint(statement=statement, signature=document.signature, document=_encode(document))


def read(text: bytes) -> Checkpoint:
    """A checkpoint from its document; white space around it is passed over. Raises: LocalError: it is none."""
    text = text.strip()
    try:
        document = msgspec.json.decode(text, type=_Document)
        for stream, tip in document.statement.streams.items():
            check_stream(stream)
            bytes.fromhex(tip.chain)
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, LocalError) as error:
        raise LocalError(f"this is no checkpoint: {error}", field="checkpoint") from error
    if document.statement.format != FORMAT:
        raise LocalError(f"a checkpoint of format {document.statement.format!r} is not known", field="checkpoint")
    if _encode(document) != text:
        raise LocalError(
            "this checkpoint is not spelled as it was written: it has to be kept as it is", field="checkpoint"
        )
    return Checkpoint(statement=document.statement, signature=document.signature, document=text)
