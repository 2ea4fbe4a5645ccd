"""OpenAI Responses: requests and answers, read and written. docs/translation.md says what becomes of each field."""

from interlock.gateway.translate.responses.answer_in import read_answer
from interlock.gateway.translate.responses.answer_out import write_answer
from interlock.gateway.translate.responses.request_in import read_request
from interlock.gateway.translate.responses.request_out import write_request
from interlock.gateway.translate.responses.stream_in import StreamReader
from interlock.gateway.translate.responses.stream_out import StreamWriter

__all__ = ["StreamReader", "StreamWriter", "read_answer", "read_request", "write_answer", "write_request"]
