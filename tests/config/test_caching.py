"""`cache` of a rule and [cache]: what is said becomes values, and every mistake is named without showing a secret."""

from pathlib import Path

import pytest

from interlock.caching import Caching, Settings
from interlock.config import parse
from interlock.credentials import Credential
from interlock.errors import ConfigError
from interlock.gateway import Facts, Policy

HEAD = 'default_tier = "t"\ntiers.t = ["m"]\n[deployments.m]\nprovider = "openai"\ncredential = { env = "K" }\n'
RULE = '[[rules]]\nname = "r"\ntier = "t"\n'
SERVER = '[cache]\nurl = "redis://h"\n'


def read(text: str) -> Policy:
    return parse(HEAD + text, file="f", folder=Path("/nowhere"), env={"K": "x"}).config.policy


def rule(cache: str) -> Caching | None:
    return read(f"{RULE}cache = {cache}\n").rules[0].cache


def problems(text: str) -> str:
    with pytest.raises(ConfigError) as raised:
        read(text)
    return "\n".join(raised.value.problems)


def test_nothing_is_cached_unless_a_rule_says_so() -> None:
    made = read(RULE)
    assert (made.rules[0].cache, made.cache, made.cache_facts) == (None, Settings(), Facts())


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("{ ttl_s = 60 }", Caching(ttl_s=60)),
        ('{ ttl_s = 60, share = "principal", hit_price = "free" }', Caching(ttl_s=60, share="principal")),
        ('{ ttl_s = 60, hit_price = "0.0001" }', Caching(ttl_s=60, hit_nanousd=100_000)),
        ("{ ttl_s = 60, hit_price = 0.0001 }", Caching(ttl_s=60, hit_nanousd=100_000)),
        ("{ ttl_s = 60, hit_price = 1 }", Caching(ttl_s=60, hit_nanousd=1_000_000_000)),
        ('{ ttl_s = 60, hit_price = "10%" }', Caching(ttl_s=60, hit_ppm=100_000)),
        ('{ ttl_s = 60, hit_price = "0.0001%" }', Caching(ttl_s=60, hit_ppm=1)),
        ('{ ttl_s = 60, hit_price = "100%" }', Caching(ttl_s=60, hit_ppm=1_000_000)),
    ],
)
def test_a_rule_says_how_long_for_whom_and_at_what_price(said: str, value: Caching) -> None:
    assert rule(said) == value


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("{ }", "ttl_s: nothing here"),
        ("{ ttl_s = 0 }", "from 1 to 2592000 (seconds)"),
        ('{ ttl_s = "1h" }', "from 1 to 2592000 (seconds)"),
        ('{ ttl_s = 60, share = "everybody" }', 'one of "tenant", "principal"'),
        ("{ ttl_s = 60, shares = 1 }", 'unknown key; did you mean "share"?'),
        *(
            (f"{{ ttl_s = 60, hit_price = {price} }}", "dollars for one answer")
            for price in (
                '"101%"',
                '"-1%"',
                '"0.00001%"',
                '"nan%"',
                '"%"',
                '"-1"',
                "nan",
                "true",
                '"a"',
                "[]",
                '"1e-10"',
            )
        ),
        ("true", "expected a table"),
    ],
)
def test_what_a_rule_must_not_say(said: str, message: str) -> None:
    assert message in problems(f"{RULE}cache = {said}\n")


def test_a_server_and_what_is_declared_of_it() -> None:
    said = '[cache]\nurl = "rediss://u@h:1/2"\ncredential = { file = "p" }\ntimeout_ms = 5\nwait_s = 0.5\n'
    made = read(said + "boundary = { local = true, retention_days = 1 }\n" + RULE + "cache = { ttl_s = 1 }\n")
    assert made.cache == Settings(
        url="rediss://u@h:1/2", credential=Credential(file="/nowhere/p"), timeout_ms=5, wait_ms=500
    )
    assert made.cache_facts == Facts(local=True, retention_days=1)


def test_less_memory_makes_smaller_entries() -> None:
    assert read("[cache]\nmemory_bytes = 1_048_576\n").cache.entry_bytes == 1_048_576


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ('url = "http://h"', "no redis, rediss, valkey or valkeys scheme"),
        ('url = "redis://"', "no redis, rediss, valkey or valkeys scheme, or no host"),
        ('url = "redis://u:hush@h"', "it holds a password"),
        ('url = "redis://:hush@h"', "it holds a password"),
        ('url = "redis://h?password=hush"', "a query"),
        ('url = "redis://h/db"', "no database's number"),
        ('url = "redis://h:99999999"', "not a URL"),
        ('url = "redis://h h"', "spaces"),
        ("url = 1", "not a string"),
        ('url = "redis://h"\ncredential = "hush"', "a literal (not shown)"),
        ('url = "redis://h"\nca_bundle = "none.pem"', "names a file that is not there"),
        ('credential = { env = "K" }', "there is none; expected `url`"),
        ("wait_s = 1", "there is none; expected `url`"),
        ("memory_bytes = 1_048_576\nentry_bytes = 2_097_152", "at most memory_bytes (1048576)"),
    ],
)
def test_what_the_section_must_not_say(said: str, message: str) -> None:
    found = problems(f"[cache]\n{said}\n{RULE}cache = {{ ttl_s = 1 }}\n")
    assert message in found
    assert "hush" not in found


def test_a_server_that_no_rule_uses_is_remarked_upon() -> None:
    loaded = parse(HEAD + SERVER, file="f", folder=Path("/"), env={"K": "x"})
    assert [warning for warning in loaded.warnings if "cache.url: is used by no rule" in warning]
