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


@pytest.mark.parametrize("keep", [True, False])
async def test_what_a_reset_takes_and_drops_has_accounts_of_its_own(rig: Rig, keep: bool) -> None:
    """And all of it, with what calls burned, is what the tenant has left."""
    await rig.credits.grant(Wanted(tenant="acme", amount="7", id="a", rollover_max="2"))
    await rig.credits.grant(Wanted(tenant="acme", amount="5", id="m", every="month", priority=1))
    rig.after(10)
    call = rig.admit(int(12e9))
    assert call
    rig.settle(call, int(15e9))  # an upstream that wrote more than it was asked to
    await rig.reset("first", keep=keep, anchor="now")
    for _ in range(3):
        rig.after(3)
        await rig.credits.look()
    await rig.reset("second")
    for _ in range(3):
        rig.after(3)
        await rig.credits.look()
    owed = 0 if keep else 3
    taken = 2 if keep else 5  # what came again with the first, less what was owed
    assert await posted(rig) == {
        "granted": 17,
        "prepaid/acme": -17 + taken - owed,
        **({"forgiven": owed} if owed else {}),
        "breakage/resets": -taken,
    }
    state = (await rig.reckoned()).state
    assert state.balance == 0 == 17 - taken + owed - 15
