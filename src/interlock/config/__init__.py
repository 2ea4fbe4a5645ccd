"""Configuration: interlock.toml, read once into frozen values, with every mistake named at once.

docs/configuration.md is the reference. `interlock.config.litellm` translates a LiteLLM configuration.
"""

from interlock.config.builtin import BUILTIN
from interlock.config.load import builtin, load, parse, resolve_prices
from interlock.config.value import Config, Loaded, LocalModel, Server, Tls
from interlock.config.watch import Watch

__all__ = [
    "BUILTIN",
    "Config",
    "Loaded",
    "LocalModel",
    "Server",
    "Tls",
    "Watch",
    "builtin",
    "load",
    "parse",
    "resolve_prices",
]
