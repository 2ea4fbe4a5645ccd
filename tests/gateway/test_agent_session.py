"""Two hours of an agent: 300 calls that plan, edit and debug in a growing context, over three families of models.

The upstreams keep prompt caches as providers do, seal their reasoning, and refuse whatever another family sealed.
"""

import asyncio
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
from tests.gateway.rig import Seen, policy, rig

from interlock.gateway import Affinity, Deployment, Policy, Rule, When
from interlock.gateway.routing import Decision
from interlock.ledger import Opened, Price, Settled
from interlock.ledger import price as price_of
from interlock.testing.clock import ManualClock

Run = Callable[..., Any]

PRICES = {
    "opus": {"input": 5_000, "cache_read": 500, "cache_write": 6_250, "output": 25_000},
    "sonnet": {"input": 3_000, "cache_read": 300, "cache_write": 3_750, "output": 15_000},
    "qwen": {"input": 325, "cache_read": 33, "output": 1_950},
}
FAMILIES = {"opus": "claude", "sonnet": "claude", "qwen": "qwen"}
CALLS = 300
SYSTEM = "You are a careful engineer. " * 300
TOOLS = [{"name": "edit", "input_schema": {"type": "object"}}]


class Models:
    """Three models behind one port, each with its own prompt cache."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._cached: dict[str, tuple[int, list[Any]]] = {}
        self.calls: list[str] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Seen) -> None:
        body = seen.json
        status, answer = 200, self._answer(body)
        if answer is None:
            status, answer = 400, {"type": "error", "error": {"type": "invalid_request_error", "message": "signature"}}
        content = msgspec.json.encode(answer)
        writer.write(
            f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n".encode()
            + content
        )

    def _answer(self, body: dict[str, Any]) -> dict[str, Any] | None:
        model = body["model"]
        family = FAMILIES[model]
        blocks = [b for m in body["messages"] if isinstance(m["content"], list) for b in m["content"]]
        if any(b["type"] == "thinking" and not b["signature"].startswith(f"{family}-") for b in blocks):
            return None
        number = len(self.calls)
        self.calls.append(model)
        usage = self._usage(model, body)
        content: list[dict[str, Any]] = [
            {"type": "thinking", "thinking": "hm", "signature": f"{family}-{number}"},
            {"type": "text", "text": f"step {number} " * 20},
        ]
        return {
            "id": f"msg_{number}",
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": content,
            "stop_reason": "end_turn",
            "usage": usage,
        }

    def _usage(self, model: str, body: dict[str, Any]) -> dict[str, int]:
        """What is the same from the start is read from the cache, if that is warm; what is marked is written."""
        now_s = self._clock.now_ns() // 1_000_000_000
        prompt = [body.get("system"), *body["messages"]]
        bare = [msgspec.json.encode(_bare(part)) for part in prompt]
        at_s, before = self._cached.get(model, (0, []))
        same = 0
        if now_s - at_s <= 300:
            while same < min(len(before), len(bare)) and before[same] == bare[same]:
                same += 1
        tokens = [len(part) // 4 for part in bare]
        self._cached[model] = (now_s, bare)
        read, rest = sum(tokens[:same]), sum(tokens[same:])
        if FAMILIES[model] != "claude":
            return {"input_tokens": rest, "cache_read_input_tokens": read, "output_tokens": 50}
        assert b'"cache_control"' in msgspec.json.encode(body), "nobody told Claude what to cache"
        return {
            "input_tokens": 0,
            "cache_read_input_tokens": read,
            "cache_creation_input_tokens": rest,
            "output_tokens": 50,
        }


def _bare(part: Any) -> Any:
    """Without breakpoints, which are no part of what is cached."""
    if isinstance(part, dict):
        return {k: _bare(v) for k, v in part.items() if k != "cache_control"}
    if isinstance(part, list):
        if all(isinstance(p, dict) and p.get("type") == "text" for p in part) and len(part) == 1:
            return part[0]["text"]
        return [_bare(p) for p in part]
    return part


def modes() -> list[str]:
    """A plan now and then, long stretches of edits, some debugging."""
    return ["plan" if n % 60 < 3 else "debug" if n % 60 in range(30, 38) else "edit" for n in range(CALLS)]


def made(port: int) -> Policy:
    base = policy([port]).deployments["d0"]
    deployments = {
        name: msgspec.structs.replace(
            base,
            name=name,
            model=name,
            family=FAMILIES[name],
            provider="anthropic" if FAMILIES[name] == "claude" else "openai",
            formats=("messages",),
            price=Price(per_mtok=per_mtok, source="override"),
        )
        for name, per_mtok in PRICES.items()
    }
    tiers = {name: (name,) for name in PRICES}
    return policy(
        [port],
        deployments=deployments,
        tiers={name: msgspec.convert({"name": name, "deployments": of}, _Tier) for name, of in tiers.items()},
        rules=(
            Rule(name="plans", when=When(mode=("plan",)), tier="opus"),
            Rule(name="debugging", when=When(mode=("debug",)), tier="sonnet", switch="saving"),
            Rule(name="edits", when=When(mode=("edit",)), tier="qwen", switch="saving"),
        ),
        default_tier="qwen",
        affinity=Affinity(calls=4),
        profiles={},
    )


_Tier = type(policy([1]).tiers["main"])


async def two_hours(directory: Path) -> tuple[Models, Policy, Sequence[Any]]:
    """The session, played: what the upstreams saw, the policy, and what the log holds (below `directory`)."""
    clock = ManualClock()
    models = Models(clock)
    server = await asyncio.start_server(_serve(models), "127.0.0.1", 0)
    policy = made(server.sockets[0].getsockname()[1])
    history: list[dict[str, Any]] = []
    try:
        async with rig(directory, policy, clock=clock) as on:
            for number, mode in enumerate(modes()):
                history.append({"role": "user", "content": f"turn {number}: " + "some output of a tool " * 30})
                body = {
                    "model": "auto",
                    "max_tokens": 100,
                    "system": SYSTEM,
                    "messages": history,
                    "thinking": {"type": "adaptive"},
                    "tools": TOOLS,
                }
                answer = await on.call("/v1/messages", body, f"x-interlock-mode: {mode}")
                assert answer.status == 200, (number, answer.body)
                history.append({"role": "assistant", "content": answer.json["content"]})
                clock.advance(400_000_000_000 if number == 149 else 23_000_000_000)
            await on.settled(CALLS)
            return models, policy, await on.records()
    finally:
        server.close()


def test_two_hours(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        models, policy, records = await two_hours(tmp_path)
        check(models, records, policy.deployments)

    run(main, blocking_s=2.0)


def check(models: Models, records: Sequence[Any], deployments: dict[str, Deployment]) -> None:
    """The log against what the upstreams saw."""
    opened = [r for r in records if isinstance(r, Opened)]
    settled = {r.request_id: r for r in records if isinstance(r, Settled)}
    decisions = [msgspec.json.decode(r.decision, type=Decision) for r in opened]
    assert [r.deployment for r in opened] == models.calls, "each call was made once"
    assert len({r.session for r in opened}) == 1 and opened[0].session.startswith("conv-")
    seen: dict[str, int] = {}
    for before, record, decision in zip([None, *opened], opened, decisions, strict=False):
        verdict = decision.affinity.verdict if decision.affinity else ""
        seen[verdict] = seen.get(verdict, 0) + 1
        if before is None:
            continue
        if record.deployment != before.deployment:
            assert verdict in ("rule", "saving", "cold"), "a switch says why"
        if verdict in ("kept", "saving"):
            _recalculate(decision, settled[before.request_id], deployments)
        changed = deployments[record.deployment].family != deployments[before.deployment].family
        removed = any(splice.startswith("removed:") for splice in decision.splices)
        assert removed or not changed, "another family gets no reasoning of the one before"
        marked = any(splice.startswith("cached:") for splice in decision.splices)
        assert marked == (deployments[record.deployment].family == "claude")
    assert {"rule", "saving", "kept", "cold"} <= set(seen), seen
    switches = sum(a.deployment != b.deployment for a, b in pairwise(opened))
    wanted = sum(a != b for a, b in pairwise(modes()))
    assert switches < wanted, "the cache is kept where the rules alone would have moved at each change of mode"


def _recalculate(decision: Decision, last: Settled, deployments: dict[str, Deployment]) -> None:
    """Both sums once more, by the ledger's own pricing of the calls they stand for."""
    affinity = decision.affinity
    assert affinity is not None
    size = max(decision.signals.input_tokens, affinity.cached_tokens)
    assert affinity.output_tokens == last.usage["output"]
    for name, cached, said in (
        (affinity.held_by, affinity.cached_tokens, affinity.stay_nanousd),
        (affinity.over, 0, affinity.switch_nanousd),
    ):
        price = deployments[name].price
        assert price is not None
        writes = "cache_write" in price.per_mtok
        first = {"input": size, "cache_read": cached, "output": affinity.output_tokens}
        first |= {"cache_write": size - cached} if writes else {}
        later = {"input": size, "cache_read": size, "output": affinity.output_tokens}
        numerators = [
            sum(line.numerator or 0 for line in price_of(usage, price).lines)
            for usage in (first, *[later] * (affinity.calls - 1))
        ]
        assert said == round(sum(numerators) / 1_000_000)


def _serve(models: Models) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
                body = await reader.readexactly(int(headers["content-length"]))
                await models(reader, writer, Seen(head[0].split(" ")[1], headers, body))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    return serve
