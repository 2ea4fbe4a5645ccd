"""One model call: what is written before it, what is sent, and what is written of its outcome."""

import asyncio
import re
from dataclasses import dataclass

import msgspec

from interlock.errors import InterlockError
from interlock.gateway.translate import neutral
from interlock.runtime.brain import grammar
from interlock.runtime.brain.action import Ask, Summarise
from interlock.runtime.brain.context import View, estimate, tokens_of, view
from interlock.runtime.brain.decide import wall_left_s
from interlock.runtime.brain.desk import Desk
from interlock.runtime.brain.feed import Delta
from interlock.runtime.brain.model import Reply, Request, retry_in_s
from interlock.runtime.brain.offer import Offers
from interlock.runtime.brain.parts import Parts
from interlock.runtime.brain.summary import output_tokens_max, summary_of, why_unusable
from interlock.runtime.brain.summary import request as summary_request
from interlock.runtime.brain.watching import cancel_on_word
from interlock.runtime.brain.wires import Broke, Heard, with_own_ids, write
from interlock.runtime.sessions.event import Answered, Asked, Call, Cut, Event, Failed, Part, Text, Thought

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
        if action.cut is not None:
            self.desk.plan(action.cut)
        asked = self._asked(action.step)
        if await self.desk.flush("model.asked"):
            await self._heard(asked, view(self.desk.state, offers))

    async def summarise(self, action: Summarise) -> None:
        """As `ask`, for a summary; the cut that shows it is staged with the answer."""
        asked = self._asked(action.step, action.until_seq)
        if await self.desk.flush("summary.asked"):
            await self._heard(asked, summary_request(self.desk.state, asked.until_seq))

    def _asked(self, step: int, until_seq: int = 0) -> Asked:
        cut = self.desk.state.cut
        cut_seq = cut.before_seq if cut is not None else 0
        asked = Asked(step=step, key=f"{self.session}-{step}", cut_seq=cut_seq, until_seq=until_seq)
        self.desk.plan(asked)
        return asked

    async def _heard(self, asked: Asked, shown: View) -> None:
        try:
            request = self._request(asked, shown)
        except InterlockError as error:
            self.desk.fact(Failed(step=asked.step, code=error.code, message=error.message[:500]))
            return
        reply = await self._reply(request, quiet=asked.until_seq > 0)
        self.parts.at("summary.answered.after" if asked.until_seq else "model.answered.after")
        self.desk.fact(*self._outcome(asked, shown, reply))

    def _request(self, asked: Asked, shown: View) -> Request:
        agent = self.desk.state.agent
        if asked.until_seq:  # in words, also of a model that is else held to a grammar
            body = write(shown, agent.wire, agent.model, max_output=output_tokens_max(agent))
        elif agent.constrained:
            plain = grammar.plain(shown)
            schema = grammar.schema(shown.offers)
            body = write(plain, agent.wire, agent.model, max_output=agent.max_output, schema=schema)
        else:
            body = write(shown, agent.wire, agent.model, max_output=agent.max_output)
        return Request(
            session=self.session,
            wire=agent.wire,
            body=body,
            key=asked.key,
            step=asked.step,
            mode=agent.mode,
            task=self._task(),
            token=self.parts.mint(self.session, self.desk.state, "inference"),
        )

    def _task(self) -> str:
        """The session's label `task`, which forks inherit; without one that a header can say, the session itself."""
        created = self.desk.state.created
        said = created.labels.get("task", "") if created is not None else ""
        return said if _TASK.fullmatch(said) else self.session

    async def _reply(self, request: Request, *, quiet: bool) -> Reply | None:
        """None: a person cancelled it. `quiet`: who watches the session is not told of it as it comes."""
        parts, left_s = self.parts, wall_left_s(self.desk.state)
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(parts.model.ask(request, lambda event: self._tell(request.step, event, quiet)))
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

    def _tell(self, step: int, event: neutral.Event, quiet: bool) -> None:
        publish = self.parts.feed.publish
        self._chars += len(getattr(event, "text", "") or getattr(event, "fragment", ""))
        if quiet:
            return
        match event:
            case neutral.TextDelta(text=text) | neutral.RefusalDelta(text=text):
                publish(self.session, Delta(of="text", text=text, step=step))
            case neutral.ReasoningDelta(text=text):
                publish(self.session, Delta(of="thought", text=text, step=step))
            case neutral.CallDelta(fragment=text):
                publish(self.session, Delta(of="call", text=text, step=step))

    def _outcome(self, asked: Asked, shown: View, reply: Reply | None) -> tuple[Event, ...]:
        if reply is None:
            return (
                self._broken(shown, "", Failed(step=asked.step, code="cancelled", message="a person cancelled it")),
            )
        if isinstance(reply.said, Broke):
            pause_s = retry_in_s(reply, self.desk.state.failures + 1)
            retry_at_ns = None if pause_s is None else self.parts.clock.now_ns() + int(pause_s * 1e9)
            said = reply.said
            failed = Failed(step=asked.step, code=said.code, message=said.message, retry_at_ns=retry_at_ns)
            return (self._broken(shown, reply.deployment, failed),)
        return self._whole(asked, shown, reply, reply.said)

    def _broken(self, shown: View, deployment: str, failed: Failed) -> Failed:
        """What had come of an answer is used too."""
        if not self._chars:
            return failed
        usage = {"input": estimate(shown), "output": self._chars // BYTES_A_TOKEN + 1}
        amount = self.parts.price(deployment or self.desk.state.deployment, usage, self.parts.clock.now_ns())
        return msgspec.structs.replace(failed, usage=usage, amount_nanousd=amount)

    def _whole(self, asked: Asked, shown: View, reply: Reply, said: Heard) -> tuple[Event, ...]:
        parts, state, summary = self.parts, self.desk.state, asked.until_seq > 0
        heard = grammar.heard(said) if state.agent.constrained and not summary else said
        usage, amount = heard.usage or _estimated(shown, heard), reply.amount_nanousd
        if amount is None:
            amount = parts.price(reply.deployment, usage, parts.clock.now_ns())
        why = why_unusable(heard, state.agent) if summary else ""
        if why:
            return (Failed(step=asked.step, code="no_summary", message=why, usage=usage, amount_nanousd=amount),)
        answered = Answered(
            step=asked.step,
            parts=() if summary else with_own_ids(heard.parts, asked.step, state.calls.__contains__),
            finish=heard.finish,
            usage=usage,
            amount_nanousd=amount,
            request_id=reply.request_id,
            deployment=reply.deployment,
        )
        if not summary:
            return (answered,)
        return answered, Cut(kind="summary", before_seq=asked.until_seq, summary=summary_of(heard))


def _estimated(shown: View, heard: Heard) -> dict[str, int]:
    """Usage that nobody reported: a budget of tokens must hold all the same."""
    return {"input": estimate(shown), "output": sum(map(_tokens, heard.parts))}


def _tokens(part: Part) -> int:
    match part:
        case Text(text=text) | Thought(text=text) | Call(arguments=text):
            return tokens_of(text)
    raise AssertionError(f"no such part: {msgspec.to_builtins(part)!r}")
