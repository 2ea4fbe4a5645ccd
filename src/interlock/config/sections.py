"""The small sections: server, local model, limits, timeouts, retries, breaker, affinity: each read and checked.

Deployments, tiers and rules are read elsewhere.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from interlock.config.reading import PLACE, Table
from interlock.config.value import LocalModel, Server, Tls
from interlock.gateway import Affinity, Breaker, Limits, Retries, Timeouts

_KIB, _MIB = 1024, 1024 * 1024

LIMITS: dict[str, tuple[int, int, str]] = {
    "header_bytes": (_KIB, _MIB, "bytes"),
    "body_bytes": (_KIB, 1024 * _MIB, "bytes"),
    "connections": (1, 1_000_000, "connections a worker"),
    "held_bytes": (_KIB, 1 << 40, "bytes a worker"),
    "pipelined": (1, 1024, "requests a connection"),
    "upstream_connections": (1, 65_535, "connections an upstream host"),
    "answer_bytes": (_KIB, 1 << 40, "bytes"),
}
"""Smallest, largest, unit. A header of less than 1 KiB holds no key and no host; there are 65,535 ports to a host."""

SECONDS = ("header_s", "body_s", "keep_alive_s")
SECONDS_MIN, SECONDS_MAX = 0.001, 86_400.0  # a millisecond, and a day: less or more is never meant
ROUNDS_MAX = 10
FAILURES_MAX = 1000
CACHE_S_MAX, CALLS_MAX = 604_800.0, 10_000
SYNC_MS_MAX = 60_000
SYNC_WORDS = ("never", "tick")


def read_limits(table: Table) -> Limits:
    """[limits]"""
    default = Limits()
    values: dict[str, int | float] = {}
    for key, (low, high, unit) in LIMITS.items():
        standard = getattr(default, key)
        values[key] = table.integer(key, standard, low, high, unit) or standard
    for key in SECONDS:
        values[key] = table.seconds(key, getattr(default, key), SECONDS_MIN, SECONDS_MAX)
    table.done()
    if values["body_bytes"] > values["held_bytes"]:
        where = "body_bytes" if "body_bytes" in table.values else "held_bytes"
        table.problem(
            where,
            f"body_bytes {values['body_bytes']} is above held_bytes {values['held_bytes']}; expected at most that, "
            "or the largest body allowed could never be accepted",
        )
    return Limits(**values)  # type: ignore[arg-type]  # the keys are the fields, each of its own type


def read_timeouts(table: Table) -> Timeouts:
    """[timeouts]"""
    default = Timeouts()
    total_s = table.seconds("total_s", default.total_s, SECONDS_MIN, SECONDS_MAX)
    read = {"total_s": total_s}
    for key in ("connect_s", "first_byte_s", "idle_s"):
        read[key] = table.seconds(key, min(getattr(default, key), total_s), SECONDS_MIN, SECONDS_MAX)
        if read[key] > total_s:
            table.wrong(key, f"at most total_s ({total_s:g}), or it could never run out")
    # Who has patience for a first byte has it for the content behind it: files from before this key keep their meaning.
    patience_s = min(max(default.first_token_s, read["first_byte_s"]), total_s)
    read["first_token_s"] = table.seconds("first_token_s", patience_s, SECONDS_MIN, SECONDS_MAX)
    if read["first_token_s"] > total_s:
        table.wrong("first_token_s", f"at most total_s ({total_s:g}), or it could never run out")
    read["keep_alive_s"] = table.seconds("keep_alive_s", default.keep_alive_s, 0.0, SECONDS_MAX)
    table.done()
    return Timeouts(**read)


def read_retries(table: Table) -> Retries:
    """[retries]"""
    default = Retries()
    rounds = table.integer("rounds", default.rounds, 0, ROUNDS_MAX, "rounds; 0: none")
    wait_s_max = table.seconds("wait_s_max", default.wait_s_max, SECONDS_MIN, SECONDS_MAX)
    backoff_s = table.seconds("backoff_s", min(default.backoff_s, wait_s_max), SECONDS_MIN, SECONDS_MAX)
    if backoff_s > wait_s_max:
        table.wrong("backoff_s", f"at most wait_s_max ({wait_s_max:g}), or it would always be cut to that")
    table.done()
    return Retries(rounds=rounds or 0, backoff_s=backoff_s, wait_s_max=wait_s_max)


def read_breaker(table: Table) -> Breaker:
    """[breaker]"""
    default = Breaker()
    open_s = table.seconds("open_s", default.open_s, SECONDS_MIN, SECONDS_MAX)
    open_s_max = table.seconds("open_s_max", max(default.open_s_max, open_s), SECONDS_MIN, SECONDS_MAX)
    if open_s_max < open_s:
        table.wrong("open_s_max", f"at least open_s ({open_s:g})")
    value = Breaker(
        failures=table.integer("failures", default.failures, 0, FAILURES_MAX, "failures in a row; 0: never") or 0,
        window_s=table.seconds("window_s", default.window_s, SECONDS_MIN, SECONDS_MAX),
        open_s=open_s,
        open_s_max=open_s_max,
    )
    table.done()
    return value


def read_affinity(table: Table) -> Affinity:
    """[affinity]"""
    default = Affinity()
    value = Affinity(
        cache_s=table.seconds("cache_s", default.cache_s, 0.0, CACHE_S_MAX),
        calls=table.integer("calls", default.calls, 1, CALLS_MAX, "calls") or default.calls,
        breakpoints=table.flag("breakpoints", default.breakpoints) is not False,
    )
    table.done()
    return value


def read_local(table: Table, folder: Path) -> LocalModel:
    """[local]; whether it is enabled unless told is settled when the deployments are known."""
    default = LocalModel()
    model = table.text("model", default.model, rule="a model's name, or the path of a .gguf file")
    if model.endswith(".gguf"):
        model = str(_existing(table, "model", folder / model))
    value = LocalModel(
        model=model,
        context=table.integer("context", default.context, 256, 1 << 20, "tokens") or default.context,
        enabled=table.flag("enabled", False) or False,
        threads=table.integer("threads", None, 1, 1024, "threads"),
    )
    table.done()
    return value


def read_server(table: Table, local: LocalModel, folder: Path) -> Server:
    """[server]"""
    tls = _tls(table.table("tls"), folder)
    rule = 'where this machine is, in lower case, e.g. "eu-central-1"'
    region = table.text("region", rule=rule, check=PLACE.fullmatch)
    value = Server(tls=tls, region=region, journal_sync=_sync(table), local=local)
    table.done()
    return value


def _sync(table: Table) -> Literal["never", "tick"] | int:
    value = table.take("journal_sync")
    if value is None:
        return Server().journal_sync
    if value == "never":
        return "never"
    if value == "tick":
        return "tick"
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= SYNC_MS_MAX:
        return value
    table.wrong(
        "journal_sync", f'"never", "tick", or an integer from 1 to {SYNC_MS_MAX} (milliseconds)', ("never", "tick")
    )
    return Server().journal_sync


def _tls(table: Table, folder: Path) -> Tls | None:
    found = dict(_files(table, folder))
    table.done()
    return Tls(certificate=found["certificate"], key=found["key"]) if len(found) == 2 else None


def _files(table: Table, folder: Path) -> Iterator[tuple[str, str]]:
    for key in ("certificate", "key"):
        path = table.text(key, rule="the path of a PEM file")
        if path:
            yield key, str(_existing(table, key, folder / path))
        elif table.values:
            table.require(key, "the path of a PEM file: TLS needs both `certificate` and `key`")


def _existing(table: Table, key: str, path: Path) -> Path:
    """`path`, absolute; noted if there is no such file."""
    if not is_file(path):
        table.problem(key, "names a file that is not there; relative paths start at the configuration's folder")
    return path.absolute()


def is_file(path: Path) -> bool:
    """Whether there is a file, and not an error (a name too long, a folder we may not enter)."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False
