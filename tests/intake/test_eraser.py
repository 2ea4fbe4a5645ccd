"""An erasure dies at each of its points, and the next start goes on with it; what it may not do it says."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.intake.events import ORIGIN, event
from tests.intake.test_service import opened

from interlock.clock import SystemClock
from interlock.errors import LocalError, LogUnavailable, TransientError
from interlock.intake import STREAM, Eraser, Intake
from interlock.intake import eraser as eraser_module
from interlock.intake import erasing as erasing_module
from interlock.intake.residue import Keep
from interlock.log.reader import JournalReader
from interlock.log.verify import verify

Run = Callable[..., Any]


class Killed(BaseException):
    """The process dies here."""


def eraser(root: Path, intake: Intake, die_at: str = "", written: Callable[[], int] | None = None) -> Eraser:
    def reached(point: str) -> None:
        if point == die_at:
            raise Killed(point)

    written = written or (lambda: intake.head)
    return Eraser(root / "erasures", root / "journal", intake, SystemClock(), written, reached)


async def carried_out(made: Eraser, id: str) -> None:
    running = asyncio.ensure_future(made.run())
    try:
        async with asyncio.timeout(20):
            while made.find("acme", id).state != "done":
                if running.done():
                    running.result()
                await asyncio.sleep(0.01)
    finally:
        running.cancel()
        await asyncio.wait([running])


def payloads(root: Path) -> bytes:
    return b"\n".join(stored.record.payload for stored in JournalReader(root / "journal").scan(STREAM))


async def filled(root: Path, count: int = 7) -> Intake:
    intake = await opened(root)
    for n in range(count):
        await intake.take(ORIGIN, [event(f"anna-{n}", subject="anna"), event(f"otto-{n}", subject="otto")])
    return intake


@pytest.mark.parametrize("point", ["asked", "told", "redacted", "passed"])
def test_it_dies_and_goes_on(run: Run, tmp_path: Path, point: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasing_module, "PART_MAX", 3)

    async def main() -> None:
        intake = await filled(tmp_path)
        first = eraser(tmp_path, intake, die_at=point)
        with pytest.raises(Killed):
            await carried_out(first, first.ask(ORIGIN, ["anna"], "case 1", Keep(), {}).id)
        intake.close()
        intake = await opened(tmp_path)
        second = eraser(tmp_path, intake)
        [standing] = second.of("acme")
        assert standing.state == "running" and intake.leaving == {"acme": {"anna"}}
        await carried_out(second, standing.id)
        intake.close()
        [found] = second.of("acme")
        assert (found.events, found.records, found.subjects) == (7, 7, {}) and intake.leaving == {}
        assert b"anna" not in payloads(tmp_path) and payloads(tmp_path).count(b"otto-") == 7
        assert b"anna" not in (tmp_path / "erasures" / f"{found.id}.json").read_bytes()
        [report] = verify(tmp_path)
        assert (report.redacted, report.problems) == (7, [])

    run(main)


@pytest.mark.parametrize("near", [0, 1000])
def test_what_came_while_it_looked_is_in_it_and_what_comes_after_is_not(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, near: int
) -> None:
    monkeypatch.setattr(erasing_module, "PART_MAX", 2)
    monkeypatch.setattr(eraser_module, "NEAR", near)

    async def main() -> None:
        intake = await filled(tmp_path)
        made = eraser(tmp_path, intake)
        look, sent = made._look, 0

        def slowly(*args: Any) -> bool:
            nonlocal sent
            found = look(*args)
            if sent < 5:
                sent += 1
                late = intake.take(ORIGIN, [event(f"anna-late-{sent}", subject="anna")])
                asyncio.run_coroutine_threadsafe(late, loop).result(10)
            return found

        loop = asyncio.get_running_loop()
        monkeypatch.setattr(made, "_look", slowly)
        erasure = made.ask(ORIGIN, ["anna"], "case 1", Keep(), {})
        await carried_out(made, erasure.id)
        assert made.find("acme", erasure.id).events == 12
        await intake.take(ORIGIN, [event("anna-new", subject="anna")])
        intake.close()
        assert payloads(tmp_path).count(b'"subject":"anna"') == 1

    run(main)


def test_it_waits_for_the_views(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        intake, at = await filled(tmp_path), [0]
        made = eraser(tmp_path, intake, written=lambda: at[0])
        erasure = made.ask(ORIGIN, ["anna"], "case 1", Keep(), {})
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await carried_out(made, erasure.id)
        assert made.names(erasure.id) == erasure  # whoever folds its last record has to know them
        with pytest.raises(TransientError, match="erasure of this tenant runs"):
            made.check_idle("acme")
        made.check_idle("other")
        made = eraser(tmp_path, intake, written=lambda: at[0])
        at[0] = 1 << 40
        await carried_out(made, erasure.id)
        assert made.names(erasure.id) is None and made.names("er_1") is None
        made.check_idle("acme")
        intake.close()

    run(main)


def test_who_is_leaving_is_known_at_every_instant(run: Run, tmp_path: Path) -> None:
    """The intake's thread reads it while another erasure begins or ends."""

    class Watched(dict[str, frozenset[str]]):
        def clear(self) -> None:
            raise AssertionError("somebody who is leaving could be written down again now")

    async def main() -> None:
        intake = await filled(tmp_path)
        intake.leaving = Watched()
        made = eraser(tmp_path, intake)
        first = made.ask(ORIGIN, ["anna"], "case 1", Keep(), {})
        second = made.ask(ORIGIN, ["otto"], "case 2", Keep(), {})
        assert intake.leaving == {"acme": {"anna", "otto"}}
        await carried_out(made, second.id)  # they are carried out in order
        assert made.find("acme", first.id).state == "done" and intake.leaving == {}
        intake.close()

    run(main)


def test_a_reason_may_hold_the_letters_of_a_name(tmp_path: Path) -> None:
    def asked(reason: str) -> str:
        return erasing_module.erasure_of(ORIGIN, ["7", "an"], reason, Keep(), {}, 1, 0).reason

    assert asked("case 4711, the plan") == "case 4711, the plan"
    for names in ("customer 7 asked", "an asked", "(7)"):
        with pytest.raises(LocalError, match="must not name"):
            asked(names)


def test_a_disk_that_takes_nothing_and_too_many(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        intake = await filled(tmp_path)
        made = eraser(tmp_path, intake)
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", lambda fd: (_ for _ in ()).throw(OSError(28, "full")))
            with pytest.raises(LogUnavailable):
                made.ask(ORIGIN, ["anna"], "case 1", Keep(), {})
        assert made.of("acme") == [] and intake.leaving == {}
        monkeypatch.setattr(eraser_module, "PENDING_MAX", 1)
        made.ask(ORIGIN, ["anna"], "case 1", Keep(), {})
        with pytest.raises(TransientError, match="too many"):
            made.ask(ORIGIN, ["otto"], "case 2", Keep(), {})
        intake.close()

    run(main)


def test_a_request_that_cannot_be_read_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "erasures").mkdir()
    (tmp_path / "erasures" / f"er_{'0' * 32}.json").write_text("{")
    (tmp_path / "erasures" / "notes.json").write_text("{")
    with pytest.raises(LocalError, match="cannot be read"):
        eraser(tmp_path, Intake(tmp_path / "journal", tmp_path / "index", SystemClock()))
