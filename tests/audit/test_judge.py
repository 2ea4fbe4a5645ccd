"""Declared and observed, each by itself; never more than was seen."""

import pytest

from interlock.audit.judge import Decided, outside, was_unsent
from interlock.gateway import Deployment, Facts, Policy, Profile, Signals, Tier
from interlock.gateway.observed import serving_region
from interlock.gateway.profiles import READY


def judged(
    facts: Facts,
    *boundary: str,
    peer: str = "",
    region: str = "",
    source: str = "eu-central-1",
    accepted: tuple[str, ...] = (),
) -> tuple[str, bool]:
    place = Deployment(name="d", provider="p", base_url="", model="m", family="f", formats=("chat",), facts=facts)
    policy = Policy(
        version="v",
        deployments={"d": place},
        tiers={"t": Tier(name="t", deployments=("d",))},
        rules=(),
        profiles={**READY, "eu": Profile(name="eu", geographies=("eu",))},
        default_tier="t",
    )
    signals = Signals(format="chat", model="auto", tenant="t", principal="p", source=source)
    return outside(Decided(signals=signals, boundary=boundary), policy, "d", accepted, peer, region)


EU = Facts(geographies=("eu",))


@pytest.mark.parametrize(
    ("facts", "peer", "region", "observed", "why"),
    [
        (EU, "", "", False, ""),
        (EU, "52.1.2.3", "", False, ""),
        (EU, "", "swedencentral", True, ""),
        (EU, "52.1.2.3", "eastus", True, "observed: served from eastus, and declared are eu"),
        (EU, "", "global", True, "observed: served from global, and declared are eu"),
        (Facts(geographies=("eu",), peers=("10.0.0.0/8",)), "10.1.2.3", "", True, ""),
        (Facts(geographies=("eu",), peers=("10.0.0.0/8",)), "11.1.2.3", "", True, "outside of the declared networks"),
        (Facts(geographies=("eu",), peers=("10.0.0.0/8", "2001:db8::/32")), "2001:db8::1", "", True, ""),
        (Facts(geographies=("eu",), peers=("10.0.0.0/8",)), "10.1.2.3", "eastus", True, "served from eastus"),
        (Facts(local=True), "127.0.0.1", "", True, ""),
        (Facts(local=True), "fe80::1%eth0", "", True, ""),
        (Facts(local=True), "8.8.8.8", "", True, "a public address"),
        (Facts(geographies=("us",)), "", "", False, "declared: boundary eu: geographies: us outside eu"),
        (Facts(), "", "", False, "declared: boundary eu: geographies: not declared"),
    ],
)
def test_declared_and_observed(facts: Facts, peer: str, region: str, observed: bool, why: str) -> None:
    found, seen = judged(facts, "eu", peer=peer, region=region)
    assert seen is observed
    assert (why in found) if why else found == ""


def test_what_was_seen_is_held_against_the_profile_too() -> None:
    """A region within the declared country may still be outside of the profile's list."""
    facts = Facts(geographies=("eu-central-1", "eu-west-1"))
    assert judged(facts, "cross-region-eu", region="eu-west-1") == ("", True)
    germany = Facts(geographies=("de",))
    assert judged(germany, "sovereign", region="germanywestcentral") == ("", True)
    assert "declared are de" in judged(germany, "sovereign", region="fr")[0]
    profile = Facts(geographies=("eu-central-1",))
    assert judged(profile, "in-region", region="eu-central-1") == ("", True)


def test_agreements_of_the_moment() -> None:
    facts = Facts(geographies=("eu",), agreements=("dpa",))
    assert judged(facts, "eu", accepted=("dpa",)) == ("", False)
    assert "dpa is not accepted" in judged(facts, "eu")[0]
    assert "dpa is not accepted" in judged(facts)[0]


def test_what_is_missing_is_no_proof() -> None:
    signals = Signals(format="chat", model="auto", tenant="t", principal="p")
    decided = Decided(signals=signals, policy="gone", boundary=("eu",))
    assert outside(decided, None, "d", (), "", "") == ("policy gone is not in the log, so nothing is declared", False)
    assert judged(EU, "mars")[0] == "boundary mars: no such profile"


def test_what_was_not_sent() -> None:
    assert was_unsent("failed", "upstream_unreachable", "")
    assert was_unsent("failed", "withdrawn", "")
    assert not was_unsent("failed", "upstream_unreachable", "1.2.3.4")
    assert not was_unsent("failed", "upstream_timeout", "")
    assert not was_unsent("lost", "", "")


@pytest.mark.parametrize(
    ("header", "headers", "usage", "place"),
    [
        ("x-ms-region", {b"x-ms-region": b"Sweden Central"}, b"null", "swedencentral"),
        ("x-ms-region", {b"x-ms-region": b"East US 2"}, b"null", "eastus2"),
        ("", {b"x-ms-region": b"East US 2"}, b"null", ""),
        ("", {}, b'{"input_tokens":1,"inference_geo":"us"}', "us"),
        ("", {}, b'{"message_start":{"inference_geo":"eu"},"message_delta":{"output_tokens":1}}', "eu"),
        ("", {}, b'{"message_start":{"inference_geo":"eu"},"message_delta":{"inference_geo":"us"}}', "us"),
        ("", {}, b'{"inference_geo":7}', ""),
        (
            "x",
            {b"x": b"\xff" * 200 + b"a" * 200},
            b"null",
            "y" * 0 + "".join(c for c in ("\xff" * 200 + "a" * 200) if c.isalnum())[:64],
        ),
    ],
)
def test_what_an_answer_says(header: str, headers: dict[bytes, bytes], usage: bytes, place: str) -> None:
    assert serving_region(header, headers, usage) == place
