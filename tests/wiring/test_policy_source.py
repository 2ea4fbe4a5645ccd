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
        assert policies.newer() is None
        adopt(log, generation, "1", POLICY)
        found = policies.newer()
        assert found is not None
        local = found.deployments["local"]
        assert (local.base_url, local.credential) == ("http://127.0.0.1:9/v1", Credential(env=KEY_ENV))
        assert policies.newer() is None


def test_a_policy_that_cannot_be_read_is_not_passed_over(tmp_path: Path) -> None:
    with source(tmp_path) as (policies, log, generation):
        adopt(log, generation, "1", POLICY)
        assert policies.newer() is not None
        adopt(log, generation, "2", b'{"of":"a later version"}')
        for _ in range(2):
            with pytest.raises(InterlockError):
                policies.newer()
        adopt(log, generation, "3", POLICY)
        assert policies.newer() is not None
