"""Credit as invoices use it: what the part that bills asks for, in its words."""

from interlock.credits.service import Credits
from interlock.errors import LocalError


class ForInvoices:
    """`billing.Credits` over the grants that apply to invoices."""

    def __init__(self, credits: Credits) -> None:
        self._credits = credits

    async def burn(self, account: str, nanousd: int, id: str) -> int:
        """What was taken of the tenant's credit, at most `nanousd`; by `id` once."""
        return (await self._credits.burn(account, nanousd, id)).nanousd

    async def restore(self, id: str) -> None:
        """Give it back, once; if nothing was taken, nothing happens."""
        try:
            await self._credits.restore(id)
        except LocalError as error:
            if error.code != "not_found":
                raise
