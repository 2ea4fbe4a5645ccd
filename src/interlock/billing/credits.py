"""A tenant's prepaid balance, as far as invoices use it: a port."""

from typing import Protocol


class Credits(Protocol):
    """Both are idempotent by `id`, and what they did is on the disk before they answer."""

    async def burn(self, account: str, nanousd: int, id: str) -> int:
        """Take at most `nanousd` from a tenant's balance; what was taken, which is 0 without a balance.

        Asked again with the same id, the answer is the same and nothing more is taken.
        Raises: TransientError: it cannot be known now.
        """
        ...

    async def restore(self, id: str) -> None:
        """Give back what was taken under `id`, once. Nothing was, or it was given back: then nothing happens."""
        ...


class NoCredits:
    """Nobody has paid beforehand."""

    async def burn(self, account: str, nanousd: int, id: str) -> int:
        return 0

    async def restore(self, id: str) -> None:
        return None
