"""Cards and IBANs, against python-stdnum and against lists of words, numbers and neighbours."""

import re
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from stdnum import iban, luhn
from tests.guard.numbers import draw, near_misses, spelled

from interlock.guard import Detector
from interlock.guard.payment import _BBAN

CARDS, IBANS = Detector(kinds=["card"]), Detector(kinds=["iban"])
BRANDS = [
    # prefix, digits, spellings
    ("4", 16, ("################", "#### #### #### ####", "####-####-####-####")),
    ("51", 16, ("################", "#### #### #### ####", "####-####-####-####")),
    ("2221", 16, ("################", "#### #### #### ####")),
    ("2720", 16, ("################", "#### #### #### ####")),
    ("34", 15, ("###############", "#### ###### #####", "####-######-#####")),
    ("37", 15, ("###############", "#### ###### #####")),
    ("36", 14, ("##############", "#### ###### ####")),
    ("3056", 14, ("##############", "#### ###### ####")),
    ("3528", 16, ("################", "#### #### #### ####")),
    ("6011", 16, ("################", "#### #### #### ####")),
    ("62", 16, ("################", "#### #### #### ####")),
    ("62", 19, ("###################", "#### #### #### #### ###")),
    ("4", 19, ("#### #### #### #### ###",)),
    ("5018", 16, ("################", "#### #### #### ####")),
    ("97920", 16, ("################", "#### #### #### ####")),
    ("2200", 16, ("################", "#### #### #### ####")),
]
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["N", "Cs"], exclude_characters="-.+_"), max_size=12)
SEEDS = st.integers(0, 2**32)


def pan(prefix: str, digits: int, chance: Random) -> str:
    body = prefix + "".join(chance.choices("0123456789", k=digits - 1 - len(prefix)))
    return body + luhn.calc_check_digit(body)


def found(detector: Detector, text: str) -> int:
    return sum(detection.count for detection in detector.scan(text))


@pytest.mark.parametrize("brand", BRANDS, ids=lambda brand: f"{brand[0]}-{brand[1]}")
@given(seed=SEEDS, before=WORDS, after=WORDS)
def test_a_card_between_words(brand: tuple[str, int, tuple[str, ...]], seed: int, before: str, after: str) -> None:
    prefix, digits, spellings = brand
    number = pan(prefix, digits, Random(seed))
    for how in spellings:
        assert found(CARDS, f"{before} {spelled(how, number)} {after}") == 1
        assert found(CARDS, f'{before}"{spelled(how, number)}",{after}') == 1
        assert found(CARDS, f"{before}:{spelled(how, number)}. {after}") == 1
        for other in Random(seed).sample(near_misses(number), 20):
            if " " not in how or not luhn.is_valid(other[:16]):  # sixteen, and a code of three behind them
                assert found(CARDS, f"{before} {spelled(how, other)} {after}") == 0


@pytest.mark.parametrize(("prefix", "digits"), [("4", 13), ("5018", 13), ("4", 19), ("5018", 17), ("3528", 18)])
@given(seed=SEEDS)
def test_a_number_of_unusual_length_needs_a_word(prefix: str, digits: int, seed: int) -> None:
    number = pan(prefix, digits, Random(seed))
    assert found(CARDS, f"the number {number} is in it") == 0
    for word in ("card number", "Kreditkarte", "tarjeta", "CVV 123,", "credit_card"):
        assert found(CARDS, f"{word} {number}") == 1
    assert [one.kind for one in CARDS.scan_document({"card": number})] == ["card"]
    assert CARDS.scan_document(["card", number]) == ()


@given(
    seed=SEEDS, prefix=st.sampled_from(["0", "1", "7", "2100", "2721", "3100", "3300", "3527", "3590", "8000", "9000"])
)
def test_what_no_network_gives_out_is_none(seed: int, prefix: str) -> None:
    number = pan(prefix, 16, Random(seed))
    assert found(CARDS, f"card {number} {spelled('#### #### #### ####', number)}") == 0


@given(seed=SEEDS)
def test_what_stands_around_a_card(seed: int) -> None:
    number = pan("4", 16, Random(seed))
    fours = spelled("#### #### #### ####", number)
    assert found(CARDS, f"id 42 {fours} 12/29 123, and 7 {number}, {fours} 123") == 3
    assert found(CARDS, f"2026 {fours}; {fours} 1226 123; {fours}\n{fours}") == 4
    assert found(CARDS, f"order-{number} /{number}/ ={number}& Nr.{number} +49 {fours}") == 5
    pieces = (f"0.{number}", f"-3.{number}e-5", f"{number}.5", f"9{number}", f"{number}9", f"a{number}", f"{number}b",
              f"+{number}", f"12-{number}", f"{number}-12", f"_{number}", fours.replace(" ", "  "),
              f"2026 {fours} 1226", f"2026 2027 {fours}", f"{fours} 1226 1227", f"{fours} {fours}",
              f"2026-2027-{fours.replace(' ', '-')}", fours.replace(" ", "."))  # fmt: skip
    for piece in pieces:
        assert found(CARDS, f"x {piece} y") == 0, piece


@given(seed=SEEDS)
def test_a_length_that_no_card_of_the_network_has(seed: int) -> None:
    for prefix, digits, how in (("34", 16, "#### #### #### ####"), ("51", 19, "#### #### #### #### ###"),
                                ("4", 15, "#### ###### #####"), ("2221", 15, "#### ###### #####"),
                                ("4", 14, "##############"), ("51", 13, "#############")):  # fmt: skip
        number = pan(prefix, digits, Random(seed))
        if digits < 19 or not luhn.is_valid(number[:16]):
            assert found(CARDS, f"card {spelled(how, number)}") == 0


def test_a_number_behind_one_that_is_none() -> None:
    fours = "4111 1111 1111 1111"
    assert not luhn.is_valid("5234411111111111")
    assert found(CARDS, f"5234 {fours}") == 1
    assert found(CARDS, f"5234-{fours.replace(' ', '-')}") == 0


def test_the_card_that_everybody_tries() -> None:
    number = "4" + "1" * 15
    assert found(CARDS, f"{number} {spelled('#### #### #### ####', number)}") == 2
    assert [one.kind for one in CARDS.scan_document({"n": int(number)})] == ["card"]


def test_what_typesetting_puts_between_groups() -> None:
    fours = "4111 1111 1111 1111"
    for space in "\u00a0\u2007\u2009\u202f":
        assert found(CARDS, fours.replace(" ", space)) == 1
    for dash in "\u2010\u2011\u2012\u2013":
        assert found(CARDS, fours.replace(" ", dash)) == 1


COUNTRIES = dict(entry.split(":") for entry in _BBAN.split())


def account(country: str, chance: Random) -> str:
    """Of the form that the registry gives, with its check digits."""
    form = re.sub(
        r"(\d+)([nac])", lambda part: {"n": "#", "a": "@", "c": "#"}[part[2]] * int(part[1]), COUNTRIES[country]
    )
    body = draw(form, chance)
    return country + iban.calc_check_digits(f"{country}00{body}") + body


def test_every_country_of_the_registry() -> None:
    listed = {country for country in (f"{a}{b}" for a in map(chr, range(65, 91)) for b in map(chr, range(65, 91)))
              if iban._ibandb.info(country)[0][1]}  # fmt: skip
    assert set(COUNTRIES) == listed


@pytest.mark.parametrize("country", COUNTRIES)
@given(seed=SEEDS)
def test_an_iban(country: str, seed: int) -> None:
    number = account(country, Random(seed))
    assume(len(set(number[4:])) > 1)
    assert iban.is_valid(number, check_country=False)
    grouped = " ".join(number[i : i + 4] for i in range(0, len(number), 4))
    for text in (number, grouped, f"IBAN: {number}.", f"({grouped})", f"{grouped} BIC COBADEFF", f"{grouped} 12 EUR",
                 f"AB12 {grouped}", f"{number},{country}", f'"{grouped}"'):  # fmt: skip
        assert found(IBANS, text) == 1, text
    for other in Random(seed).sample(near_misses(number), 20):
        if not iban.is_valid(other, check_country=False):
            assert found(IBANS, f"IBAN {other}") == 0, other
    unlike = "".join("A" if char.isdigit() else "1" for char in number[4:])
    if COUNTRIES[country].strip("0123456789") != "c":  # any letters and digits will do there
        assert found(IBANS, f"IBAN {country}{iban.calc_check_digits(f'{country}00{unlike}')}{unlike}") == 0
    for wrong in (number[:-1], f"{number}1", f"X{number}", f"{grouped}1", number.lower()):
        assert found(IBANS, f"IBAN {wrong} ") == 0, wrong
