"""After booking, the books say what the bill says, to the last digit; done again, only what is left is booked."""

import random
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import msgspec
import pytest
from tests.ledger.logs import run
from tests.reconciling.properties import billed_nanousd, check_booked, rebuilt
from tests.reconciling.shapes import SHAPES, openai, openai_usage
from tests.reconciling.worlds import DAY_NS, DAY_S, DAYS, FIRST_S, OPENAI, Stand, plant, stand, whose, world

from interlock.errors import LocalError
from interlock.identity import UNATTRIBUTED
from interlock.ledger import Adjusted
from interlock.log import Appended, Conflict, Record
from interlock.reconciling import STREAM, book, dividing, service
from interlock.reconciling import books as books_module
from interlock.reconciling.dividing import NOBODY, Whose
from interlock.reconciling.report import exact_usd


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", SHAPES)
def test_the_books_agree_with_the_bill_once_it_is_booked(shape: str, seed: int, tmp_path: Path) -> None:
    check_booked(shape, seed, tmp_path)


def test_a_report_of_usage_alone_gives_lost_calls_their_figures(tmp_path: Path) -> None:
    one = world("openai", OPENAI, 3)
    plant(one, random.Random(3), ["lost", "estimated"])
    with stand(one, tmp_path / "stand") as books:
        statement = openai_usage(one, tmp_path)
        report, booked = books.book(statement)
        assert (booked.attempts, booked.entries) == (2, 0)
        assert books.compare(statement).matched
        unsure = [call for call in one.calls if call.metered != "reported"]
        for call in unsure:
            found = books.ledger.explain(f"req_{call.number:032x}")
            assert found is not None
            [attempt] = found.attempts
            assert attempt.entry is not None
            assert attempt.entry.source == "billed"
            assert {k: n for k, n in attempt.entry.usage.items() if k != "reasoning"} == {
                k: n for k, n in call.usage.items() if k != "reasoning"
            }
            assert attempt.metered is not None
            assert attempt.records[0].type == "usage.adjusted"
            assert report.statement == attempt.records[0].payload["statement"]
        # and a bill with money agrees with it already
        assert books.compare(openai(one, tmp_path)).matched
        [row] = books.ledger.usage()
        assert (row.estimated, row.lost) == (0, 1)


def test_a_bill_that_is_restated_books_the_difference(tmp_path: Path) -> None:
    one = world("openai", OPENAI, 5)
    day, model = one.calls[0].day, one.calls[0].model
    with stand(one, tmp_path / "stand") as books:
        books.book(openai(one, tmp_path))
        before = books.nanousd("openai")
        one.rates[day, model.billed, "output"] = Fraction(3, 2)
        higher = openai(one, tmp_path)
        report, booked = books.book(higher)
        assert [row.classes for row in report.rows if row.status != "matched"] == [("price",)]
        assert booked.nanousd == books.nanousd("openai") - before
        assert booked.nanousd > 0
        one.rates.clear()
        lower = openai(one, tmp_path)
        assert books.book(lower)[1].nanousd == -booked.nanousd
        assert books.book(higher)[1].nanousd == booked.nanousd, "the first once more, after another"
        assert books.compare(higher).matched


def test_what_nobody_used_is_nobodys(tmp_path: Path) -> None:
    one = world("openai", OPENAI, 7)
    plant(one, random.Random(7), ["not_metered"])
    with stand(one, tmp_path / "stand") as books:
        statement = openai(one, tmp_path)
        report, _ = books.book(statement)
        alien = [row for row in report.rows if "not_metered" in row.classes]
        owed = sum((row.theirs_nanousd or Fraction(0) for row in alien), Fraction(0))
        rows = {row.dimensions["tenant"]: row for row in books.ledger.usage(["tenant"])}
        assert abs((rows[UNATTRIBUTED].amount_nanousd or 0) - owed) <= Fraction(3, 2), "three rows"
        assert (rows[UNATTRIBUTED].requests, rows[UNATTRIBUTED].attempts) == (0, 0)
        assert report.plan.tenants()[UNATTRIBUTED] == rows[UNATTRIBUTED].amount_nanousd


@pytest.mark.parametrize("same", [True, False])
def test_two_that_book_at_once_book_once(same: bool, tmp_path: Path) -> None:
    """The second sees that the stream has moved on, and reckons again; the same plan is the same records."""
    one = world("openai", OPENAI, 9)
    plant(one, random.Random(9), ["lost", "price", "extra"])
    with stand(one, tmp_path / "stand") as books:
        statement = openai(one, tmp_path)
        one.rates[one.calls[0].day, one.calls[0].model.billed, "output"] = Fraction(7, 5)
        other = statement if same else openai(one, tmp_path)
        append, raced = books.log.append, [0]

        async def racing(stream: str, records: Sequence[Record], *, expect: int | None = None) -> Appended | Conflict:
            if stream == STREAM and raced == [0]:
                raced[0] = 1
                await book(books.ledger, books.log, books.clock, books.fold, other)
            return await append(stream, records, expect=expect)

        books.log.append = racing  # type: ignore[method-assign]  # between the reckoning and the writing
        books.book(statement)
        assert books.compare(statement).matched
        records = books.log.read_after(STREAM, 0)
        assert len({stored.record.id for stored in records}) == len(records)
        assert len([one for one in records if one.record.type == "statement.imported"]) == (1 if same else 2)


def test_who_books_between_a_fold_and_the_reckoning_is_seen(tmp_path: Path) -> None:
    """The view is as of a head that was read before it: what is written in between moves the stream on."""
    one = world("openai", OPENAI, 9)
    plant(one, random.Random(9), ["lost", "price", "extra"])
    with stand(one, tmp_path / "stand") as books:
        statement = openai(one, tmp_path)
        folds = [0]

        async def overtaken() -> None:
            await books.fold()
            folds[0] += 1
            if folds[0] == 1:
                await book(books.ledger, books.log, books.clock, nothing, statement)

        async def nothing() -> None:
            """The other one's view is as new; what it books, only the next fold sees."""

        run(book(books.ledger, books.log, books.clock, overtaken, statement))
        assert books.compare(statement).matched, "once, not twice"
        assert len([one for one in books.log.read_after(STREAM, 0) if one.record.type == "statement.imported"]) == 1


def test_what_was_booked_in_part_is_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies between two appends of one booking: the next books the rest, and nothing twice."""
    monkeypatch.setattr(service, "RECORDS", 3)
    one = world("openai", OPENAI, 21)
    plant(one, random.Random(5), ["lost", "estimated", "price", "extra", "missing", "not_metered"])
    with stand(one, tmp_path / "stand") as books:
        statement = openai(one, tmp_path)
        append, done = books.log.append, [0]

        async def dying(stream: str, records: Sequence[Record], *, expect: int | None = None) -> Appended | Conflict:
            done[0] += 1
            if done[0] % 2 == 0:
                raise KilledError
            return await append(stream, records, expect=expect)

        books.log.append = dying  # type: ignore[method-assign]  # each time it is killed after the first append
        deaths = 0
        while not books.compare(statement).matched:
            try:
                books.book(statement)
            except KilledError:
                deaths += 1
                run(books.fold())
        assert deaths > 2
        report = books.compare(statement)
        assert report.plan.changes == ()
        assert abs(books.nanousd("openai") - billed_nanousd(one)) <= Fraction(len(report.rows), 2)
        ids = [stored.record.id for stored in books.log.read_after(STREAM, 0)]
        assert len(set(ids)) == len(ids)
        assert rebuilt(books, tmp_path) == books.ledger.dump()


@pytest.mark.parametrize("shape", ["openai", "anthropic"])
def test_wherever_a_booking_is_cut_off_the_next_one_ends_it(
    shape: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after any of its appends: each difference is booked once, to whom one run books it; what was is told."""
    monkeypatch.setattr(service, "RECORDS", 14)
    rows: list[set[str]] = []
    """Of each append of one run."""

    def booked(appends: int) -> tuple[int, Counter[tuple[str, ...]]]:
        """Appends of a run that dies after so many, and what each has in the end, by row and kind."""
        one = SHAPES[shape].world(22)
        plant(one, random.Random(7), ["lost", "estimated", "price", "extra", "missing", "not_metered"])
        few = (n for n, call in enumerate(one.calls) if call.metered == "reported" and n % 3)
        for n in few:
            one.calls[n] = replace(one.calls[n], metered="estimated")  # several share what a bill says
        place = tmp_path / f"{appends}"
        with stand(one, place) as books:
            statement, append, done = SHAPES[shape].read(one, place), books.log.append, [0]

            async def dying(
                stream: str, records: Sequence[Record], *, expect: int | None = None
            ) -> Appended | Conflict:
                if done[0] == appends:
                    raise KilledError
                done[0] += 1
                told = [msgspec.json.decode(one.payload) for one in records if one.type == "usage.adjusted"]
                rows.append({change["row"] for change in told})
                return await append(stream, records, expect=expect)

            books.log.append = dying  # type: ignore[method-assign]  # the process ends between two appends
            with suppress(KilledError):
                books.book(statement)
            books.log.append = append  # type: ignore[method-assign]  # another process
            records = [one.record for one in books.log.read_after(STREAM, 0) if one.record.type == "usage.adjusted"]
            entries = [change for one in records if (change := msgspec.json.decode(one.payload, type=Adjusted)).tenant]
            usd = exact_usd(Fraction(sum(change.amount_nanousd or 0 for change in entries)))
            told = f"calls with true figures {len(records) - len(entries)}, entries {len(entries)} ({usd} USD)"
            report, _ = books.book(statement)
            notes = [note for note in report.notes if note.startswith("already booked")]
            assert notes == ([f"already booked of this export: {told}"] if records else [])
            assert books.compare(statement).plan.changes == ()
            assert len([one for one in books.log.read_after(STREAM, 0) if one.record.type == "statement.imported"]) == 1
            has: Counter[tuple[str, ...]] = Counter()
            for row in books.ledger.usage(["tenant", "principal", "session", "deployment"]):
                has[*row.dimensions.values(), "nanousd"] += row.amount_nanousd or 0
            for change in _entries(books):
                name = (change.row, change.tenant, change.deployment, change.team, change.principal, change.session)
                has[*name, "nanousd"] += change.amount_nanousd or 0
                has[*name, "tokens"] += sum(change.usage.values())
            return done[0], has

    appends, whole = booked(10**6)
    assert appends > 3
    assert sum(map(len, rows)) == len(set.union(*rows)), (
        "a row is booked whole, or what it is divided among would change"
    )
    for n in range(appends):
        assert booked(n) == (n, whole), f"killed after {n} of {appends}"


@pytest.mark.parametrize(
    "figures",
    [
        [{"amount": Decimal(10**18 - 1)}],
        [{"amount": Decimal(999_999_999)}] * 2,
        [{"quantity": Decimal(10**18 - 1)}] * 10,
    ],
    ids=["dollars", "dollars in all", "tokens in all"],
)
def test_what_the_ledgers_sums_do_not_hold_is_not_booked(figures: list[dict[str, Decimal]], tmp_path: Path) -> None:
    """What is booked is never changed: a figure past 64 bits would stand in every later sum, and break it."""
    one = world("openai", OPENAI, 3)
    with stand(one, tmp_path / "stand") as books:
        good = openai(one, tmp_path)
        lines = [msgspec.structs.replace(good.lines[0], model=f"other-{n}", **more) for n, more in enumerate(figures)]
        with pytest.raises(LocalError, match="Nothing was booked") as refused:
            books.book(msgspec.structs.replace(good, lines=(*good.lines, *lines)))
        assert refused.value.field == "statement"
        assert books.log.read_after(STREAM, 0) == []
        books.book(good)
        assert books.compare(good).matched and books.ledger.usage()


class KilledError(Exception):
    """The process dies here."""


# whose


def _entries(books: Stand) -> list[Adjusted]:
    """What was booked as entries of their own."""
    stored = books.log.read_after(STREAM, 0)
    found = [msgspec.json.decode(one.record.payload, type=Adjusted) for one in stored if one.record.id[:4] == "adj_"]
    assert all(change.tenant for change in found)
    return found


def _by(books: Stand, name: str) -> dict[str, int]:
    statement = books.ledger.costs([name], FIRST_S * 10**9, (FIRST_S + 9 * DAY_S) * 10**9)
    rows = {row.dimensions[name]: row.amount_nanousd or 0 for row in statement.rows}
    assert sum(rows.values()) == statement.total.amount_nanousd == books.nanousd("openai")
    assert sum(row.share_ppm for row in statement.rows) == 10**6
    return rows


def _every_price(factor: Fraction) -> dict[tuple[int, str, str], Fraction]:
    places = ((day, model) for day in range(DAYS) for model in OPENAI)
    return {(day, model.billed, kind): factor for day, model in places for kind in model.price.per_mtok}


@pytest.mark.parametrize("seed", range(3))
def test_statements_by_team_principal_and_session_sum_to_the_bill(seed: int, tmp_path: Path) -> None:
    one = world("openai", OPENAI, seed)
    plant(one, random.Random(seed), ["lost", "price", "extra", "missing", "not_billed", "cached_split"])
    with stand(one, tmp_path / "stand") as books:
        statement = openai(one, tmp_path)
        report, _ = books.book(statement)
        assert abs(books.nanousd("openai") - billed_nanousd(one)) <= Fraction(len(report.rows), 2)
        calls = {whose(call) for call in one.calls if call.metered != "not"}
        booked = {Whose(change.team, change.principal, change.session) for change in _entries(books)}
        assert booked <= calls and report.plan.unnamed_nanousd == 0, "whoever used the model then"
        for name in ("team", "principal", "session"):
            assert set(_by(books, name)) == {getattr(one, name) for one in calls}
        assert books.compare(statement).plan.changes == ()
        assert rebuilt(books, tmp_path) == books.ledger.dump()


def test_what_was_not_billed_is_taken_back_from_those_who_were_metered(tmp_path: Path) -> None:
    one = world("openai", OPENAI, 4)
    [(day, name)] = plant(one, random.Random(4), ["not_billed"])
    with stand(one, tmp_path / "stand") as books:
        books.book(openai(one, tmp_path))
        since_ns = (FIRST_S + day * DAY_S) * 10**9
        with books.ledger.metered(["openai"], since_ns=since_ns, until_ns=since_ns + DAY_NS) as entries:
            left: Counter[Whose] = Counter()
            model = next(one for one in OPENAI if one.billed == name)
            for entry in entries:
                if entry.model in (model.asked, model.billed):
                    left[Whose(entry.team, entry.principal, entry.session)] += entry.amount_nanousd or 0
        assert left and not any(left.values()), "to the last nano-dollar"


def test_a_price_is_paid_by_who_used_it(tmp_path: Path) -> None:
    one = world("openai", OPENAI, 6)
    with stand(one, tmp_path / "stand") as books:
        books.book(openai(one, tmp_path))
        before = _by(books, "session")
        one.rates.update(_every_price(Fraction(2)))
        books.book(openai(one, tmp_path))
        after = _by(books, "session")
        assert len(before) > 5
        for name, amount in before.items():
            assert abs(after[name] - 2 * amount) <= DAYS * 2 * 3 * 3 * 3, f"{name}: a nano-dollar a row and name"


def test_names_do_not_widen_what_counts_as_rounding(tmp_path: Path) -> None:
    """A row that was booked is one rounding, among however many it was divided."""
    one = world("openai", OPENAI, 6)
    one.rates.update(_every_price(Fraction(2)))
    with stand(one, tmp_path / "stand") as books:
        bill = openai(one, tmp_path)
        books.book(bill)
        n, line = next((n, line) for n, line in enumerate(bill.lines) if line.amount is not None)
        rows = Counter(change.row for change in _entries(books))
        assert min(rows.values()) >= 5
        far = Decimal((line.priced + 1) // 2 + 1).scaleb(-9)  # half a nano-dollar a row of theirs, half for ours: less
        again = msgspec.structs.replace(line, amount=(line.amount or Decimal(0)) + far)
        lines = (*bill.lines[:n], again, *bill.lines[n + 1 :])
        report = books.compare(msgspec.structs.replace(bill, lines=lines))
        assert [row.classes for row in report.rows if row.status != "matched"] == [("price",)]


def test_entries_without_names_still_read_and_are_booked_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they were booked before entries said whose they are. A restated bill is then as if it had been the first."""
    one = world("openai", OPENAI, 8)
    right, names = openai(one, tmp_path), ("team", "principal", "session")
    one.rates.update(_every_price(Fraction(3, 2)))
    higher = openai(one, tmp_path)
    with stand(one, tmp_path / "once") as books:
        books.book(right)
        once = {name: _by(books, name) for name in names}
        higher_once = books.book(higher) and {name: _by(books, name) for name in names}
    with stand(one, tmp_path / "stand") as books:
        with monkeypatch.context() as old:
            old.setattr(dividing, "bounded", lambda weights, most: {NOBODY: sum(weights.values())})
            books.book(higher)
        nameless = _entries(books)
        assert nameless and all(Whose(one.team, one.principal, one.session) == NOBODY for one in nameless)
        assert b"principal" not in msgspec.json.encode(nameless[0]), "the old shape"
        assert _by(books, "principal")[""] == sum(change.amount_nanousd or 0 for change in nameless) > 0
        report = books.compare(higher)
        assert report.matched and report.plan.changes == (), "what stands is right, and stays"
        for bill, wanted in ((right, once), (higher, higher_once), (right, once)):
            books.book(bill)
            for name in names:
                found = {one: amount for one, amount in _by(books, name).items() if one or amount}
                assert found == {one: amount for one, amount in wanted[name].items() if one or amount}
        assert rebuilt(books, tmp_path) == books.ledger.dump()


def test_more_than_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dividing, "WHOSE_MAX", 1)
    monkeypatch.setattr(books_module, "NAMED_MAX", 20)
    one = world("openai", OPENAI, 6)
    plant(one, random.Random(6), ["lost", "extra", "not_billed"])
    with stand(one, tmp_path / "stand") as books:
        statement = openai(one, tmp_path)
        report, _ = books.book(statement)
        assert books.compare(statement).plan.changes == ()
        assert abs(books.nanousd("openai") - billed_nanousd(one)) <= Fraction(len(report.rows), 2)
        assert report.plan.unnamed_nanousd, "and it says so"
        for name in ("team", "principal", "session"):
            _by(books, name)
