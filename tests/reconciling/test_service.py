"""After booking, the books say what the bill says, to the last digit; done again, only what is left is booked."""

import random
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import msgspec
import pytest
from tests.ledger.logs import run
from tests.reconciling.properties import billed_nanousd, check_booked, rebuilt
from tests.reconciling.shapes import SHAPES, openai, openai_usage
from tests.reconciling.worlds import OPENAI, plant, stand, world

from interlock.errors import LocalError
from interlock.identity import UNATTRIBUTED
from interlock.log import Appended, Conflict, Record
from interlock.reconciling import STREAM, book, service


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
