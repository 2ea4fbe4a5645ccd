"""Did any byte leave? Asked of the log of a real gateway, before upstreams that do not keep what was declared."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
from tests.gateway.answers import CHAT, ask
from tests.gateway.rig import PATHS, Rig, Upstream, policy, rig, whole

from interlock.audit import Proof, Trail, Window, prove
from interlock.datadir import DataDir
from interlock.gateway import Facts, Policy
from interlock.limits import Limit
from interlock.log import Record
from interlock.log.sqlite import SqliteLog

Run = Callable[..., Any]


def placed(made: Policy, facts: Facts) -> Policy:
    """The policy with `d0` declared so, and alone in its tier."""
    d0 = msgspec.structs.replace(made.deployments["d0"], facts=facts)
    return msgspec.structs.replace(made, deployments={**made.deployments, "d0": d0})


async def proved(on: Rig, made: Policy, tenant: str | None = None) -> Proof:
    """The answer, of a log that has the policy, too."""
    with closing(SqliteLog(on.directory / "log.sqlite")) as log:
        record = Record(id=made.version, type="policy.adopted", at_ns=1, payload=msgspec.json.encode(made))
        await log.append("config", [record])
        places = DataDir(on.directory)
        return prove(places, Trail(places, log), Window(tenant=tenant))


def answered(run: Run, tmp_path: Path, facts: Facts, headers: str = "", boundary: str = "eu", calls: int = 3) -> Proof:
    found: list[Proof] = []

    async def main() -> None:
        upstream = Upstream(whole(CHAT, headers=headers))
        made = placed(policy([await upstream.start()]), facts)
        async with rig(tmp_path, made, boundary=boundary) as on:
            for _ in range(calls):
                await on.call(PATHS["chat"], ask("chat"))
            if calls:
                await on.settled(calls if not boundary or refused(facts) is False else 0)
            found.append(await proved(on, made, "acme"))
        await upstream.stop()

    run(main)
    return found[0]


def refused(facts: Facts) -> bool:
    return facts.geographies != ("eu",)


EU = Facts(geographies=("eu",), retention_days=0, human_review=False, training=False)


def with_(facts: Facts, **fields: Any) -> Facts:
    return msgspec.structs.replace(facts, **fields)


def test_inside_as_declared_is_not_called_observed(run: Run, tmp_path: Path) -> None:
    proof = answered(run, tmp_path, EU)
    assert (proof.left, proof.holds, proof.problems) == (False, True, ())
    assert (proof.attempts, proof.declared_inside, proof.observed_inside, proof.outside) == (3, 3, 0, 0)


def test_inside_as_observed(run: Run, tmp_path: Path) -> None:
    proof = answered(run, tmp_path, with_(EU, peers=("127.0.0.0/8",), region_header="x-at"), "x-at: Sweden Central\r\n")
    assert (proof.left, proof.observed_inside, proof.regions) == (False, 3, {"swedencentral": 3})


def test_declared_in_the_eu_and_served_from_elsewhere(run: Run, tmp_path: Path) -> None:
    proof = answered(run, tmp_path, with_(EU, region_header="x-at"), "x-at: East US\r\n")
    assert (proof.left, proof.outside, proof.regions) == (True, 3, {"eastus": 3})
    assert proof.crossings[0].clause == "observed: served from eastus, and declared are eu"
    assert proof.crossings[0].tenant == "acme" and proof.crossings[0].boundary == ("eu",)


def test_another_network_answers(run: Run, tmp_path: Path) -> None:
    proof = answered(run, tmp_path, with_(EU, peers=("192.0.2.0/24",)))
    assert proof.left and "127.0.0.1 answered, outside of the declared networks" in proof.crossings[0].clause


def test_what_is_refused_did_not_leave(run: Run, tmp_path: Path) -> None:
    proof = answered(run, tmp_path, Facts(geographies=("us",)))
    assert (proof.left, proof.attempts, proof.refused) == (False, 0, 3)


def test_who_is_refused_for_another_reason_was_not_kept_in_by_the_boundary(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        upstream = Upstream(whole(CHAT))
        made = placed(policy([await upstream.start()]), EU)
        none = Limit(name="none", measure="requests", amount=0, window="day")
        async with rig(tmp_path, msgspec.structs.replace(made, quotas=(none,)), boundary="eu") as on:
            assert (await on.call(PATHS["chat"], ask("chat"))).status == 400
            proof = await proved(on, made)
        await upstream.stop()
        assert (proof.refused, proof.unsent, proof.attempts) == (0, 1, 0)

    run(main)


def test_without_a_boundary_nothing_is_proved(run: Run, tmp_path: Path) -> None:
    proof = answered(run, tmp_path, EU, boundary="")
    assert (proof.left, proof.attempts, proof.unbounded) == (False, 0, 3)


def test_nobody_listens_so_nothing_was_sent(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        upstream = Upstream(whole(CHAT))
        made = placed(policy([await upstream.start()]), EU)
        await upstream.stop()
        async with rig(tmp_path, made, boundary="eu") as on:
            await on.call(PATHS["chat"], ask("chat"))
            await on.settled(1)
            proof = await proved(on, made)
        assert (proof.left, proof.attempts, proof.unsent) == (False, 0, 1)

    run(main)


def test_a_log_that_was_changed_is_no_proof(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        upstream = Upstream(whole(CHAT))
        made = placed(policy([await upstream.start()]), EU)
        async with rig(tmp_path, made, boundary="eu") as on:
            for _ in range(2):
                await on.call(PATHS["chat"], ask("chat"))
            await on.settled(2)
            await proved(on, made)
        await upstream.stop()
        segment = tmp_path / "journal" / "usage" / "0" / "00000001.seg"
        content = segment.read_bytes()
        assert content.count(b'"tenant":"acme"') > 1
        segment.write_bytes(content.replace(b'"tenant":"acme"', b'"tenant":"acne"', 1))
        with closing(SqliteLog(tmp_path / "log.sqlite")) as log:
            places = DataDir(tmp_path)
            proof = prove(places, Trail(places, log), Window(tenant="acme"))
        assert not proof.holds and "usage/0" in proof.problems[0]

    run(main)


def test_a_decision_that_was_wrong_is_found(run: Run, tmp_path: Path) -> None:
    """The log says that a boundary was in force, and the declaration does not meet it."""

    async def main() -> None:
        upstream = Upstream(whole(CHAT))
        made = placed(policy([await upstream.start()]), EU)
        async with rig(tmp_path, made, boundary="eu") as on:
            await on.call(PATHS["chat"], ask("chat"))
            await on.settled(1)
            elsewhere = placed(made, Facts(geographies=("us",)))  # under the same version: as if the judge had slept
            proof = await proved(on, elsewhere)
        await upstream.stop()
        assert proof.left and proof.crossings[0].clause == "declared: boundary eu: geographies: us outside eu"

    run(main)
