"""Reasoning in chat messages, where OpenAI has no place for it and others have made two.

`reasoning_content` (DeepSeek, vLLM, llama.cpp; `reasoning` to some) is readable text. `reasoning_details` (OpenRouter)
is a list of blocks; ours hold a carrier as `signature`, or as `data` where there is no text to read, so that a client
that hands its messages back unchanged hands back the seal too.
"""

from typing import Any

from interlock.gateway.translate.neutral import Part, Reasoning
from interlock.gateway.translate.reasoning import BREAK, Kind, opened, sealed
from interlock.gateway.translate.taken import Taken


def carrier_of(kind: Kind, seal: str, id: str, family: str) -> str | None:
    """The carrier of a block; None for plain text. One without a seal has it too: it says what kind the text is of."""
    return None if kind == "plain" and not seal else sealed(kind, seal, id, family)


def entry(kind: Kind, text: str, seal: str, id: str, family: str, index: int) -> dict[str, Any] | None:
    """A block as a member of `reasoning_details`; None if it says nothing."""
    carrier = carrier_of(kind, seal, id, family)
    if text:
        return {"type": "reasoning.text", "text": text, "signature": carrier, "index": index}
    return None if carrier is None else {"type": "reasoning.encrypted", "data": carrier, "index": index}


def read_echo(message: Taken) -> list[Part]:
    """The reasoning in an assistant's message of a request.

    `reasoning_details` win over `reasoning_content`, which repeats their text, if one of them is ours. Otherwise they
    are another server's: they become a field, whole (a hint), and the text is plain.
    """
    details, path = message.entries("reasoning_details"), message.at("reasoning_details")
    text = message.text("reasoning_content") or message.text("reasoning")
    message.skip("reasoning")
    blocks = [_block(Taken(value, f"{path}[{index}]", message.fields)) for index, value in enumerate(details)]
    if any(block.family for block in blocks):
        return [block for block in blocks if block.text or block.seal or block.family]
    if details:
        message.fields[path] = details
    text = text or BREAK.join(block.text for block in blocks if block.text)
    return [Reasoning(kind="plain", text=text, path=message.at("reasoning_content"))] if text else []


def _block(detail: Taken) -> Reasoning:
    text = detail.text("text") or detail.text("summary")
    seal = detail.text("signature") or detail.text("data")
    return opened(seal, text, detail.path) or Reasoning(kind="plain", text=text, path=detail.path)
