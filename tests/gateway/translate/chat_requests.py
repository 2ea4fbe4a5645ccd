"""Chat requests that tests of reading and of writing share."""

from interlock.gateway.translate.neutral import (
    Target,
)

GPT = Target(model="gpt-6", family="gpt")
QWEN = Target(model="qwen3:8b", family="qwen3")
HELLO = {"role": "user", "content": "hello"}
PNG = "data:image/png;base64,iVBORw0KGgo="
PDF = "data:application/pdf;base64,JVBERi0="


FUNCTION = {"name": "f", "description": "does", "parameters": {"type": "object"}, "strict": True}


CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
