"""Each provider's shape read exactly, and what is wrong refused by its place."""

import gzip
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.reconciling import bills
from tests.reconciling.shapes import SHAPES

from interlock.errors import LocalError
from interlock.ledger import REQUESTS
from interlock.reconciling import Line, Statement, read
from interlock.reconciling.exports.aws import usage_type
from interlock.reconciling.statement import DAY_NS, HOUR_NS

SAMPLES = Path(__file__).parents[1] / "data" / "reconciling"
SONNET_4 = "claude-sonnet-4-20250514"


def sample(format: str, *names: str) -> Statement:
    return read(format, [SAMPLES / name for name in names], providers=["p"])


def figures(statement: Statement) -> dict[tuple[str, str], Any]:
    """By model and kind (a category where it is no usage): quantity, amount; what repeats left out."""
    return {
        (line.model, line.kind or ("" if line.category == "usage" else line.category)): (line.quantity, line.amount)
        for line in statement.lines
        if not line.repeat and (line.quantity is not None or line.amount is not None)
    }


def number(text: str) -> Decimal:
    return Decimal(text)


def test_openai_counts_cached_written_and_heard_tokens_once() -> None:
    found = figures(sample("openai", "openai-usage.json"))
    model = "gpt-4o-2024-08-06"
    assert {kind: quantity for (_, kind), (quantity, _) in found.items()} == {
        "input": 59_200 - 5_760 + 1_000 - 100 - 200 - 300,
        "cache_read": 5_860,
        "cache_write": 200,
        "audio_input": 300,
        "output": 10_646 + 150,
        "audio_output": 50,
        REQUESTS: 12,
        "web_search": 5,
    }
    assert {name for name, _ in found} == {model}


def test_a_bucket_without_results_is_part_of_what_was_asked() -> None:
    statement = sample("openai", "openai-usage.json")
    assert sorted({line.starts_ns // DAY_NS for line in statement.lines}) == [20697, 20698, 20699]
    assert [note for note in statement.notes if "images" in note]


def test_openai_costs_are_exact_whatever_they_are_written_as() -> None:
    found = figures(sample("openai", "openai-costs.json"))
    assert found == {
        ("gpt-4o-2024-08-06", "input"): (number("54340"), number("0.13585")),
        ("gpt-4o-2024-08-06", "cache_read"): (number("5840"), number("0.0073")),
        ("gpt-4o-2024-08-06", "output"): (number("10846"), number("0.10846")),
        ("gpt-4o-mini-2024-07-18", "cache_read"): (number("0"), number("0")),
        ("", "web_search"): (None, number("0.05")),
        ("", "code interpreter sessions"): (None, number("0.03")),
        ("", "credit"): (None, number("-1.5")),
    }


def test_usage_and_costs_together_count_once() -> None:
    both = figures(sample("openai", "openai-usage.json", "openai-costs.json"))
    assert both["gpt-4o-2024-08-06", "output"] == (number("10796"), number("0.10846"))


def test_the_dashboards_files() -> None:
    usage = figures(sample("openai", "openai-dashboard.csv"))
    assert usage["gpt-5-2025-08-07", "input"] == (46_264 - 8_192 + 5_783, None)
    assert usage["gpt-5-2025-08-07", REQUESTS] == (9, None)
    costs = sample("openai", "openai-dashboard-costs.csv")
    assert figures(costs) == {("", ""): (None, number("0.56177125"))}, "the second day stands last"
    assert [line.amount for line in costs.lines] == [number("0.895874"), number("0.56177125"), None]


def test_anthropics_amounts_are_cents() -> None:
    statement = sample("anthropic", "anthropic-usage.json", "anthropic-costs.json")
    found = figures(statement)
    assert found[SONNET_4, "input"] == (1520, number("1.2378912"))
    assert found[SONNET_4, "cache_write_1h"] == (1000, number("0.006"))
    assert found[SONNET_4, "cache_write_5m"] == (500, None)
    assert found[SONNET_4, "web_search"] == (10, None)
    assert found["", "web_search"] == (None, number("0.1"))
    assert found["", "code_execution"] == (None, number("0.025"))
    assert statement.amount_places == 7
    assert any("more pages follow" in note for note in statement.notes)
    [line] = [line for line in statement.lines if line.kind == "input"]
    assert (line.rows, line.priced) == (3, 1)


def test_awss_four_manners() -> None:
    statement = sample("aws", "aws-cur-2.csv")
    assert figures(statement) == {
        ("Claude4Sonnet", "input"): (12345, number("0.037035")),
        ("Claude4Sonnet", "cache_read"): (500, number("0.00015")),
        ("anthropic.claude-opus-5", "cache_write_1h"): (2000, number("0.02")),
        ("Claude Sonnet 4.5", "output"): (1234, number("0.01851")),
        ("Claude Sonnet 4.5", "input"): (2, number("0.000006")),
        ("", "credit"): (None, number("-0.01")),
        ("", "tax"): (None, number("0.0141")),
        ("", "USE1-Guardrail-ContentPolicyUnitsConsumed"): (None, number("0.00045")),
    }
    assert [line.places for line in statement.lines if line.repeat == "same"] == [("line 3",)]
    assert {line.ends_ns - line.starts_ns for line in statement.lines} == {HOUR_NS, 30 * DAY_NS}


@pytest.mark.parametrize(
    ("text", "model", "kind", "per"),
    [
        ("USE1-Claude3Haiku-input-tokens", "Claude3Haiku", "input", 1000),
        ("USE1-NovaPro-output-tokens-latency-optimized", "NovaPro", "output", 1000),
        ("USE1-Llama3-1-405B-output-tokens-batch", "Llama3-1-405B", "output", 1000),
        ("EUC1-Claude4.6Opus-cache-write-input-token-count", "Claude4.6Opus", "cache_write", 1000),
        ("USE1-openai.gpt-oss-120b-mantle-input-tokens-standard", "openai.gpt-oss-120b", "input", 1000),
        ("USE1-MP:USE1_CacheWrite1hInputTokenCount_Global-Units", "", "cache_write_1h", 1_000_000),
        ("USE1-MP:USE1_cache_read_tokens_standard-Units", "", "cache_read", 1_000_000),
        ("USE1-TitanEmbeddingV2-Text-input-tokens", "TitanEmbeddingV2", "input", 1000),
        ("USE1-Provisioned-ModelUnits", "", "", 1),
    ],
)
def test_usage_types(text: str, model: str, kind: str, per: int) -> None:
    assert usage_type(text)[1:] == (kind, per)
    assert not model or usage_type(text).model.startswith(model)


def test_azures_meters() -> None:
    assert figures(sample("focus", "focus-azure.csv")) == {
        ("gpt-4o-0806", "input"): (12345, number("0.030863")),
        ("gpt-4o-0806", "cache_read"): (500, number("0.000625")),
        ("gpt-4o-0806", "output"): (1234, number("0.01234")),
        ("", "refund"): (None, number("-0.002")),
        ("", "tax"): (None, number("0.0083")),
    }


def test_the_same_is_read_of_parquet_and_of_compressed_files(tmp_path: Path) -> None:
    """Costs as DECIMAL and as DOUBLE, as either kind of report has them."""
    import duckdb

    one = SHAPES["aws"].world(3)
    path = bills.table(tmp_path / "cur.csv", bills.aws_rows(one, bills.CUR_2))
    plain = read("aws", [path])
    for type in ("DECIMAL(38,15)", "DOUBLE"):
        place = tmp_path / f"{type[:3]}.parquet"
        with duckdb.connect() as db:
            db.execute(
                f"COPY (SELECT * REPLACE (line_item_unblended_cost::{type} AS line_item_unblended_cost, "
                f"line_item_usage_start_date::TIMESTAMP AS line_item_usage_start_date) "
                f"FROM read_csv('{path}', all_varchar = true)) TO '{place}' (FORMAT parquet)"
            )
        assert lines(read("aws", [place])) == lines(plain), type
    (tmp_path / "cur.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert lines(read("aws", [tmp_path / "cur.csv.gz"])) == lines(plain)


def lines(statement: Statement) -> list[Line]:
    """Without where they stand, which the format says in its own way; figures by their value."""
    return [msgspec.structs.replace(line, places=()) for line in statement.lines]


def test_pages_in_any_wrapping_are_the_same(tmp_path: Path) -> None:
    page = msgspec.json.decode((SAMPLES / "anthropic-usage.json").read_bytes())
    wrapped: dict[str, bytes] = {
        "page": msgspec.json.encode(page),
        "list of pages": msgspec.json.encode([page]),
        "list of buckets": msgspec.json.encode(page["data"]),
        "a page a line": msgspec.json.encode({"data": []}) + b"\n" + msgspec.json.encode(page) + b"\n",
        "a bucket a line": b"\n".join(msgspec.json.encode(one) for one in [*page["data"], *page["data"]]),
        "compressed": gzip.compress(msgspec.json.encode(page)),
    }
    found = []
    for name, data in wrapped.items():
        path = tmp_path / f"{name}.json"
        path.write_bytes(data)
        found.append(lines(read("anthropic", [path])))
    assert all(one == found[0] for one in found), "a bucket that stands twice is left out"


def test_columns_are_named(tmp_path: Path) -> None:
    path = tmp_path / "bill.tsv"
    path.write_text("when\tname\tin\tout\tusd\n2026-09-01T10:20:00\tm\t10\t5\t0.000123\n2026-09-01\tm\t\t7\t\n")
    named = [("start", "when"), ("model", "name"), ("input", "in"), ("output", "out"), ("amount", "usd")]
    statement = read("csv", [path], providers=["p"], named=named, width="month")
    assert figures(statement) == {
        ("m", "input"): (10, None),
        ("m", "output"): (12, None),
        ("m", ""): (None, number("0.000123")),
    }
    assert {(line.starts_ns // DAY_NS, line.ends_ns // DAY_NS) for line in statement.lines} == {(20697, 20727)}


def openai_costs(value: Any, **more: Any) -> bytes:
    result = {"object": "organization.costs.result", "amount": {"value": value, "currency": "usd"}, **more}
    bucket = {"start_time": 1788220800, "end_time": 1788307200, "results": [result]}
    return msgspec.json.encode({"data": [bucket]}).replace(b'"RAW', b"").replace(b'RAW"', b"")


HOSTILE: dict[str, tuple[str, bytes, str]] = {
    "nan": ("openai", openai_costs("NaN"), "data[0].results[0] amount.value"),
    "a JSON NaN": ("openai", openai_costs("RAWNaNRAW"), "not acceptable JSON"),
    "infinity": ("openai", openai_costs("-Infinity"), "amount.value"),
    "a huge exponent": ("openai", openai_costs("1e999999999"), "amount.value"),
    "a huge JSON exponent": ("openai", openai_costs("RAW1e99999RAW"), "amount.value"),
    "a thousand digits": ("openai", openai_costs("1" * 1000), "amount.value"),
    "ten thousand zeros": ("openai", openai_costs("0." + "0" * 10_000), "longer than"),
    "thousands apart": ("openai", openai_costs("1,234.5"), "amount.value"),
    "a currency sign": ("openai", openai_costs("$1"), "amount.value"),
    "true": ("openai", openai_costs(True), "amount.value"),
    "negative tokens": (
        "openai",
        b'{"data":[{"start_time":1788220800,"end_time":1788307200,"results":[{"input_tokens":-1}]}]}',
        "input_tokens",
    ),
    "half a token": (
        "openai",
        b'{"data":[{"start_time":1788220800,"end_time":1788307200,"results":[{"input_tokens":1.5}]}]}',
        "not a whole number",
    ),
    "more cached than there is": (
        "openai",
        b'{"data":[{"start_time":1,"end_time":2,"results":[{"input_tokens":1,"input_cached_tokens":2}]}]}',
        "input_cached_tokens",
    ),
    "an end before the start": ("openai", openai_costs(1).replace(b"1788307200", b"1788220800"), "does not end after"),
    "no results": ("openai", b'{"data":[{"start_time":1}]}', "not the report's shape"),
    "no bucket": ("openai", b'{"data":[7]}', "data[0]"),
    "another document": ("openai", b'{"error":{"message":"no"}}', "not the report's shape"),
    "a key twice": ("openai", b'{"data":[],"data":[]}', "JSON"),
    "no JSON": ("openai", b'{"data":[', "JSON"),
    "nothing": ("openai", b"", "empty"),
    "an unknown token type": (
        "anthropic",
        b'{"data":[{"starting_at":"2026-09-01T00:00:00Z","ending_at":"2026-09-02T00:00:00Z","results":'
        b'[{"amount":"1","currency":"USD","token_type":"dreams"}]}]}',
        "token_type",
    ),
    "another report": (
        "anthropic",
        b'{"data":[{"starting_at":"2026-09-01T00:00:00Z","ending_at":"2026-09-02T00:00:00Z","results":[{"a":1}]}]}',
        "neither an amount nor tokens",
    ),
    "columns that are not there": ("aws", b"a,b\n1,2\n", "line_item_usage_start_date"),
    "a column twice": ("aws", b"a,a\n1,2\n", "twice"),
    "a long column twice": ("csv", b"a" * 9_000 + b"," + b"a" * 9_000 + b"\n1,2\n", "twice"),
    "columns too many": ("csv", b"".join(b"%x," % n for n in range(2_001)) + b"0\n1\n", "more than 2000 columns"),
    "other columns, with long names": ("csv", b"a" * 9_000 + b",b\n1,2\n", "no column 'd'"),
    "cells too many": ("csv", b"d,q\n2026-09-01,1,2\n", "line 2: it has 3 cells"),
    "no time": ("csv", b"d,q\nyesterday,1\n", "line 2 d"),
    "a year too early": ("csv", b"d,q\n1812-09-01,1\n", "before 1970"),
    "not UTF-8": ("csv", b"d,q\n2026-09-01,\xff\n", "UTF-8"),
    "an open quote": ("csv", b'd,q\n2026-09-01,"1\n', "line 2"),
    "a damaged gzip": ("csv", gzip.compress(b"d,q\n" + b"2026-09-01,1\n" * 90_000)[:-20], "compressed file"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_wrong_is_refused_by_its_place(name: str, tmp_path: Path) -> None:
    format, data, said = HOSTILE[name]
    path = tmp_path / "export"
    path.write_bytes(data)
    named: Sequence[tuple[str, str]] = [("start", "d"), ("input", "q")] if format == "csv" else []
    with pytest.raises(LocalError) as error:
        read(format, [path], providers=["p"], named=named)
    assert said in error.value.message, error.value.message
    assert len(error.value.message) < 400


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.json"
    bomb.write_bytes(gzip.compress(b'{"data":[' + b" " * (80 << 20), compresslevel=1))
    with pytest.raises(LocalError, match="more than 67108864 bytes"):
        read("openai", [bomb])


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ([("when", "d")], "'when' is not one of"),
        ([("input", "q")], "start=COLUMN"),
        ([("start", "d")], "name an amount"),
        ([("start", "d"), ("quantity", "q")], "kind=COLUMN"),
        ([("start", "d"), ("start", "e"), ("input", "q")], "twice"),
    ],
)
def test_columns_that_are_named_wrongly(named: list[tuple[str, str]], said: str, tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=said):
        read("csv", [tmp_path / "none"], providers=["p"], named=named)


def test_whose_usage_has_to_be_said() -> None:
    with pytest.raises(LocalError, match="--of"):
        read("focus", [SAMPLES / "focus-azure.csv"])


def test_a_file_given_twice_is_read_once(tmp_path: Path) -> None:
    statement = sample("anthropic", "anthropic-usage.json", "anthropic-usage.json")
    assert lines(statement) == lines(sample("anthropic", "anthropic-usage.json"))
    assert any("same file" in note for note in statement.notes)
