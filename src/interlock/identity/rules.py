"""What an identity may look like: names, scopes, durations, labels. Pure; every refusal names its field."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import get_args

from interlock.errors import LocalError
from interlock.identity.value import Scope

SCOPES: tuple[Scope, ...] = get_args(Scope)
LABELS_MAX = 16
SUBJECTS_MAX = 64
REASON_CHARS_MAX = 256
EXPIRES_DAYS_MAX = 3650

UNATTRIBUTED = "unattributed"
"""The tenant of what a bill has and nobody here used (`reconciling`): other programs' calls, taxes, credits."""
_TENANT = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:/+-]{0,127}")
_DURATION = re.compile(r"([1-9][0-9]{0,6})([mhd])")
_UNIT_NS = {"m": 60_000_000_000, "h": 3_600_000_000_000, "d": 86_400_000_000_000}


def check_tenant(name: str) -> str:
    """`name`, if it may name a tenant. Raises: LocalError."""
    if not _TENANT.fullmatch(name):
        raise LocalError(
            f"{name!r} cannot name a tenant: 1 to 63 of a-z 0-9 . _ -, beginning with a letter or digit", field="tenant"
        )
    return name


def check_own_tenant(name: str) -> str:
    """`name`, if a tenant of that name may be created and have keys. Raises: LocalError."""
    if name == UNATTRIBUTED:
        what = f"{name!r} stands for what nobody used: of a provider's bill, what no tenant's calls explain"
        raise LocalError(what, field="tenant")
    return check_tenant(name)


def check_name(text: str, field: str) -> str:
    """`text`, if it may name a key or a principal. Raises: LocalError."""
    if not _NAME.fullmatch(text):
        raise LocalError(
            f"{text!r} is not a good {field}: 1 to 128 of A-Z a-z 0-9 . _ @ : / + -, beginning with a letter or digit",
            field=field,
        )
    return text


def check_scopes(scopes: Sequence[str]) -> tuple[Scope, ...]:
    """The scopes without repeats, in the order of `SCOPES`. Raises: LocalError."""
    for scope in scopes:
        if scope not in SCOPES:
            raise LocalError(f"{scope!r} is not a scope; there are {', '.join(SCOPES)}", field="scopes")
    if not scopes:
        raise LocalError("a key needs at least one scope", field="scopes")
    return tuple(scope for scope in SCOPES if scope in scopes)


def check_boundary(name: str, profiles: Collection[str]) -> str:
    """`name`, if it is empty or a profile of the policy. Raises: LocalError."""
    if name and name not in profiles:
        known = ", ".join(sorted(profiles)) or "none"
        raise LocalError(f"{name!r} is not a boundary profile of the policy; there are: {known}", field="boundary")
    return name


def check_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """The labels, ordered by name. Raises: LocalError."""
    if len(labels) > LABELS_MAX:
        raise LocalError(f"{len(labels)} labels are more than {LABELS_MAX}", field="labels")
    for name, value in labels.items():
        check_name(name, "labels")
        check_name(value, "labels")
    return dict(sorted(labels.items()))


def check_subjects(subjects: Sequence[str]) -> tuple[str, ...]:
    """The customers of a key, a trailing `*` for those that begin so. Raises: LocalError."""
    if len(subjects) > SUBJECTS_MAX:
        raise LocalError(
            f"{len(subjects)} subjects are more than {SUBJECTS_MAX}: use a prefix with *", field="subjects"
        )
    for subject in subjects:
        if not 0 < len(subject) <= 256 or not subject.isprintable() or "*" in subject[:-1]:
            raise LocalError(
                f"{subject[:80]!r} is not a subject, or the beginning of one with * behind", field="subjects"
            )
    return tuple(dict.fromkeys(subjects))


def check_reason(text: str) -> str:
    """`text`, if short and printable. Raises: LocalError."""
    if len(text) > REASON_CHARS_MAX or not text.isprintable():
        raise LocalError(f"a reason is at most {REASON_CHARS_MAX} printable characters", field="reason")
    return text


def duration_ns(text: str, field: str = "expires") -> int:
    """`90m`, `12h` or `30d` in nanoseconds, at most ten years. Raises: LocalError.

    >>> duration_ns("2h")
    7200000000000
    """
    found = _DURATION.fullmatch(text)
    span = int(found[1]) * _UNIT_NS[found[2]] if found else 0
    if not 0 < span <= EXPIRES_DAYS_MAX * _UNIT_NS["d"]:
        raise LocalError(f"{text!r} is not a duration: write 90m, 12h or 30d, at most {EXPIRES_DAYS_MAX}d", field=field)
    return span
