"""One model call: what is written before it, what is sent, and what is written of its outcome."""

import asyncio
import re
from dataclasses import dataclass

import msgspec

from interlock.errors import InterlockError
from interlock.gateway.translate import neutral
from interlock.runtime.brain import grammar
from interlock.runtime.brain.action import Ask
from interlock.runtime.brain.context import View, estimate, tokens_of, view
from interlock.runtime.brain.decide import wall_left_s
from interlock.runtime.brain.desk import Desk
from interlock.runtime.brain.feed import Delta
from interlock.runtime.brain.model import Reply, Request, retry_in_s
from interlock.runtime.brain.offer import Offers
from interlock.runtime.brain.parts import Parts
from interlock.runtime.brain.watching import cancel_on_word
from interlock.runtime.brain.wires import Broke, Heard, with_own_ids, write
from interlock.runtime.sessions.event import Answered, Asked, Call, Failed, Part, Text, Thought

_TASK = re.compile(r"[\x21-\x7e]{1,255}")
"""What the gateway's header for it may hold."""
_SLACK_S = 1.0
"""A call may be this much longer than the session's time, so that the step that reaches the limit is seen to."""
BYTES_A_TOKEN = 4
"""As the gateway estimates."""


@dataclass(slots=True)
class Asker:
    """Asks the model for one session."""

    parts: Parts
    session: str
    desk: Desk
    _chars: int = 0
    """Of the answer under way: what is estimated of it if it breaks off."""

    async def ask(self, action: Ask, offers: Offers) -> None:
        """Ask; what came of it is staged as a fact. Nothing happens if the log has moved on."""
        desk = self.desk
        if action.cut is not None:
            desk.plan(action.cut)
        cut_seq = desk.state.cut.before_seq if desk.state.cut is not None else 0
        key = f"{self.session}-{action.step}"
        desk.plan(Asked(step=action.step, key=key, cut_seq=cut_seq))
        if not await desk.flush("model.asked"):
            return
        shown = view(desk.state, offers)
        try:
            request = self._request(action.step, key, shown)
        except InterlockError as error:
            desk.fact(Failed(step=action.step, code=error.code, message=error.message[:500]))
            return
        reply = await self._reply(request)
        self.parts.at("model.answered.after")
        desk.fact(self._outcome(action.step, shown, reply))

    def _request(self, step: int, key: str, shown: View) -> Request:
        agent = self.desk.state.agent
        if agent.constrained:
            plain = grammar.plain(shown)
            schema = grammar.schema(shown.offers)
            body = write(plain, agent.wire, agent.model, max_output=agent.max_output, schema=schema)
        else:
            body = write(shown, agent.wire, agent.model, max_output=agent.max_output)
        return Request(
            session=self.session,
            wire=agent.wire,
            body=body,
            key=key,
            step=step,
            mode=agent.mode,
            task=self._task(),
            token=self.parts.mint(self.session, self.desk.state, "inference"),
        )

    def _task(self) -> str:
        """The session's label `task`, which forks inherit; without one that a header can say, the session itself."""
        created = self.desk.state.created
        said = created.labels.get("task", "") if created is not None else ""
        return said if _TASK.fullmatch(said) else self.session

    async def _reply(self, request: Request) -> Reply | None:
        """None: a person cancelled it."""
        parts, left_s = self.parts, wall_left_s(self.desk.state)
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(parts.model.ask(request, lambda event: self._tell(request.step, event)))
            watching = group.create_task(
                cancel_on_word(parts.store, self.session, self.desk.head, [asking], parts.sleep)
            )
            await asyncio.wait([asking], timeout=None if left_s is None else left_s + _SLACK_S)
            watching.cancel()
            out_of_time = not asking.done()
            asking.cancel()
        if out_of_time:
            return Reply(said=Broke(code="upstream_timeout", message="the session's time is over", status=400))
        return None if asking.cancelled() else asking.result()

    def _tell(self, step: int, event: neutral.Event) -> None:
        publish = self.parts.feed.publish
        self._chars += len(getattr(event, "text", "") or getattr(event, "fragment", ""))
        match event:
            case neutral.TextDelta(text=text) | neutral.RefusalDelta(text=text):
                publish(self.session, Delta(of="text", text=text, step=step))
            case neutral.ReasoningDelta(text=text):
                publish(self.session, Delta(of="thought", text=text, step=step))
            case neutral.CallDelta(fragment=text):
                publish(self.session, Delta(of="call", text=text, step=step))

    def _outcome(self, step: int, shown: View, reply: Reply | None) -> Answered | Failed:
        parts, state = self.parts, self.desk.state
        now_ns = parts.clock.now_ns()
        if reply is None or isinstance(reply.said, Broke):
            failed = Failed(step=step, code="cancelled", message="a person cancelled it")
            if reply is not None and isinstance(reply.said, Broke):
                pause_s = retry_in_s(reply, state.failures + 1)
                retry_at_ns = None if pause_s is None else now_ns + int(pause_s * 1e9)
                said = reply.said
                failed = Failed(step=step, code=said.code, message=said.message, retry_at_ns=retry_at_ns)
            if not self._chars:
                return failed
            usage = {"input": estimate(shown), "output": self._chars // BYTES_A_TOKEN + 1}
            deployment = (reply.deployment if reply is not None else "") or state.deployment
            return msgspec.structs.replace(failed, usage=usage, amount_nanousd=parts.price(deployment, usage, now_ns))
        heard = grammar.heard(reply.said) if state.agent.constrained else reply.said
        usage = heard.usage or _estimated(shown, heard)
        amount = reply.amount_nanousd
        return Answered(
            step=step,
            parts=with_own_ids(heard.parts, step, state.calls.__contains__),
            finish=heard.finish,
            usage=usage,
            amount_nanousd=amount if amount is not None else parts.price(reply.deployment, usage, now_ns),
            request_id=reply.request_id,
            deployment=reply.deployment,
        )


def _estimated(shown: View, heard: Heard) -> dict[str, int]:
    """Usage that nobody reported: a budget of tokens must hold all the same."""
    return {"input": estimate(shown), "output": sum(map(_tokens, heard.parts))}


def _tokens(part: Part) -> int:
    match part:
        case Text(text=text) | Thought(text=text) | Call(arguments=text):
            return tokens_of(text)
    raise AssertionError(f"no such part: {msgspec.to_builtins(part)!r}")
