"""Merging the workers' snapshots into one text."""

import os
from pathlib import Path

import msgspec
import pytest

from interlock.control.metrics import FRESH_NS, METRICS, read_snapshots, render, series

ATTEMPTS = series("interlock_attempts_total", deployment='a"b\\c', outcome="completed")
READY = series("interlock_deployment_ready", deployment="a")


def test_counters_are_summed_and_readiness_is_the_least() -> None:
    text = render({"0": {ATTEMPTS: 2, READY: 1}, "1": {ATTEMPTS: 3, READY: 0}})
    assert 'interlock_attempts_total{deployment="a\\"b\\\\c",outcome="completed"} 5\n' in text
    assert 'interlock_deployment_ready{deployment="a"} 0\n' in text
    assert text.count("# TYPE") == text.count("# HELP") == 2


@pytest.mark.parametrize(
    "key",
    [
        "unknown_total",
        'interlock_connections{a="b"}',
        "interlock_attempts_total",
        'interlock_attempts_total{outcome="x",deployment="y"}',
        "interlock_connections 1\nevil",
        'interlock_policy_info{version="a\nb"}',
    ],
)
def test_what_is_not_ours_is_left_out(key: str) -> None:
    assert render({"0": {key: 1}}) == "\n"


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_can_be_written_and_read(name: str) -> None:
    key = series(name, **dict.fromkeys(METRICS[name].labels, 'x",y="\\'))
    assert f"{key} 7\n" in render({"0": {key: 7}})


def test_large_counts_stay_exact() -> None:
    assert f"interlock_cost_nanousd_total {2**60 + 1}\n" in render({"c": {"interlock_cost_nanousd_total": 2**60 + 1}})


def test_a_worker_that_stopped_writing_keeps_its_counters_only(tmp_path: Path) -> None:
    path = tmp_path / "metrics-0"
    path.write_bytes(msgspec.json.encode({ATTEMPTS: 2, READY: 1}))
    written_ns = path.stat().st_mtime_ns
    up = series("interlock_worker_up", worker="0")
    assert read_snapshots(tmp_path, written_ns + FRESH_NS - 1) == {"0": {ATTEMPTS: 2, READY: 1, up: 1}}
    assert read_snapshots(tmp_path, written_ns + FRESH_NS) == {"0": {ATTEMPTS: 2, up: 0}}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"a":"b"}', b"{" + b" " * (1 << 20) + b"}"])
def test_a_file_that_is_not_a_snapshot_is_a_worker_that_is_down(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "metrics-3").write_bytes(content)
    (tmp_path / "metrics-3.tmp").write_bytes(content)
    os.utime(tmp_path / "metrics-3", ns=(0, 0))
    assert read_snapshots(tmp_path, 1) == {"3": {series("interlock_worker_up", worker="3"): 0}}
