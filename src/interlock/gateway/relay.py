"""What happens to the bytes of one attempt's answer on their way to the client.

    provider's framing  -- dialect -->  a format of ours  -- tap: metered -->  -- translation -->  the client's format

Where neither is needed, only the tap is left. It decides nothing: what an ending means is exchange.py's business.
"""

from interlock.gateway.plan import Plan
from interlock.gateway.providers import Decoder
from interlock.gateway.translate import StreamTranslation, Voice
from interlock.gateway.translate.neutral import Failed
from interlock.gateway.wire import StreamTap


class Relay:
    """One streamed answer."""

    def __init__(self, plan: Plan, decoder: Decoder | None, voice: Voice | None) -> None:
        self.tap = StreamTap(plan.format, hide_usage=plan.hide_usage)
        self._decoder = decoder
        self._voice = voice
        self._translation = StreamTranslation(plan.format, voice) if voice is not None else None

    def feed(self, data: bytes) -> bytes:
        """Bytes came; what the client is to get of them.

        Raises: RemoteError: they are not what the provider's framing allows.
        """
        if self._decoder is not None:
            data = self._decoder.feed(data)
        data = self.tap.feed(data)
        return data if self._translation is None else self._translation.feed(data)

    def finish(self) -> bytes:
        """The body is over by its framing; what is left to say."""
        data = self.tap.feed(self._decoder.finish()) if self._decoder is not None else b""
        data += self.tap.finish()
        return data if self._translation is None else self._translation.feed(data) + self._translation.finish()

    @property
    def complete(self) -> bool:
        """The answer's own end was seen."""
        return self.tap.complete and (self._translation is None or self._translation.complete)

    @property
    def whole(self) -> bool:
        """Its own end has come, and was no error: it is whole, whatever becomes of its framing."""
        return self.complete and not self.tap.errored

    @property
    def unsayable(self) -> bool:
        """The upstream's events are well formed, but the client's format has no way to say what they hold."""
        return not self.tap.malformed and self._voice is not None and self._voice.broken

    @property
    def malformed(self) -> str:
        """Why nothing that follows can be understood; empty: it can."""
        if self.tap.malformed:
            return "the upstream sent an event that is not a JSON object"
        if self.unsayable:
            return "the upstream sent what no stream of the client's format can hold"
        return ""

    @property
    def failure(self) -> Failed | None:
        """What a translated stream said in place of an end, which the client has not heard."""
        return self._voice.failure if self._voice is not None else None

    @property
    def repaired(self) -> str:
        """What was put in or left out, as it stands on the record."""
        unsaid = self._voice.unsaid if self._voice is not None else ()
        return " ".join(filter(None, [self.tap.repaired, *(f"unsaid:{type}" for type in dict.fromkeys(unsaid))]))
