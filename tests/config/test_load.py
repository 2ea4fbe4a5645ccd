"""What a good file becomes: defaults, versions, exact prices."""

import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.examples import at_least

from interlock.config import BUILTIN, Config, builtin, load, parse, resolve_prices
from interlock.config.deployments import family_of
from interlock.config.lines import Lines
from interlock.config.load import read
from interlock.config.reading import Notes
from interlock.errors import ConfigError
from interlock.gateway import Facts, Policy, Signals, version_of
from interlock.gateway.rules import matches
from interlock.ledger import Step

FULL = (Path(__file__).parent / "full.toml").read_text()
NOW_NS = 1_790_000_000 * 1_000_000_000


def config_of(text: str) -> Config:
    return parse(text, file="f", folder=Path("/"), env={}).config


class TestBuiltin:
    def test_serves_the_local_model_in_every_tier(self) -> None:
        config = builtin()
        local = config.policy.deployments["local"]
        assert (local.provider, local.model, local.family) == ("local", "smollm2-135m-instruct", "smollm2")
        assert local.formats == ("chat", "responses", "messages")
        assert local.facts == Facts(local=True, retention_days=0, human_review=False, training=False)
        assert (local.context_window, local.base_url, local.credential) == (8192, "", None)
        assert local.price is not None
        assert set(local.price.per_mtok.values()) == {0}
        assert {name: tier.deployments for name, tier in config.policy.tiers.items()} == dict.fromkeys(
            ("frontier", "balanced", "small"), ("local",)
        )
        assert config.server.local.enabled
        assert config.source_path is None

    def test_has_nothing_to_warn_about(self) -> None:
        loaded = load(None, env={})
        assert loaded.warnings == ()
        assert resolve_prices(loaded, now_ns=NOW_NS).warnings == ()

    def test_savings_has_something_to_compare_with(self) -> None:
        policy = resolve_prices(load(None, env={}), now_ns=NOW_NS).policy
        assert policy.baseline == "claude-opus-4-5"
        assert policy.baseline not in policy.deployments
        assert policy.baseline_price is not None
        assert policy.baseline_price.source.startswith("genai-prices ")
        assert policy.baseline_price.per_mtok["output"] > policy.baseline_price.per_mtok["input"] > 0
        assert policy.version == version_of(policy)

    def test_routes_modes(self) -> None:
        policy = builtin().policy
        tiers = {mode: rule.tier for rule in policy.rules for mode in rule.when.mode or ()}
        assert (tiers["plan"], tiers["review"], tiers["edit"], tiers["title"]) == (
            "frontier",
            "frontier",
            "balanced",
            "small",
        )

    def test_what_is_said_outranks_what_is_seen(self) -> None:
        rules = builtin().policy.rules
        assert [rule.name for rule in rules] == ["thinking-modes", "working-modes", "small-modes", "chores"]
        assert all(rule.when.chore is None for rule in rules[:-1])
        seen = Signals(format="chat", model="auto", tenant="t", principal="p", mode="review", chore=True)
        assert next(rule.tier for rule in rules if matches(rule.when, seen)) == "frontier"


class TestValues:
    def test_the_version_is_that_of_the_content(self) -> None:
        one, two = config_of(FULL).policy, config_of(FULL.replace("idle_s = 30", "idle_s = 31")).policy
        assert one.version == version_of(one)
        assert one.version != two.version
        assert config_of(FULL + "# only a comment").policy.version == one.version

    def test_a_policy_survives_json(self) -> None:
        policy = config_of(FULL).policy
        assert msgspec.json.decode(msgspec.json.encode(policy), type=Policy) == policy

    def test_defaults_by_provider(self) -> None:
        head = 'default_tier = "t"\n[tiers]\nt = ["gpt-5"]\n[deployments.gpt-5]\n'
        gpt = config_of(head + 'provider = "openai"').policy.deployments["gpt-5"]
        assert (gpt.model, gpt.family, gpt.formats) == ("gpt-5", "gpt", ("chat", "responses"))
        assert gpt.base_url == "https://api.openai.com/v1"
        other = config_of(head + 'provider = "vllm"\nbase_url = "http://h:8000/v1/"').policy.deployments["gpt-5"]
        assert (other.base_url, other.formats, other.facts) == ("http://h:8000/v1", ("chat",), Facts())

    def test_prices_are_exact(self) -> None:
        price = config_of(FULL).policy.deployments["opus"].price
        assert price is not None
        assert price.per_mtok["input"] == 5_000_000_000
        assert price.per_mtok["cache_read"] == 500_000_000
        assert price.per_mtok["cache_write_5m"] == price.per_mtok["cache_write"] == 6_250_000_000
        assert price.per_mtok["cache_write_1h"] == 10_000_000_000
        assert price.above == (Step(input_tokens=200_000, per_mtok=price.per_mtok | {"input": 10_000_000_000}),)
        assert price.source == "override"

    @given(st.integers(0, 8_000_000_000), st.integers(0, 999_999_999))
    def test_a_price_means_the_same_as_string_and_as_number(self, whole: int, nano: int) -> None:
        text = f"{whole}.{nano:09d}"
        for written in (text, f'"{text}"'):
            price = config_of(
                'default_tier = "t"\ntiers.t = ["d"]\n[deployments.d]\nprovider = "openai"\n'
                f"price = {{ input = {written}, output = 0 }}"
            ).policy.deployments["d"].price  # fmt: skip
            assert price is not None
            assert price.per_mtok["input"] == whole * 10**9 + nano

    def test_a_baseline_need_not_be_served(self) -> None:
        policy = config_of(FULL).policy
        assert policy.baseline == "claude-opus"
        assert policy.baseline_price is not None
        assert policy.baseline_price.per_mtok == {"input": 15 * 10**9, "output": 75 * 10**9}

    def test_a_baseline_that_has_no_price_is_warned_about_and_is_none(self) -> None:
        text = FULL.replace(
            '{ name = "claude-opus", price = { input = "15", output = "75" } }',
            '{ provider = "anthropic", model = "x-9" }',
        )
        loaded = resolve_prices(parse(text, file="f", folder=Path("/"), env={}), now_ns=NOW_NS)
        assert (loaded.policy.baseline, loaded.policy.baseline_price) == (None, None)
        wanted = "f: savings.baseline: no baseline anthropic/x-9: genai-prices does not know it"
        assert wanted in loaded.warnings

    def test_defaults_of_timeouts_stay_below_the_total(self) -> None:
        timeouts = config_of(BUILTIN + "[timeouts]\ntotal_s = 30").policy.timeouts
        assert (timeouts.connect_s, timeouts.first_byte_s, timeouts.idle_s, timeouts.total_s) == (5, 30, 30, 30)


def test_families() -> None:
    assert family_of("openai", "https://api.openai.com/v1", "o3-mini") == "gpt"
    assert family_of("openai", "http://vllm/v1", "Qwen/Qwen3-Coder-30B") == "qwen3"
    assert family_of("ollama", "", "llama3.1:8b") == "llama3.1"
    assert family_of("x", "", "--") == "x"


KEYS = sorted(
    {part for part in FULL.replace("=", " ").replace(".", " ").replace("[", " ").split() if part.isidentifier()}
)
values = st.recursive(
    st.booleans() | st.integers() | st.text(max_size=8) | st.decimals() | st.dates() | st.sampled_from(KEYS),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)


@st.composite
def spoilt(draw: st.DrawFn) -> dict[str, Any]:
    """The full file with one to three values anywhere replaced, removed or added."""
    document = tomllib.loads(FULL, parse_float=Decimal)
    for _ in range(draw(st.integers(1, 3))):
        table: Any = document
        while True:
            key = draw(st.sampled_from(sorted(table)) if isinstance(table, dict) and table else st.just("x"))
            inner = table.get(key)
            if isinstance(inner, list) and inner and isinstance(inner[0], dict):
                inner = draw(st.sampled_from(inner))
            if not isinstance(inner, dict) or draw(st.booleans()):
                break
            table = inner
        if draw(st.booleans()):
            table[key] = draw(values)
        else:
            table[draw(st.sampled_from(KEYS) | st.text(max_size=5))] = table.pop(key, 0)
    return document


@given(st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5), values, max_size=6) | spoilt())
@example({"tiers": {"a": [[]]}})
@settings(max_examples=at_least(250), suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_whatever_a_file_says_it_is_a_config_or_a_config_error(document: dict[str, Any]) -> None:
    try:
        loaded = read(document, Notes("f", Lines("")), folder=Path("/nowhere"), env={})
    except ConfigError as error:
        assert error.problems
    else:
        policy = loaded.policy
        assert msgspec.json.decode(msgspec.json.encode(policy), type=Policy) == policy
        assert policy.default_tier in policy.tiers
        assert all(name in policy.deployments for tier in policy.tiers.values() for name in tier.deployments)


@given(st.text(alphabet="ab.[]{}\"'=#\n \\,1", max_size=60))
@settings(max_examples=at_least(500), deadline=None)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        config_of(text)
    except ConfigError as error:
        assert error.problems


class TestReference:
    """docs/configuration.md and examples/."""

    ROOT = Path(__file__).parents[2]
    REFERENCE = (ROOT / "docs/configuration.md").read_text()

    def test_every_key_that_is_asked_for_is_in_the_full_file_and_in_the_reference(self) -> None:
        notes = Notes("full.toml", Lines(FULL))
        document = tomllib.loads(FULL, parse_float=Decimal)
        read(document, notes, folder=Path("/"), env={})
        named = ("deployments", "boundaries", "labels", "patterns")
        keys = {
            path[-1]
            for path in notes.asked
            if not {"tiers", "sources", "reserve"} & set(path[:-1]) and (len(path) < 2 or path[-2] not in named)
        }
        words = {str(key) for key in keys if not isinstance(key, int)}
        assert len(words) > 70
        assert [word for word in sorted(words) if f"`{word}`" not in self.REFERENCE] == []
        assert [word for word in sorted(words) if word not in FULL] == []

    def test_defaults_in_the_reference_are_those_of_the_values(self) -> None:
        policy = builtin().policy
        for section in ("limits", "timeouts", "retries", "breaker", "affinity"):
            value = getattr(policy, section)
            page = self.REFERENCE.partition(f"\n## `[{section}]`\n")[2].partition("\n## ")[0]
            for key in value.__struct_fields__:
                standard = getattr(value, key)
                told = int(standard) if standard == int(standard) and not isinstance(standard, bool) else standard
                assert f"| `{key}` | {str(told).lower()} |" in page

    def test_the_built_in_default_is_shown_as_it_is(self) -> None:
        assert f"```toml\n{BUILTIN}```\n" in self.REFERENCE

    @pytest.mark.parametrize(
        "path",
        sorted(
            path
            for path in (ROOT / "examples").glob("*.toml")
            if path.name != "agent.toml" and not path.name.startswith("plan-")
        ),
        ids=lambda path: path.name,
    )
    def test_examples_load_with_nothing_to_warn_about_but_keys(self, path: Path) -> None:
        loaded = resolve_prices(load(path, env={}), now_ns=NOW_NS)
        assert [line for line in loaded.warnings if "credential" not in line] == []
        assert all(deployment.price for deployment in loaded.policy.deployments.values())


class TestSpread:
    DEPLOYMENTS = "".join(
        f'[deployments.{name}]\nprovider = "x"\nbase_url = "http://h/v1"\nprice = "free"\n' for name in "abcd"
    )

    def tier(self, value: str) -> Any:
        text = f'default_tier = "t"\n{self.DEPLOYMENTS}[tiers]\nt = {value}\n'
        return parse(text, file="f", folder=Path("/"), env={}).policy.tiers["t"]

    def test_equals_stand_in_a_table(self) -> None:
        tier = self.tier('["c", { a = 3, b = 1 }, "d"]')
        assert tier.deployments == ("c", "a", "b", "d")
        assert tier.spread == ({"a": 3, "b": 1},)
        assert self.tier("[{ a = 2 }]").spread == ()

    @pytest.mark.parametrize(
        ("value", "said"),
        [
            ("[{ a = 0 }]", "tiers.t[0].a: found 0; expected an integer from 1 to 1000"),
            ('[{ a = 1 }, "a"]', "tiers.t: expected at most 256 deployments, each once"),
            ("[{ a = 1 }, 5]", "tiers.t[1]: found 5; expected a deployment, or a table of names and weights"),
            ("[{ a = 1, e = 1 }]", 'tiers.t: there is no deployment "e"'),
        ],
    )
    def test_a_mistake_is_named(self, value: str, said: str) -> None:
        with pytest.raises(ConfigError) as caught:
            self.tier(value)
        assert any(said in problem for problem in caught.value.problems), caught.value.problems
