"""Withdrawing and reinstating: a record of the `config` stream, and then the wait until every worker acts by it.

A worker says in its slot of the shared page up to which record of the stream it acts; it says so in the thread that
sends, so once it has, it sends nothing that the record forbids. One that does not say so in time, because it hangs or
is stopped, is killed: a dead process sends nothing, and the supervisor starts another. That is the whole promise: when
the command answers, no worker of this machine will begin to send. What was sent before may still be answered.
"""

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from interlock.answers import decoded, json, query
from interlock.clock import Clock
from interlock.control.adoption import STREAM, Adoption
from interlock.datadir import DataDir
from interlock.errors import InterlockError, LocalError
from interlock.gateway.withdrawal import (
    REINSTATED,
    WITHDRAWALS_MAX,
    WITHDRAWN,
    Standing,
    Withdrawal,
    affected,
    check,
    fold,
)
from interlock.identity import ACKNOWLEDGED, CONFIG, Generation
from interlock.identity.rules import check_reason
from interlock.instants import rfc3339
from interlock.log import Conflict, Log, Record

PATIENCE_S = 5.0
"""How long a worker may take to say that it knows."""
POLL_S = 0.005
_TRIES = 32


class WithdrawalRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/withdrawals."""

    kind: str
    name: str
    reason: str


class Withdrawals:
    """What stands withdrawn, and who may change it."""

    def __init__(
        self, log: Log, generation: Generation, adoption: Adoption, places: DataDir, clock: Clock, patience_s: float
    ) -> None:
        self._log = log
        self._generation = generation
        self._adoption = adoption
        self._places = places
        self._clock = clock
        self._patience_s = patience_s
        self._head = 0
        self._standing: Standing = MappingProxyType({})

    async def standing(self) -> Standing:
        """As the log has it now."""
        async for stored in self._log.read(STREAM, after=self._head):
            self._standing = fold(self._standing, stored.record.type, stored.record.payload)
            self._head = stored.seq
        return self._standing

    async def withdraw(self, kind: str, name: str, reason: str, by: str) -> tuple[Withdrawal, int]:
        """When this returns no worker sends to it. Idempotent: the first reason stands. (what stands, workers killed)

        Raises: LocalError: no such kind, a bad name, no reason.
        """
        place = check(kind, name)
        if not reason.strip():
            raise LocalError("a withdrawal needs a reason: calls that it ends are told", field="reason")
        told = Withdrawal(kind=place[0], name=name, reason=check_reason(reason), at_ns=self._clock.now_ns(), by=by)
        await self._append(WITHDRAWN, told, already=True)
        killed = await self._acknowledged()
        return (await self.standing())[place], killed

    async def reinstate(self, kind: str, name: str, reason: str, by: str) -> None:
        """Raises: LocalError `not_found`: it is not withdrawn."""
        place = check(kind, name)
        if place not in await self.standing():
            raise LocalError(f"{kind} {name!r} is not withdrawn", code="not_found", field="name")
        told = Withdrawal(kind=place[0], name=name, reason=check_reason(reason), at_ns=self._clock.now_ns(), by=by)
        await self._append(REINSTATED, told, already=False)

    async def _append(self, type_: str, told: Withdrawal, *, already: bool) -> None:
        """Append, unless it is so `already`; then everybody is told, who may not have been before."""
        for _ in range(_TRIES):
            standing = await self.standing()
            if ((told.kind, told.name) in standing) is already:
                break
            if already and len(standing) >= WITHDRAWALS_MAX:
                raise LocalError(f"{WITHDRAWALS_MAX} withdrawals stand, and that is the limit", field="name")
            record = Record(
                id=f"{type_}/{self._head + 1}", type=type_, at_ns=told.at_ns, payload=msgspec.json.encode(told)
            )
            if not isinstance(await self._log.append(STREAM, [record], expect=self._head), Conflict):
                await self.standing()
                break
        else:
            raise InterlockError(f"the config stream moved on {_TRIES} times in a row; retry", code="conflict")
        self._generation.raise_to(CONFIG, self._head)

    async def _acknowledged(self) -> int:
        """Wait until every worker acts by the head; how many had to be killed."""
        head, killed = self._head, set[int]()
        until_ns = self._clock.monotonic_ns() + int(self._patience_s * 1e9)
        while behind := [pid for slot, pid in self._workers() if self._generation.slots[ACKNOWLEDGED + slot] < head]:
            if self._clock.monotonic_ns() >= until_ns:
                for pid in set(behind) - killed:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                    killed.add(pid)
            await asyncio.sleep(POLL_S)
        return len(killed)

    def _workers(self) -> Iterator[tuple[int, int]]:
        """(slot, process id) of those that live."""
        for path in self._places.run.glob("worker-*.pid"):
            slot = path.stem.removeprefix("worker-")
            with suppress(OSError, ValueError):
                pid = int(path.read_text())
                if _is_worker(pid, slot):
                    yield int(slot), pid

    # paths of the control port

    async def show(self, request: Request) -> Response:
        """All that stand."""
        query(request, ())
        return json({"withdrawals": [self._json(one) for one in (await self.standing()).values()]})

    async def take(self, request: Request) -> Response:
        """201: no worker sends to it any more. Raises: as `withdraw`."""
        query(request, ())
        wanted = await decoded(request, WithdrawalRequest)
        told, killed = await self.withdraw(wanted.kind, wanted.name, wanted.reason, request.state.key.principal)
        return json({**self._json(told), "workers_killed": killed}, 201)

    async def undo(self, request: Request) -> Response:
        """Raises: as `reinstate`."""
        reason = query(request, ("reason",)).get("reason", "")
        kind, name = request.path_params["kind"], request.path_params["name"]
        await self.reinstate(kind, name, reason, request.state.key.principal)
        return json({"kind": kind, "name": name})

    def _json(self, one: Withdrawal) -> dict[str, Any]:
        policy = self._adoption.policy
        deployments = affected(policy.deployments, [one]) if policy else {}
        return {
            "kind": one.kind,
            "name": one.name,
            "reason": one.reason,
            "at": rfc3339(one.at_ns),
            "by": one.by,
            "deployments": sorted(deployments),
        }


def _is_worker(pid: int, slot: str) -> bool:
    """Whether the process lives and is that worker: ids are used again."""
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state not in "ZX" and b"interlock.wiring.worker" in words and slot.encode() in words
