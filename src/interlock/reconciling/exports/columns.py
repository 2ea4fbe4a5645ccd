"""Any CSV or Parquet file whose columns are named: `start=Day,model=Model,kind=Type,quantity=Tokens,amount=Cost`. Pure.

Either a row has one kind (`kind` says which) or a column a kind (`input=Prompt,output=Completion`); kinds exclude one
another. Rows without an end are of the bucket that their start is in.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast, get_args

from interlock.errors import LocalError
from interlock.ledger import KINDS, REQUESTS
from interlock.reconciling.figures import count, exact
from interlock.reconciling.moments import Width, bucket, moment_ns
from interlock.reconciling.statement import Category, Charge, Repeat

PLACES = 2
FIELDS = ("start", "end", "model", "kind", "quantity", "amount", "currency", "category", "id")
QUANTITIES = (*KINDS, REQUESTS)


def mapping(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Field to column. Raises: LocalError: an unknown or repeated field, or what is needed is not there."""
    found: dict[str, str] = {}
    for field, name in pairs:
        if field not in FIELDS and field not in QUANTITIES:
            known = ", ".join((*FIELDS, *QUANTITIES))
            raise LocalError(f"--columns: {field!r} is not one of {known}", field="--columns")
        if field in found:
            raise LocalError(f"--columns names {field!r} twice", field="--columns")
        found[field] = name
    if "start" not in found:
        raise LocalError("--columns: say at least start=COLUMN, where a row's time is", field="--columns")
    if not found.keys() & {"amount", "quantity", *QUANTITIES}:
        raise LocalError("--columns: name an amount, a quantity, or a column of a kind", field="--columns")
    if "quantity" in found and "kind" not in found:
        raise LocalError("--columns: a quantity needs kind=COLUMN to say what it counts", field="--columns")
    return found


class Rows:
    """The charges of a file's rows."""

    def __init__(self, columns: Mapping[str, str], width: Width) -> None:
        self._columns = columns
        self._width = width
        self._seen: set[tuple[str, ...]] = set()

    def charges(self, place: str, cells: Mapping[str, Any]) -> Iterator[Charge]:
        """What one row says. Raises: LocalError: a cell that is none."""
        told = {field: cells[name] for field, name in self._columns.items()}
        starts_ns = moment_ns(told["start"], f"{place} {self._columns['start']}")
        starts_ns, ends_ns = bucket(starts_ns, self._width)
        if told.get("end") not in ("", None):
            starts_ns = moment_ns(told["start"], f"{place} {self._columns['start']}")
            ends_ns = moment_ns(told["end"], f"{place} {self._columns['end']}")
        category = self._category(told, place)
        common: dict[str, Any] = {
            "place": place,
            "starts_ns": starts_ns,
            "ends_ns": ends_ns,
            "currency": (_text(told, "currency") or "USD").upper(),
            "category": category,
            "repeat": self._repeat(told, cells),
            "model": _text(told, "model") if category == "usage" else "",
        }
        kind = _text(told, "kind") if category == "usage" else ""
        amount = None
        if _text(told, "amount"):
            amount = exact(told["amount"], f"{place} {self._columns['amount']}", negative=True)
            if amount < 0 and category == "usage":
                common |= {"category": "credit", "model": ""}
                kind = ""
        quantity = None
        if category == "usage" and _text(told, "quantity"):
            quantity = count(told["quantity"], f"{place} {self._columns['quantity']}")
        if amount is not None or quantity is not None:
            yield Charge(**common, kind=kind, quantity=quantity, amount=amount)
        for name in QUANTITIES:
            if _text(told, name):
                yield Charge(**common, kind=name, quantity=count(told[name], f"{place} {self._columns[name]}"))

    def _repeat(self, told: Mapping[str, Any], cells: Mapping[str, Any]) -> Repeat:
        by_id = bool(_text(told, "id"))
        row = (_text(told, "id"),) if by_id else tuple(f"{name}={cells[name]}" for name in sorted(cells))
        known = row in self._seen
        self._seen.add(row)
        return ("same" if by_id else "alike") if known else ""

    def _category(self, told: Mapping[str, Any], place: str) -> Category:
        text = _text(told, "category").lower() or "usage"
        if text not in get_args(Category):
            known = ", ".join(get_args(Category))
            raise LocalError(f"{place}: category {text[:40]!r} is not one of {known}", field=place)
        return cast("Category", text)


def _text(told: Mapping[str, Any], name: str) -> str:
    value = told.get(name)
    return "" if value is None else str(value).strip()
