"""What is left of an event whose subject was erased: what meters count by, under a name that says nothing. Pure.

Usage that was counted stays counted, so invoices and closed periods stay what they were; who used it, its id, and all
of its data that no meter reads are gone. The dictionary of what stays is made once, when the erasure is asked for, so
that an event becomes the same residue whenever and wherever it is made.
"""

import re
from collections.abc import Mapping

import msgspec

ERASED = "erased"
"""The attribute that names the erasure; no sender may say it."""

_NUMBER = re.compile(rb'"?[0-9eE.+-]{1,64}"?')
_encode = msgspec.json.Encoder(order="deterministic").encode
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_NOTHING_READABLE = b"[]"
"""In place of what a meter could not read: it still cannot."""


class Node(msgspec.Struct, frozen=True, omit_defaults=True):
    """A place in an event's data."""

    chars: int = 0
    """A text, number or boolean of so many characters at most stays."""
    number: bool = False
    """A number stays."""
    forgotten: int = 0
    """One of so many characters at most goes, though a meter reads it."""
    inner: dict[str, "Node"] = {}
    """Places in it."""


class Keep(msgspec.Struct, frozen=True, omit_defaults=True):
    """What stays of an event besides its type, its time and its place in the log."""

    source: bool = False
    data: Node = Node()


class _Subject(msgspec.Struct):
    subject: str | None = None


_subjects = msgspec.json.Decoder(list[_Subject]).decode


def residue(event: bytes, erasure: str, subject: str, keep: Keep) -> bytes:
    """As stored JSON, from stored JSON. `subject`: the name that stands for the one that goes."""
    whole = _members(event)
    left: dict[str, object] = {
        ERASED: erasure,
        "id": "",
        "source": whole["source"] if keep.source else "",
        "specversion": "1.0",
        "subject": subject,
        "type": whole["type"],
    }
    if "time" in whole:
        left["time"] = whole["time"]
    if "data" in whole:
        left["data"] = msgspec.Raw(_left(bytes(whole["data"]), keep.data) or b"{}")
    return _encode(left)


def redacted(
    payload: bytes, tenant: str, erasure: str, subjects: Mapping[str, str], keep: Keep
) -> tuple[bytes, int] | None:
    """The payload of a record with events, after it; and how many of its events it is about. None: none.

    Args:
        subjects: by each that goes, the name that stands for it.
    """
    if not payload.startswith(b'{"tenant":%b,' % _encode(tenant)):
        return None
    whole = _members(payload)
    places = [place for place, one in enumerate(_subjects(whole["events"])) if one.subject in subjects]
    if not places:
        return None
    events = [bytes(event) for event in _list(whole["events"])]
    names = _subjects(whole["events"])
    for place in places:
        events[place] = residue(events[place], erasure, subjects[names[place].subject or ""], keep)
    changed = {"events": b"[%b]" % b",".join(events), **({"reason": b'""'} if "reason" in whole else {})}
    members = [b"%b:%b" % (_encode(name), changed.get(name) or bytes(value)) for name, value in whole.items()]
    return b"{%b}" % b",".join(members), len(places)


def _left(raw: bytes, node: Node) -> bytes | None:
    """What stays of a value; None: nothing. To every meter it reads as the value did, but for what is forgotten."""
    is_read = bool(node.chars or node.number or node.forgotten)
    match raw[:1]:
        case b"{":
            if not node.inner:
                return b"{}" if is_read else None
            members = _members(raw)
            kept = {name: _left(bytes(members[name]), inner) for name, inner in node.inner.items() if name in members}
            return _encode({name: msgspec.Raw(value) for name, value in kept.items() if value is not None})
        case b"[":
            return _NOTHING_READABLE if is_read else None
        case b"n":
            return None
    if _fits(raw, node.chars) or (node.number and _NUMBER.fullmatch(raw)):
        return raw
    if _fits(raw, node.forgotten) or not is_read:
        return None
    return _NOTHING_READABLE


def _fits(raw: bytes, chars: int) -> bool:
    if raw[:1] != b'"':
        return len(raw) <= chars
    return len(raw) <= 6 * chars + 2 and len(msgspec.json.decode(raw, type=str)) <= chars
