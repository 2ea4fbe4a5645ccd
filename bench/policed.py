"""What the row `policed` runs Interlock with: all of the policy plane, in force, at a size that nobody writes by hand.

200 deployments in tiers of four among which conversations are spread, 500 rules of which the last one matches, three
boundaries (by place, by source and by what is sensitive, so that each request is scanned), an agreement that every
other deployment asks for, five limits that apply to every call, and a cache that the matching rule allows and that the
calls do not qualify for. Text only.
"""

from collections.abc import Iterator

DEPLOYMENTS, RULES, TIER = 200, 500, 4
AGREEMENT = "dpa-2026"

HEAD = """\
default_tier = "t0"
boundary = "company"

[server]
region = "eu-central-1"

[limits]
connections = 6000
upstream_connections = 6000

[savings]
baseline = "d000"

[boundaries.company]
geographies = ["eu", "us"]
retention_days_max = 30
training = false

[boundaries.by-source]
sources = { us = ["us"], "*" = ["source", "eu"] }

[boundaries.careful]
geographies = ["eu"]
human_review = false
sensitive = "local"
"""

QUOTAS = (
    ("rpm", "requests", "1_000_000_000", "minute", "key"),
    ("money", "usd", '"900000000"', "month", "tenant"),
    ("tpm", "tokens", "1_000_000_000_000", "minute", "deployment"),
    ("at-once", "concurrency", "100_000", "", "principal"),
    ("tpd", "output_tokens", "1_000_000_000_000", "day", "tenant"),
)


def config_text(upstream_port: int) -> str:
    """interlock.toml. The mock upstream is every deployment's."""
    tiers = range(DEPLOYMENTS // TIER)
    members = (", ".join(f"d{tier * TIER + n:03} = {n + 1}" for n in range(TIER)) for tier in tiers)
    lines = [
        HEAD,
        *(deployment(number, upstream_port) for number in range(DEPLOYMENTS)),
        "[tiers]",
        *(f"t{tier} = [{{ {names} }}]" for tier, names in zip(tiers, members, strict=True)),
        *rules(),
        *(quota(*one) for one in QUOTAS),
    ]
    return "\n".join(lines)


def deployment(number: int, upstream_port: int) -> str:
    """Every fourth is outside of the boundary; every other one asks for the agreement."""
    place = "us-east-1" if number % TIER == 1 else "eu-central-1"
    asks = f'agreements = ["{AGREEMENT}"], ' if number % 2 else ""
    return f"""
[deployments.d{number:03}]
provider = "mock"
base_url = "http://127.0.0.1:{upstream_port}/v1"
model = "bench-model"
formats = ["chat"]
context_window = {100_000 + number * 1_000}
capabilities = ["tools", "images", "schema"]
credential = {{ env = "BENCH_UPSTREAM_KEY" }}
price = {{ input = "{2 + number / 100:.2f}", cache_read = "0.25", output = "10" }}
boundary = {{ geographies = ["{place}"], {asks}retention_days = 0, human_review = false, training = false }}"""


def rules() -> Iterator[str]:
    """What rules ask, in turn; the last is the benchmark's own."""
    for number in range(RULES - 1):
        asked = (
            f'tenant = ["tenant-{number}"], tools = true',
            f'labels = {{ team = "team-{number}" }}, stream = true',
            f'mode = ["mode-{number}", "way-{number}"], images = false',
            f'model = ["gpt-{number}", "claude-{number}-*"]',
            f"input_tokens_min = {200_000 + number * 100}, input_tokens_max = {200_099 + number * 100}",
        )[number % 5]
        yield rule(f"r{number}", asked, number % (DEPLOYMENTS // TIER))
    yield rule("edits", 'mode = ["edit"], labels = { env = "prod" }', DEPLOYMENTS // TIER - 1)


def rule(name: str, asked: str, tier: int) -> str:
    """One that saves, goes on and caches."""
    return f"""
[[rules]]
name = "{name}"
when = {{ {asked} }}
tier = "t{tier}"
switch = "saving"
cache = {{ ttl_s = 60 }}"""


def quota(name: str, measure: str, amount: str, window: str, per: str) -> str:
    """One that nobody reaches."""
    for_how_long = f'window = "{window}"' if window else ""
    return f"""
[[quotas]]
name = "{name}"
measure = "{measure}"
amount = {amount}
per = ["{per}"]
{for_how_long}"""
