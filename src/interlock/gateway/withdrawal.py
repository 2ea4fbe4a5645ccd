"""Withdrawals: a provider, deployment, model, region or agreement that nothing is sent to any more. Pure.

They stand in the `config` stream beside the policies, and in force whichever policy is: types `withdrawn` and
`reinstated`, both a Withdrawal. `gateway.service` keeps them from new calls, from the next candidate of calls that
run, and from a request that is just about to be sent; control answers the command when every worker has said that it
knows (wiring.worker), so that after the answer none of them sends.
"""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Literal, get_args

import msgspec

from interlock.errors import LocalError
from interlock.gateway.places import around
from interlock.gateway.policy import Deployment

Kind = Literal["provider", "deployment", "model", "region", "agreement"]
KINDS: tuple[Kind, ...] = get_args(Kind)
WITHDRAWN, REINSTATED = "withdrawn", "reinstated"
"""Types of their records."""
NAME_CHARS_MAX = 256
WITHDRAWALS_MAX = 1_000
"""Standing at once."""


class Withdrawal(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is withdrawn, or (`reinstated`) is not any more."""

    kind: Kind
    name: str
    """Of a model also a shell pattern; of a region also a country or area."""
    reason: str
    at_ns: int
    by: str = ""
    """The principal whose key it was."""


Standing = Mapping[tuple[Kind, str], Withdrawal]


def check(kind: str, name: str) -> tuple[Kind, str]:
    """Kind and name, if they are good. Raises: LocalError."""
    found = next((one for one in KINDS if one == kind), None)
    if found is None:
        raise LocalError(f"{kind!r} is not one of {', '.join(KINDS)}", field="kind")
    if not 0 < len(name) <= NAME_CHARS_MAX or not name.isprintable():
        raise LocalError(f"a name is 1 to {NAME_CHARS_MAX} printable characters", field="name")
    return found, name


def fold(standing: Standing, type_: str, payload: bytes) -> Standing:
    """What stands after one more record of the `config` stream; of another type: the same.

    Raises: msgspec.DecodeError.
    """
    if type_ not in (WITHDRAWN, REINSTATED):
        return standing
    told = msgspec.json.decode(payload, type=Withdrawal)
    place = (told.kind, told.name)
    rest = {key: one for key, one in standing.items() if key != place}
    return {**rest, place: standing.get(place, told)} if type_ == WITHDRAWN else rest


def affected(deployments: Mapping[str, Deployment], withdrawals: Iterable[Withdrawal]) -> dict[str, str]:
    """The deployments that nothing is sent to, and why."""
    found: dict[str, str] = {}
    for one in withdrawals:
        for name, deployment in deployments.items():
            if name not in found and _is_about(one, deployment):
                found[name] = f"{one.kind} {one.name} is withdrawn: {one.reason}"
    return found


def _is_about(withdrawal: Withdrawal, deployment: Deployment) -> bool:
    name = withdrawal.name
    match withdrawal.kind:
        case "provider":
            return deployment.provider == name
        case "deployment":
            return deployment.name == name
        case "model":
            return fnmatchcase(deployment.model, name)
        case "region":
            places = (*deployment.facts.geographies, *((deployment.region,) if deployment.region else ()))
            return any(name in around(place) for place in places)
        case "agreement":
            return name in deployment.facts.agreements
