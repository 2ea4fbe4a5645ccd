"""Anthropic Messages: requests and answers, read and written, whole and streamed. Pure.

What happens to each field stands in reading.py and writing.py; to each block in content.py and blocks.py.
"""

from interlock.gateway.translate.messages.answers import read_answer, write_answer
from interlock.gateway.translate.messages.reader import StreamReader
from interlock.gateway.translate.messages.reading import read_request
from interlock.gateway.translate.messages.writer import StreamWriter
from interlock.gateway.translate.messages.writing import write_request

__all__ = [
    "StreamReader",
    "StreamWriter",
    "read_answer",
    "read_request",
    "write_answer",
    "write_request",
]
