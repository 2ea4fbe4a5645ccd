"""The files are anybody's: DuckDB in another process, and its shell of another version, give the same rows."""

import json
import random
import subprocess
import sys
from pathlib import Path

import duckdb
import duckdb_cli
import pytest
from tests.tables.samples import TABLES, Row, commit, expected_sums, random_rows, small_parts

from interlock.tables import Tables

MANIFEST = """
SET VARIABLE files = (SELECT list(file.name) FROM (SELECT unnest(files) AS file FROM 'manifest.json')
                      WHERE file."table" = 'events');
SELECT tenant, day, count(*) AS n FROM read_parquet(getvariable('files'), hive_partitioning = false)
GROUP BY ALL ORDER BY ALL;
"""
GLOB = """
SELECT tenant, day, count(*) AS n FROM read_parquet('events/**/*.parquet', hive_partitioning = false)
GROUP BY ALL ORDER BY ALL;
"""
HIVE = """
SELECT tenant, day, count(*) AS n
FROM read_parquet('events/tenant=*/**/*.parquet', hive_partitioning = true, hive_types = {{'tenant': VARCHAR}})
WHERE tenant = '{0}' GROUP BY ALL ORDER BY ALL;
"""


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, object]]]:
    """A directory of tables, merged and closed, and what each engine is to answer."""
    place, rows = tmp_path_factory.mktemp("tables"), list[Row]()
    with pytest.MonkeyPatch.context() as patch:
        small_parts(patch)
        tables = Tables(place, TABLES, grace_s=0)
        for seq in range(1, 40):
            rows += (new := random_rows(random.Random(seq), 60, tenants=("acme", "a/b é", "7")))
            commit(tables, new, seq)
            while tables.compact():
                pass
        tables.close()
    counts = [{"tenant": tenant, "day": day, "n": n} for (tenant, day), (_, n) in sorted(expected_sums(rows).items())]
    return place, counts


@pytest.mark.parametrize("query", [MANIFEST, GLOB], ids=["manifest", "glob"])
def test_duckdbs_shell_reads_them(filled: tuple[Path, list[dict[str, object]]], query: str) -> None:
    place, expected = filled
    assert shell(place, query) == expected


@pytest.mark.parametrize("tenant", ["acme", "7", "a/b é"])
def test_a_tenants_own_files_have_hives_layout(filled: tuple[Path, list[dict[str, object]]], tenant: str) -> None:
    place, expected = filled
    found = shell(place, HIVE.format(tenant))
    assert found and all(row["tenant"] == tenant for row in found)
    bounds = {(row["tenant"], row["day"]): row["n"] for row in expected}
    assert all(row["n"] <= bounds[row["tenant"], row["day"]] for row in found)  # type: ignore[operator]  # numbers


def test_another_process_reads_them(filled: tuple[Path, list[dict[str, object]]]) -> None:
    place, expected = filled
    program = f"import duckdb; [print(*row, sep='|') for row in duckdb.sql({GLOB!r}).fetchall()]"
    done = subprocess.run([sys.executable, "-c", program], cwd=place, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["{tenant}|{day}|{n}".format(**row) for row in expected], done.stderr


def shell(place: Path, query: str) -> list[dict[str, object]]:
    """What DuckDB's shell answers."""
    assert duckdb_cli.__name__ and duckdb.__version__
    program = Path(sys.executable).parent / "duckdb"
    done = subprocess.run([program, "-json", "-c", query], cwd=place, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, object]] = json.JSONDecoder().decode(done.stdout)
    return rows
