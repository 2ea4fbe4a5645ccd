"""Deployments of a cloud and their keys: what follows from what is said, and every mistake named."""

from pathlib import Path
from typing import Any

import pytest

from interlock.config import Loaded, parse
from interlock.config.clouds import PROJECT, REGION
from interlock.errors import ConfigError
from interlock.gateway import Affinity, Breaker, Credential, Deployment, Retries, Timeouts

ENV = dict.fromkeys(("A", "B", "K"), "x")
BEDROCK = 'provider = "bedrock"\nregion = "eu-central-1"\n'
VERTEX = 'provider = "vertex"\nproject = "p"\nregion = "europe-west4"\n'
AZURE = 'provider = "azure"\nbase_url = "https://r.openai.azure.com/openai/v1"\n'
OPENAI = 'provider = "openai"\n'


def read(lines: str, rest: str = "") -> Loaded:
    text = f'default_tier = "t"\ntiers.t = ["m"]\n{rest}\n[deployments.m]\n{lines}'
    return parse(text, file="f", folder=Path("/nowhere"), env=ENV)


def deployment(lines: str) -> Deployment:
    return read(lines).policy.deployments["m"]


def problems(lines: str, rest: str = "") -> list[str]:
    with pytest.raises(ConfigError) as raised:
        read(lines, rest)
    return raised.value.problems


class TestPlaces:
    @pytest.mark.parametrize(
        ("lines", "api", "base_url"),
        [
            (BEDROCK, "converse", "https://bedrock-runtime.eu-central-1.amazonaws.com"),
            (
                BEDROCK + 'model = "eu.anthropic.claude-x"',
                "anthropic",
                "https://bedrock-runtime.eu-central-1.amazonaws.com",
            ),
            (
                BEDROCK + 'model = "anthropic.claude-x"\napi = "converse"',
                "converse",
                "https://bedrock-runtime.eu-central-1.amazonaws.com",
            ),
            (VERTEX, "gemini", "https://europe-west4-aiplatform.googleapis.com"),
            (VERTEX + 'model = "claude-x@1"', "anthropic", "https://europe-west4-aiplatform.googleapis.com"),
            (VERTEX.replace("europe-west4", "global"), "gemini", "https://aiplatform.googleapis.com"),
            (VERTEX + 'base_url = "http://127.0.0.1:9"', "gemini", "http://127.0.0.1:9"),
            ('provider = "gemini"\ncredential = { env = "K" }', "", "https://generativelanguage.googleapis.com"),
        ],
    )
    def test_what_follows(self, lines: str, api: str, base_url: str) -> None:
        found = deployment(lines)
        assert (found.api, found.base_url, found.formats) == (api, base_url, ("messages",))

    def test_what_was_said_is_kept(self) -> None:
        found = deployment(VERTEX)
        assert (found.project, found.region, found.api_version) == ("p", "europe-west4", "")
        found = deployment(AZURE + 'api_version = "2024-10-21"')
        assert (found.api_version, found.formats, found.api) == ("2024-10-21", ("chat",), "")

    @pytest.mark.parametrize(
        ("lines", "family"),
        [
            (BEDROCK + 'model = "eu.anthropic.claude-sonnet-4-5-v1:0"', "claude"),
            (BEDROCK + 'model = "arn:aws:bedrock:eu-central-1:1:inference-profile/us.amazon.nova-pro-v1:0"', "nova"),
            (VERTEX + 'model = "claude-sonnet-4-5@20250929"', "claude"),
            (VERTEX + 'model = "gemini-2.5-pro"', "gemini"),
        ],
    )
    def test_families(self, lines: str, family: str) -> None:
        assert deployment(lines).family == family

    @pytest.mark.parametrize(
        ("lines", "said"),
        [
            ('provider = "bedrock"', "deployments.m.region: nothing here; expected a region as the cloud writes it"),
            (
                'provider = "vertex"\nregion = "global"',
                "deployments.m.project: nothing here; expected the id of a project",
            ),
            (BEDROCK.replace("eu-central-1", "eu.evil/x"), 'm.region: found "eu.evil/x"; expected a region'),
            (VERTEX.replace('"p"', '"a/b"'), 'm.project: found "a/b"; expected the id'),
            (
                AZURE + 'api_version = "1&x=2"',
                'm.api_version: found "1&x=2"; expected an api-version, e.g. "2024-10-21"',
            ),
            ('provider = "azure"', "m.base_url: nothing here; expected the address of provider"),
            (BEDROCK + 'api = "invoke"', 'm.api: found "invoke"; expected one of "converse", "anthropic"'),
            (BEDROCK + 'project = "p"', 'm.project: provider "bedrock" has none; expected it only with vertex'),
            (OPENAI + 'region = "eu"', 'm.region: provider "openai" has none; expected it only with bedrock or vertex'),
            (OPENAI + 'api = "gemini"', 'm.api: provider "openai" has none; expected it only with bedrock or vertex'),
            (VERTEX + 'api_version = "1"', 'm.api_version: provider "vertex" has none; expected it only with azure'),
            (
                BEDROCK + 'formats = ["chat"]',
                'm.formats: found an array; expected no such key, or ["messages"]: provider',
            ),
            (BEDROCK + 'regoin = "x"', 'm.regoin: unknown key; did you mean "region"?'),
            (OPENAI + "max_output = 0", "m.max_output: found 0; expected an integer from 1 to"),
        ],
    )
    def test_a_mistake_is_named(self, lines: str, said: str) -> None:
        found = problems(lines)
        assert len(found) == 1, found
        assert said in found[0], found

    def test_without_a_provider_its_keys_are_not_judged(self) -> None:
        assert len(problems('region = "x y"\nproject = 3\n')) == 1

    def test_all_at_once(self) -> None:
        assert len(problems('provider = "vertex"\napi = "x"\nregion = "?"\nformats = ["chat"]\napi_version = "1"')) == 5

    @pytest.mark.parametrize(
        "text", ["a.b", "a/b", "eu-west.1", "eu-west/1", "", "-a", "a-", "A", "a b", "a\n", "x" * 17, "a@b"]
    )
    def test_no_region_changes_the_host_it_stands_in(self, text: str) -> None:
        assert not REGION.fullmatch(text)

    @pytest.mark.parametrize("text", ["a/b", "", "..", "-a", "a?", "a b", "a\n", "x" * 64])
    def test_no_project_changes_the_path_it_stands_in(self, text: str) -> None:
        assert not PROJECT.fullmatch(text)

    @pytest.mark.parametrize(
        ("lines", "warned"),
        [(BEDROCK, False), (VERTEX, False), (AZURE, False), ('provider = "gemini"', True), (OPENAI, True)],
    )
    def test_a_cloud_has_credentials_of_its_own(self, lines: str, warned: bool) -> None:
        assert any("has no `credential`" in line for line in read(lines).warnings) is warned


class TestCredentials:
    def test_one_and_several(self) -> None:
        assert deployment(OPENAI + 'credential = { env = "A" }').keys == (Credential(env="A"),)
        several = deployment(OPENAI + 'credentials = [{ env = "A" }, { file = "k" }]')
        assert several.credential is None
        assert several.keys == several.credentials == (Credential(env="A"), Credential(file="/nowhere/k"))
        assert deployment(OPENAI).keys == ()

    @pytest.mark.parametrize(
        ("value", "said"),
        [
            ("[]", "credentials: found nothing in it; expected an array of 1 to 16"),
            ('{ env = "A" }', "credentials: found no array"),
            ('[{ env = "A" }, { env = "B" }, { env = "A" }]', "credentials[2]: names a key that stands here twice"),
            ('[{ env = "A" }, "hunter2"]', "credentials[1]: found a literal (not shown); expected { env"),
            ("[3]", "credentials[0]: found no table"),
            ('[{ env = "A", file = "B" }]', "credentials[0]: found both `env` and `file`"),
            ("[{}]", "credentials[0]: found neither `env` nor `file`"),
            ('[{ env = "hunter2 x" }]', "credentials[0].env: not a variable's name (the value is not shown)"),
            ('[{ file = "" }]', "credentials[0].file: not a path"),
            ('[{ env = "A", envv = "hunter2" }]', 'credentials[0].envv: unknown key; did you mean "env"?'),
            ("[" + '{ env = "A" },' * 17 + "]", "credentials: found too many; expected an array of 1 to 16"),
        ],
    )
    def test_a_mistake_is_named(self, value: str, said: str) -> None:
        found = problems(f"{OPENAI}credentials = {value}")
        assert len(found) == 1, found
        assert said in found[0], found
        assert "hunter2" not in found[0]

    def test_not_both(self) -> None:
        lines = OPENAI + 'credential = { env = "A" }\ncredentials = [{ env = "B" }]'
        assert problems(lines) == [
            "f:7: deployments.m.credentials: found beside `credential`; expected one of the two, with all keys in it"
        ]

    def test_the_managed_model_has_its_own(self) -> None:
        assert "which is given a key of its own" in problems('provider = "local"\ncredentials = [{ env = "A" }]')[0]

    def test_what_is_not_there_is_warned_about(self) -> None:
        warnings = read(OPENAI + 'credentials = [{ env = "A" }, { env = "UNSET" }, { file = "no" }]').warnings
        assert [line.split(": ")[1] for line in warnings] == [
            "deployments.m.credentials[1].env",
            "deployments.m.credentials[2].file",
        ]


class TestFailure:
    @pytest.mark.parametrize(
        ("rest", "section", "value"),
        [
            ("[retries]\nrounds = 0", "retries", Retries(rounds=0)),
            ("[retries]\nwait_s_max = 0.1", "retries", Retries(backoff_s=0.1, wait_s_max=0.1)),
            ("[breaker]\nfailures = 0", "breaker", Breaker(failures=0)),
            ("[breaker]\nopen_s = 400", "breaker", Breaker(open_s=400.0, open_s_max=400.0)),
            ("[affinity]\ncache_s = 0", "affinity", Affinity(cache_s=0)),
            ("[affinity]\ncalls = 9\nbreakpoints = false", "affinity", Affinity(calls=9, breakpoints=False)),
            ("", "timeouts", Timeouts()),
            ("[timeouts]\nfirst_byte_s = 300", "timeouts", Timeouts(first_byte_s=300, first_token_s=300)),
            ("[timeouts]\nfirst_byte_s = 60", "timeouts", Timeouts(first_byte_s=60, first_token_s=120)),
            ("[timeouts]\nfirst_token_s = 20", "timeouts", Timeouts(first_token_s=20)),
            ("[timeouts]\nkeep_alive_s = 0", "timeouts", Timeouts(keep_alive_s=0)),
            ("[timeouts]\nkeep_alive_s = 5000", "timeouts", Timeouts(keep_alive_s=5000)),
        ],
    )
    def test_values(self, rest: str, section: str, value: Any) -> None:
        assert getattr(read(OPENAI, rest).policy, section) == value

    @pytest.mark.parametrize(
        ("rest", "said"),
        [
            ("[retries]\nrounds = 11", "retries.rounds: found 11; expected an integer from 0 to 10 (rounds; 0: none)"),
            ("[retries]\nbackoff_s = 20", "retries.backoff_s: found 20; expected at most wait_s_max (10)"),
            ("[retries]\nround = 1", 'retries.round: unknown key; did you mean "rounds"?'),
            ("[breaker]\nopen_s_max = 5", "breaker.open_s_max: found 5; expected at least open_s (15)"),
            ("[breaker]\nfailures = -1", "breaker.failures: found -1; expected an integer from 0 to 1000"),
            ("[timeouts]\nfirst_token_s = 901", "timeouts.first_token_s: found 901; expected at most total_s (900)"),
            ("[timeouts]\nkeep_alive_s = -1", "timeouts.keep_alive_s: found -1; expected a number from 0 to 86400"),
            (
                '[[rules]]\nname = "r"\ntier = "t"\non_cut = "go on"',
                'rules[0].on_cut: found "go on"; expected one of "error"',
            ),
            (
                '[[rules]]\nname = "r"\ntier = "t"\nswitch = "never"',
                'rules[0].switch: found "never"; expected one of "always", "saving"',
            ),
            ("[affinity]\ncalls = 0", "affinity.calls: found 0; expected an integer from 1 to 10000 (calls)"),
        ],
    )
    def test_a_mistake_is_named(self, rest: str, said: str) -> None:
        found = problems(OPENAI, rest)
        assert len(found) == 1, found
        assert said in found[0], found

    def test_switch(self) -> None:
        rule = '[[rules]]\nname = "r"\ntier = "t"\n'
        assert read(OPENAI, rule).policy.rules[0].switch == "always"
        assert read(OPENAI, rule + 'switch = "saving"').policy.rules[0].switch == "saving"

    def test_on_cut(self) -> None:
        rule = '[[rules]]\nname = "r"\ntier = "t"\n'
        assert read(OPENAI, rule).policy.rules[0].on_cut == "error"
        assert read(OPENAI, rule + 'on_cut = "continue"').policy.rules[0].on_cut == "continue"
