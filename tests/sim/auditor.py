"""What must be true of the answers of a ledger, and in the end of its log. It shares nothing with the ledger."""

from base64 import b64decode
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
from tests.intake.events import event, stored

from interlock.intake import Correction, Event, Outcome
from interlock.log import Stored


class Auditor:
    """Told of what is sent and of each answer; then `check`."""

    def __init__(self) -> None:
        self.accepted: dict[bytes, bytes] = {}
        """Key to content, of what was answered as counted or duplicate."""
        self.conflicts: set[tuple[bytes, bytes]] = set()
        self.maybe: set[bytes] = set()
        """Keys of events that were sent and not answered: they may stand."""
        self.sent: set[tuple[bytes, bytes]] = set()
        self.asked: dict[tuple[bytes, bytes], Correction] = {}
        """By (key of what is corrected, content): all that was sent."""
        self.corrected: dict[bytes, bytes] = {}
        """Key to content of the correction, of what was answered as counted or duplicate."""
        self.closed: set[str] = set()

    def sending(self, *events: Event) -> None:
        """They may stand from now on."""
        self.sent |= {(one.key, one.content) for one in events}
        self.maybe |= {one.key for one in events}

    def answered(self, one: Event, result: str) -> None:
        """One answer came."""
        known = self.accepted.get(one.key)
        if result == "counted":
            assert known is None, "counted twice"
        elif result == "duplicate":
            assert known == one.content or (known is None and one.key in self.maybe), "a duplicate of nothing"
        elif result == "conflict":
            assert known != one.content and (known is not None or one.key in self.maybe), "a conflict with nothing"
            self.conflicts.add((one.key, one.content))
        if result in ("counted", "duplicate"):
            self.accepted[one.key] = one.content

    def correcting(self, *corrections: Correction) -> None:
        """They may be made from now on."""
        for one in corrections:
            self.asked[one.key, one.content] = one
            if one.replacement:
                self.maybe.add(one.replacement.key)

    def answered_correction(self, one: Correction, outcome: Outcome) -> None:
        """One answer came."""
        known = self.corrected.get(one.key)
        if outcome.result == "counted":
            assert known is None, "taken back twice"
            assert one.replacement is None or one.replacement.key not in self.accepted, "counted twice"
        elif outcome.result == "duplicate":
            assert known in (None, one.content), "a duplicate of another"
        elif outcome.result == "conflict":
            assert known != one.content, "what was made is a conflict"
        else:
            assert (outcome.code, one.key in self.accepted) == ("event_unknown", False), outcome
        if outcome.result in ("counted", "duplicate"):
            self.corrected[one.key] = one.content
            if one.replacement:
                self.accepted[one.replacement.key] = one.replacement.content

    def check(self, root: Path) -> None:
        """The log holds each accepted event once, each conflict once, and nothing that nobody sent; the same of
        corrections and closings."""
        log = _Log(stored(root))
        times = Counter(one.key for one in log.counted)
        assert not [key for key, count in times.items() if count > 1], "counted twice in the log"
        content = {one.key: one.content for one in log.counted}
        assert {key: content.get(key) for key in self.accepted} == self.accepted, "accepted, and not counted"
        replacements = {
            one.replacement.key: (one.key, one.replacement.content) for one in self.asked.values() if one.replacement
        }
        for one in log.counted:
            if (one.key, one.content) not in self.sent:
                assert one.key in replacements and replacements[one.key][1] == one.content, "nobody sent it"
                original = replacements[one.key][0]
                made = self.asked.get((original, log.reversed.get(original, b"")))
                assert made and made.replacement and made.replacement.key == one.key, "in the place of nothing"
        assert {key: log.reversed.get(key) for key in self.corrected} == self.corrected, "accepted, and not taken back"
        for key, said in log.reversed.items():
            asked = self.asked[key, said].replacement
            assert asked is None or content.get(asked.key) == asked.content, "taken back, and nothing in its place"
        kept = Counter((one.key, one.content) for one in log.aside)
        assert set(kept.values()) <= {1} and self.conflicts <= set(kept), "a conflict lost, or kept twice"
        assert not kept.keys() & content.items(), "kept aside, and counted"
        assert self.closed <= set(log.closed) and len(log.closed) == len(set(log.closed)), "closed not once"
        assert log.closed == sorted(log.closed), "closed after what is later"


class _Log:
    """All that the stream says, folded without help."""

    def __init__(self, records: list[Stored]) -> None:
        self.counted: list[Event] = []
        self.aside: list[Event] = []
        self.reversed: dict[bytes, bytes] = {}
        """Key of what was taken back, to what the correction said."""
        self.closed: list[str] = []
        self._places: dict[bytes, tuple[int, int]] = {}
        for one in records:
            payload = msgspec.json.decode(one.record.payload)
            if one.record.type == "period.closed":
                self.closed.append(payload["period"])
                continue
            events = [event(**document) for document in payload["events"]]
            if one.record.type == "events.conflict":
                self.aside += events
            elif one.record.type == "events.corrected":
                self._take_back(events.pop(0), payload)
            if one.record.type != "events.conflict":
                self.counted += events
                self._places |= {each.key: (one.seq, one.record.at_ns) for each in events}

    def _take_back(self, one: Event, payload: dict[str, Any]) -> None:
        assert one.key not in self.reversed, "taken back twice in the log"
        [original] = payload["originals"]
        assert self._places[one.key] == (original["seq"], original["at_ns"]), "it was not counted there"
        assert next(e.content for e in self.counted if e.key == one.key) == one.content, "not as it was counted"
        self.reversed[one.key] = b64decode(payload["contents"])[:16]
