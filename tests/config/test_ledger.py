"""[ledger]: what is said becomes settings, and every mistake is named without showing a secret."""

from pathlib import Path

import pytest

from interlock.config import parse
from interlock.credentials import Credential
from interlock.errors import ConfigError
from interlock.meters import Rule, Settings, Store

HEAD = 'default_tier = "t"\ntiers.t = ["m"]\n[deployments.m]\nprovider = "openai"\n'
S3 = '[ledger.tables]\nplace = "s3://bucket/a/b"\n'
ARCHIVE = '[ledger.archive]\nplace = "s3://bucket/old"\n'


def read(text: str) -> Settings:
    return parse(HEAD + text, file="f", folder=Path("/nowhere"), env={"K": "x", "S": "y"}).config.ledger


def problems(text: str) -> str:
    with pytest.raises(ConfigError) as raised:
        read(text)
    return "\n".join(raised.value.problems)


def test_nothing_said_keeps_all_where_it_is() -> None:
    assert read("") == Settings()
    assert Settings().place(Path("/data/views/tables")) == "/data/views/tables"
    assert Settings().events.keep_days is None and Settings().archive is None


def test_a_store_and_rules() -> None:
    keys = 'endpoint = "http://127.0.0.1:9000"\naccess_key_id = { env = "K" }\nsecret_access_key = { file = "s" }\n'
    rules = '[ledger.events]\nkeep_days = 400\nthen = "archive"\ntenants.acme.drop_after_days = 30\n'
    found = read(S3 + keys + '[ledger.archive]\nplace = "old"\n' + rules)
    assert found.tables == Store(
        place="s3://bucket/a/b",
        endpoint="http://127.0.0.1:9000",
        access_key_id=Credential(env="K"),
        secret_access_key=Credential(file="/nowhere/s"),
    )
    assert found.archive == Store(place="/nowhere/old")
    assert found.events == Rule(keep_days=400, then="archive", tenants={"acme": 30}) and found.rollups == Rule()


def test_secrets_are_read_when_they_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s").write_text("hush\n")
    monkeypatch.setenv("K", "id")
    store = Store(
        place="s3://b/c",
        region="eu-1",
        access_key_id=Credential(env="K"),
        secret_access_key=Credential(file=str(tmp_path / "s")),
    )
    assert store.options() == {"region": "eu-1", "access_key_id": "id", "secret_access_key": "hush"}
    assert "hush" not in repr(store)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[ledger.tables]\nregion = "eu-1"\n', "f:6: ledger.tables: nothing here|place: nothing here"),
        ('[ledger.tables]\nplace = "s3://b"\n', "found"),
        ('[ledger.tables]\nplace = "s3://bucket/../x"\n', "expected a directory"),
        ('[ledger.tables]\nplace = "gs://bucket/x"\n', "expected a directory"),
        ('[ledger.tables]\nplace = "x"\nregion = "eu-1"\n', "a directory has none"),
        (S3 + 'endpoint = "https://user:pw@host"\n', "a host, and no path"),
        ('[ledger.archive]\nplace = "s3://user:pw@bucket/old"\n', "not shown"),
        (S3 + 'access_key_id = "AKIAIOSFODNN7EXAMPLE"\nsecret_access_key = { env = "S" }\n', "a literal"),
        (S3 + 'access_key_id = { env = "K" }\n', "both halves"),
        (S3 + "cache_bytes = 1\n", "67108864"),
        ("[ledger.events]\nkeep_days = 30\n", "then: nothing here"),
        ('[ledger.events]\nthen = "drop"\n', "keep_days: nothing here"),
        ('[ledger.events]\nkeep_days = 0\nthen = "drop"\n', "from 1 to 36500"),
        ('[ledger.events]\nkeep_days = 30\nthen = "keep"\n', 'one of "archive", "drop"'),
        ('[ledger.events]\nkeep_days = 30\nthen = "archive"\n', "archive: nothing here"),
        ('[ledger.rollups]\nkeep_days = 30\nthen = "drop"\ntenants.a.drop_after_days = 30\n', "less than keep_days"),
        ("[ledger.rollups.tenants.a]\n", "drop_after_days: nothing here"),
        ('[ledger.tables]\nplace = "s3://bucket/old/x"\n' + ARCHIVE, "nor in it or around it"),
        ('[ledger.tables]\nplace = "a/../b"\n[ledger.archive]\nplace = "b"\n', "nor in it or around it"),
        ('[ledger.log]\nx = 1\n', "unknown key"),
    ],
)  # fmt: skip
def test_mistakes(text: str, said: str) -> None:
    found = problems(text)
    assert any(one in found for one in said.split("|")), found
    assert "AKIAIOSFODNN7EXAMPLE" not in found and ":pw" not in found


def test_another_archive_beside_tables_with_a_like_name_is_let_be() -> None:
    assert read('[ledger.tables]\nplace = "s3://bucket/older"\n' + ARCHIVE).archive
