"""Warnings to an HTTP address of the operator's, signed as Standard Webhooks: queued, retried, in nobody's way.

A warning that cannot be delivered is tried again for about a quarter of an hour, then dropped and counted. The queue is
bounded: when it is full the oldest goes. What waits when the process ends is lost; the state it warns of is not.
Source: Standard Webhooks 1.0 (webhook-id, webhook-timestamp, webhook-signature).
"""

import asyncio
import base64
import hmac
import random
import ssl
import urllib.parse
from collections import deque
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Literal

from interlock.clock import Clock
from interlock.errors import LocalError
from interlock.limits.warning import Crossing, Notice, body

QUEUE_MAX = 256
TRIES = 10
PAUSE_S, PAUSE_S_MAX = 0.5, 300.0
"""Between tries: doubled each time, with as much chance."""
ANSWER_S = 5.0
_SECRET_PREFIX = "whsec_"  # noqa: S105 - the standard's marker, no secret

Result = Literal["delivered", "again", "refused"]


def signature(secret: bytes, message_id: str, at_s: int, content: bytes) -> str:
    """The header `webhook-signature`: `v1,` and the base64 of HMAC-SHA256 over `ID.TIMESTAMP.BODY`.

    >>> signature(b"key", "msg_1", 1_700_000_000, b"{}")
    'v1,WRW7xSgNR3xEKIbNCZaFLO/DWRSz2r47W20SkGLMAFk='
    """
    mac = hmac.digest(secret, b"%s.%d." % (message_id.encode(), at_s) + content, "sha256")
    return "v1," + base64.b64encode(mac).decode()


def secret_bytes(secret: str) -> bytes:
    """The key behind `whsec_` and base64; what is not written so is the key itself.

    Raises: LocalError: it says that it is base64, and is not.
    """
    if not secret.startswith(_SECRET_PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
    except ValueError as error:
        raise LocalError("the webhook's secret is not base64 after whsec_", field="secret") from error


class Webhook:
    """One address. `send` from anywhere on the loop; `run` beside it."""

    def __init__(self, url: str, secret: str, clock: Clock, *, pause_s: float = PAUSE_S) -> None:
        """Raises: LocalError: no such address or secret."""
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username or parts.fragment:
            raise LocalError("a webhook's url is http(s)://HOST[:PORT][/PATH], without a user", field="url")
        self._parts = parts
        self._secret = secret_bytes(secret)
        self._clock = clock
        self._pause_s = pause_s
        self._queue: deque[Crossing | Notice] = deque()
        self._more = asyncio.Event()
        self.delivered = 0
        self.dropped = 0
        """Refused, given up, or pushed out of a full queue."""

    def send(self, crossing: Crossing | Notice) -> None:
        """Queue a warning. Never waits."""
        if len(self._queue) >= QUEUE_MAX:
            self._queue.popleft()
            self.dropped += 1
        self._queue.append(crossing)
        self._more.set()

    async def run(self) -> None:
        """Deliver, one after the other, until cancelled."""
        while True:
            await self._more.wait()
            while self._queue:
                if await self._deliver(self._queue.popleft()):
                    self.delivered += 1
                else:
                    self.dropped += 1
            self._more.clear()

    async def _deliver(self, crossing: Crossing | Notice) -> bool:
        content = crossing.content if isinstance(crossing, Notice) else body(crossing)
        pause_s = self._pause_s
        for number in range(TRIES):
            result = await asyncio.to_thread(self._post, crossing.id, content)
            if result != "again":
                return result == "delivered"
            if number < TRIES - 1:
                await asyncio.sleep(pause_s * (1 + random.random()))  # noqa: S311 - spreads tries, guards nothing
                pause_s = min(2 * pause_s, PAUSE_S_MAX)
        return False

    def _post(self, message_id: str, content: bytes) -> Result:
        """One try, on a thread of its own. Redirects are not followed: the signature is for one receiver."""
        at_s = self._clock.now_ns() // 1_000_000_000
        headers = {
            "content-type": "application/json",
            "user-agent": "interlock",
            "webhook-id": message_id,
            "webhook-timestamp": str(at_s),
            "webhook-signature": signature(self._secret, message_id, at_s, content),
        }
        parts = self._parts
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            connection = self._connection()
            try:
                connection.request("POST", path, content, headers)
                status = connection.getresponse().status
            finally:
                connection.close()
        except (OSError, HTTPException):
            return "again"
        if 200 <= status < 300:
            return "delivered"
        return "refused" if status == 410 else "again"  # Gone: the standard's word for "never again"

    def _connection(self) -> HTTPConnection:
        host = self._parts.hostname or ""
        if self._parts.scheme == "https":
            context = ssl.create_default_context()
            return HTTPSConnection(host, self._parts.port, timeout=ANSWER_S, context=context)
        return HTTPConnection(host, self._parts.port, timeout=ANSWER_S)
