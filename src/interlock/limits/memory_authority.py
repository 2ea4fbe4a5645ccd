"""An authority in this process: for several pages of one process, and the reference for the suite."""

from collections.abc import Sequence

from interlock.clock import Clock
from interlock.errors import TransientError
from interlock.limits.division import Division, Lessee, Times
from interlock.limits.ports import Answer, Ask, Authority


class MemoryServer:
    """What all lines lead to."""

    def __init__(self, clock: Clock, times: Times | None = None) -> None:
        self.clock = clock
        self._times = times or Times()
        self.division = Division(clock.now_ns(), self._times)
        self.epoch = 0
        self.reachable = True

    def forget(self) -> None:
        """Lose everything, as a server restarted without its data."""
        self.division = Division(self.clock.now_ns(), self._times)
        self.epoch += 1


class MemoryAuthority(Authority):
    """One worker's line."""

    def __init__(self, server: MemoryServer, lessee: Lessee) -> None:
        self._server = server
        self._lessee = lessee
        self._epoch = -1

    async def join(self) -> None:
        self._reach()
        self._epoch = self._server.epoch

    async def exchange(self, asks: Sequence[Ask]) -> Answer:
        self._reach()
        if self._epoch != self._server.epoch:
            return Answer(unknown=True)
        return self._server.division.exchange(self._lessee, asks, self._server.clock.now_ns())

    async def retire_others(self) -> None:
        self._reach()
        self._server.division.retire_others(self._lessee)

    async def close(self) -> None:
        pass

    def _reach(self) -> None:
        if not self._server.reachable:
            raise TransientError("the authority is not there", code="limits_unavailable")
