"""How one attempt is put to its deployment: in which format, with which bytes, and what was changed on the way.

Same format: the client's bytes with a few splices. Another one: translated. What cannot be said there is the request's
fault, with the field named; another candidate may still be able to say it.
"""

from collections.abc import Sequence

import msgspec

from interlock.errors import LocalError
from interlock.gateway.affinity import unreadable
from interlock.gateway.conversations import Conversation
from interlock.gateway.policy import Deployment, Policy
from interlock.gateway.translate import CARRIER, TRANSLATED, Voice, going_on, read_request, write_request
from interlock.gateway.translate.carrier import PREFIX
from interlock.gateway.translate.neutral import Ask, Target
from interlock.gateway.wire import Call, asking_usage, model_span, with_model
from interlock.gateway.wire.breakpoints import TOKENS_MIN, with_breakpoints
from interlock.gateway.wire.reasoning import without_reasoning
from interlock.ledger import Format

PATHS_MAX = 16
"""Of removed reasoning, listed by name."""


class Plan(msgspec.Struct, frozen=True):
    """One attempt's request."""

    format: Format
    """That the upstream is spoken to in."""
    body: bytes
    splices: tuple[str, ...]
    """As they stand on the decision."""
    hide_usage: bool = False
    """The client did not ask for the usage that its stream will hold."""
    ask: Ask | None = None
    """What was translated; None: the bytes pass through."""
    dropped: tuple[str, ...] = ()
    """Paths of hints that were left out."""

    def without(self, paths: tuple[str, ...]) -> "Plan":
        """The plan, with further hints left out by the provider's own dialect."""
        splices = (*self.splices, *(f"dropped:{path}" for path in paths))
        return msgspec.structs.replace(self, splices=splices, dropped=self.dropped + paths)


class Needs(msgspec.Struct, frozen=True, gc=False):
    """What a deployment needs changed beside the format."""

    joins: bool
    """The stream must be one that another upstream could take over."""
    unreadable: int
    """How many of the first messages hold reasoning of other families, sealed."""
    breakpoints: bool
    """It is one of Anthropic's models, and its client does not know."""


def needs_of(
    call: Call, deployment: Deployment, policy: Policy, conversation: Conversation | None, *, joins: bool
) -> Needs:
    """What a call that goes on with a conversation needs at `deployment`."""
    held = conversation.held if conversation is not None else None
    marks = policy.affinity.breakpoints and call.model not in policy.deployments
    return Needs(
        joins=joins,
        unreadable=unreadable(held, deployment.family, call.messages) if call.sealed else 0,
        breakpoints=marks and deployment.family == "claude" and call.input_estimate >= TOKENS_MIN,
    )


def make_plan(
    call: Call, body: bytes, deployment: Deployment, formats: Sequence[Format], needs: Needs, voice: Voice | None
) -> Plan:
    """Plan one attempt.

    Args:
        formats: what the deployment speaks, the preferred one first.
        voice: the stream so far, if this attempt is to go on with it.
    Raises: LocalError: it cannot be said there; `field` names it.
    """
    asked = "messages" if call.format == "count_tokens" else call.format
    removed: tuple[str, ...] = ()
    if needs.unreadable:
        body, removed = without_reasoning(call.format, body, needs.unreadable, PREFIX)
    carries = call.sealed and call.format in TRANSLATED and CARRIER in body
    if asked in formats and not needs.joins and not carries:
        plan = _passed(call, body, deployment.model)
    else:
        plan = _translated(call, body, deployment, formats, voice)
    marked: tuple[str, ...] = ()
    if needs.breakpoints and plan.format == "messages":
        body, marked = with_breakpoints(plan.body)
        plan = msgspec.structs.replace(plan, body=body)
    splices = (*(f"removed:{path}" for path in _few(removed)), *plan.splices, *(f"cached:{path}" for path in marked))
    if not removed and not marked:
        return plan
    # An id without its reasoning is no loss to anybody; what the model is not told is listed for the client, too.
    dropped = (*(path for path in removed if not path.endswith(".id")), *plan.dropped)
    return msgspec.structs.replace(plan, splices=splices, dropped=dropped)


def _few(paths: tuple[str, ...]) -> tuple[str, ...]:
    """Not more than a person reads: the log holds them with each call."""
    return paths if len(paths) <= PATHS_MAX else (*paths[:PATHS_MAX], f"{len(paths) - PATHS_MAX} more")


def _passed(call: Call, body: bytes, model: str) -> Plan:
    splices: tuple[str, ...] = ()
    if call.model != model:
        body = with_model(body, model_span(body, call.model), model)
        splices = ("model",)
    asks_usage = call.format == "chat" and call.stream and not call.includes_usage
    if asks_usage:
        body = asking_usage(body, call)
        splices = (*splices, "stream_options.include_usage")
    return Plan(call.format, body, splices, asks_usage)


def _translated(
    call: Call, body: bytes, deployment: Deployment, formats: Sequence[Format], voice: Voice | None
) -> Plan:
    format = call.format if call.format in formats else next((f for f in formats if f in TRANSLATED), None)
    if format is None or call.format not in TRANSLATED:
        raise LocalError(f"deployment {deployment.name!r} does not serve {call.format}", field="model")
    ask = read_request(call.format, body)
    target = Target(model=deployment.model, family=deployment.family, max_output=deployment.max_output)
    splices: tuple[str, ...] = (f"translated:{format}",)
    asked = ask
    if voice is not None and voice.can_go_on:
        asked = going_on(ask, voice.so_far, prefill="prefill" in deployment.capabilities)
        splices = (*splices, "continued")
    written, dropped = write_request(asked, format, target)
    splices = (*splices, *(f"dropped:{path}" for path in dropped))
    return Plan(format, written, splices, False, ask, dropped)
