"""Sensitive content stays in the house, in short and long requests; nothing is scanned that nobody asked to."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.gateway.answers import CHAT
from tests.gateway.rig import PATHS, Rig, Upstream, policy, rig, whole

from interlock.gateway import Facts, Guard, Policy, Profile
from interlock.gateway.routing import Decision
from interlock.gateway.scanning import INLINE_BYTES_MAX
from interlock.guard import Pattern
from interlock.ledger import Opened, Refused

Run = Callable[..., Any]

CARD = "4111 1111 1111 " + "1111"
"""A number of the industry's own for tests, in two parts so that no scanner of secrets calls."""


def guarded(ports: list[int], *, local: bool = True, **fields: Any) -> Policy:
    """`d0` is elsewhere and preferred; `d1` is the operator's own."""
    made = policy(ports)
    facts = {"d0": Facts(geographies=("us",)), "d1": Facts(local=local)}
    deployments = {name: msgspec.structs.replace(one, facts=facts[name]) for name, one in made.deployments.items()}
    profiles = {"careful": Profile(name="careful", sensitive="local"), "any": Profile(name="any", geographies=("us",))}
    if "policy_boundary" in fields:
        fields["boundary"] = fields.pop("policy_boundary")
    return msgspec.structs.replace(made, deployments=deployments, profiles=profiles, **fields)


@asynccontextmanager
async def talk(
    tmp_path: Path, boundary: str = "careful", **fields: Any
) -> AsyncIterator[tuple[Rig, Upstream, Upstream]]:
    remote, own = Upstream(whole(CHAT)), Upstream(whole(CHAT))
    try:
        made = guarded([await remote.start(), await own.start()], **fields)
        async with asyncio.timeout(20), rig(tmp_path, made, boundary=boundary) as on:
            yield on, remote, own
    finally:
        await remote.stop()
        await own.stop()


def ask(text: str, pad: int = 0) -> dict[str, Any]:
    return {"model": "auto", "messages": [{"role": "user", "content": "x " * (pad // 2) + text}]}


@pytest.mark.parametrize("pad", [0, 4 * INLINE_BYTES_MAX])
def test_it_goes_to_the_operator_s_own(run: Run, tmp_path: Path, pad: int) -> None:
    async def main() -> None:
        async with talk(tmp_path) as (on, remote, own):
            for text, winner in (("hello", "d0"), (f"pay with {CARD} please", "d1"), ("hello again", "d0")):
                answer = await on.call(PATHS["chat"], ask(text, pad))
                assert (answer.status, answer.headers["x-interlock-deployment"]) == (200, winner)
            assert len(remote.seen) == 2 and len(own.seen) == 1
            records = [one for one in await on.records() if isinstance(one, Opened)]
            found = [msgspec.json.decode(one.decision, type=Decision).signals.sensitive for one in records]
            assert found == [(), ("card",), ()]
            assert CARD not in str(records)

    run(main, blocking_s=1.0)


@pytest.mark.parametrize("pad", [0, 4 * INLINE_BYTES_MAX])
def test_where_nobody_is_local_it_goes_nowhere(run: Run, tmp_path: Path, pad: int) -> None:
    async def main() -> None:
        async with talk(tmp_path, local=False) as (on, remote, own):
            answer = await on.call(PATHS["chat"], ask(CARD, pad))
            assert answer.status == 403 and answer.json["error"]["code"] == "boundary_refused"
            assert "sensitive: holds card" in answer.json["error"]["message"]
            assert not remote.seen and not own.seen
            (refused,) = [one for one in await on.records() if isinstance(one, Refused)]
            assert CARD not in str(refused)

    run(main, blocking_s=1.0)


def test_only_where_a_boundary_asks(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with talk(tmp_path, boundary="any") as (on, remote, _):
            assert (await on.call(PATHS["chat"], ask(CARD))).status == 200
            assert len(remote.seen) == 1
            assert not on.gateway.scanner.asks(("any",)) and on.gateway.scanner.asks(("any", "careful"))

    run(main)


def test_the_policy_s_own_boundary_asks_of_all(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        guard = Guard(kinds=("iban",), patterns=(Pattern(name="project", regex="(?i)osprey"),))
        async with talk(tmp_path, boundary="", policy_boundary="careful", guard=guard) as (on, remote, own):
            for text in (CARD, "about Osprey"):
                assert (await on.call(PATHS["chat"], ask(text))).status == 200
            assert len(remote.seen) == 1 and len(own.seen) == 1, "the card is none of the kinds"

    run(main)


def test_who_hangs_up_while_it_is_scanned_is_not_sent(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with talk(tmp_path) as (on, remote, own):
            held = threading.Event()
            scan = on.gateway.scanner.scan

            def slow(document: object) -> tuple[str, ...]:
                held.wait(5)
                return scan(document)

            on.gateway.scanner.scan = slow  # type: ignore[method-assign] # the moment
            _, writer = await on.connect()
            writer.write(on.request(PATHS["chat"], msgspec.json.encode(ask("hello", 4 * INLINE_BYTES_MAX))))
            await writer.drain()
            await asyncio.sleep(0.1)
            writer.close()
            await asyncio.sleep(0.1)
            held.set()
            answer = await on.call(PATHS["chat"], ask("hello"))
            assert answer.status == 200 and len(remote.seen) == 1 and not own.seen

    run(main)


def test_a_defect_of_the_detector_ends_that_call_alone(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with talk(tmp_path) as (on, remote, _):
            scan = on.gateway.scanner.scan

            def broken(document: object) -> tuple[str, ...]:
                on.gateway.scanner.scan = scan  # type: ignore[method-assign] # once
                raise ValueError("a defect")

            on.gateway.scanner.scan = broken  # type: ignore[method-assign] # the fault
            answer = await on.call(PATHS["chat"], ask("hello", 4 * INLINE_BYTES_MAX))
            assert answer.status == 500 and answer.json["error"]["code"] == "internal"
            assert (await on.call(PATHS["chat"], ask("hello", 4 * INLINE_BYTES_MAX))).status == 200
            assert len(remote.seen) == 1

    run(main)
