"""LiteLLM configurations: what is carried over means the same here, the rest is listed, and no secret comes out."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import at_least

from interlock.config import Loaded, parse
from interlock.config.litellm import Translation, translate
from interlock.config.litellm.yamltext import load
from interlock.errors import ConfigError

FULL = (Path(__file__).parent / "litellm.yaml").read_text()


def loaded(translation: Translation) -> Loaded:
    return parse(translation.toml, file="f", folder=Path("/nowhere"), env={})


def one(params: str, info: str = "{}", rest: str = "") -> Translation:
    return translate(f"model_list: [{{model_name: m, litellm_params: {params}, model_info: {info}}}]\n{rest}")


class TestTheWhole:
    def test_tiers(self) -> None:
        policy = loaded(translate(FULL)).policy
        chain = ("openai-gpt-4o", "azure-gpt-4o-eu", "anthropic-claude-sonnet-4-5", "ollama-llama3.1")
        assert {name: tier.deployments for name, tier in policy.tiers.items()} == {
            "gpt-4o": chain,
            "anthropic-claude": chain[2:],
            "house": ("ollama-llama3.1", "openai-gpt-4o"),
            "gpt-4": chain,
        }
        assert policy.default_tier == "gpt-4o"
        assert [(rule.when.model, rule.tier) for rule in policy.rules] == [
            (("anthropic/claude",), "anthropic-claude"),
            (("My GPT",), "gpt-4o"),
        ]
        assert policy.unknown_model == "route"
        assert (policy.timeouts.total_s, policy.timeouts.first_byte_s) == (90, 90)

    def test_deployments(self) -> None:
        deployments = loaded(translate(FULL)).policy.deployments
        gpt, azure, claude = (
            deployments[n] for n in ("openai-gpt-4o", "azure-gpt-4o-eu", "anthropic-claude-sonnet-4-5")
        )
        assert gpt.price is not None
        assert gpt.price.per_mtok == {"input": 2_500_000_000, "output": 10_000_000_000}
        assert gpt.price.above[0].per_mtok["input"] == 5_000_000_000
        assert (gpt.context_window, gpt.capabilities) == (128_000, ("tools", "images"))
        assert azure.base_url == "https://my-eu.openai.azure.com/openai/v1"
        assert azure.credential is not None
        assert azure.credential.env == "AZURE_API_KEY_EU"
        assert (claude.formats, claude.price) == (("messages",), None)
        assert deployments["ollama-llama3.1"].base_url == "http://localhost:11434/v1"
        assert deployments["ollama-llama3.1"].price is not None

    def test_everything_else_is_listed(self) -> None:
        listed = {line.split(": ")[0] for line in translate(FULL).left_out}
        assert listed == {
            *(f"model_list[0].litellm_params.{key}" for key in ("rpm", "timeout", "api_version")),
            "model_list[1].litellm_params.api_key",
            "model_list[1].model_info.foo",
            "model_list[2].litellm_params.temperature",
            *(f"model_list[{index}]" for index in (4, 5, 6, 7)),
            "router_settings.model_group_alias.x",
            "router_settings.fallbacks.gpt-4o",
            "router_settings.routing_strategy",
            "router_settings.redis_password",
            "router_settings.content_policy_fallbacks",
            "litellm_settings.callbacks",
            "general_settings.master_key",
            "general_settings.database_url",
            "environment_variables.OPENAI_API_KEY",
            "guardrails",
        }

    def test_no_secret_comes_out(self) -> None:
        translation = translate(FULL)
        assert "hush" in FULL
        assert "hush" not in translation.toml + "".join(translation.left_out)
        assert 'env = "OPENAI_1_API_KEY"' in translation.toml

    def test_it_loads_without_a_warning_but_for_keys_that_are_not_set(self) -> None:
        assert all("is not set" in line for line in loaded(translate(FULL)).warnings)


class TestEntries:
    @pytest.mark.parametrize("cost", ["2.5e-06", "0.0000025", "25e-7", '"2.5e-6"', "2.5e-6"])
    def test_prices_are_exact_however_they_are_written(self, cost: str) -> None:
        result = one(f"{{model: openai/x, input_cost_per_token: {cost}, output_cost_per_token: 1e-05}}")
        assert 'price = { input = "2.5", output = "10" }' in result.toml

    def test_prices_from_model_info_and_of_caches(self) -> None:
        info = "{input_cost_per_token: 3e-6, output_cost_per_token: 15e-6, cache_read_input_token_cost: 3e-7,"
        info += " cache_creation_input_token_cost: 3.75e-6, cache_creation_input_token_cost_above_1hr: 6e-6}"
        price = loaded(one("{model: claude-x}", info)).policy.deployments["anthropic-claude-x"].price
        assert price is not None
        assert price.per_mtok["cache_write_5m"] == 3_750_000_000
        assert price.per_mtok["cache_write_1h"] == 6_000_000_000

    @pytest.mark.parametrize(
        "price", ["input_cost_per_token: -1", "input_cost_per_token: .inf", "input_cost_per_token: 1e-6"]
    )
    def test_half_a_price_is_none(self, price: str) -> None:
        result = one(f"{{model: openai/x, {price}}}")
        assert "price" not in result.toml.split("# Not carried")[0]
        assert any("its price" in line for line in result.left_out)

    def test_a_compatible_server_by_address(self) -> None:
        result = one("{model: openai/facebook/opt-125m, api_base: 'http://gpu:8000/v1', api_key: none}")
        deployment = loaded(result).policy.deployments["openai-facebook-opt-125m"]
        assert (deployment.model, deployment.formats) == ("facebook/opt-125m", ("chat",))
        assert (deployment.base_url, deployment.credential, deployment.family) == ("http://gpu:8000/v1", None, "opt")
        assert result.left_out == []

    def test_abilities_that_are_not_told_are_those_litellm_would_try(self) -> None:
        assert 'capabilities = ["tools", "images", "reasoning", "schema"]' in one("{model: gpt-4o}").toml
        assert "capabilities" not in one("{model: gpt-4o}", "{supports_vision: false}").toml

    def test_a_shared_credential(self) -> None:
        rest = "credential_list: [{credential_name: c, credential_values: {api_key: os.environ/SHARED}}]"
        result = one("{model: gpt-4o, litellm_credential_name: c}", rest=rest)
        assert 'env = "SHARED"' in result.toml
        assert result.left_out == []

    @pytest.mark.parametrize(
        ("params", "why"),
        [
            ("{model: cohere/x}", "protocol is not spoken"),
            ("{model: bedrock/x}", "it needs `aws_region_name`"),
            ("{model: bedrock/x, aws_region_name: os.environ/AWS_REGION}", "it needs `aws_region_name`, written out"),
            ("{model: bedrock/agent/x, aws_region_name: us-east-1}", "this route of bedrock"),
            ("{model: bedrock/invoke/meta.llama, aws_region_name: us-east-1}", "only Anthropic's body"),
            ("{model: vertex_ai/gemini-x, vertex_location: global}", "it needs `vertex_project`"),
            ("{model: vertex_ai/gemini-x, vertex_project: p}", "it needs `vertex_location`"),
            ("{model: vertex_ai/meta/llama, vertex_project: p, vertex_location: global}", "only Gemini and Claude"),
            ("{model: mystery}", "names no provider"),
            ("{model: 'openai/*'}", "a wildcard"),
            ("{model: hosted_vllm/x}", "it needs `api_base`"),
            ("{model: azure/x, api_base: os.environ/BASE}", "its address comes from the environment"),
            ("{model: openai/x, api_base: 'http://u:hush@h/v1'}", "it needs `api_base`, a plain"),
        ],
    )
    def test_what_cannot_be_served_is_said(self, params: str, why: str) -> None:
        with pytest.raises(ConfigError) as raised:
            one(params)
        assert any(why in line for line in raised.value.problems)
        assert "hush" not in str(raised.value)

    @pytest.mark.parametrize(
        ("params", "api", "region", "model"),
        [
            (
                "bedrock/anthropic.claude-x, aws_region_name: eu-central-1",
                "anthropic",
                "eu-central-1",
                "anthropic.claude-x",
            ),
            ("bedrock/us-east-1/amazon.nova", "converse", "us-east-1", "amazon.nova"),
            ("bedrock/converse/us-east-1/anthropic.claude-x", "converse", "us-east-1", "anthropic.claude-x"),
            (
                "bedrock/invoke/anthropic.claude-x, aws_region_name: us-east-1",
                "anthropic",
                "us-east-1",
                "anthropic.claude-x",
            ),
            (
                "'bedrock/arn:aws:bedrock:us-east-1:1:p/x', aws_region_name: us-east-1",
                "converse",
                "us-east-1",
                "arn:aws:bedrock:us-east-1:1:p/x",
            ),
            (
                "vertex_ai/gemini-2.5-pro, vertex_project: p, vertex_location: global",
                "gemini",
                "global",
                "gemini-2.5-pro",
            ),
            ("gemini/gemini-2.5-pro", "", "", "gemini-2.5-pro"),
        ],
    )
    def test_clouds(self, params: str, api: str, region: str, model: str) -> None:
        result = one(f"{{model: {params}}}")
        (deployment,) = loaded(result).policy.deployments.values()
        assert (deployment.api, deployment.region, deployment.model) == (api, region, model)
        assert deployment.formats == ("messages",)
        assert result.left_out == []

    def test_a_clouds_own_credentials_are_listed(self) -> None:
        result = one("{model: bedrock/us-east-1/amazon.nova, aws_secret_access_key: hush, aws_role_name: hush2}")
        assert [line.split(": ")[0].rsplit(".")[-1] for line in result.left_out] == [
            "aws_secret_access_key",
            "aws_role_name",
        ]
        assert "hush" not in result.toml + "".join(result.left_out)

    def test_the_most_it_writes(self) -> None:
        result = one("{model: gpt-4o}", "{max_output_tokens: 4096}")
        assert [d.max_output for d in loaded(result).policy.deployments.values()] == [4096]

    def test_nobody_else_is_let_in_where_every_name_can_be_a_tier(self) -> None:
        assert (
            'unknown_model = "refuse"'
            in one("{model: gpt-4o}", rest="router_settings: {model_group_alias: {n: m}}").toml
        )

    def test_a_name_with_wildcards_in_it_stands_for_itself(self) -> None:
        result = translate("model_list: [{model_name: 'a?[b]', litellm_params: {model: gpt-4o}}]")
        assert loaded(result).policy.rules[0].when.model == ("a[?][[]b]",)


class TestSeveralKeys:
    def keys(self, *entries: str) -> list[tuple[str, ...]]:
        listed = ", ".join(f"{{model_name: m, litellm_params: {{model: gpt-4o, {entry}}}}}" for entry in entries)
        deployments = loaded(translate(f"model_list: [{listed}]")).policy.deployments.values()
        return [tuple(key.env for key in deployment.keys) for deployment in deployments]

    def test_entries_that_differ_in_their_key_are_one_deployment(self) -> None:
        assert self.keys("api_key: os.environ/A", "api_key: sk-hush", "api_key: os.environ/B") == [
            ("A", "OPENAI_1_API_KEY", "B")
        ]

    def test_those_that_differ_in_more_are_not(self) -> None:
        assert self.keys("api_key: os.environ/A", "api_key: os.environ/B, order: 2") == [("A",), ("B",)]
        assert self.keys("api_key: os.environ/A", "api_key: os.environ/A") == [("A",), ("A",)]
        assert self.keys("api_key: os.environ/A", "api_key: none") == [("A",), ()]

    def test_those_that_have_an_id_are_not(self) -> None:
        entry = "{{model_name: m, litellm_params: {{model: gpt-4o, api_key: os.environ/{}}}, model_info: {{id: x}}}}"
        result = translate(f"model_list: [{entry.format('A')}, {entry.format('B')}]")
        assert len(loaded(result).policy.deployments) == 2

    def test_not_more_than_a_deployment_may_have(self) -> None:
        found = self.keys(*(f"api_key: os.environ/K{number}" for number in range(20)))
        assert [len(keys) for keys in found] == [16, 4]


class TestYaml:
    def test_an_alias_bomb(self) -> None:
        lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
        lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
        with pytest.raises(ConfigError, match="stands for more than 100000 values"):
            load("\n".join(lines))

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("&a [*a]", "nested deeper"),
            ("[" * 200 + "]" * 200, "nested deeper"),
            ("[" * 500, "nested deeper|not YAML"),
            ("#" * (1 << 20) + "\n", "more than 1048576 bytes"),
            ("a: [1", r"not YAML that is understood here \(line 1"),
            ("!!python/object/apply:os.system ['true']", "not YAML"),
            ("a: 2024-99-99", "not YAML"),
            ("a: \x07", "not YAML"),
            ("{[1]: 2}", "not YAML"),
        ],
    )
    def test_refused(self, text: str, why: str) -> None:
        with pytest.raises(ConfigError, match=why):
            load(text)

    @pytest.mark.parametrize("text", ["", "a", "[1]", "model_list: 3", "model_list: [3, {}]", "{}"])
    def test_not_a_litellm_configuration(self, text: str) -> None:
        with pytest.raises(ConfigError):
            translate(text)


words = st.sampled_from(
    sorted({part for part in FULL.replace(":", " ").replace(",", " ").split() if len(part) < 40 and "hush" not in part})
)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4),
    max_leaves=8,
)


@given(st.data())
@settings(max_examples=at_least(100), deadline=None)
def test_whatever_it_says_the_result_loads(data: st.DataObject) -> None:
    document: dict[str, Any] = yaml.safe_load(FULL)
    for _ in range(data.draw(st.integers(1, 3))):
        table: Any = document
        while isinstance(table, dict | list) and table:
            key = data.draw(st.sampled_from(list(table) if isinstance(table, dict) else range(len(table))))
            if not isinstance(table[key], dict | list) or not table[key] or data.draw(st.booleans()):
                table[key] = data.draw(plain)
                break
            table = table[key]
    try:
        translation = translate(yaml.safe_dump(document))
    except ConfigError:
        return
    assert loaded(translation).policy.deployments
    assert "hush" not in translation.toml + "".join(translation.left_out)
