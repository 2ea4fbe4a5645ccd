"""`GET /v1/models`: the names a client may ask for, in the shape of the SDK that asks."""

from collections.abc import Callable
from urllib.parse import parse_qs

from interlock.errors import LocalError
from interlock.gateway.http import Head
from interlock.gateway.policy import Policy
from interlock.gateway.wire import Model, listing, one


def names(policy: Policy, lets: Callable[[str], bool] | None = None) -> list[Model]:
    """(id, display name, created) of `auto`, the tiers and the deployments.

    Args:
        lets: whether a model may be called; what only has models that may not is left out. None: all may be.
    """
    chosen = [d for d in policy.deployments.values() if lets is None or lets(d.model)]
    known = {d.name for d in chosen}
    tiers = [
        (name, f"tier {name}", 0) for name, tier in policy.tiers.items() if lets is None or known & {*tier.deployments}
    ]
    deployments = [(d.name, f"{d.model} at {d.provider}", 0) for d in chosen]
    return [("auto", "chosen by the task", 0), *tiers, *[d for d in deployments if d[0] not in policy.tiers]]


def answer_models(policy: Policy, head: Head, lets: Callable[[str], bool] | None = None) -> bytes:
    """The list, or the one that the path names. `lets`: as of `names`.

    Raises: LocalError: no such model, or a query parameter that is not well formed.
    """
    anthropic = b"anthropic-version" in head.headers
    known = names(policy, lets)
    wanted = head.path.partition("/models")[2].strip("/")
    if wanted:
        found = next((entry for entry in known if entry[0] == wanted), None)
        if found is None:
            raise LocalError(f"no model is called {wanted[:256]!r}", code="model_unknown", field="model")
        return one(found, anthropic=anthropic)
    query = {name: values[-1] for name, values in parse_qs(head.query[:2048]).items()}
    pages = {name: query.get(name, "") for name in ("limit", "after_id", "before_id")}
    return listing(known, anthropic=anthropic, **pages)
