"""The control process's life: it adopts configurations, folds the ledger, and holds what the two ports answer from.

It knows no HTTP and makes no decision about a request; the data plane never waits for it.
"""

import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from interlock.billing import Billing, Metered, Reports, standings
from interlock.billing.books import Posting, of_burn, of_cost
from interlock.clock import Clock
from interlock.control.adoption import Adoption
from interlock.control.anomalies import Anomalies
from interlock.control.known import check_known
from interlock.control.metrics import read_snapshots, render, series
from interlock.control.withdrawals import PATIENCE_S, Withdrawals
from interlock.credentials import read_credential
from interlock.credits import Credits, ForInvoices, Reckoner
from interlock.datadir import DataDir
from interlock.door import Approvals
from interlock.entitlements import Entitling, Standing
from interlock.errors import ConfigError, InterlockError, LocalError, LogUnavailable, TransientError
from interlock.identity import (
    CONFIG,
    CREDITS,
    ENTITLEMENTS,
    IDENTITY,
    Denied,
    Generation,
    Identity,
    Key,
    Scope,
    SharedDirectory,
    ensure_admin,
)
from interlock.instants import rfc3339
from interlock.intake import Eraser, Erasure, Intake, Origin
from interlock.intake.records import STREAM as EVENTS
from interlock.ledger import Ledger
from interlock.limits import Notice, Webhook
from interlock.limits.settings import Warned
from interlock.log.reader import JournalReader, last_seq
from interlock.log.sqlite import SqliteLog
from interlock.log.verify import StreamReport
from interlock.meters import Catalog, Meter, Meters, Registry, Version, what_stays
from interlock.proof.check import verify
from interlock.proof.checkpoint import Checkpoint
from interlock.proof.writing import Checkpoints

FOLD_S = 0.2
"""How far the view may lag when nobody asks; a question folds first."""
FOLD_CORRUPT_S = 5.0
"""How often a stream that does not hold is looked at again."""
WATCH_S = 1.0
SIGN_FIRST_S = 1.0
"""The start has more urgent work: workers wait for it."""
CHECKPOINT_S = 5.0
"""What is newer than this may not be attested yet. A checkpoint is some 800 bytes."""


class Control:
    """One per data directory. `start`, then `run` beside the servers, then `close`."""

    def __init__(self, data_dir: Path, config_path: Path | None, clock: Clock) -> None:
        """Open the logs and the view; no `config_path`: the built-in one. Raises: TransientError, OSError."""
        self.places = DataDir(data_dir)
        self.places.create()
        self.clock = clock
        self.generation = Generation(data_dir)
        self.log = SqliteLog(self.places.log)
        self.journals = JournalReader(self.places.journal)
        self.ledger = Ledger(self.places.ledger)
        self.intake = Intake(self.places.journal, self.places.events_index, clock)
        self.registry = Registry(self.log, clock)
        self.eraser = Eraser(self.places.erasures, self.places.journal, self.intake, clock, lambda: self.meters.written)
        self.meters = Meters(self.places.journal, self.places.tables, clock, self.log, self.eraser.names)
        self._defining = asyncio.Lock()  # what a tenant's meters read does not change while an erasure is asked for
        self.checkpoints = Checkpoints(self.places, self.log, clock)
        self.identity = Identity(self.log, clock, lambda head: self.generation.raise_to(IDENTITY, head))
        self.directory = SharedDirectory(self.log, self.generation)
        raised = self.generation.raise_to
        self.adoption = Adoption(self.log, config_path, clock, lambda head: raised(CONFIG, head), data_dir)
        self.withdrawals = Withdrawals(self.log, self.generation, self.adoption, self.places, clock, PATIENCE_S)
        self.credits = Credits(
            self.log,
            clock,
            Reckoner(self.ledger),
            self._fold_whole,
            lambda head: self.generation.raise_to(CREDITS, head),
        )
        self.webhook: Webhook | None = None
        self.anomalies = Anomalies(self.ledger, self.log, clock, self._tell)
        self.approvals = Approvals(self.log, self.generation, clock)
        self.entitlements = Entitling(self.log, clock, self._standings, lambda head: raised(ENTITLEMENTS, head))
        follow = self.entitlements.follow
        self.billing = Billing(self.log, clock, self._counter(), ForInvoices(self.credits), subscribed=follow)
        self.reports = Reports(self.billing, self.log)
        self.problem = ""
        """Why the ledger is not complete; empty: it is."""
        self._reload = asyncio.Event()

    async def start(self) -> None:
        """Take up the streams where they stand, see to an admin, adopt the configuration.

        Raises: ConfigError: the file has mistakes, and no earlier policy is there to go on with.
        """
        await self._tell_heads()
        await ensure_admin(self.identity, self.places.root)
        try:
            await self.adoption.adopt()
        except ConfigError:
            if self.adoption.policy is None:
                raise
        self._configure()
        self.webhook = webhook_of(self.adoption.warned, self.clock)
        await self.anomalies.take_up()
        await self.fold()
        await self.credits.refresh()
        with suppress(InterlockError):  # it stays due
            await self.entitlements.follow()
        await self.refresh_meters()
        self.intake.start()
        self.meters.start()

    async def run(self) -> None:
        """Fold, watch and sign until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._fold_for_ever())
            group.create_task(self._sign_for_ever())
            group.create_task(self._watch())
            group.create_task(self._settle())
            group.create_task(self.eraser.run())
            group.create_task(self._keep_credits())
            if self.webhook is not None:
                group.create_task(self.webhook.run())

    def close(self) -> None:
        """Give everything back."""
        self.intake.close()
        self.meters.close()
        self.checkpoints.close()  # the last one attests what was written until here
        self.ledger.close()
        self.log.close()
        self.generation.close()

    def admit(self, secret: str, scope: Scope) -> Key | Denied:
        """As the workers admit."""
        return self.directory.admit(secret, self.clock.now_ns(), scope)

    def reload_soon(self) -> None:
        """What SIGHUP asks for."""
        self._reload.set()

    @property
    def profiles(self) -> Sequence[str]:
        """Names of the boundary profiles of the policy in force."""
        return list(self.adoption.policy.profiles) if self.adoption.policy else []

    async def known(self, tenant: str) -> str:
        """`tenant`, if there is one of that name. Raises: LocalError: as `check_known`."""
        directory = await self.identity.refresh()
        if tenant not in directory.tenants:
            await self.fold()  # the ledger may know it
        return await check_known(tenant, self.log, self.ledger, directory.tenants)

    async def fold(self) -> None:
        """Bring the view up to date; what cannot be folded is said in `problem`. Raises: TransientError."""
        try:
            await self.ledger.catch_up(self.journals, self.log)
            self.problem = ""
        except InterlockError as error:
            if error.code != "log_corrupt":
                raise
            self.problem = error.message

    async def _fold_whole(self) -> None:
        """For who writes down what calls have cost. Raises also: InterlockError `log_corrupt`: some are missing."""
        await self.fold()
        if self.problem:
            raise InterlockError(self.problem, code="log_corrupt")

    @property
    def catalog(self) -> Catalog:
        """The meters of all tenants, as of `refresh_meters`."""
        return self.registry.catalog

    async def refresh_meters(self) -> None:
        """Take up definitions, whoever wrote them."""
        self.meters.adopt(await self.registry.refresh())

    async def define(self, tenant: str, meter: Meter) -> tuple[Version, bool]:
        """As `Registry.define`. Raises also: TransientError `busy`: an erasure of the tenant runs."""
        async with self._defining:
            self.eraser.check_idle(tenant)
            return await self.registry.define(tenant, meter)

    async def erase(self, origin: Origin, subjects: Sequence[str], reason: str, forget: Sequence[str]) -> Erasure:
        """Have a tenant's customers erased: certain to be done when this returns.

        Args:
            forget: places that meters group by (`$.user`), whose values go too.
        Raises: LocalError: as `erasure_of` and `what_stays`. TransientError `busy`. LogUnavailable. As `Intake.check`.
        """
        self.intake.check()
        async with self._defining:
            await self.refresh_meters()
            mine = [version for version in self.catalog.all() if version.tenant == origin.tenant]
            keep, groups = what_stays(mine, forget)
            erasure = await asyncio.to_thread(self.eraser.ask, origin, subjects, reason, keep, groups)
        self.eraser.wake()
        return erasure

    async def call_postings(self) -> list[Posting]:
        """What calls cost, and what of prepaid credit they burned, for the books."""
        await self.fold()
        found = of_cost(await asyncio.to_thread(self.ledger.cost_nanousd))
        for account, reckoned in await self.credits.reckoned():
            found += of_burn(account.owner.tenant, reckoned.cost) if reckoned else []
        return found

    def _counter(self) -> Metered:
        return Metered(
            self.ledger,
            self._folded,
            self.meters,
            self.refresh_meters,
            self.events_head,
            lambda tenant, slug, version: self.catalog.find(tenant, slug, version)[0],
        )

    async def _folded(self) -> None:
        """Raises: TransientError `not_ready`: the view is not complete, so nothing can be billed by it."""
        await self.fold()
        if self.problem:
            raise TransientError(f"the ledger is not complete: {self.problem}", code="not_ready")

    async def events_head(self) -> int:
        """The record of the events' stream up to which everybody was answered, at least."""
        return self.intake.head or await asyncio.to_thread(last_seq, self.places.journal / EVENTS, EVENTS)

    def verify(self, public_key: str | None = None, kept: Checkpoint | None = None) -> Iterator[StreamReport]:
        """Check every stream's chain and every checkpoint; one report a stream. Blocking. See `proof.check.verify`."""
        return verify(self.places.root, public_key=public_key, kept=kept)

    async def checkpoint(self) -> Checkpoint:
        """One that attests all that is written by now. Raises: InterlockError."""
        try:
            found = await asyncio.to_thread(self.checkpoints.write)
        except OSError as error:
            raise LogUnavailable(f"no checkpoint could be written: {error}") from error
        if found is None:
            raise LocalError("nothing is written yet, so there is nothing to attest", code="not_found")
        return found

    async def metrics(self) -> str:
        """The Prometheus text."""
        snapshots = read_snapshots(self.places.run, self.clock.now_ns())
        own: dict[str, float] = {"interlock_cost_nanousd_total": await asyncio.to_thread(self.ledger.cost_nanousd)}
        own |= {series("interlock_events_total", result=name): n for name, n in self.intake.results.items()}
        own |= {series("interlock_corrections_total", result=name): n for name, n in self.intake.corrections.items()}
        own |= {series("interlock_anomalies_total", kind=kind): n for kind, n in self.anomalies.counts.items()}
        own["interlock_anomalies_unwatched_total"] = self.anomalies.unwatched
        own["interlock_meters_behind_records"] = max(0, self.intake.head - self.meters.seq)
        for name, rows in list(self.meters.keeper.rows.items()):
            table, _, then = name.partition("/")
            own[series("interlock_retention_rows_total", table=table, then=then)] = rows
        if at_ns := self.meters.keeper.looked_at_ns:
            own["interlock_retention_look_timestamp_seconds"] = at_ns / 1e9
        if self.adoption.policy is not None:
            own[series("interlock_policy_info", version=self.adoption.policy.version)] = 1
        return render({**snapshots, "control": own})

    def status(self) -> dict[str, Any]:
        """What runs, and how it is."""
        snapshots = read_snapshots(self.places.run, self.clock.now_ns())
        policy = self.adoption.policy
        return {
            "data": str(self.places.root),
            "policy": policy.version if policy else None,
            "config_rejected": self.adoption.rejected is not None,
            "ledger_problem": self.problem or None,
            "events_ready": self.intake.ready,
            "events_problem": self.intake.problem or None,
            "meters_problem": self.meters.problem or None,
            "erasing_problem": self.eraser.problem or None,
            "retention_problem": self.meters.keeper.problem or None,
            "public_key": self.checkpoints.public_key,
            "checkpoint": newest.number if (newest := self.checkpoints.newest) else None,
            "checkpoint_at": rfc3339(int(newest.statement.at_ns)) if newest else None,
            "checkpoints_problem": self.checkpoints.problem or None,
            "workers": [
                {"worker": slot, "up": bool(found[series("interlock_worker_up", worker=slot)])}
                for slot, found in snapshots.items()
            ],
            "deployments": [
                {
                    "name": one.name,
                    "provider": one.provider,
                    "model": one.model,
                    "ready": _ready(one.name, list(snapshots.values())),
                }
                for one in (policy.deployments.values() if policy else ())
            ],
        }

    async def _fold_for_ever(self) -> None:
        while True:
            with suppress(InterlockError):  # a busy or unwritable view: the next round tries again, a question says so
                await self._tell_heads()
                begun_ns = self.clock.now_ns()
                await self.fold()
                await self.anomalies.look(begun_ns)
            await asyncio.sleep(FOLD_CORRUPT_S if self.problem else FOLD_S)

    async def _standings(self, tenant: str) -> list[Standing]:
        """What subscriptions entitle a tenant (all tenants) to."""
        return list(standings(await self.billing.refresh(), tenant))

    async def _keep_credits(self) -> None:
        while True:
            with suppress(InterlockError):  # what is due stays due; until it is written, workers count on less
                await self.credits.look()
            with suppress(InterlockError):
                if self.entitlements.due:
                    await self.entitlements.follow()
            await asyncio.sleep(FOLD_S)

    async def _settle(self) -> None:
        """What a void or return of an invoice owes a prepaid balance, if this process was killed between the two."""
        with suppress(InterlockError):  # whoever voids or returns it again settles it
            await self.billing.settle()

    async def _sign_for_ever(self) -> None:
        await asyncio.sleep(SIGN_FIRST_S)
        while True:
            with suppress(InterlockError, OSError):  # `checkpoints.problem` says why, and the next round tries again
                await asyncio.to_thread(self.checkpoints.write)
            await asyncio.sleep(CHECKPOINT_S)

    async def _tell_heads(self) -> None:
        """A writer that died between its commit and the telling is made good here."""
        self.generation.raise_to(IDENTITY, await self.log.head("identity"))
        self.generation.raise_to(CONFIG, await self.log.head("config"))
        self.generation.raise_to(CREDITS, await self.log.head("credits"))
        self.generation.raise_to(ENTITLEMENTS, await self.log.head("entitlements"))

    async def _watch(self) -> None:
        due = False
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._reload.wait(), WATCH_S)
            if await asyncio.to_thread(self.adoption.changed) or self._reload.is_set() or due:
                self._reload.clear()
                due = await self._adopt_again()
            self._configure()

    def _configure(self) -> None:
        """Where tables stand and how long rows stay there; whoever had the file adopted."""
        if self.adoption.ledger is not None and self.adoption.ledger != self.meters.keeper.settings:
            self.meters.configure(self.adoption.ledger)
        if self.adoption.anomalies is not None:
            self.anomalies.configure(self.adoption.anomalies)

    def _tell(self, notice: Notice) -> None:
        if self.webhook is not None:
            self.webhook.send(notice)

    async def _adopt_again(self) -> bool:
        """Whether to try once more: yes if the log was away; a file with mistakes waits in `rejected` for a change."""
        try:
            await self.adoption.adopt()
        except ConfigError:
            return False
        except InterlockError:
            return True
        return False


def webhook_of(warned: Warned | None, clock: Clock) -> Webhook | None:
    """Who is told, as the configuration says at start; None: nobody, or its secret cannot be read, which is said."""
    if warned is None:
        return None
    try:
        return Webhook(warned.url, read_credential(warned.secret), clock)
    except LocalError as error:  # nobody is told, and everything else goes on
        print(f"interlock: server.webhook: {error.message}", file=sys.stderr)
        return None


def _ready(deployment: str, snapshots: Sequence[dict[str, float]]) -> bool | None:
    """Whether every worker that says anything about it can send to it; None: nobody says."""
    name = series("interlock_deployment_ready", deployment=deployment)
    said = [bool(snapshot[name]) for snapshot in snapshots if name in snapshot]
    return all(said) if said else None
