"""Which policy a worker goes over to, and that it never goes on by an old one where a newer cannot be read."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from interlock.config import builtin
from interlock.errors import InterlockError
from interlock.gateway import Credential
from interlock.gateway.withdrawal import Withdrawal
from interlock.identity import CONFIG, Generation
from interlock.local import KEY_ENV
from interlock.log import Record
from interlock.log.sqlite import SqliteLog
from interlock.wiring.policy_source import PolicySource

POLICY = msgspec.json.encode(builtin().policy)


@contextmanager
def source(directory: Path) -> Iterator[tuple[PolicySource, SqliteLog, Generation]]:
    log, generation = SqliteLog(directory / "log.sqlite"), Generation(directory)
    try:
        yield PolicySource(log, generation, "http://127.0.0.1:9"), log, generation
    finally:
        log.close()
        generation.close()


def adopt(log: SqliteLog, generation: Generation, id: str, payload: bytes) -> None:
    record = Record(id=id, type="policy.adopted", at_ns=0, payload=payload)
    asyncio.run(log.append("config", [record]))
    generation.raise_to(CONFIG, asyncio.run(log.head("config")))


def test_a_newer_policy_is_given_once_and_says_where_the_local_model_is(tmp_path: Path) -> None:
    with source(tmp_path) as (policies, log, generation):
        assert not policies.newer()
        adopt(log, generation, "1", POLICY)
        assert policies.newer()
        found = policies.policy
        assert found is not None
        local = found.deployments["local"]
        assert (local.base_url, local.credential) == ("http://127.0.0.1:9/v1", Credential(env=KEY_ENV))
        assert not policies.newer()


def test_a_policy_that_cannot_be_read_is_not_passed_over(tmp_path: Path) -> None:
    with source(tmp_path) as (policies, log, generation):
        adopt(log, generation, "1", POLICY)
        assert policies.newer()
        adopt(log, generation, "2", b'{"of":"a later version"}')
        for _ in range(2):
            with pytest.raises(InterlockError):
                policies.newer()
        adopt(log, generation, "3", POLICY)
        assert policies.newer()


def withdraw(log: SqliteLog, generation: Generation, type_: str, name: str, reason: str = "gone") -> None:
    told = Withdrawal(kind="provider", name=name, reason=reason, at_ns=1)
    head = asyncio.run(log.head("config"))
    record = Record(id=f"{type_}/{head}", type=type_, at_ns=1, payload=msgspec.json.encode(told))
    asyncio.run(log.append("config", [record]))
    generation.raise_to(CONFIG, head + 1)


def test_withdrawals_stand_beside_whatever_policy(tmp_path: Path) -> None:
    with source(tmp_path) as (policies, log, generation):
        adopt(log, generation, "1", POLICY)
        withdraw(log, generation, "withdrawn", "a", "first")
        withdraw(log, generation, "withdrawn", "b")
        assert policies.newer() and set(policies.withdrawals) == {("provider", "a"), ("provider", "b")}
        adopt(log, generation, "2", POLICY)
        withdraw(log, generation, "reinstated", "b")
        withdraw(log, generation, "withdrawn", "a", "second")
        assert policies.newer() and [one.reason for one in policies.withdrawals.values()] == ["first"]
        assert policies.policy is not None


def test_a_withdrawal_that_cannot_be_read_is_not_passed_over(tmp_path: Path) -> None:
    with source(tmp_path) as (policies, log, generation):
        adopt(log, generation, "1", POLICY)
        assert policies.newer()
        record = Record(id="w", type="withdrawn", at_ns=1, payload=b'{"of":"a later version"}')
        asyncio.run(log.append("config", [record]))
        generation.raise_to(CONFIG, 2)
        for _ in range(2):
            with pytest.raises(InterlockError):
                policies.newer()
        assert policies.seen == 1
