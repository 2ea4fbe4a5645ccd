"""What is merged and into what: every row goes to one place, work is bounded, and a thousand tenants make few files."""

import random
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.tables import plan
from interlock.tables.manifest import File
from interlock.tables.plan import Output, choose, divide, path_of, wanted

_days = st.integers(0, 800).map(lambda n: str(date(2025, 1, 1) + timedelta(days=n)))
_rows = st.sampled_from([1, 10, 1000, plan.PART_ROWS_MIN - 1, plan.PART_ROWS_MIN, plan.FULL_ROWS])


def file(n: int, rows: int, part: str = "", day: str = "2026-11-05", tenants: tuple[str, str] = ("a", "z")) -> File:
    return File(
        name=f"t/{n}",
        table="t",
        part=part,
        rows=rows,
        bytes=1,
        crc32=0,
        first_tenant=tenants[0],
        last_tenant=tenants[1],
        first_day=day,
        last_day=day,
        first_seq=n,
        last_seq=n,
    )


@given(st.dictionaries(_days, _rows, max_size=40), st.sampled_from(["", "month", "day"]), st.data())
def test_every_row_goes_to_one_output(days: dict[str, int], level: str, data: st.DataObject) -> None:
    part = max(days, default="2026-11-01")[: {"": 0, "month": 7, "day": 10}[level]]
    days = {day: rows for day, rows in days.items() if day.startswith(part)}
    tenants = ["acme", "b/c", "x" * 300, "\n"]
    large = {day: data.draw(st.lists(st.sampled_from(tenants), unique=True)) for day in days}
    outputs = divide(part, "", days, large)
    for day in days:
        for tenant in (*tenants, "of no size"):
            takers = [
                one
                for one in outputs
                if day in one.days and (one.tenant == tenant if one.tenant else tenant not in one.without)
            ]
            assert len(takers) == 1
            assert day.startswith(takers[0].part) and takers[0].part.startswith(part)
            assert not takers[0].tenant or tenant in large[day]
    assert len({(one.part, one.tenant) for one in outputs}) == len(outputs)


def test_a_part_of_one_tenant_stays_one() -> None:
    assert divide("2026-11-01", "a", {"2026-11-01": 5}, {}) == [Output("2026-11-01", "a", ("2026-11-01",), ())]


def test_thin_parts_stay_together_until_they_are_too_many() -> None:
    thin = {str(date(2020, 1, 1) + timedelta(days=n)): 10 for n in range(2000)}
    assert [one.part for one in divide("", "", thin, {})] == [""]
    many = dict.fromkeys(thin, plan.FULL_ROWS // 1000)
    assert len({one.part for one in divide("", "", many, {})}) == 66
    month = {f"2026-10-{n:02}": plan.FULL_ROWS // 30 for n in range(1, 32)}
    assert len(divide("2026-10", "", month, {})) == 31


def test_files_of_like_size_are_merged_the_oldest_first() -> None:
    few = [file(n, 5) for n in range(7)]
    assert choose(few) == []
    assert choose([*few, file(9, 100_000)]) == []
    assert choose([file(9, 6), *few, file(8, 7)]) == [*few, file(8, 7)]


def test_quiet_days_become_one_file_and_the_newest_waits() -> None:
    old = [file(n, 5, "2026-11-04", "2026-11-04") for n in (1, 2, 3)]
    new = [file(n, 5, "2026-11-05") for n in (4, 5, 6)]
    assert choose(new) == [] and choose(old) == []
    assert choose([*new, *old]) == old
    assert choose([*new, *(file(n, 5, "2026-10", "2026-10-09") for n in (7, 8, 9))]) != []


def test_a_step_is_bounded_and_full_files_are_left_alone() -> None:
    rows = plan.FULL_ROWS * 2 // 3
    taken = choose([file(n, rows) for n in range(20)])
    assert sum(one.rows for one in taken) <= plan.STEP_ROWS_MAX and len(taken) == 3
    assert choose([file(n, plan.FULL_ROWS) for n in range(20)]) == []


@given(
    st.lists(st.tuples(_days, _days, st.sampled_from("abc"), st.sampled_from("abc"))),
    _days,
    _days,
    st.sampled_from("abc"),
)
def test_what_is_left_out_holds_nothing_that_is_asked(
    spans: list[tuple[str, str, str, str]], first: str, last: str, tenant: str
) -> None:
    files = [
        _of(file(n, 1, tenants=(min(a, b), max(a, b))), "", min(x, y), max(x, y))
        for n, (x, y, a, b) in enumerate(spans)
    ]
    needed = [
        one
        for one in files
        if one.first_tenant <= tenant <= one.last_tenant and max(first, one.first_day) <= min(last, one.last_day)
    ]
    assert wanted(files, "t", tenant, first, last) == needed or first > last
    assert wanted(files, "t", None, None, None) == files and wanted(files, "u", None, None, None) == []


@dataclass
class Simulated:
    """Tables without rows: only how many there are of each day and tenant in each file."""

    files: list[tuple[File, Counter[tuple[str, str]]]] = field(default_factory=list)
    n: int = 0
    written: int = 0

    def add(self, rows: Counter[tuple[str, str]], part: str = "", tenant: str = "") -> None:
        self.n += 1
        days, tenants = [day for day, _ in rows], [name for _, name in rows]
        made = file(self.n, rows.total(), part, tenants=(min(tenants), max(tenants)))
        self.files.append((_of(made, tenant, min(days), max(days)), rows))
        self.written += rows.total()

    def compact(self) -> None:
        while taken := choose([one for one, _ in self.files]):
            rows: Counter[tuple[str, str]] = Counter()
            for one, of in self.files:
                if one in taken:
                    rows += of
            self.files = [(one, of) for one, of in self.files if one not in taken]
            days: Counter[str] = Counter()
            large: dict[str, list[str]] = {}
            for (day, tenant), count in rows.items():
                days[day] += count
                if count >= plan.PART_ROWS_MIN:
                    large.setdefault(day, []).append(tenant)
            for output in divide(taken[0].part, taken[0].tenant, days, large):
                mine = {
                    (day, tenant): count
                    for (day, tenant), count in rows.items()
                    if day in output.days and (output.tenant in ("", tenant)) and tenant not in output.without
                }
                if mine:
                    self.add(Counter(mine), output.part, output.tenant)


def _of(made: File, tenant: str, first: str, last: str) -> File:
    return File(**{**{name: getattr(made, name) for name in made.__struct_fields__}, "tenant": tenant,
                   "first_day": first, "last_day": last})  # fmt: skip


@pytest.mark.parametrize(("days", "most"), [(30, 200), (365, 900)])
def test_a_backfill_of_a_thousand_tenants_makes_few_files(days: int, most: int) -> None:
    """10 million rows in commits of 50,000, any days in each: half of a large tenant, which gets its own files."""
    chance, tables = random.Random(1), Simulated()
    for _ in range(200):
        rows: Counter[tuple[str, str]] = Counter()
        for _ in range(400):
            day = str(date(2026, 1, 1) + timedelta(days=chance.randrange(days)))
            tenant = "large" if chance.random() < 0.5 else f"tenant-{chance.randrange(1000)}"
            rows[day, tenant] += 125
        tables.add(rows)
        tables.compact()
    total = sum(rows.total() for _, rows in tables.files)
    assert total == 10_000_000
    assert len(tables.files) < most
    assert (tables.written - total) / total < 6  # times that a row was written again
    assert any(one.tenant == "large" for one, _ in tables.files) == (days == 30)


def test_names_are_hives_and_safe() -> None:
    assert path_of("events", "", "", 1, 9, 3) == "events/shared/1-9.3.parquet"
    assert path_of("events", "2026-11", "", 1, 9, 3) == "events/shared/month=2026-11/1-9.3.parquet"
    assert path_of("events", "2026-11-01", "a/../é", 1, 9, 3) == (
        "events/tenant=a%2F..%2F%C3%A9/day=2026-11-01/1-9.3.parquet"
    )
