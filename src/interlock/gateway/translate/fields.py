"""Fields that a target has no word for: hints are dropped and listed, everything else is refused by name.

A hint changes how an answer is made or kept, not what is asked: without it the answer is one that the client could have
had anyway. docs/translation.md lists them; a field that nobody knows is never taken for one.
"""

from collections.abc import Callable, Iterable

from interlock.errors import LocalError
from interlock.gateway.translate.neutral import Ask
from interlock.ledger import Format

HINTS = frozenset(
    {
        # who asks, and how it is kept
        "user",
        "safety_identifier",
        "metadata",
        "store",
        "service_tier",
        # caches and speed
        "cache_control",
        "prompt_cache_key",
        "prompt_cache_retention",
        "prompt_cache_options",
        "prediction",
        "speed",
        "diagnostics",
        # "best effort" in the provider's own words
        "seed",
        "verbosity",
        "text.verbosity",
        "detail",
        "reasoning.summary",
        "reasoning.generate_summary",
        "thinking.display",
        "truncation",
        "context_management",
        "include",
        "stream_options.include_obfuscation",
        "session_id",
    }
)

_HINTS_WITHIN = frozenset(
    {
        "cache_control",
        "prompt_cache_breakpoint",
        "detail",
        "phase",
        "citations[]",
        "eager_input_streaming",
        # of an answer that a chat client hands back: citations, and blocks of reasoning that are another server's
        "annotations",
        "reasoning_details",
    }
)

_NAMES: dict[Format, dict[str, str]] = {
    "chat": {
        "max_output": "max_completion_tokens",
        "schema": "response_format",
        "reasoning": "reasoning_effort",
        "parallel": "parallel_tool_calls",
        "instructions": "messages",
        "turns": "messages",
    },
    "messages": {
        "max_output": "max_tokens",
        "stop": "stop_sequences",
        "schema": "output_config.format",
        "reasoning": "thinking",
        "parallel": "tool_choice.disable_parallel_tool_use",
        "instructions": "system",
        "turns": "messages",
        "user": "metadata.user_id",
    },
    "responses": {
        "max_output": "max_output_tokens",
        "schema": "text.format",
        "parallel": "parallel_tool_calls",
        "turns": "input",
    },
}


def name_of_field(ask: Ask, field: str) -> str:
    """What the client's format calls a named field of `Ask` (`max_output`: `max_tokens`)."""
    return _NAMES.get(ask.format, {}).get(field, field)


def is_hint(path: str) -> bool:
    """Whether the field at this path may be dropped: by its whole path, or by its last name within a message or tool.

    `citations[]` are those that an earlier answer's text came with; its words are the same without.
    """
    return path in HINTS or path.rpartition(".")[2] in _HINTS_WITHIN


def unsayable(path: str, target: str, why: str = "") -> LocalError:
    """The refusal of a field that `target` (a format's name) cannot express."""
    reason = why or "has no equivalent there"
    return LocalError(f"{path}: cannot be translated to {target}: it {reason}", field=path)


def settle_fields(ask: Ask, taken: Iterable[str], target: str, drop: Callable[[str], None]) -> None:
    """Account for every entry of `ask.fields` that the writer did not take.

    Raises: LocalError: one is not a hint; `field` names it.
    """
    for path in ask.fields.keys() - set(taken):
        if not is_hint(path):
            raise unsayable(path, target)
        drop(path)
