"""Pages of buckets of results, the shape that OpenAI's and Anthropic's reports share. Pure.

A page is `{"data": [bucket, …], "has_more": …}`, a bucket holds its period and `results`. A file may hold one page,
a list of pages or of buckets, or one of them a line.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from interlock.errors import LocalError
from interlock.reconciling.statement import Repeat

RESULTS_MAX = 1_000_000


class Result(NamedTuple):
    """One result with its bucket."""

    place: str
    bucket: dict[str, Any]
    fields: dict[str, Any]
    """Empty: the bucket has no results, and it was asked for."""
    repeat: Repeat
    """Whether the same result stood in the same bucket before."""


class Pages:
    """The results of documents; `notes` is whole once all were taken."""

    def __init__(self, documents: Sequence[tuple[str, Any]], starts: Sequence[str]) -> None:
        """`starts`: names that a bucket's start goes by."""
        self._documents = documents
        self._starts = starts
        self._more: str | None = None
        self.notes: list[str] = []

    def results(self) -> Iterator[Result]:
        """Every result once. Raises: LocalError: another shape; the message says where."""
        seen: dict[Any, set[bytes]] = {}
        whole: set[bytes] = set()
        count = 0
        for place, bucket in self._buckets():
            results = bucket.get("results", bucket.get("result"))
            if not isinstance(results, list):
                raise _shape(place, "a bucket has a list `results`")
            start = next((bucket[name] for name in self._starts if name in bucket), None)
            if start is None:
                raise _shape(place, f"a bucket has `{self._starts[0]}`")
            text = msgspec.json.encode(bucket, order="sorted")
            if results and text in whole:
                self.notes.append(f"{place}: the same bucket stood before, so this one is left out (a page twice?)")
                continue
            whole.add(text)
            known = seen.setdefault(str(start), set())
            if not results:
                yield Result(place, bucket, {}, "")
            for number, fields in enumerate(results):
                at = f"{place}.results[{number}]"
                if not isinstance(fields, dict):
                    raise _shape(at, "a result is an object")
                count += 1
                if count > RESULTS_MAX:
                    raise LocalError(f"more than {RESULTS_MAX} results: take a shorter time", field="file")
                same = msgspec.json.encode(fields, order="sorted")
                yield Result(at, bucket, fields, "alike" if same in known else "")
                known.add(same)
        if self._more:
            self.notes.append(f"{self._more} says that more pages follow, and they are not here")

    def _buckets(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for place, document in self._documents:
            yield from self._in(place, document, 0)

    def _in(self, place: str, value: Any, depth: int) -> Iterator[tuple[str, dict[str, Any]]]:
        if isinstance(value, list) and depth < 2:
            for number, one in enumerate(value):
                yield from self._in(f"{place}[{number}]", one, depth + 1)
        elif isinstance(value, dict) and ("results" in value or "result" in value):
            yield place or "the document", value
        elif isinstance(value, dict) and isinstance(value.get("data"), list):
            self._more = (place.strip() or "the page") if value.get("has_more") is True else None
            for number, one in enumerate(value["data"]):
                yield from self._in(f"{place}data[{number}]" if not place else f"{place}.data[{number}]", one, 2)
        else:
            raise _shape(place or "the document", "it is a page with `data`, a list of pages, or of buckets")


def text_of(fields: dict[str, Any], name: str, place: str) -> str:
    """A text, empty where it is null or not there. Raises: LocalError."""
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise LocalError(f"{place}: {name} is not text", field=place)
    return value.strip()


def _shape(place: str, what: str) -> LocalError:
    return LocalError(f"{place}: this is not the report's shape: {what}", field=place)
