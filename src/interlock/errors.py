"""Everything that can go wrong, split by what the caller does next.

    InterlockError
    ├── LocalError        fix the request; sending it again changes nothing
    │   └── ConfigError       many mistakes in one file, each with its place
    ├── RemoteError       something beyond us answered wrongly
    │   ├── HandsUnavailable  no sandbox of the kind asked for can be had here
    │   └── TransientError    the same request may succeed later: retry it
    │       ├── HandsLost         the sandbox is gone: provision another
    │       └── LogUnavailable    the log cannot be written: nothing was done
    └── UnknownOutcome    it may or may not have happened: retry with the same key

Denied, over budget and already exists are values, not errors. The message may change between versions;
`code` and the HTTP status that `CODES` gives it may not.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class Code(NamedTuple):
    """What a stable error code means."""

    status: int
    meaning: str


CODES: Mapping[str, Code] = MappingProxyType(
    {
        # the request, before anybody looked at its key
        "malformed_http": Code(400, "The bytes are not one well-formed HTTP/1.1 request."),
        "header_too_large": Code(431, "The request line and headers together exceed the limit."),
        "body_too_large": Code(413, "The body exceeds the limit."),
        "length_required": Code(411, "A body was announced without Content-Length or chunked coding."),
        "request_timeout": Code(408, "The request did not arrive in full within the time allowed."),
        "expectation_failed": Code(417, "Only Expect: 100-continue is understood."),
        "not_found": Code(404, "No such path, file or name here; the message says which."),
        "method_not_allowed": Code(405, "The path exists, but not with this method."),
        "unsupported_media_type": Code(415, "The body is of another type than the path takes, or compressed."),
        "busy": Code(
            503,
            "The worker holds as many bodies or connections as it may, or others change the same now; retry.",
        ),
        "draining": Code(503, "The server is stopping; retry against another or after the restart."),
        # who asks
        "key_missing": Code(401, "No key: send Authorization: Bearer or x-api-key."),
        "key_unknown": Code(401, "No such key, or it was revoked."),
        "key_expired": Code(401, "The key's time is over."),
        "scope_missing": Code(403, "The key does not hold the scope that this call needs."),
        "directory_unavailable": Code(503, "The key directory cannot be read, so nobody can be let in; retry."),
        "subject_refused": Code(403, "The key may not send events for this subject."),
        # what is asked
        "invalid_json": Code(400, "The body is not JSON; the message says where."),
        "duplicate_key": Code(400, "An object in the body holds a key twice."),
        "invalid_request": Code(400, "A field is missing or has the wrong type or size; the message names it."),
        "event_unknown": Code(404, "No event with this source and id was counted for the key's tenant."),
        "event_erased": Code(410, "The record that counted the event was erased or dropped: it cannot be corrected."),
        "not_retained": Code(
            410, "The time asked for begins before the first day that retention left; ask from there."
        ),
        "model_unknown": Code(404, "No deployment, tier or alias of that name, and the policy refuses unknown names."),
        "boundary_refused": Code(403, "No deployment is inside the data boundary; each refusal is named."),
        "withdrawn": Code(403, "Whoever could serve this has been withdrawn by the operator; the reason is named."),
        "no_candidate": Code(400, "No deployment of the tier can serve a request of this shape; each reason is named."),
        "not_ready": Code(503, "The deployments that could serve this are not ready yet; retry."),
        "file_unusable": Code(400, "A file that was named cannot be read or written; the message says why."),
        # how much
        "limit_exceeded": Code(
            429, "A limit is reached: x-interlock-limit names it, Retry-After says when to come again."
        ),
        "limit_too_small": Code(400, "The call alone is more than a limit allows (x-interlock-limit); ask for less."),
        "credit_exhausted": Code(
            402, "The prepaid account has not enough left for what the call may cost; x-interlock-limit names it."
        ),
        "budget_exceeded": Code(
            403, "The session's budget is used up; the message names which bound, and a person may raise it."
        ),
        "unpriced": Code(403, "Money is limited for this call, and the deployment has no price."),
        "not_entitled": Code(
            403, "The tenant's plan does not entitle it to the model; the message says to which it does."
        ),
        "limits_unavailable": Code(
            503, "Nobody can say whether a limit allows the call (authority away, no room to count it); retry."
        ),
        # beyond us
        "upstream_unreachable": Code(502, "No connection to the upstream could be made."),
        "upstream_timeout": Code(504, "The upstream was silent for longer than allowed."),
        "upstream_invalid": Code(502, "The upstream's answer is not valid HTTP, or is not what its format says."),
        "upstream_closed": Code(502, "The upstream closed the connection before its answer was complete."),
        "upstream_auth": Code(502, "The upstream refused the gateway's own credential."),
        "upstream_error": Code(502, "The upstream answered with an error."),
        # agents
        "session_unknown": Code(404, "No session of that id is the key's tenant's."),
        "session_moved": Code(409, "The session has moved on since what the request refers to; read it again."),
        "approval_closed": Code(409, "The approval was answered, has expired, or is for other arguments."),
        "hands_unavailable": Code(
            503, "No sandbox of the kind asked for can be had here; `interlock doctor` says why."
        ),
        "tools_unavailable": Code(
            503, "No tool servers are configured here, or their process is starting or cannot start; retry."
        ),
        "hands_lost": Code(503, "The sandbox is gone; the next command gets another."),
        # ourselves
        "log_unavailable": Code(503, "Usage cannot be recorded now (disk full?), so no new work is taken; retry."),
        "view_unavailable": Code(503, "A view of the log cannot be read or written now (disk full, damaged?); retry."),
        "view_corrupt": Code(500, "A file of a view is missing or was changed; the view is made again from the log."),
        "conflict": Code(409, "The same id already stands with other content, or the stream has moved on."),
        "period_closed": Code(409, "The period, or a part of it, is closed already; the message names what is."),
        "wrong_state": Code(409, "That may not happen to it as it stands now; the message says what may."),
        "config_invalid": Code(400, "The configuration has mistakes; all are listed."),
        "log_corrupt": Code(500, "A record was changed, removed or reordered; the message names stream and sequence."),
        "internal": Code(500, "A defect in Interlock; the request id finds it in the log."),
    }
)


class InterlockError(Exception):
    """The root. `field` names the offending input, as the caller wrote it."""

    default_code = "internal"

    def __init__(self, message: str, *, code: str | None = None, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.field = field

    @property
    def status(self) -> int:
        """The HTTP status of `code`."""
        return CODES[self.code].status


class LocalError(InterlockError):
    """Fix the request."""

    default_code = "invalid_request"


class ConfigError(LocalError):
    """Every mistake found, one line each, in the order of the file."""

    default_code = "config_invalid"

    def __init__(self, problems: list[str], *, code: str | None = None) -> None:
        super().__init__("\n".join(problems), code=code)
        self.problems = problems


class RemoteError(InterlockError):
    """Something beyond us answered wrongly."""

    default_code = "upstream_error"


class HandsUnavailable(RemoteError):
    """No sandbox of the kind asked for can be had on this machine; never a weaker one instead."""

    default_code = "hands_unavailable"


class TransientError(RemoteError):
    """Retry the same request."""

    default_code = "upstream_unreachable"


class HandsLost(TransientError):
    """The sandbox is gone with all that ran in it; provision another."""

    default_code = "hands_lost"


class LogUnavailable(TransientError):
    """The log cannot be written; nothing was done."""

    default_code = "log_unavailable"


class UnknownOutcome(InterlockError):
    """It may or may not have happened: retry with the same idempotency key."""

    default_code = "log_unavailable"
