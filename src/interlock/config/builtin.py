"""The configuration that is served when there is no file: the local model, for every tier. It is an example, too."""

BUILTIN = """\
# Served when there is no interlock.toml: one small local model, and no provider, key or network.
default_tier = "balanced"

# What `interlock savings` compares with: not served here, only priced.
[savings]
baseline = { provider = "anthropic", model = "claude-opus-4-5" }

[deployments.local]
provider = "local"
model = "smollm2-135m-instruct"
price = "free"

# Three tiers, so that rules and reports read as they will with real models behind them.
[tiers]
frontier = ["local"]
balanced = ["local"]
small = ["local"]

# A mode is said, a shape is only seen: what is said comes first.
[[rules]]
name = "thinking-modes"
when = { mode = ["plan", "architect", "orchestrator", "ask", "debug", "review"] }
tier = "frontier"

[[rules]]
name = "working-modes"
when = { mode = ["edit", "code", "build", "explore"] }
tier = "balanced"

[[rules]]
name = "small-modes"
when = { mode = ["title", "summary", "commit"] }
tier = "small"

[[rules]]
name = "chores"
when = { chore = true }
tier = "small"
"""
