"""What a deployment's tokens cost: a value that the policy carries and the ledger applies.

It does not look prices up: `interlock.config` does that (operator's override, then genai-prices), once, when a policy
is adopted, and the policy record keeps the result, so a rebuild years later prices as we did then.
"""

import msgspec

PARENTS = {
    "cache_read": "input",
    "cache_write": "input",
    "cache_write_5m": "input",
    "cache_write_1h": "input",
    "audio_input": "input",
    "reasoning": "output",
    "audio_output": "output",
}
"""A kind is counted within its parent. One without a price of its own is priced as its parent."""

KINDS = ("input", *(k for k, p in PARENTS.items() if p == "input"), "output", "reasoning", "audio_output", "web_search")


class Price(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Nano-USD per million tokens, by kind (`web_search`: per million calls)."""

    per_mtok: dict[str, int]
    above: tuple["Step", ...] = ()
    """Long-context prices, ascending: the last whose threshold the call's whole input exceeds replaces `per_mtok`."""
    source: str = ""
    """`override`, or `genai-prices VERSION PROVIDER/MODEL`."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """Prices for calls with more than `input_tokens` of input."""

    input_tokens: int
    per_mtok: dict[str, int]
