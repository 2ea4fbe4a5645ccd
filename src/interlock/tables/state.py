"""A place's manifest, and how it changes: files first, then the manifest that names them."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING

from msgspec.structs import replace

from interlock.clock import Clock
from interlock.errors import LocalError, TransientError
from interlock.ids import new_id
from interlock.tables.manifest import NAME, Damaged, File, Horizon, Manifest, decode, encode
from interlock.tables.place import Place, checksum
from interlock.tables.plan import path_of
from interlock.tables.table import Table

if TYPE_CHECKING:
    from interlock.tables.parquet import Made

_OURS = re.compile(r"[a-z0-9_]+/[^/]+/([^/]+/)?\d+-\d+\.\d+(-[0-9a-f]+)?\.parquet")


class State:
    """One thread changes it; any reads `manifest`."""

    def __init__(self, place: Place, tables: Iterable[Table], clock: Clock, grace_s: float, *, anew: bool) -> None:
        """Read the manifest, or begin. `anew`: begin, whatever is there.

        Raises: Damaged: the manifest or a file of it. TransientError `view_unavailable`.
        """
        self.place = place
        self._clock = clock
        self._grace_ns = int(grace_s * 1e9)
        self._certain = True  # that no other manifest than ours can be the one that is stored
        self._retired: list[tuple[int, str]] = []  # (when, on the monotonic clock; name), the earliest first
        columns = {table.name: list(table.columns) for table in tables}
        found = None if anew and not _is_archive(place) else place.read(NAME)
        self.manifest = (
            decode(found)
            if found is not None
            else Manifest(history=new_id("hist", self._clock.now_ns()), columns=columns)
        )
        if self.manifest.archive and (anew or self.manifest.columns != columns):
            raise LocalError("an archive stands there: name another place for the tables", field="place")
        if self.manifest.columns != columns:
            raise Damaged(NAME, "it is of other tables or columns")
        if found is None:
            self._write(self.manifest)
        self._next = self.manifest.next
        there, named = set(place.names()), {file.name for file in self.manifest.files}
        if missing := named - there:
            raise Damaged(min(missing), "it is missing")
        place.remove(sorted(name for name in there - named if _OURS.fullmatch(name)))

    def number(self) -> int:
        """One that no file has had."""
        self._next += 1
        return self._next - 1

    def change(self, reached: Callable[[str], None]) -> "Change":
        """A change to be made: `with state.change(…) as change: …`."""
        return Change(self, reached)

    def adopt(self, manifest: Manifest, gone: Iterable[str]) -> None:
        """Let that manifest be the one; files that only the old one names are removed after the grace.

        Raises: TransientError `view_unavailable`: it is not known which of the two is stored; ours is the old one.
        """
        manifest = replace(manifest, next=self._next)
        self._certain = False
        self._write(manifest)
        self._certain, self.manifest = True, manifest
        self.retire(gone)

    def clear(self, horizons: Mapping[str, Horizon]) -> None:
        """Forget everything but what has left. Raises: as `adopt`."""
        old = self.manifest
        self.adopt(
            Manifest(history=new_id("hist", self._clock.now_ns()), columns=old.columns, horizons=dict(horizons)),
            [file.name for file in old.files],
        )

    def retire(self, names: Iterable[str]) -> None:
        """Remove them, but not yet."""
        at = self._clock.monotonic_ns() + self._grace_ns
        self._retired += [(at, name) for name in names]

    def forsake(self, names: Sequence[str]) -> None:
        """Remove files of a change that was not made: at once, unless the manifest that is stored may name them."""
        if not self._certain:
            self.retire(names)
            return
        try:
            self.place.remove(names)
        except TransientError:
            self.retire(names)

    def sweep(self) -> None:
        """Remove what was retired long enough ago. Raises: TransientError `view_unavailable`."""
        now = self._clock.monotonic_ns()
        due = [name for at, name in self._retired if at <= now] if self._certain else []
        if due:
            self.place.remove(due)
            self._retired = self._retired[len(due) :]

    def _write(self, manifest: Manifest) -> None:
        self.place.write(NAME, encode(manifest))


class Change:
    """Files that are kept and then named all at once, or else removed again."""

    def __init__(self, state: State, reached: Callable[[str], None]) -> None:
        self._state = state
        self._reached = reached
        self._fresh: list[File] = []

    def keep(
        self, made: "Made", table: str, seqs: tuple[int, int], part: str = "", tenant: str = "", leaving: bool = False
    ) -> None:
        """Keep a file under a name of its own. `seqs`: the first and last record its rows came from."""
        self._reached("written")
        name = path_of(table, part, tenant, *seqs, self._state.number())
        file = File(
            name=name,
            table=table,
            part=part,
            tenant=tenant,
            rows=made.rows,
            bytes=made.path.stat().st_size,
            crc32=checksum(made.path),
            first_tenant=made.first_tenant,
            last_tenant=made.last_tenant,
            first_day=made.first_day,
            last_day=made.last_day,
            first_seq=seqs[0],
            last_seq=seqs[1],
            leaving=leaving,
        )
        self._fresh.append(file)
        try:
            self._state.place.keep(name, made.path)
        except Exception:
            made.path.unlink(missing_ok=True)
            raise
        self._reached("kept")

    def adopt(
        self,
        *,
        gone: Sequence[File] = (),
        leaving: Sequence[File] = (),
        through: tuple[int, str] | None = None,
        notes: Mapping[str, int] | None = None,
        horizons: Mapping[str, Horizon] = MappingProxyType({}),
    ) -> None:
        """Name what was kept. `gone`: files that it stands for. `leaving`: files that are marked so. `horizons`: those
        that are other than before."""
        manifest = self._state.manifest
        without, marked = {file.name for file in gone}, {file.name for file in leaving}
        files = [
            replace(file, leaving=True) if file.name in marked else file
            for file in manifest.files
            if file.name not in without
        ]
        seq, chain = through or (manifest.seq, manifest.chain)
        kept = dict(manifest.notes if notes is None else notes)
        new = replace(
            manifest,
            files=(*files, *self._fresh),
            seq=seq,
            chain=chain,
            notes=kept,
            horizons={**manifest.horizons, **horizons},
        )
        self._state.adopt(new, without)
        self._fresh = []
        self._reached("adopted")

    def __enter__(self) -> "Change":
        return self

    def __exit__(
        self, type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What was kept and not named is removed; when the process is ending, at the next opening."""
        if self._fresh and (type is None or issubclass(type, Exception)):
            self._state.forsake([file.name for file in self._fresh])


def _is_archive(place: Place) -> bool:
    """Whether the manifest there says so; one that is damaged says nothing."""
    try:
        found = place.read(NAME)
        return found is not None and decode(found).archive
    except Damaged:
        return False
