"""A manifest is what was stored, to the byte, or it is refused."""

import random

import pytest
from tests.tables.test_plan import file

from interlock.tables import Damaged
from interlock.tables.manifest import Manifest, decode, encode

ONE = Manifest(history="h", seq=7, chain="c7", columns={"t": [("day", "DATE")]}, files=(file(1, 2), file(2, 3)))


def test_it_comes_back() -> None:
    stored = encode(ONE)
    again = decode(stored)
    assert (again.files, again.seq, again.columns) == (ONE.files, 7, ONE.columns)
    assert encode(again) == stored
    assert len([line for line in stored.splitlines() if b'"name"' in line]) == 2  # a file a line
    assert decode(encode(Manifest(history="h", columns={}))).files == ()


def test_every_change_of_a_byte_is_found() -> None:
    stored, chance = encode(ONE), random.Random(1)
    for at in range(len(stored)):
        changed = bytearray(stored)
        changed[at] ^= 1 << chance.randrange(7)
        with pytest.raises(Damaged, match=r"manifest\.json"):
            decode(bytes(changed))
        with pytest.raises(Damaged):
            decode(stored[:at])
