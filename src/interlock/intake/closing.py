"""A tenant's period is closed: decided by what was closed before, written, and known, on the committer's thread."""

from typing import NamedTuple

import msgspec

from interlock.errors import LocalError
from interlock.intake.cloudevent import Origin
from interlock.intake.commit import Committer
from interlock.intake.periods import Closed, Standing, bounds_us, check_closing
from interlock.intake.records import CLOSED, Draft


class Answer(NamedTuple):
    """Where a closing stands, and whether it was made just now."""

    standing: Standing
    is_new: bool


def close_period(committer: Committer, origin: Origin, period: str, zone: str) -> Answer:
    """Close a month `2026-10` or day `2026-10-31` of an IANA zone, and all before it, for good.

    Raises: LocalError: as `bounds_us` and `check_closing`; or the key is for certain subjects only. InterlockError: the
    log cannot be written.
    """
    since_us, until_us = bounds_us(period, zone)
    if origin.subjects:
        what = "a period is closed for all of a tenant's customers, and this key is for certain ones"
        raise LocalError(what, code="subject_refused", field="period")
    draft = _Closing(
        Closed(
            tenant=origin.tenant,
            principal=origin.principal,
            key_id=origin.key_id,
            period=period,
            zone=zone,
            since_us=since_us,
            until_us=until_us,
        )
    )
    stand = committer.closings(origin.tenant)
    committer.reached("looked_up")
    if before := check_closing(draft.closed, stand, committer.now_ns() // 1000):
        return Answer(before, False)
    committer.write([draft])
    if draft.error:
        raise draft.error
    return Answer(draft.closings()[0], True)


class _Closing(Draft):
    """A closing on its way."""

    __slots__ = ("closed",)

    def __init__(self, closed: Closed) -> None:
        super().__init__(CLOSED)
        self.closed = closed

    def payload(self) -> bytes:
        """As `Closed`."""
        return msgspec.json.encode(self.closed)

    def closings(self) -> list[Standing]:
        return [Standing(self.seq, self.at_ns, self.closed)]
