"""Ready profiles: boundaries that every policy has, unless it gives their names to its own.

`cross-region-eu` and `cross-region-global` follow Amazon Bedrock's cross-region inference profiles of these
geographies: a fixed list of destinations for each source. A list never changes under its name.
"""

from collections.abc import Mapping

from interlock.gateway.policy import Profile

_EU = ("eu-central-1", "eu-north-1", "eu-south-1", "eu-south-2", "eu-west-1", "eu-west-3")
_LONDON, _ZURICH = "eu-west-2", "eu-central-2"

READY: Mapping[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile(name="sovereign", sources={"*": ("country",)}),
        Profile(name="in-region", sources={"*": ("source",)}),
        Profile(
            name="cross-region-eu",
            sources={
                **dict.fromkeys(_EU, _EU),
                _LONDON: (*_EU, _LONDON),
                _ZURICH: (*_EU, _ZURICH),
                "*": (*_EU, "source"),
            },
        ),
        Profile(name="cross-region-global", sources={"*": ("*",)}),
    )
}
