"""Secrets of the broker taken out of whatever an upstream says, before anybody sees it.

What is found is the secret word for word, also in base64 as Basic credentials have it. An upstream that is meant to
hide it (reversed, enciphered) can: it was given the secret, and that cannot be undone here.
"""

import logging
from base64 import b64encode
from typing import Any

REPLACEMENT = "[redacted]"
SECRET_CHARS_MIN = 8
"""Shorter ones cannot be told from ordinary words, and are not accepted as credentials."""
DEPTH_MAX = 200
SECRETS_MAX = 4096


class Redactor:
    """Knows every secret that the process has used, and forgets the oldest."""

    def __init__(self) -> None:
        self._forms: dict[str, tuple[str, ...]] = {}

    def learn(self, secret: str) -> None:
        """Never show it."""
        forms = self._forms.pop(secret, None) or (secret, b64encode(secret.encode()).decode().rstrip("="))
        self._forms[secret] = forms
        while len(self._forms) > SECRETS_MAX:
            self._forms.pop(next(iter(self._forms)))

    def text(self, text: str) -> str:
        """`text` without them."""
        for forms in self._forms.values():
            for form in forms:
                if form in text:
                    text = text.replace(form, REPLACEMENT)
        return text

    def value(self, value: Any, depth: int = 0) -> Any:
        """The same of anything that JSON can say; what is nested deeper than anybody reads is left out."""
        if isinstance(value, str):
            return self.text(value)
        if depth > DEPTH_MAX:
            return None
        if isinstance(value, dict):
            return {self.text(str(key)): self.value(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list):
            return [self.value(item, depth + 1) for item in value]
        return value


class RedactingFormatter(logging.Formatter):
    """Log lines, tracebacks included, without secrets. Libraries quote what they could not read."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__("interlock: door: %(message)s")
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """As a line of ours."""
        return self._redactor.text(super().format(record))
