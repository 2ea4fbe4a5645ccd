"""Chat Completions: requests and answers to and from neutral values, whole and streamed. No I/O."""

from interlock.gateway.translate.chat.answer import read_answer, write_answer
from interlock.gateway.translate.chat.request_in import read_request
from interlock.gateway.translate.chat.request_out import write_request
from interlock.gateway.translate.chat.stream_in import StreamReader
from interlock.gateway.translate.chat.stream_out import StreamWriter

__all__ = [
    "StreamReader",
    "StreamWriter",
    "read_answer",
    "read_request",
    "write_answer",
    "write_request",
]
