"""[tools]: what a good table becomes, and mistakes, none of which shows a secret."""

from pathlib import Path

import pytest

from interlock.config import parse
from interlock.credentials import Credential
from interlock.door import Allow, OAuth, Tools, ToolServer
from interlock.errors import ConfigError
from interlock.runtime.hands import Resources

BASE = """default_tier = "main"
[deployments.d]
provider = "openai"
base_url = "http://127.0.0.1:9/v1"
model = "m"
formats = ["chat"]
price = "free"
[tiers]
main = ["d"]
"""
SERVER = '[[tools.servers]]\nname = "a"\nurl = "http://a/mcp"\nallow = [{}]\n'
PROGRAM = '[[tools.servers]]\nname = "a"\ncommand = ["x"]\nallow = [{}]\n'


def tools(text: str, env: dict[str, str] | None = None) -> Tools:
    return parse(BASE + text, file="f", folder=Path("/etc/interlock"), env=env or {}).config.tools


def problems(text: str) -> str:
    with pytest.raises(ConfigError) as error:
        tools(text)
    return "\n".join(error.value.problems)


def test_without_a_table_there_are_none() -> None:
    assert tools("") == Tools()


def test_a_server_with_all_there_is() -> None:
    found = tools(
        """[tools]
first_seen = "ask"
origins = ["https://console.example"]
[[tools.servers]]
name = "github"
url = "https://mcp.example/mcp"
header = "x-api-key"
prefix = "gh_"
timeout_s = 5
result_bytes = 4096
allow = [{ tenants = ["acme"], principals = "ada*", tools = ["read_*", "list"] }, {}]
[tools.servers.oauth]
grant = "token_exchange"
token_url = "https://id.example/token"
client_id = "interlock"
client_secret = { env = "CLIENT" }
audience = "github"
scope = "repo"
subject = { file = "users/{tenant}/{principal}" }
[[tools.servers]]
name = "files"
command = ["python3", "-m", "files", "-m"]
read = ["/srv/files"]
env = { ROOT = "/srv/files" }
resources = { cpus = 0.5, processes = 32 }
allow = [{}]
""",
        {"CLIENT": "x"},
    )
    assert found.first_seen == "ask" and found.origins == ("https://console.example",)
    github, files = found.servers
    assert github == ToolServer(
        name="github",
        url="https://mcp.example/mcp",
        header="x-api-key",
        prefix="gh_",
        timeout_s=5.0,
        result_bytes=4096,
        allow=(Allow(tenants=("acme",), principals=("ada*",), tools=("read_*", "list")), Allow()),
        oauth=OAuth(
            grant="token_exchange",
            token_url="https://id.example/token",
            client_id="interlock",
            client_secret=Credential(env="CLIENT"),
            audience="github",
            scope="repo",
            subject=Credential(file="/etc/interlock/users/{tenant}/{principal}"),
        ),
    )
    assert github.per_principal and not files.per_principal
    assert files.command == ("python3", "-m", "files", "-m") and files.read == ("/srv/files",)
    assert files.resources == Resources(cpus=0.5, processes=32, memory_bytes=1 << 30, disk_bytes=64 << 20)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[[tools.servers]]\nname = "a"\nurl = "http://a/mcp"\n', "tools.servers[0].allow: nothing here"),
        ('[[tools.servers]]\nurl = "http://a/mcp"\nallow = [{}]\n', "tools.servers[0].name: nothing here"),
        ('[[tools.servers]]\nname = "a__b"\nurl = "http://a/mcp"\nallow = [{}]\n', "tools.servers[0].name"),
        ('[[tools.servers]]\nname = "a"\nallow = [{}]\n', "expected one of `url` and `command`"),
        (SERVER + 'command = ["x"]\n', "expected one of `url` and `command`"),
        (SERVER + SERVER, '"a" names two servers'),
        (SERVER + 'prefix = ""\n' + SERVER.replace('"a"', '"b"') + 'prefix = ""\n', "another server has the same"),
        (SERVER + 'prefix = "a.b"\n', "tools.servers[0].prefix"),
        (SERVER + 'header = "host"\n', "tools.servers[0].header"),
        (SERVER + 'header = "a: b\\nc: d"\n', "tools.servers[0].header"),
        (SERVER + 'read = ["/srv"]\n', "is for a server with a `command`"),
        (SERVER + "allow_all = true\n", "unknown key"),
        (SERVER + 'credential = "ghp_0123456789abcdef"\n', "found a literal (not shown)"),
        (SERVER + 'credential = { env = "A" }\n[tools.servers.oauth]\n', "tools.servers[0]"),
        (SERVER + '[tools.servers.oauth]\ntoken_url = "http://t"\nclient_id = "c"\n', "oauth.client_secret: nothing"),
        (
            SERVER + '[tools.servers.oauth]\ngrant = "token_exchange"\ntoken_url = "http://t"\nclient_id = "c"\n'
            'client_secret = { env = "A" }\n',
            "oauth.subject: nothing",
        ),
        (SERVER.replace("http://a", "http://u:hunter2-secret@a"), "it holds a password"),
        (
            '[[tools.servers]]\nname = "a"\ncommand = ["x"]\nallow = [{}]\ncredential = { env = "A" }\n',
            "given no secret",
        ),
        ('[[tools.servers]]\nname = "a"\ncommand = ["x"]\nallow = [{}]\nread = ["srv"]\n', "an absolute path"),
        (PROGRAM + 'read = ["/srv/../proc/1"]\n', "an absolute path"),
        (PROGRAM + 'read = ["/proc/1/root"]\n', "not below /dev, /proc, /sys"),
        (PROGRAM + "resources = { memory_bytes = 1024 }\n", "an integer from 8388608 to 4398046511104 (bytes)"),
        (PROGRAM + "resources = { cpus = 0 }\n", "a number from 0.01 to 1024 (cores)"),
        (PROGRAM + "resources = { processes = 0 }\n", "resources.processes"),
        (PROGRAM + "resources = { disk_bytes = 0 }\n", "resources.disk_bytes"),
        (PROGRAM + "resources = { time_s = 3 }\n", "unknown key"),
        (PROGRAM + "resources = 3\n", "resources: found 3; expected a table"),
        (SERVER + "resources = { cpus = 1 }\n", "is for a server with a `command`"),
        ('[[tools.servers]]\nname = "a"\ncommand = "x"\nallow = [{}]\n', "an array of 1 to 64 words"),
        ('[tools]\norigins = ["https://a/path"]\n', "tools.origins[0]"),
        ('[tools]\nfirst_seen = "yes"\n', "tools.first_seen"),
        ("[tools]\nservers = 3\n", "tools.servers"),
    ],
)
def test_a_mistake_is_named_and_no_secret_shown(text: str, words: str) -> None:
    found = problems(text)
    assert words in found
    assert "hunter2" not in found and "ghp_0123" not in found


def test_a_link_to_the_data_directory_shows_it_too(tmp_path: Path) -> None:
    data, link = tmp_path / "home" / "data", tmp_path / "link"
    data.mkdir(parents=True)
    link.symlink_to(data.parent)
    for shown in (data, link, link / "data" / "journal", tmp_path):
        with pytest.raises(ConfigError, match=r"tools.servers\[0\].read\[1\]: would show the data directory"):
            parse(f'{BASE}{PROGRAM}read = ["/srv", "{shown}"]', file="f", folder=tmp_path, env={}, data=data)
    parse(f'{BASE}{PROGRAM}read = ["{tmp_path / "homes"}"]', file="f", folder=tmp_path, env={}, data=data)
