"""Every mistake is named: its file, line, key, what was found, what would be right. None hides another or a secret."""

from pathlib import Path

import pytest

from interlock.config import Loaded, load, parse
from interlock.errors import ConfigError

GOOD = """\
default_tier = "main"
[deployments.opus]
provider = "anthropic"
model = "claude-opus-4-5"
credential = { env = "ANTHROPIC_API_KEY" }
[tiers]
main = ["opus"]
"""
ENV = {"ANTHROPIC_API_KEY": "x"}


def read(text: str) -> Loaded:
    return parse(text, file="interlock.toml", folder=Path("/nowhere"), env=ENV)


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        read(text)
    return raised.value.problems


def in_opus(line: str) -> str:
    return GOOD.replace("[tiers]", f"{line}\n[tiers]")


def in_rule(when: str) -> str:
    return f'{GOOD}[[rules]]\nname = "r"\ntier = "main"\nwhen = {{ {when} }}\n'


MISTAKES = [
    (GOOD.replace("default_tier", "default_teir"), ':1: default_teir: unknown key; did you mean "default_tier"?'),
    (GOOD.replace('default_tier = "main"', ""), "default_tier: nothing here; expected the tier of calls that no rule"),
    (
        GOOD.replace('default_tier = "main"', 'default_tier = "man"'),
        ':1: default_tier: there is no tier "man"; did you mean "main"?',
    ),
    (
        GOOD.replace('default_tier = "main"', "default_tier = 3"),
        ":1: default_tier: found 3; expected the name of a tier",
    ),
    ('unknown_model = "rout"\n' + GOOD, 'found "rout"; expected one of "route", "refuse"; did you mean "route"?'),
    ('boundary = "eu"\n' + GOOD, 'boundary: there is no boundary "eu"; there are cross-region-eu'),
    (GOOD + '[savings]\nbaseline = "opis"', 'savings.baseline: there is no deployment "opis"; did you mean "opus"?'),
    (GOOD + '[savings]\nbaseline = { name = "x" }', "savings.baseline.price: nothing here; expected what the model"),
    (
        GOOD + '[savings]\nbaseline = { model = "x" }',
        "savings.baseline.provider: nothing here; expected the provider whose",
    ),
    (
        GOOD + '[savings]\nbaseline = { provider = "x" }',
        "savings.baseline.model: nothing here; expected the model whose",
    ),
    (GOOD + "[savings]\nbaseline = 7", "savings.baseline: found 7; expected a deployment's name"),
    (GOOD + '[savngs]\nbaseline = "opus"', 'savngs: unknown key; did you mean "savings"?'),
    (
        GOOD.replace("[deployments.opus]", "[deployments.Opus]"),
        ":2: deployments.Opus: not a good name; expected 1 to 64",
    ),
    (
        GOOD.replace('provider = "anthropic"', ""),
        "deployments.opus.provider: nothing here; expected who serves the model",
    ),
    (GOOD.replace('"anthropic"', '"vllm"'), 'base_url: nothing here; expected the address of provider "vllm"'),
    (GOOD.replace('"anthropic"', "1.5"), ":3: deployments.opus.provider: found 1.5; expected a provider's name"),
    (in_opus('base_url = "ftp://x/v1"'), "base_url: it has no http or https scheme, or no host; expected http://"),
    (in_opus('base_url = "https:///v1"'), "base_url: it has no http or https scheme, or no host"),
    (
        in_opus('base_url = "https://me:hush@x/v1"'),
        "base_url: it holds a password, which belongs into `credential`",
    ),
    (in_opus('base_url = "https://x/v1?key=hush"'), "base_url: it has a query or fragment"),
    (in_opus('base_url = "https://x:99999/v1"'), "base_url: it is not a URL"),
    (in_opus('base_url = "https://x/v1/messages"'), "base_url: it ends in /messages, which is added for each call"),
    (
        in_opus('formats = ["chat", "mesages"]'),
        'formats[1]: found "mesages"; expected one of "chat", "responses", "messages", "embeddings"; did',
    ),
    (in_opus('formats = ["chat", "chat"]'), 'formats[1]: "chat" stands here twice'),
    (in_opus('capabilities = ["tool"]'), 'capabilities[0]: found "tool"; expected one of "tools"'),
    (in_opus("context_window = 0"), "context_window: found 0; expected an integer from 1 to"),
    (in_opus("context_window = true"), "context_window: found true; expected an integer"),
    (in_opus("context_window = 2026-01-01"), "context_window: found a date or time; expected an integer"),
    (in_opus('family = "Claude 4"'), 'family: found "Claude 4"; expected 1 to 64 of a-z'),
    (in_opus('ca_bundle = "ca.pem"'), "ca_bundle: names a file that is not there"),
    (in_opus('boundary = { geographies = ["EU"] }'), 'geographies[0]: found "EU"; expected a region in lower case'),
    (
        in_opus("boundary = { retention_days = -1 }"),
        "retention_days: found -1; expected an integer from 0 to 36500 (days",
    ),
    (in_opus('boundary = { training = "no" }'), 'training: found "no"; expected true or false'),
    (in_opus("boundary = { human_reviews = false }"), 'human_reviews: unknown key; did you mean "human_review"?'),
    (in_opus("boundary = 3"), "deployments.opus.boundary: found 3; expected a table"),
    (in_opus('price = "fre"'), 'price: found "fre"; expected "free", or a table with dollars per million tokens'),
    (in_opus('price = { input = "2" }'), "price.output: nothing here; expected dollars per million tokens"),
    (
        in_opus('price = { input = "two", output = "1" }'),
        'price.input: found "two"; expected dollars per million tokens',
    ),
    (in_opus("price = { input = -1, output = 1 }"), "price.input: found -1; expected dollars per million tokens"),
    ("[timeouts]\nconnect_s = nan", "timeouts.connect_s: found NaN; expected a number from 0.001 to 86400"),
    (in_opus("price = { input = nan, output = 1 }"), "price.input: found NaN; expected dollars"),
    (in_opus("price = { input = 1e999999999, output = 1 }"), "price.input: found 1E+999999999; expected dollars"),
    (in_opus('price = { input = "0.0000000001", output = 1 }'), "price.input: found"),
    (
        in_opus("price = { input = 1, output = 1, above = [{ input_tokens = 9 }, { input_tokens = 9 }] }"),
        "above[1].input_tokens: found 9 after 9; expected thresholds to ascend",
    ),
    (in_opus("price = { input = 1, output = 1, above = [{ input = 2 }] }"), "above[0].input_tokens: nothing here"),
    (GOOD.replace('["opus"]', '["opos"]'), ':7: tiers.main[0]: there is no deployment "opos"; did you mean "opus"?'),
    (GOOD.replace('["opus"]', "[]"), ":7: tiers.main: found an array; expected an array of 1 to 64 strings"),
    (GOOD.replace('main = ["opus"]', 'main = ["opus"]\nauto = ["opus"]'), 'tiers.auto: means "let the rules choose"'),
    (in_rule('mod = "plan"'), ':11: rules[0].when.mod: unknown key; did you mean "mode"?'),
    (in_rule('mode = "Plan"'), 'when.mode[0]: found "Plan"; expected a mode in lower case'),
    (
        in_rule('format = ["chats"]'),
        'when.format[0]: found "chats"; expected one of chat, responses, messages, embeddings; did you mean "chat"?',
    ),
    (
        in_rule("input_tokens_min = 9, input_tokens_max = 8"),
        "input_tokens_min: found 9, above input_tokens_max 8; nothing could match",
    ),
    (in_rule("stream = 1"), "when.stream: found 1; expected true or false"),
    (in_rule("labels = { team = 3 }"), "when.labels.team: found 3; expected a label's value, a string"),
    (in_rule("").replace('"r"', '"R!"'), 'rules[0].name: found "R!"; expected 1 to 64'),
    (
        in_rule("").replace('tier = "main"', 'tier = "mian"'),
        ':10: rules[0].tier: there is no tier "mian"; did you mean "main"?',
    ),
    (in_rule("") + '[[rules]]\nname = "r"\ntier = "main"', 'rules[1].name: "r" is already the name of rule 1'),
    (GOOD + '[[rules]]\nname = "r"', "rules[0].tier: nothing here; expected the tier that the rule leads to"),
    ("rules = [1]\n" + GOOD, "rules: found an array with other things; expected tables only"),
    (
        GOOD + "[boundaries.eu]\ngeographies = []",
        "boundaries.eu.geographies: found an array; expected an array of 1 to 64",
    ),
    (GOOD + "[boundaries.eu]\nretention_max = 3", 'retention_max: unknown key; did you mean "retention_days_max"?'),
    (
        GOOD + "[timeouts]\nconnect_s = 0",
        "timeouts.connect_s: found 0; expected a number from 0.001 to 86400 (seconds)",
    ),
    (GOOD + "[timeouts]\ntotal_s = 30\nidle_s = 31", ":10: timeouts.idle_s: found 31; expected at most total_s (30)"),
    (GOOD + "[limits]\npipelined = 0", "limits.pipelined: found 0; expected an integer from 1 to 1024 (requests"),
    (GOOD + "[limits]\nheld_bytes = 2048", ":9: limits.held_bytes: body_bytes 33554432 is above held_bytes 2048"),
    (
        GOOD + '[server]\njournal_sync = "ticks"',
        'journal_sync: found "ticks"; expected "never", "tick", or an integer from 1',
    ),
    (GOOD + '[server.tls]\ncertificate = "c.pem"', "server.tls.certificate: names a file that is not there"),
    (
        GOOD + '[server.tls]\ncertificate = "c.pem"',
        "server.tls.key: nothing here; expected the path of a PEM file: TLS needs both",
    ),
    (GOOD + "[local]\ncontext = 1", "local.context: found 1; expected an integer from 256 to 1048576 (tokens)"),
    (GOOD + '[local]\nmodel = "my.gguf"', "local.model: names a file that is not there"),
    (
        GOOD + '[deployments.l]\nprovider = "local"\ncontext_window = 9000',
        "found 9000; expected at most 8192, the context",
    ),
    (GOOD + '[deployments.l]\nprovider = "local"\nbase_url = "http://x/v1"', 'provider "local" is the managed model'),
    (
        in_opus("").replace('{ env = "ANTHROPIC_API_KEY" }', '"hush"'),
        "credential: found a literal (not shown); expected { env",
    ),
    (
        in_opus("").replace('{ env = "ANTHROPIC_API_KEY" }', '{ env = "sk-hush" }'),
        "credential.env: not a variable's name (the value is not shown)",
    ),
    (
        in_opus("").replace('{ env = "ANTHROPIC_API_KEY" }', "{}"),
        "credential: found neither `env` nor `file`; expected",
    ),
    (in_opus("").replace('{ env = "ANTHROPIC_API_KEY" }', '{ env = "A", file = "b" }'), "found both `env` and `file`"),
    (in_opus('api_key = "hush"'), "api_key: unknown key"),
    ("a = \n", "interlock.toml: not TOML: Invalid value (at line 1, column 5)"),
    ("a = " + "[" * 5000, "interlock.toml: nested too deeply"),
    ("a = 1" + "0" * 5000, "interlock.toml: not TOML"),
    ("", "deployments: nothing here; expected at least one [deployments.NAME]"),
]


@pytest.mark.parametrize(("text", "said"), MISTAKES, ids=[said[:60] for _, said in MISTAKES])
def test_a_mistake_is_named(text: str, said: str) -> None:
    found = problems(text)
    assert any(said in line for line in found), found
    assert all(line.startswith("interlock.toml") for line in found)
    assert not any("hush" in line for line in found)


def test_the_good_one_is_good() -> None:
    assert read(GOOD).warnings == ()


def test_five_mistakes_are_five_errors_in_the_order_of_the_file() -> None:
    text = """\
default_tier = "balance"
[deployments.opus]
provider = "anthropic"
credential = "sk-ant-hush"
capabilities = ["vision"]
[tiers]
balanced = ["opus"]
[[rules]]
name = "plan"
when = { modes = ["plan"] }
tier = "balanced"
[limits]
body_bytes = "32 MiB"
"""
    found = problems(text)
    assert [line.split(": ")[0] for line in found] == [f"interlock.toml:{n}" for n in (1, 4, 5, 10, 13)]


@pytest.mark.parametrize(
    "secret",
    ["sk-ant-api03-abcDEF", "hunter2", "AIzaSyA1234567890abcdefghij", "0123456789abcdef0123456789abcdef", "Bearer x"],
)
def test_a_secret_in_the_wrong_place_is_never_shown(secret: str) -> None:
    text = f"""\
default_tier = "{secret if secret != "hunter2" else "main"}"
[deployments.opus]
provider = "anthropic"
base_url = "https://{secret.replace(" ", "")}@x/v1"
credential = "{secret}"
api_key = "{secret}"
[deployments.b]
provider = "anthropic"
credential = {{ env = "{secret} x", file = "{secret}" }}
[deployments.c]
provider = "anthropic"
credential = {{ env = "{secret} x" }}
key = "{secret}"
[tiers]
main = ["{secret if secret != "hunter2" else "opus"}"]
[server.tls]
key = "{secret}"
"""
    assert secret not in "\n".join(problems(text))


def test_an_unset_variable_that_might_be_a_key_is_not_shown_either() -> None:
    text = GOOD.replace("ANTHROPIC_API_KEY", "hunter2")
    assert read(text).warnings == (
        "interlock.toml:5: deployments.opus.credential.env: names an environment variable that is not set; "
        "the deployment cannot be used until it is",
    )


def test_a_wholly_wrong_file_is_cut_off() -> None:
    found = problems("".join(f"k{number} = 1\n" for number in range(500)))
    assert len(found) == 101
    assert found[-1].endswith("more")


WARNINGS = [
    (GOOD.replace('credential = { env = "ANTHROPIC_API_KEY" }', ""), "deployments.opus: has no `credential`"),
    (
        in_opus("").replace('env = "ANTHROPIC_API_KEY"', 'file = "key"'),
        "credential.file: names a file that is not there",
    ),
    (GOOD + '[deployments.x]\nprovider = "vllm"\nbase_url = "http://x/v1"', ":8: deployments.x: is in no tier"),
    (
        in_rule("") + '[[rules]]\nname = "s"\nwhen = { chore = true }\ntier = "main"',
        'rules[1]: can never match: rule "r"',
    ),
    (
        in_rule("chore = true") * 1 + '[[rules]]\nname = "s"\nwhen = { chore = true }\ntier = "main"',
        "rules[1]: can never",
    ),
    (GOOD + "[boundaries.all]\nhuman_review = true", "boundaries.all: has no clause that forbids anything"),
    (
        GOOD.replace('main = ["opus"]', 'main = ["opus"]\nopus = ["opus", "opus2"]')
        + '[deployments.opus2]\nprovider = "x"\nbase_url = "http://x"',
        "tiers.opus: is also the name of a deployment",
    ),
    (GOOD + "[local]\nenabled = true", "local.enabled: starts a model that no deployment uses"),
    (
        GOOD.replace('["opus"]', '["opus", "l"]') + '[deployments.l]\nprovider = "local"\n[local]\nenabled = false',
        "local.enabled: is false, so",
    ),
]


@pytest.mark.parametrize(("text", "said"), WARNINGS, ids=[said[:50] for _, said in WARNINGS])
def test_a_warning_is_given_and_the_file_used(text: str, said: str) -> None:
    loaded = read(text)
    assert any(said in line for line in loaded.warnings), loaded.warnings
    assert len(loaded.warnings) == 1


class TestFiles:
    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="cannot be read: No such file"):
            load(tmp_path / "no.toml")

    def test_not_a_file(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="not a regular file"):
            load(tmp_path)

    def test_too_large(self, tmp_path: Path) -> None:
        path = tmp_path / "big.toml"
        path.write_bytes(b"#" * ((1 << 20) + 1))
        with pytest.raises(ConfigError, match="more than 1048576 bytes"):
            load(path)

    def test_not_utf8(self, tmp_path: Path) -> None:
        path = tmp_path / "latin.toml"
        path.write_bytes(b"a = 1\nb = '\xe9'\n")
        with pytest.raises(ConfigError, match=r"latin.toml:2: not UTF-8"):
            load(path)

    def test_relative_paths_start_at_the_configurations_folder(self, tmp_path: Path) -> None:
        for name in ("chain.pem", "key.pem", "secret", "ca.pem", "tiny.gguf"):
            (tmp_path / name).write_text("x")
        path = tmp_path / "interlock.toml"
        path.write_text(
            in_opus('ca_bundle = "ca.pem"').replace('env = "ANTHROPIC_API_KEY"', 'file = "secret"')
            + '[deployments.l]\nprovider = "local"\n[local]\nmodel = "tiny.gguf"\n'
            + '[server.tls]\ncertificate = "chain.pem"\nkey = "key.pem"\n'
        )
        config = load(path, env={}).config
        opus = config.policy.deployments["opus"]
        assert opus.credential is not None
        assert config.server.tls is not None
        assert {opus.ca_bundle, opus.credential.file, config.server.tls.key, config.server.local.model} == {
            str(tmp_path / name) for name in ("ca.pem", "secret", "key.pem", "tiny.gguf")
        }
        assert config.policy.deployments["l"].model == "tiny"
        assert config.source_path == path
