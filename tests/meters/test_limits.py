"""What a tenant may have of meters, and what questions may take."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.meters.bench import Bench

from interlock.clock import SystemClock
from interlock.errors import LocalError, TransientError
from interlock.log.memory import MemoryLog
from interlock.meters import Meter, Query, Registry, catalog
from interlock.meters import asking as asking_module
from interlock.meters import query as query_module
from interlock.meters.asking import Asking

Run = Callable[..., Any]


def meter(slug: str, **more: Any) -> Meter:
    return Meter(**{"slug": slug, "event_type": "t", "aggregation": "count", **more})


def test_so_many_meters_versions_and_names(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "METERS_MAX", 2)
    monkeypatch.setattr(catalog, "VERSIONS_MAX", 3)
    monkeypatch.setattr(catalog, "NAMES_MAX", 4)

    async def main() -> None:
        registry = Registry(MemoryLog(), SystemClock())

        async def refused(made: Meter, field: str, tenant: str = "acme") -> None:
            with pytest.raises(LocalError) as caught:
                await registry.define(tenant, made)
            assert caught.value.field == field

        for n in range(3):
            await registry.define("acme", meter("m", group_by={"g": f"$.n{n}"}))
        await refused(meter("m", description="a fourth version"), "slug")
        await refused(meter("two", group_by={"a": "$.n3", "b": "$.n4"}), "group_by")
        await registry.define("acme", meter("two", group_by={"a": "$.n3", "b": "$.n0.deep"}))
        await refused(meter("three"), "slug")
        await registry.define("other", meter("three"))  # each tenant by itself
        await registry.retire("acme", "m")
        version, _ = await registry.define("acme", meter("m"))
        assert version.version == 4

    run(main)


def test_questions_have_threads_of_their_own(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many are being answered, the loop's own threads, which read events, are free; and more are refused."""
    monkeypatch.setattr(asking_module, "ASKING_MAX", 3)
    go_on = threading.Event()

    async def main() -> None:
        asking = Asking()
        waiting = [asyncio.ensure_future(asking.ask(go_on.wait, 20)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(TransientError) as caught:
            await asking.ask(go_on.is_set)
        assert caught.value.code == "busy"
        async with asyncio.timeout(10):
            assert await asyncio.to_thread(threading.current_thread) not in asking._threads._threads
        go_on.set()
        assert [await one for one in waiting] == [True] * 3
        assert await asking.ask(lambda: threading.current_thread().name.startswith("questions"))
        asking.close()
        go_on.clear()

    run(main)


def test_a_question_that_does_not_fit_is_refused_and_the_next_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of it goes to a disk."""
    monkeypatch.setattr(query_module, "MEMORY", "30MB")
    bench = Bench(tmp_path)
    try:
        version = bench.define(slug="m", event_type="t", aggregation="unique_count", value="$.u", group_by={"g": "$.g"})
        for n in range(40):
            data = [{"u": f"{n}-{m}-{'x' * 900}", "g": f"{n}-{m}-{'y' * 200}"} for m in range(500)]
            bench.send([{"id": f"e{n}-{m}", "type": "t", "data": one} for m, one in enumerate(data)])
        bench.ask(version, Query(by=("g",), where={"g": ("none",)}))
        with pytest.raises(TransientError, match="cannot be read"):
            bench.asked_once(version, Query(by=("g",)))
        [row] = bench.asked_once(version, Query(where={"g": ("0-0-" + "y" * 200,)}))
        assert row[-1] == 1
        [(place,)] = bench.meters._engine._cursor().execute("SELECT current_setting('temp_directory')").fetchall()
        assert place == ""
    finally:
        bench.close()
