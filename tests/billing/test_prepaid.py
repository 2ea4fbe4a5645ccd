"""What prepaid credit posts: nothing stays owed to a tenant that it can never use."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest
from tests.credits.rig import Rig

from interlock.billing.books import balances
from interlock.billing.prepaid import PrepaidBooks
from interlock.credits import Wanted
from interlock.credits.records import STREAM, Applies

pytestmark = pytest.mark.anyio


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.close()


async def posted(rig: Rig) -> dict[str, Fraction]:
    books = PrepaidBooks()
    async for stored in rig.log.read(STREAM):
        books.apply(stored)
    return {account: amount for (_, account), amount in balances(books.postings).items()}


@pytest.mark.parametrize("applies", ["usage", "invoices"])
@pytest.mark.parametrize("effective", ["", "2028-01-01"])
async def test_what_is_voided_is_forfeited_also_before_it_begins(rig: Rig, effective: str, applies: Applies) -> None:
    await rig.credits.grant(Wanted(tenant="acme", amount="7", id="g", effective=effective, applies=applies))
    rig.after(10)
    await rig.credits.void("g")
    for _ in range(3):
        rig.after(3)
        await rig.credits.look()
    assert await posted(rig) == {"granted": 7, "prepaid/acme": 0, "breakage": -7}
    rig.after(2 * 365 * 86_400)
    await rig.credits.look()
    assert await posted(rig) == {"granted": 7, "prepaid/acme": 0, "breakage": -7}, "once"
