"""The ready profiles, case by case, with the refusals named; and what sources may say."""

import pytest

from interlock.gateway.boundary import refusal
from interlock.gateway.places import around, country
from interlock.gateway.policy import Facts, Profile
from interlock.gateway.profiles import READY

EU = ("eu-central-1", "eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-3")
LONDON, ZURICH = "eu-west-2", "eu-central-2"


def judged(profile: str, source: str, *geographies: str, local: bool = False) -> str:
    return refusal(Facts(geographies=geographies, local=local), [READY[profile]], source)


# Amazon Bedrock's guide to geographic cross-region inference, of Europe, source by source.
CASES = [
    *[("cross-region-eu", source, to, True) for source in EU for to in EU],
    *[("cross-region-eu", source, to, False) for source in EU for to in (LONDON, ZURICH, "us-east-1", "ap-south-1")],
    *[("cross-region-eu", LONDON, to, True) for to in (*EU, LONDON)],
    *[("cross-region-eu", LONDON, to, False) for to in (ZURICH, "us-east-1")],
    *[("cross-region-eu", ZURICH, to, True) for to in (*EU, ZURICH)],
    *[("cross-region-eu", ZURICH, to, False) for to in (LONDON, "us-east-1")],
    *[("cross-region-eu", "us-east-1", to, True) for to in (*EU, "us-east-1")],
    *[("cross-region-eu", "us-east-1", to, False) for to in ("us-west-2", LONDON, ZURICH)],
    *[("cross-region-global", source, to, True) for source in ("us-east-1", LONDON) for to in ("ap-south-1", *EU)],
    *[("in-region", source, source, True) for source in (*EU, "us-east-1")],
    ("in-region", "eu-central-1", "eu-west-1", False),
    ("in-region", "eu-central-1", "de", False),
    ("sovereign", "eu-central-1", "de", True),
    ("sovereign", "eu-central-1", "germanywestcentral", True),
    ("sovereign", "de", "eu-central-1", True),
    ("sovereign", "eu-central-1", "eu-west-3", False),
    ("sovereign", "eu-central-1", "eu", False),
    ("sovereign", "us-east-1", "us-west-2", True),
    ("sovereign", "our-cellar", "our-cellar", True),
    ("sovereign", "our-cellar", "de", False),
]


@pytest.mark.parametrize(("profile", "source", "to", "allowed"), CASES)
def test_from_a_source_to_a_destination(profile: str, source: str, to: str, allowed: bool) -> None:
    why = judged(profile, source, to)
    if allowed:
        assert why == ""
    else:
        assert why.startswith(f"boundary {profile}: sources: from {source}: {to} outside "), why


@pytest.mark.parametrize("profile", sorted(READY))
def test_what_is_not_known_is_refused(profile: str) -> None:
    assert judged(profile, "eu-central-1") == f"boundary {profile}: sources: from eu-central-1: not declared"
    assert "server.region" in judged(profile, "", "de")
    assert judged(profile, "eu-central-1", local=True) == judged(profile, "", local=True) == ""


def test_all_places_count() -> None:
    assert judged("cross-region-eu", "eu-central-1", "eu-west-1", "eu-west-3") == ""
    assert "us-east-1 outside" in judged("cross-region-eu", "eu-central-1", "eu-west-1", "us-east-1")


def test_a_local_place_that_is_named_counts() -> None:
    assert "us outside" in judged("sovereign", "eu-central-1", "us", local=True)


def test_the_nearest_source_is_the_one() -> None:
    sources: dict[str, tuple[str, ...]] = {
        "eu-central-1": ("eu-central-1",),
        "de": ("de",),
        "eu": ("eu",),
        "us": ("us",),
    }
    profile = Profile(name="p", sources=sources)

    def judge(source: str, to: str) -> str:
        return refusal(Facts(geographies=(to,)), [profile], source)

    assert judge("eu-central-1", "europe-west3") and not judge("eu-central-1", "eu-central-1")
    assert judge("europe-west3", "fr") and not judge("europe-west3", "eu-central-1")
    assert not judge("fr", "europe-west3") and judge("fr", "us")
    assert judge("jp", "jp") == "boundary p: sources: jp is none of the profile's sources"


def test_terms_must_be_accepted() -> None:
    facts = Facts(agreements=("dpa-1", "dpa-2"))
    assert refusal(facts, [], accepted=("dpa-1", "dpa-2", "x")) == ""
    assert refusal(facts, [], accepted=("dpa-1",)) == "boundary: agreements: dpa-2 is not accepted by the tenant"


def test_what_is_sensitive_stays() -> None:
    profile = Profile(name="p", sensitive="local")
    assert refusal(Facts(), [profile]) == ""
    assert refusal(Facts(local=True), [profile], sensitive=("card",)) == ""
    assert "holds card, credential.aws" in refusal(Facts(), [profile], sensitive=("credential.aws", "card"))
    assert refusal(Facts(), [Profile(name="q")], sensitive=("card",)) == ""


def test_every_region_lies_in_one_country() -> None:
    assert around("eu-west-3") == ("eu-west-3", "fr", "eu") and around("gb") == ("gb",)
    assert country("eu-west-2") == "gb" and country("eu") == "eu" and country("x") == "x"
