"""Plans from outside: a TOML or JSON document to values, and back to a record. A mistake names its field.

Only the shape is read here; whether a plan makes sense says checking.py.
"""

import hashlib
import re
import tomllib
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from interlock import strictjson
from interlock.errors import LocalError
from interlock.rating.checking import check_plan
from interlock.rating.exact import exact, text_of
from interlock.rating.plan import Plan
from interlock.shapes import mistake

FILE_BYTES_MAX = 1 << 20
KEY_PARTS_MAX = 300
"""Of a dotted key: `tomllib` takes the square of their number. No text in a plan has as many points, since none may be
that long."""
_PARTS = re.compile(rb"[=,{}\[\]]")
"""Between them stands at most one key."""

_T = TypeVar("_T")


def read_plan(document: object) -> Plan:
    """A plan from a decoded document; decimals as strings, or as `Decimal` and int.

    Raises: LocalError: `invalid_request`: a key that is not known, a value of the wrong kind or size, or parts that
        contradict each other; `field` is its place, as `charges[0].price.tiers[1].up_to`.
    """
    plan = read_as(document, Plan, "plan")
    check_plan(plan)
    return plan


def read_plan_file(path: Path) -> Plan:
    """A plan from a `.toml` or `.json` file. Raises: LocalError: as `read_plan`; OSError."""
    return read_plan(read_document(path, "plan"))


def read_document(path: Path, what: str, most: int = FILE_BYTES_MAX) -> object:
    """A decoded TOML or JSON file of at most `most` bytes, its numbers exact. Raises: LocalError; OSError."""
    data = read_bytes(path, what, most)
    if path.suffix.lower() == ".json":
        return strictjson.loads(data, what=what, exact=True)
    if any(part.count(b".") > KEY_PARTS_MAX for line in data.splitlines() for part in _PARTS.split(line)):
        raise LocalError(f"{path}: a key of more than {KEY_PARTS_MAX} parts", field=what)
    try:
        return tomllib.loads(data.decode(), parse_float=Decimal)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError, ValueError, ArithmeticError) as error:
        raise LocalError(f"{path} is not TOML: {str(error)[:200]}", field=what) from error


def read_bytes(path: Path, what: str, most: int) -> bytes:
    """Raises: LocalError: the file is larger; OSError."""
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise LocalError(f"{path} is larger than the {most:,} bytes that a {what} may have", field=what)
    return data


def record_of(value: object) -> dict[str, Any]:
    """A part of a plan, or a whole one, as JSON: decimals as text, every default written out."""
    found: dict[str, Any] = _lists(msgspec.to_builtins(value, enc_hook=_encode))
    if isinstance(value, Plan) and value.entitlements is None:
        del found["entitlements"]  # plans had none once, and what was hashed then hashes so still
    return found


def plan_hash(plan: Plan) -> str:
    """SHA-256 over the canonical JSON of the record, in hex: two plans of one hash rate alike."""
    return hashlib.sha256(msgspec.json.encode(record_of(plan), order="deterministic")).hexdigest()


def read_as(document: object, kind: type[_T], what: str, at: str = "") -> _T:
    """A document as a value of a type, strictly. Raises: LocalError: `invalid_request`; `field` is the place."""
    try:
        return msgspec.convert(document, kind, dec_hook=_decode)
    except msgspec.ValidationError as error:
        message, path = mistake(error, kind)
        place = f"{at}{path}"[:200] or what
        raise LocalError(f"{place}: {message}", field=place) from error
    except RecursionError as error:
        raise LocalError(f"the {what} is nested too deeply", field=what) from error


def _decode(kind: type, value: object) -> object:
    assert kind is Fraction, kind
    return exact(value)


def _lists(value: Any) -> Any:
    """As JSON reads it again: tuples as lists."""
    if isinstance(value, dict):
        return {key: _lists(inner) for key, inner in value.items()}
    return [_lists(inner) for inner in value] if isinstance(value, tuple | list) else value


def _encode(value: object) -> str:
    assert isinstance(value, Fraction), type(value)
    return text_of(value)
