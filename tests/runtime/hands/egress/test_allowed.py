"""Patterns, the hosts they mean, and the addresses that a name may not lead to."""

import ipaddress
from pathlib import Path

import pytest

from interlock.errors import LocalError
from interlock.runtime.hands.egress.allowed import PATTERNS_MAX, address, normal, own_addresses, parse, why_not

LIST = ("api.example.com:443", "*.pkg.example:443", "*.any.example:*", "192.0.2.7:8080", "[2001:DB8::1]:443")


@pytest.mark.parametrize(
    ("host", "port", "permitted"),
    [
        ("api.example.com", 443, True),
        ("API.Example.COM.", 443, True),
        ("api.example.com", 80, False),
        ("xapi.example.com", 443, False),
        ("x.api.example.com", 443, False),
        ("example.com", 443, False),
        ("a.pkg.example", 443, True),
        ("a.b.pkg.example", 443, True),
        ("pkg.example", 443, False),
        ("evilpkg.example", 443, False),
        ("a.any.example", 22, True),
        ("192.0.2.7", 8080, True),
        ("192.0.2.8", 8080, False),
        ("[2001:db8:0::1]", 443, True),
        ("2001:db8::2", 443, False),
        ("::ffff:192.0.2.7", 8080, False),
    ],
)
def test_a_host_and_port_are_listed_or_not(host: str, port: int, permitted: bool) -> None:
    name = normal(host)
    assert name is not None
    assert parse(LIST).permits(name, port) is permitted


@pytest.mark.parametrize(
    "host",
    ["", ".", "a..b", "-a.example", "a b", "127.1", "2130706433", "0x7f000001", "0x7f.0.0.1", "017700000001",
     "1.2.3.4.5", "a.example.5", "a.0x1", "[::1", "::1]", "[fe80::1%eth0]", "a/b", "a@b", "a" * 64, "a." * 127 + "ab",
     "a\0b", "*"],
)  # fmt: skip
def test_what_means_different_things_to_different_programs_is_no_host(host: str) -> None:
    assert normal(host) in {None, "::1" if host == "::1" else None}


@pytest.mark.parametrize(
    "pattern",
    ["a.example", "a.example:", ":443", "a.example:0", "a.example:65536", "a.example:https", "*:443", "*.*:443",
     "a.*.example:443", "*.1.2.3.4:443", "::1:443", "1.2.3:443", "a.example:-1", "a.example:4٤3", "http://a.example:443"],
)  # fmt: skip
def test_what_is_no_pattern_is_refused_by_its_place(pattern: str) -> None:
    with pytest.raises(LocalError) as refused:
        parse(("ok.example:443", pattern))
    assert refused.value.field == "resources.egress[1]"


def test_there_are_so_many_patterns_and_no_more() -> None:
    parse(["a.example:1"] * PATTERNS_MAX)
    with pytest.raises(LocalError):
        parse(["a.example:1"] * (PATTERNS_MAX + 1))


def test_a_name_of_any_script_is_compared_as_it_is_asked_for() -> None:
    assert parse(("bücher.example:443",)).permits("xn--bcher-kva.example", 443)


@pytest.mark.parametrize(
    "where",
    ["127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254",
     "100.100.100.200", "168.63.129.16", "192.0.0.192", "198.18.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1",
     "255.255.255.255", "::",
     "::1", "fe80::1", "fd00:ec2::254", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254",
     "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a9fe:a9fe::1",
     "2001:0:7f00:1::1", "8.8.8.8"],
)  # fmt: skip
def test_no_name_leads_into_this_machine_or_its_network(where: str) -> None:
    assert why_not(ipaddress.ip_address(where), frozenset({ipaddress.ip_address("8.8.8.8")}))


@pytest.mark.parametrize(
    "where", ["8.8.8.8", "1.1.1.1", "::ffff:8.8.8.8", "2606:4700:4700::1111", "64:ff9b::808:808", "2002:808:808::1"]
)
def test_public_addresses_are_no_way_in(where: str) -> None:
    assert why_not(ipaddress.ip_address(where)) == ""


def test_this_machines_addresses_are_read_from_its_tables(tmp_path: Path) -> None:
    (tmp_path / "fib_trie").write_text(
        "Local:\n  |-- 198.51.100.7\n     /32 host LOCAL\n  |-- 198.51.100.9\n     /32 link\n"
    )
    (tmp_path / "if_inet6").write_text("20010db8000000000000000000000009 02 40 00 80 eth0\n")
    assert own_addresses(tmp_path) == {address("198.51.100.7"), address("2001:db8::9")}
    assert address("127.0.0.1") in own_addresses()
