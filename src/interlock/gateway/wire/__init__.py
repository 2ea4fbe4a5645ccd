"""The three wire formats: what the gateway reads from them and splices into them while bytes pass through. No I/O."""

from interlock.gateway.wire.errors import error_body, error_event, in_format
from interlock.gateway.wire.models import Model, listing, one
from interlock.gateway.wire.reading import Reading, read_whole
from interlock.gateway.wire.request import ESTIMATE_RULE, Call, parse, read, read_document
from interlock.gateway.wire.splice import INCLUDE_USAGE, MODEL, asking_usage, model_span, with_model
from interlock.gateway.wire.tap import StreamTap

__all__ = [
    "ESTIMATE_RULE",
    "INCLUDE_USAGE",
    "MODEL",
    "Call",
    "Model",
    "Reading",
    "StreamTap",
    "asking_usage",
    "error_body",
    "error_event",
    "in_format",
    "listing",
    "model_span",
    "one",
    "parse",
    "read",
    "read_document",
    "read_whole",
    "with_model",
]
