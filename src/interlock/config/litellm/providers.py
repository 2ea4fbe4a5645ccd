"""LiteLLM's providers that speak a format of ours, and where they are. The others are left out by name.

Prefixes, key variables and default addresses were compared with the LiteLLM 1.106 package, by hand; no test does. The
addresses are each provider's OpenAI-compatible endpoint (for ollama LiteLLM itself uses the native one), but for
gemini's, bedrock's and vertex's own.
"""

from urllib.parse import urlsplit

import msgspec


class Provider(msgspec.Struct, frozen=True):
    """What a LiteLLM prefix means here."""

    name: str
    base_url: str = ""
    """Empty: `api_base` must be given (or, for openai and anthropic, our own default holds)."""
    key_variable: str = ""
    """Where LiteLLM looks for the key if none is given."""
    suffix: str = ""
    """What our base URL has and LiteLLM's `api_base` has not."""


PROVIDERS = {
    "openai": Provider("openai", "", "OPENAI_API_KEY"),
    "custom_openai": Provider("openai", "", "OPENAI_API_KEY"),
    "anthropic": Provider("anthropic", "", "ANTHROPIC_API_KEY", "/v1"),
    "azure": Provider("azure", "", "AZURE_API_KEY", "/openai/v1"),
    "ollama": Provider("ollama", "http://localhost:11434/v1", "", "/v1"),
    "ollama_chat": Provider("ollama", "http://localhost:11434/v1", "", "/v1"),
    "hosted_vllm": Provider("vllm"),
    "vllm": Provider("vllm"),
    "lm_studio": Provider("lm-studio"),
    "llamafile": Provider("llamafile"),
    "openai_like": Provider("openai-like"),
    "groq": Provider("groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    "mistral": Provider("mistral", "https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    "deepseek": Provider("deepseek", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    "openrouter": Provider("openrouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "together_ai": Provider("together", "https://api.together.ai/v1", "TOGETHERAI_API_KEY"),
    "fireworks_ai": Provider("fireworks", "https://api.fireworks.ai/inference/v1", "FIREWORKS_AI_API_KEY"),
    "xai": Provider("x-ai", "https://api.x.ai/v1", "XAI_API_KEY"),
    "cerebras": Provider("cerebras", "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
    "perplexity": Provider("perplexity", "https://api.perplexity.ai", "PERPLEXITYAI_API_KEY"),
    "gemini": Provider("gemini", "https://generativelanguage.googleapis.com", "GEMINI_API_KEY"),
    "bedrock": Provider("bedrock"),
    "bedrock_converse": Provider("bedrock"),
    "vertex_ai": Provider("vertex"),
    "vertex_ai_beta": Provider("vertex"),
}

_BARE = (
    ("claude-", "anthropic"),
    ("gpt-", "openai"),
    ("chatgpt-", "openai"),
    ("o1", "openai"),
    ("o3", "openai"),
    ("o4", "openai"),
)


def split(model: str, given: str) -> tuple[str, str]:
    """(prefix, the provider's own model name); the prefix is empty where none is told and the name does not say."""
    if given:
        return given, model.removeprefix(f"{given}/")
    prefix, slash, rest = model.partition("/")
    if slash:
        return prefix, rest
    return next((provider for start, provider in _BARE if model.startswith(start)), ""), model


def address(provider: Provider, api_base: str) -> str:
    """Our base URL for LiteLLM's `api_base`; empty: the default of the provider."""
    if not api_base:
        return provider.base_url
    base = api_base.rstrip("/")
    return base if urlsplit(base).path.endswith("/v1") else base + provider.suffix
