"""[[quotas]], [reserve], [server.sharing] and [server.webhook]: what they become, and each mistake by its name."""

from pathlib import Path
from typing import Any

import pytest

from interlock.config import Config, parse
from interlock.credentials import Credential
from interlock.errors import ConfigError
from interlock.limits import Limit

BASE = """
default_tier = "t"
[deployments.a]
provider = "x"
base_url = "http://h/v1"
price = "free"
[tiers]
t = ["a"]
"""


def read(text: str) -> Config:
    return parse(BASE + text, file="f", folder=Path("/"), env={"P": "x"}).config


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text)
    return list(caught.value.problems)


QUOTA = '[[quotas]]\nname = "q"\n'


@pytest.mark.parametrize(
    ("rest", "limit"),
    [
        (
            'measure = "requests"\namount = 5\nwindow = "minute"',
            Limit(name="q", measure="requests", amount=5, window="minute"),
        ),
        ('measure = "concurrency"\namount = 0', Limit(name="q", measure="concurrency", amount=0)),
        (
            'measure = "usd"\namount = "0.000000001"\nwindow = "day"',
            Limit(name="q", measure="nanousd", amount=1, window="day"),
        ),
        (
            'measure = "usd"\namount = 3.0\nwindow = "day"\noverdraft = "0.5"\nwarn_at = [1, 100]',
            Limit(name="q", measure="nanousd", amount=3 * 10**9, window="day", overdraft=5 * 10**8, warn_at=(1, 100)),
        ),
        (
            'measure = "tokens"\namount = 1\nwindow = "month"\nper = ["key", "session"]\ntenants = ["a"]',
            Limit(name="q", measure="tokens", amount=1, window="month", per=("key", "session"), tenants=("a",)),
        ),
    ],
)
def test_a_limit(rest: str, limit: Limit) -> None:
    assert read(QUOTA + rest).policy.quotas == (limit,)


@pytest.mark.parametrize(
    ("rest", "said"),
    [
        ('measure = "request"\namount = 1', 'quotas[0].measure: found "request"'),
        ("amount = 1", "quotas[0].measure: nothing here"),
        ('measure = "requests"\nwindow = "day"', "quotas[0].amount: nothing here"),
        ('measure = "requests"\namount = 1', "quotas[0]: concurrency has no window, and everything else has one"),
        ('measure = "requests"\namount = -1\nwindow = "day"', "quotas[0].amount: found -1; expected an integer from 0"),
        ('measure = "requests"\namount = 1\nwindow = "week"', 'quotas[0].window: found "week"; expected one of'),
        ('measure = "usd"\namount = true\nwindow = "day"', "quotas[0].amount: found"),
        ('measure = "usd"\namount = "much"\nwindow = "day"', 'quotas[0].amount: found "much"; expected dollars'),
        ('measure = "usd"\namount = "9999999999"\nwindow = "day"', "quotas[0].amount: found"),
        ('measure = "requests"\namount = 1\nwindow = "day"\nper = ["team"]', 'quotas[0].per[0]: found "team"'),
        ('measure = "requests"\namount = 1\nwindow = "day"\nwarn_at = [90, 80]', "quotas[0]: warn_at is not"),
        ('measure = "requests"\namount = 1\nwindow = "day"\nwarn_at = "80"', "quotas[0].warn_at: found"),
        ('measure = "requests"\namount = 1\nwindow = "day"\nlimit = 3', "quotas[0].limit: unknown key"),
    ],
)
def test_a_mistake_is_named(rest: str, said: str) -> None:
    found = problems(QUOTA + rest)
    assert any(said in problem for problem in found), found


def test_a_name_that_nobody_has_is_warned_of() -> None:
    text = QUOTA + 'measure = "requests"\namount = 1\nwindow = "day"\ndeployments = ["b"]\nmodels = ["a"]\n'
    loaded = parse(BASE + text, file="f", folder=Path("/"), env={})
    assert any('quotas[0].deployments: "b" is none of the policy' in line for line in loaded.warnings), loaded.warnings
    assert not any("models" in line for line in loaded.warnings)


def test_two_of_a_name() -> None:
    one = QUOTA + 'measure = "requests"\namount = 1\nwindow = "day"\n'
    assert any("named twice" in problem for problem in problems(one + one))


def test_what_is_reserved() -> None:
    assert read("").policy.reserve == {"": 4096}
    assert read("[reserve]\ndefault = 10\nt = 20\n").policy.reserve == {"": 10, "t": 20}
    assert any('there is no tier "u"' in problem for problem in problems("[reserve]\nu = 20\n"))
    assert any("reserve.t: found -1" in problem for problem in problems("[reserve]\nt = -1\n"))


@pytest.mark.parametrize("scheme", ["redis", "rediss", "valkey", "valkeys"])
def test_the_authority_and_the_cache_take_the_same_addresses(scheme: str) -> None:
    loaded = read(f'[server.sharing]\nurl = "{scheme}://h:6379"\n[cache]\nurl = "{scheme}://h:6379"\n')
    assert loaded.server.sharing is not None
    assert loaded.server.sharing.url == loaded.policy.cache.url == f"{scheme}://h:6379"


def test_who_counts_and_who_is_told() -> None:
    server = read(
        '[server.sharing]\nurl = "redis://h:6379"\n[server.webhook]\nurl = "https://h/x"\nsecret = { env = "P" }'
    ).server
    assert server.sharing is not None and server.sharing.url == "redis://h:6379" and server.sharing.machine == ""
    assert server.webhook is not None and server.webhook.secret == Credential(env="P")
    assert read("").server.sharing is None and read("").server.webhook is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[server.sharing]\nurl = "http://h"', "server.sharing.url: it has no redis, rediss, valkey or valkeys scheme"),
        ('[server.sharing]\nurl = "redis://u:secretword@h"', "server.sharing.url: it holds a password"),
        ('[server.sharing]\nmachine = "a/b"', "server.sharing.machine: found"),
        (
            '[server.webhook]\nurl = "ftp://h"\nsecret = { env = "P" }',
            "server.webhook.url: it has no http or https scheme",
        ),
        ('[server.webhook]\nurl = "https:///hooks/secretword"', "server.webhook.url: it has no http or https scheme"),
        ('[server.webhook]\nurl = "https://h"', "server.webhook.secret: nothing here"),
        (
            '[server.webhook]\nurl = "https://h"\nsecret = "secretword"',
            "server.webhook.secret: found a literal (not shown)",
        ),
    ],
)
def test_their_mistakes_are_named_and_no_secret_shown(text: str, said: Any) -> None:
    found = problems(text)
    assert any(said in problem for problem in found), found
    assert "secretword" not in "".join(found)


def test_which_balances_are_told() -> None:
    hook = '[server.webhook]\nurl = "https://h/x"\nsecret = { env = "P" }\n'
    server = read(hook + '[credits]\nwarn_below = ["10", "0.5"]\n').server
    assert server.webhook is not None and server.webhook.below_nanousd == (10 * 10**9, 5 * 10**8)
    plain = read(hook).server.webhook
    assert plain is not None and plain.below_nanousd == ()
    loaded = parse(BASE + '[credits]\nwarn_below = ["1"]\n', file="f", folder=Path("/"), env={})
    assert any("credits.warn_below: nobody is told" in warning for warning in loaded.warnings)


@pytest.mark.parametrize("value", ['["1", "10"]', '["1", "1"]', '["0"]', '["-1"]', '["much"]', "true", str([9] * 9)])
def test_balances_are_amounts_each_less_than_the_one_before(value: str) -> None:
    found = problems(f"[credits]\nwarn_below = {value}\n")
    assert any("credits.warn_below: found" in problem and "expected at most 8 amounts" in problem for problem in found)
    assert any("credits.below" in problem for problem in problems('[credits]\nbelow = ["1"]\n'))
