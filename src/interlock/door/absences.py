"""Which servers did not say what tools they have, to whom, and why: for operators, who else hear it from users.

It is what the last look of each principal found, and nothing is asked for it: a server that nobody looked at is not in
it.
"""

from typing import Any

import msgspec

from interlock.identity import Bearer

ABSENCES_MAX = 1024
WHY_CHARS_MAX = 500


class _Absence(msgspec.Struct, frozen=True):
    seen_s: float
    why: str


class Absences:
    """All of one door; the oldest are dropped beyond a bound."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str], _Absence] = {}

    def failed(self, server: str, bearer: Bearer, why: str, now_s: float) -> None:
        """It did not say, or said what is no list."""
        key = (server, bearer.tenant, bearer.principal)
        self._found.pop(key, None)
        if len(self._found) >= ABSENCES_MAX:
            self._found.pop(next(iter(self._found)))
        self._found[key] = _Absence(now_s, why[:WHY_CHARS_MAX])

    def answered(self, server: str, bearer: Bearer) -> None:
        """It is there again."""
        self._found.pop((server, bearer.tenant, bearer.principal), None)

    def forget(self, servers: set[str]) -> None:
        """These are others now, or gone."""
        self._found = {key: absence for key, absence in self._found.items() if key[0] not in servers}

    def told(self, now_s: float) -> list[dict[str, Any]]:
        """`{server, tenant, principal, why, seen_s_ago}`, by server."""
        return [
            {
                "server": server,
                "tenant": tenant,
                "principal": principal,
                "why": absence.why,
                "seen_s_ago": round(now_s - absence.seen_s, 3),
            }
            for (server, tenant, principal), absence in sorted(self._found.items(), key=lambda item: item[0])
        ]
