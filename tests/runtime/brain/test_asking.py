"""A summary as a brain asks for it: what is sent and logged, in every format, and while people speak and cancel."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.runtime.brain.rig import SESSION, Bench, Made, Script, broke, call

from interlock.gateway.translate import neutral
from interlock.runtime.brain.feed import Delta
from interlock.runtime.brain.model import Reply
from interlock.runtime.brain.tools.ports import Done, Use
from interlock.runtime.brain.wires import Heard
from interlock.runtime.sessions.agent import Wire
from interlock.runtime.sessions.event import (
    Answered,
    Asked,
    Cancelled,
    Cut,
    Ended,
    Event,
    Failed,
    Part,
    Said,
    Text,
    Thought,
)

Run = Callable[..., Any]
ROUNDS = 5
SUMMARY = "The user wants it done; five looks were taken."


async def look(arguments: dict[str, Any], use: Use) -> Done:
    return Done(content=(f"look {arguments['n']}: " + "r" * 1_300).encode())


def looks(number: int = ROUNDS, constrained: bool = False) -> list[list[Part]]:
    """Answers that fill a window of 1,400 tokens."""
    if constrained:
        said = ({"tool": "look", "arguments": {"n": n}} for n in range(number))
        return [[Text(text=msgspec.json.encode(one).decode())] for one in said]
    return [[call(f"c{n}", "look", f'{{"n": {n}}}')] for n in range(number)]


def bench(path: Path, *replies: Any) -> Bench:
    return Bench(path, Script(*replies), Made("look", look, "pure"))


def summaries(events: list[Event]) -> list[Asked]:
    return [event for event in events if isinstance(event, Asked) and event.until_seq]


def texts(body: dict[str, Any]) -> list[str]:
    """What a request's turns say, in any of the formats."""
    turns = body.get("messages") or body["input"]
    assert isinstance(turns, list)
    said = [turn["content"] for turn in turns if turn["role"] == "user"]
    return [one if isinstance(one, str) else "".join(block["text"] for block in one) for one in said]


@pytest.mark.parametrize("constrained", [False, True])
@pytest.mark.parametrize("wire", ["messages", "chat", "responses"])
def test_a_summary_is_a_step_of_its_own_in_every_format(
    run: Run, tmp_path: Path, wire: Wire, constrained: bool
) -> None:
    async def main() -> None:
        last: list[Part] = [Text(text='{"say": "done"}' if constrained else "done")]
        answer = [Thought(kind="plain", text="hm"), Text(text=f" {SUMMARY}\n")]
        replies = looks(constrained=constrained)
        one = bench(tmp_path, *replies[:4], answer, *replies[4:], last)
        await one.begin(context_tokens=1_400, wire=wire, constrained=constrained)
        with one.feed.watch(SESSION) as watcher:
            assert await one.brain.run(SESSION) == "rest"
            watcher.close()
            deltas = [delta async for delta in watcher.deltas()]
        events = await one.events()
        [asked] = summaries(events)
        place = events.index(asked)
        answered, cut, next_asked = events[place + 1 : place + 4]
        assert isinstance(answered, Answered) and (answered.step, answered.parts) == (asked.step, ())
        assert (answered.usage, answered.amount_nanousd) == ({"input": 10, "output": 5}, 7)
        assert cut == Cut(kind="summary", before_seq=asked.until_seq, summary=SUMMARY)
        assert next_asked == Asked(step=asked.step + 1, key=f"{SESSION}-{asked.step + 1}", cut_seq=asked.until_seq)
        request = one.model.asked[asked.step - 1]
        assert (request.key, request.step, request.wire) == (asked.key, asked.step, wire)
        body = msgspec.json.decode(request.body)
        assert not body.keys() & {"tools", "response_format", "text", "temperature"}
        assert 140 in body.values(), "a tenth of the window, under each format's name for it"
        [told] = texts(body)
        assert "the user\ndo it" in told and "look: look 0" in told and "look 3" not in told
        after_it = one.model.asked[asked.step].body.decode()
        assert SUMMARY in after_it and "look 3" in after_it and "look 0: " not in after_it
        assert [step.step for step in await one.of(Asked)] == list(range(1, ROUNDS + 3))
        assert [ended.reason for ended in await one.of(Ended)] == ["done"]
        assert asked.step not in [delta.step for delta in deltas if isinstance(delta, Delta)], "no words of the agent's"

    run(main)


USELESS: dict[str, tuple[Any, str]] = {
    "an error": (broke("invalid_request", 400), "invalid_request: no"),
    "a refusal": (
        Reply(said=Heard(parts=(Text(text="No."),), finish="refusal", usage={"input": 3, "output": 4})),
        "no_summary: the answer ended as refusal",
    ),
    "nothing": ([], "no_summary: the model said nothing"),
    "half of one": (
        Reply(said=Heard(parts=(Text(text="It began"),), finish="length", usage={"input": 3, "output": 4})),
        "no_summary: the answer ended as length",
    ),
    "a call": ([call("x", "look")], "no_summary: the answer ended as tool_calls"),
    "too much": ([Text(text="s" * 1_121)], "no_summary: the summary has 1121 bytes, at most 1120"),
}


@pytest.mark.parametrize("what", USELESS)
def test_without_a_summary_the_oldest_is_cut_and_the_turn_goes_on(run: Run, tmp_path: Path, what: str) -> None:
    reply, why = USELESS[what]

    async def main() -> None:
        one = bench(tmp_path, *looks()[:4], reply, *looks()[4:])
        await one.begin(context_tokens=1_400)
        assert await one.brain.run(SESSION) == "rest"
        [asked] = summaries(await one.events())
        [failed] = await one.of(Failed)
        assert failed.step == asked.step and f"{failed.code}: {failed.message}" == why
        assert bool(failed.usage) is (what != "an error"), "what it used is counted, though it was of no use"
        [cut] = await one.of(Cut)
        assert (cut.kind, cut.before_seq, cut.why) == ("window", asked.until_seq, why)
        assert [ended.reason for ended in await one.of(Ended)] == ["done"]

    run(main)


def test_a_message_during_a_summary_is_heard_and_a_cancellation_hangs_up(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        class Spoken(Script):
            """People speak while it sums up, and cancel it the first time."""

            cancelled = False

            async def ask(self, request: Any, tell: Any) -> Reply:
                if b'"tools"' not in request.body and not self.cancelled:
                    self.cancelled = True
                    self.asked.append(request)
                    tell(neutral.TextDelta("half"))
                    await one.person(Cancelled(by="ann"))
                    await asyncio.Event().wait()
                if b'"tools"' not in request.body:
                    await one.person(Said(text="and this"))
                return await super().ask(request, tell)

        model = Spoken(*looks()[:4], [Text(text=SUMMARY)])
        one = Bench(tmp_path, model, Made("look", look, "pure"))
        await one.begin(context_tokens=1_400)
        assert await one.brain.run(SESSION) == "rest"
        [failed] = await one.of(Failed)
        assert failed.code == "cancelled" and failed.usage["output"] == 2 and not await one.of(Cut)
        await one.person(Said(text="go on"))
        assert await one.brain.run(SESSION) == "rest"
        assert [ended.reason for ended in await one.of(Ended)] == ["cancelled", "done"]
        [cut] = await one.of(Cut)
        first, second = summaries(await one.events())
        assert (cut.kind, cut.before_seq, second.step) == ("summary", second.until_seq, first.step + 1)
        assert "and this" in str(model.shown()) and "and this" not in str(model.shown(-2))
        events = await one.events()
        place = events.index(cut)
        assert isinstance(events[place - 1], Answered) and events[place - 2] == Said(text="and this")

    run(main)
