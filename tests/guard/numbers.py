"""Numbers to be found and not to be found: drawn at random, and judged by python-stdnum, which knows nothing of us.

A template has `#` for a digit, `@` for a capital letter, `[AB]` for one of these, `{ymd}`, `{dmy}`, `{dm}` for
a day, `{Dmy}` for a day that is 40 more.
"""

import importlib
import re
from collections.abc import Callable
from random import Random
from typing import NamedTuple

DIGITS, CAPITALS = "0123456789", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
Judge = Callable[[str], bool]


class Id(NamedTuple):
    """One kind of national id: how one is drawn, who judges it, how it is spelled."""

    kind: str
    judge: str | Judge
    """A module of python-stdnum, or a function."""
    template: str
    word: str
    alone: tuple[str, ...] = ()
    """Spellings found with no word near them: `#` is the next character of the number."""
    named: tuple[str, ...] = ()
    """Spellings that are found only with the word near them."""

    def is_valid(self, number: str) -> bool:
        """What the judge says."""
        if callable(self.judge):
            return self.judge(number)
        return bool(importlib.import_module(f"stdnum.{self.judge}").is_valid(number))

    def valid(self, chance: Random) -> str:
        """A number that the judge takes, without separators."""
        for _ in range(100_000):
            number = draw(self.template, chance)
            if self.is_valid(number):
                return number
        raise AssertionError(f"{self.kind}: nothing drawn is valid")


def draw(template: str, chance: Random) -> str:
    """One of what a template means."""
    day, month, year = f"{chance.randrange(1, 29):02}", f"{chance.randrange(1, 13):02}", f"{chance.randrange(100):02}"
    template = template.replace("{ymd}", year + month + day).replace("{dmy}", day + month + year)
    template = template.replace("{dm}", day + month).replace("{Dmy}", f"{int(day) + 40}{month}{year}")
    template = re.sub(r"\[(.*?)\]", lambda choice: chance.choice(choice[1]), template)
    return re.sub("[#@]", lambda hole: chance.choice(DIGITS if hole[0] == "#" else CAPITALS), template)


def spelled(spelling: str, number: str) -> str:
    """The number's characters in the place of each `#`."""
    letters = iter(number)
    text = "".join(next(letters) if char == "#" else char for char in spelling)
    assert next(letters, None) is None, f"{spelling!r} is too short for {number!r}"
    return text


def near_misses(number: str) -> list[str]:
    """Every number that differs in one character, of the same sort."""
    found = []
    for place, char in enumerate(number):
        letters = DIGITS if char in DIGITS else CAPITALS if char in CAPITALS else char
        found += [number[:place] + other + number[place + 1 :] for other in letters if other != char]
    return found


def _ausweis(serial: str) -> bool:
    """By ICAO Doc 9303: a letter is its place in the alphabet and nine."""
    values = [ord(char) - ord("A") + 10 if char.isalpha() else int(char) for char in serial[:9]]
    if not set(serial) <= set("CFGHJKLMNPRTVWXYZ" + DIGITS):  # no vowels, and no letters that look like digits
        return False
    return sum(value * (7, 3, 1)[place % 3] for place, value in enumerate(values)) % 10 == int(serial[9])


def _nino(number: str) -> bool:
    """By HMRC's manual NIM39110."""
    first, second = number[0], number[1]
    given = first not in "DFIQUV" and second not in "DFIQUVO"
    return given and number[:2] not in {"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"} and number[8] in "ABCD"


def _nric(number: str) -> bool:
    """The letters in the order of the rest itself."""
    rest = sum(int(digit) * weight for digit, weight in zip(number[1:8], (2, 7, 6, 5, 4, 3, 2), strict=True))
    rest = (rest + (number[0] in "TG") * 4) % 11
    return number[0] in "STFG" and number[8] == ("ABCDEFGHIZJ" if number[0] in "ST" else "KLMNPQRTUWX")[10 - rest]


NINE, TEN, ELEVEN, THIRTEEN = "#########", "##########", "###########", "#############"
IDS = (
    Id("at-svnr", "at.vnr", "####{dmy}", "SVNR", (), (TEN, "#### ######")),
    Id("be-rijksregisternummer", "be.nn", "{ymd}#####", "INSZ",
       ("##.##.##-###.##", "##.##.##-###-##"), (ELEVEN,)),
    Id("bg-egn", "bg.egn", "{ymd}####", "ЕГН", (), (TEN,)),
    Id("ch-ahv", "ch.ssn", "756##########", "", (THIRTEEN, "###.####.####.##")),
    Id("cz-rodne-cislo", "cz.rc", "{ymd}####", "rodné číslo", ("######/####",), (TEN,)),
    Id("de-personalausweis", _ausweis, "[LMNPRTVWXY][CFGHJKLMNPRTVWXYZ]########", "Personalausweis", (), (TEN,)),
    Id("de-steuer-id", "de.idnr", ELEVEN, "Steuer-ID", ("## ### ### ###",), (ELEVEN,)),
    Id("dk-cpr", "dk.cpr", "{dmy}####", "CPR", (), (TEN, "######-####")),
    Id("ee-isikukood", "ee.ik", "[3456]{ymd}####", "isikukood", (), (ELEVEN,)),
    Id("es-dni", "es.dni", "########@", "DNI", ("########-#", "##.###.###-#"), (NINE,)),
    Id("es-nie", "es.nie", "[XYZ]#######@", "NIE", ("#-#######-#",), (NINE,)),
    Id("fi-hetu", "fi.hetu", "{dmy}[-A]###[0123456789ABCDEFHJKLMNPRSTUVWXY]", "", (ELEVEN,)),
    Id("fr-nir", "fr.nir", "[12]##0[123456789][123456789]#########", "",
       ("###############", "# ## ## ## ### ### ##", "############# ##")),
    Id("fr-nir", "fr.nir", "[78]##[23456789]#[123456789]#########", "n° de sécu", (), ("###############",)),
    Id("fr-nir", "fr.nir", "[12]##0[123456789]2[AB]########", "", ("###############",)),
    Id("gr-amka", "gr.amka", "{dmy}#####", "ΑΜΚΑ", (), (ELEVEN,)),
    Id("hr-oib", "hr.oib", ELEVEN, "OIB", (), (ELEVEN,)),
    Id("ie-pps", "ie.pps", "#######@[ABCDEFGHI]", "PPSN", (), (NINE,)),
    Id("ie-pps", "ie.pps", "#######@", "PPSN", (), ("########",)),
    Id("is-kennitala", "is_.kennitala", "{dmy}###[90]", "kennitala", (), (TEN, "######-####")),
    Id("it-codice-fiscale", "it.codicefiscale", "@@@@@@##[ABCDEHLMPRST][0124567][123456789]@###@", "", ("#" * 16,)),
    Id("it-codice-fiscale", "it.codicefiscale", "@@@@@@#[LMNPQRSTUV][ABCDEHLMPRST]L[MNPQ]@#[LMNP]#@", "",
       ("#" * 16,)),
    Id("lt-asmens-kodas", "lt.asmens", "[3456]{ymd}####", "asmens kodas", (), (ELEVEN,)),
    Id("nl-bsn", "nl.bsn", NINE, "BSN", (), (NINE, "####.##.###", "### ### ###")),
    Id("no-fodselsnummer", "no.fodselsnummer", "{dmy}#####", "", (ELEVEN, "###### #####")),
    Id("no-fodselsnummer", "no.fodselsnummer", "{Dmy}#####", "", (ELEVEN,)),
    Id("pl-pesel", "pl.pesel", "{ymd}#####", "PESEL", (), (ELEVEN,)),
    Id("pt-nif", "pt.nif", "[123]########", "contribuinte", (), (NINE, "### ### ###")),
    Id("ro-cnp", "ro.cnp", "[1256]{ymd}######", "CNP", (), (THIRTEEN,)),
    Id("se-personnummer", "se.personnummer", "{ymd}####", "personnummer",
       ("######-####", "######+####", "19######-####"), (TEN,)),
    Id("si-emso", "si.emso", "{dm}9########", "EMŠO", (), (THIRTEEN,)),
    Id("uk-nhs", "gb.nhs", TEN, "NHS", (), (TEN, "### ### ####", "###-###-####")),
    Id("uk-nino", _nino, "@@######[ABCD]", "National Insurance", ("## ## ## ## #",), (NINE,)),
    Id("au-tfn", "au.tfn", NINE, "TFN", (), (NINE, "### ### ###")),
    Id("br-cpf", "br.cpf", ELEVEN, "CPF", ("###.###.###-##",), (ELEVEN,)),
    Id("ca-sin", "ca.sin", NINE, "SIN", (), (NINE, "### ### ###", "###-###-###")),
    Id("cl-rut", "cl.rut", "########[0123456789K]", "RUT", ("##.###.###-#",), ("########-#",)),
    Id("cn-resident-id", "cn.ric", "11010119{ymd}###[0123456789X]", "", ("#" * 18,)),
    Id("in-aadhaar", "in_.aadhaar", "############", "Aadhaar", (), ("############", "#### #### ####")),
    Id("jp-my-number", "jp.in_", "############", "My Number", (), ("############", "#### #### ####")),
    Id("kr-rrn", "kr.rrn", "{ymd}[1234]######", "", ("######-#######",)),
    Id("mx-curp", "mx.curp", "@@@@{ymd}[HM]AS@@@##", "", ("#" * 18,)),
    Id("sg-nric", _nric, "[STFG]#######@", "NRIC", (), (NINE,)),
    Id("tr-kimlik-no", "tr.tckimlik", ELEVEN, "kimlik", (), (ELEVEN,)),
    Id("us-ssn", "us.ssn", NINE, "SSN", ("###-##-####",), (NINE, "### ## ####")),
    Id("za-id", "za.idnr", "{ymd}####[01]##", "ID number", (), (THIRTEEN, "###### #### ###")),
)  # fmt: skip
