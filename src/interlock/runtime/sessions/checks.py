"""What may stand in a session: the bounds of all that people and their programs send. Pure; errors name the field."""

import re
from collections.abc import Mapping, Sequence

from interlock.errors import LocalError
from interlock.runtime.hands import Resources
from interlock.runtime.sessions.agent import Agent, Budget, Rules
from interlock.runtime.sessions.event import Raised, Said

SAY_BYTES_MAX = 256 * 1024
INSTRUCTIONS_BYTES_MAX = 256 * 1024
NOTE_BYTES_MAX = 4096
TITLE_BYTES_MAX = 256
NAME_BYTES_MAX = 256
LABELS_MAX, TOOLS_MAX, RULES_MAX, ARGV_MAX, EGRESS_MAX = 32, 128, 256, 64, 64
PATTERN_BYTES_MAX = 1024
DAY_S = 86_400.0
KEY_BYTES_MAX = 256
"""Of a client's idempotency key."""

_WORD = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_LABEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,63}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_NOT_IN_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def check_text(field: str, value: str, bytes_max: int, *, empty: bool = True) -> None:
    """Words of any length up to the bound. Raises: LocalError: longer, not Unicode, control characters, or empty."""
    _check_size(field, value, bytes_max, empty=empty)
    if _NOT_IN_TEXT.search(value):
        raise LocalError(f"{field} holds a control character", field=field)


def check_name(field: str, value: str, bytes_max: int = NAME_BYTES_MAX, *, empty: bool = False) -> None:
    """One line. Raises: LocalError: as `check_text`, or with a line break or tab."""
    _check_size(field, value, bytes_max, empty=empty)
    if _CONTROL.search(value):
        raise LocalError(f"{field} holds a control character", field=field)


def check_labels(labels: Mapping[str, str]) -> None:
    """Raises: LocalError: too many, or one that is too long or of other characters."""
    if len(labels) > LABELS_MAX:
        raise LocalError(f"{len(labels)} labels, at most {LABELS_MAX}", field="labels")
    for key, value in labels.items():
        if not _LABEL.fullmatch(key):
            raise LocalError(f"the label {key[:64]!r} is not 1 to 64 of A-Z a-z 0-9 _ . / -", field="labels")
        check_name(f"labels.{key}", value, empty=True)


def check_agent(agent: Agent) -> None:
    """Raises: LocalError: a field outside its bounds."""
    check_name("agent.model", agent.model)
    check_text("agent.instructions", agent.instructions, INSTRUCTIONS_BYTES_MAX)
    _check_names("agent.tools", agent.tools, TOOLS_MAX, NAME_BYTES_MAX)
    _check_rules(agent.rules)
    if not _WORD.fullmatch(agent.hands):
        raise LocalError(f"agent.hands {agent.hands[:64]!r} is not a word", field="agent.hands")
    _check_resources(agent.resources)
    check_budget("agent.budget", agent.budget)
    _within("agent.context_tokens", agent.context_tokens, 1_000, 100_000_000)
    _within("agent.max_output", agent.max_output, 1, 10_000_000)
    _within("agent.approval_s", agent.approval_s, 1.0, 365 * DAY_S)
    if len(agent.program) > ARGV_MAX:
        raise LocalError(f"agent.program has {len(agent.program)} words, at most {ARGV_MAX}", field="agent.program")
    for word in agent.program:
        check_text("agent.program", word, PATTERN_BYTES_MAX * 4)


def check_budget(field: str, budget: Budget) -> None:
    """Raises: LocalError: an amount outside its bounds."""
    for name, most in (("tokens", 10**15), ("amount_nanousd", 10**18), ("steps", 10**9)):
        amount = getattr(budget, name)
        if amount is not None:
            _within(f"{field}.{name}", amount, 0, most)
    if budget.wall_s is not None:
        _within(f"{field}.wall_s", budget.wall_s, 0.0, 365 * DAY_S)
    _within(f"{field}.denials", budget.denials, 0, 10**6)


def check_about(principal: str, title: str, labels: Mapping[str, str], say: str) -> None:
    """What a session is made with. Raises: LocalError: a field outside its bounds."""
    check_name("principal", principal)
    check_name("title", title, TITLE_BYTES_MAX, empty=True)
    check_labels(labels)
    check_text("say", say, SAY_BYTES_MAX)


def check_emitted(event: Said | Raised) -> None:
    """Raises: LocalError: a field outside its bounds."""
    check_name("id", event.id, KEY_BYTES_MAX, empty=True)
    check_name("by", event.by, empty=True)
    if isinstance(event, Said):
        check_text("text", event.text, SAY_BYTES_MAX, empty=False)
    else:
        check_budget("budget", event.budget)


def check_limit(limit: int) -> None:
    """Of a page. Raises: LocalError: none, or more than 1,000."""
    if not 1 <= limit <= 1000:
        raise LocalError(f"limit is {limit}, not 1 to 1000", field="limit")


def _check_rules(rules: Rules) -> None:
    for name in ("deny", "ask", "allow"):
        _check_names(f"agent.rules.{name}", getattr(rules, name), RULES_MAX, PATTERN_BYTES_MAX)


def _check_resources(resources: Resources) -> None:
    _within("agent.resources.cpus", resources.cpus, 0.01, 1024.0)
    _within("agent.resources.memory_bytes", resources.memory_bytes, 8 << 20, 1 << 42)
    _within("agent.resources.processes", resources.processes, 1, 1 << 20)
    _within("agent.resources.disk_bytes", resources.disk_bytes, 0, 1 << 45)
    _within("agent.resources.output_bytes", resources.output_bytes, 0, 64 << 20)
    _within("agent.resources.time_s", resources.time_s, 0.1, DAY_S)
    _check_names("agent.resources.egress", resources.egress, EGRESS_MAX, 300)


def _check_names(field: str, names: Sequence[str], count: int, bytes_max: int) -> None:
    if len(names) > count:
        raise LocalError(f"{field} has {len(names)} entries, at most {count}", field=field)
    for name in names:
        check_name(field, name, bytes_max)


def _check_size(field: str, value: str, bytes_max: int, *, empty: bool) -> None:
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        raise LocalError(f"{field} is not Unicode text", field=field) from error
    if size > bytes_max:
        raise LocalError(f"{field} has {size} bytes, at most {bytes_max}", field=field)
    if not value and not empty:
        raise LocalError(f"{field} is empty", field=field)


def _within(field: str, amount: float, least: float, most: float) -> None:
    if not least <= amount <= most:  # so that NaN is refused
        raise LocalError(f"{field} is {amount!r}, not {least} to {most}", field=field)
