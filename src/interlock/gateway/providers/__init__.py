"""Providers that want more than a key and a format: their paths, framings and credentials."""

from interlock.gateway.providers.ports import Auth, Decoder, Dialect
from interlock.gateway.providers.speech import Speech, logins_of, speech_of

__all__ = ["Auth", "Decoder", "Dialect", "Speech", "logins_of", "speech_of"]
