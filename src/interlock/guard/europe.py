"""National ids of Europe. Pure. The sources of each check are listed in docs/guard.md."""

from collections import Counter

from interlock.guard.checksums import ean_13, is_birthday, is_date, is_varied, luhn, mod_11_10, weighted
from interlock.guard.national import national

_CONTROL = b"0123456789ABCDEFHJKLMNPRSTUVWXY"
_DNI = b"TRWAGMYFPDXBNJZSQVHLCKE"
_FISCAL_ODD = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)
"""What the letters A to Z, and the digits 0 to 9 as the first ten, count for at odd places."""
_FISCAL_MONTHS = b"ABCDEHLMPRST"
_OMOCODIA = bytes.maketrans(b"LMNPQRSTUV", b"0123456789")
_UP = (1, 2, 3, 4, 5, 6, 7, 8, 9, 1)


def _at_svnr(digits: bytes) -> bool:
    """Serial, check digit, day, month, year; months 13 to 15 are for days whose serials had run out."""
    day = is_date(min(int(digits[6:8]), 12), int(digits[4:6])) and int(digits[6:8]) <= 15
    return day and digits[0] != 48 and weighted(digits, (3, 7, 9, 0, 5, 8, 4, 2, 1, 6)) % 11 == digits[3] - 48


def _be_national(digits: bytes) -> bool:
    """97 less the rest by 97; a 2 goes before it since 2000. Months of other people are 20 or 40 more."""
    if int(digits[2:4]) % 20 > 12 or int(digits[4:6]) > 31 or not is_varied(digits):
        return False
    return any(97 - int(lead + digits[:9]) % 97 == int(digits[9:]) for lead in (b"", b"2"))


def _bg_egn(digits: bytes) -> bool:
    birthday = is_date(int(digits[2:4]) % 20, int(digits[4:6])) and int(digits[2:4]) < 60
    return birthday and weighted(digits, (2, 4, 8, 5, 10, 9, 7, 3, 6)) % 11 % 10 == digits[9] - 48


def _cz_rodne_cislo(digits: bytes) -> bool:
    """Divisible by 11; a woman's month is 50 more, and 20 more where numbers had run out."""
    birthday = is_date(int(digits[2:4]) % 50 % 20, int(digits[4:6]))
    return birthday and (int(digits) % 11 == 0 or (int(digits[:9]) % 11 == 10 and digits[9] == 48))


def _de_steuer_id(digits: bytes) -> bool:
    """Of the first ten digits exactly one is there more than once: twice or three times."""
    repeated = [times for times in Counter(digits[:10]).values() if times > 1]
    return digits[0] != 48 and len(repeated) == 1 and repeated[0] in (2, 3) and mod_11_10(digits)


def _de_ausweis(serial: bytes) -> bool:
    """Weights 7, 3, 1; letters count from 10 (ICAO Doc 9303)."""
    values = [int(chr(one), 36) for one in serial]
    return sum(value * weight for value, weight in zip(values[:9], (7, 3, 1) * 3, strict=True)) % 10 == values[9]


def _dk_cpr(digits: bytes) -> bool:
    """A birthday; since 2007 numbers are given out that fail the old check by 11."""
    return is_birthday(digits, day_first=True, days=60)


def _ee_lt(digits: bytes) -> bool:
    rest = weighted(digits[:10], _UP) % 11
    if rest == 10:
        rest = weighted(digits[:10], (*_UP[2:], 2, 3)) % 11 % 10
    return is_birthday(digits[1:]) and rest == digits[10] - 48


def _es_dni(number: bytes) -> bool:
    return _DNI[int(number[:8]) % 23] == number[8]


def _es_nie(number: bytes) -> bool:
    return _es_dni(number.translate(bytes.maketrans(b"XYZ", b"012"))[:8] + number[8:])


def _fi_hetu(number: bytes) -> bool:
    digits = number[:6] + number[7:10]
    return is_birthday(digits, day_first=True) and digits[6:] >= b"002" and _CONTROL[int(digits) % 31] == number[10]


def _fr_nir(number: bytes) -> bool:
    """Corsica's 2A and 2B count as 19 and 18."""
    digits = number.replace(b"2A", b"19", 1).replace(b"2B", b"18", 1) if not number.isdigit() else number
    return digits.isdigit() and digits[5:7] != b"00" and 97 - int(digits[:13]) % 97 == int(digits[13:])


def _gr_amka(digits: bytes) -> bool:
    return is_birthday(digits, day_first=True) and luhn(digits)


def _ie_pps(number: bytes) -> bool:
    """A second letter counts nine times; W as the second was a wife's, and counts nothing."""
    second = 9 * (number[8] - 64) if len(number) == 9 and number[8:] != b"W" else 0
    return b"WABCDEFGHIJKLMNOPQRSTUV"[(weighted(number, range(8, 1, -1)) + second) % 23] == number[7]


def _is_kennitala(digits: bytes) -> bool:
    return is_birthday(digits, day_first=True) and weighted(digits, (3, 2, 7, 6, 5, 4, 3, 2, 1)) % 11 == 0


def _it_codice_fiscale(number: bytes) -> bool:
    """Letters may stand for digits (omocodia). A woman's day is 40 more."""
    day = int(number[9:11].translate(_OMOCODIA))
    values = [one - 65 if one >= 65 else one - 48 for one in number[:15]]
    total = sum(_FISCAL_ODD[value] for value in values[::2]) + sum(values[1::2])
    return is_date(_FISCAL_MONTHS.index(number[8]) + 1, day % 40) and day <= 71 and total % 26 == number[15] - 65


def _nl_bsn(digits: bytes) -> bool:
    return is_varied(digits) and weighted(digits, (9, 8, 7, 6, 5, 4, 3, 2, -1)) % 11 == 0


def _no_fodselsnummer(digits: bytes) -> bool:
    """A day may be 40 more (no residence), a month 40 or 80 more (made for tests: not found)."""
    first = weighted(digits, (3, 7, 6, 1, 8, 9, 4, 5, 2, 1)) % 11
    second = weighted(digits, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1)) % 11
    return is_birthday(digits, day_first=True, days=40) and first == second == 0


def _pl_pesel(digits: bytes) -> bool:
    """A month is 20, 40, 60 or 80 more in other centuries."""
    return (
        is_date(int(digits[2:4]) % 20, int(digits[4:6]))
        and weighted(digits, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)) % 10 == 0
    )


def _pt_nif(digits: bytes) -> bool:
    """Of a person: 1, 2, 3 or 45 in front."""
    rest = weighted(digits, range(9, 1, -1)) % 11
    person = digits[:1] in (b"1", b"2", b"3") or digits[:2] == b"45"
    return person and (0 if rest < 2 else 11 - rest) == digits[8] - 48


def _ro_cnp(digits: bytes) -> bool:
    rest = weighted(digits, (2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9)) % 11
    county = int(digits[7:9])
    place = 1 <= county <= 48 or county in (51, 52, 70) or 80 <= county <= 83
    return digits[0] != 48 and place and is_birthday(digits[1:]) and (1 if rest == 10 else rest) == digits[12] - 48


def _se_personnummer(digits: bytes) -> bool:
    return is_birthday(digits[-10:], days=60) and luhn(digits[-10:])


def _si_emso(digits: bytes) -> bool:
    rest = weighted(digits, (7, 6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11
    day = is_date(int(digits[2:4]), int(digits[:2])) and digits[4:5] in (b"9", b"0")
    return day and -rest % 11 % 10 == digits[12] - 48


def _uk_nhs(digits: bytes) -> bool:
    return is_varied(digits) and weighted(digits, (10, 9, 8, 7, 6, 5, 4, 3, 2, 1)) % 11 == 0


def _uk_nino(number: bytes) -> bool:
    return number[:2] not in (b"BG", b"GB", b"KN", b"NK", b"NT", b"TN", b"ZZ")


_NINO = "[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]"
EUROPE = (
    national(
        "at-svnr",
        "Austria: Sozialversicherungsnummer",
        _at_svnr,
        named=r"\d{4} ?\d{6}",
        words="svnr|sv-?nr|sv-?nummer|sozialversicherungs|versicherungsn|e-card",
    ),
    national(
        "be-rijksregisternummer",
        "Belgium: rijksregisternummer, numéro national",
        _be_national,
        alone=r"\d\d\.\d\d\.\d\d-\d{3}[.-]\d\d",
        named=r"\d{11}",
        words=r"rijksregister|insz\b|niss\b|num[ée]ro national|registre national|national register",
    ),
    national("bg-egn", "Bulgaria: ЕГН", _bg_egn, named=r"\d{10}", words=r"egn\b|егн|uniform civil number"),
    national("ch-ahv", "Switzerland: AHV-Nummer, numéro AVS", ean_13, alone=r"756\.\d{4}\.\d{4}\.\d\d|756\d{10}"),
    national(
        "cz-rodne-cislo",
        "Czechia, Slovakia: rodné číslo",
        _cz_rodne_cislo,
        alone=r"\d{6}/\d{4}",
        named=r"\d{10}",
        words=r"rodn[eé]|r\. ?[cč]\.|birth number",
    ),
    national(
        "de-personalausweis",
        "Germany: serial of identity card or passport, with check digit",
        _de_ausweis,
        named=r"[CFGHJKLMNPRTVWXYZ][CFGHJKLMNPRTVWXYZ0-9]{8}\d",
        words=r"personalausweis|ausweis|perso\b|reisepass|passnummer|pass-?nr|passport|identity card|id card",
    ),
    national(
        "de-steuer-id",
        "Germany: steuerliche Identifikationsnummer",
        _de_steuer_id,
        alone=r"\d\d \d{3} \d{3} \d{3}",
        named=r"\d{11}",
        words=r"steuer|identifikationsn|idnr|id-nr|tax(?:payer)?[ _-]?id|tin\b",
    ),
    national(
        "dk-cpr",
        "Denmark: CPR-nummer",
        _dk_cpr,
        named=r"\d{6}-?\d{4}",
        words=r"cpr\b|cpr-?n|personnummer|personnr|civil reg",
    ),
    national(
        "ee-isikukood", "Estonia: isikukood", _ee_lt, named=r"[1-8]\d{10}", words="isikukood|personal (?:id )?code"
    ),
    national(
        "es-dni",
        "Spain: DNI",
        _es_dni,
        alone=r"\d{8}-[A-Z]|\d\d\.\d{3}\.\d{3}-?[A-Z]",
        named=r"\d{8} ?[A-Z]",
        words=r"d\.?n\.?i\b|n\.?i\.?f\b|identidad|documento",
    ),
    national(
        "es-nie",
        "Spain: NIE",
        _es_nie,
        alone=r"[XYZ]-\d{7}-[A-Z]",
        named=r"[XYZ]-?\d{7}-?[A-Z]",
        words=r"n\.?i\.?e\b|n\.?i\.?f\b|extranjero|identidad",
    ),
    national(
        "fi-hetu",
        "Finland: henkilötunnus",
        _fi_hetu,
        alone=r"[0-3]\d[01]\d{3}[-+ABCDEFYXWVU]\d{3}[0-9A-FHJ-NPR-Y]",
        strip=b"",
    ),
    national(
        "fr-nir",
        "France: numéro de sécurité sociale (NIR)",
        _fr_nir,
        alone=r"[12] ?\d\d ?(?:0[1-9]|1[0-2]) ?(?:\d\d|2[AB]) ?\d{3} ?\d{3} ?\d\d",
        named=r"[123478] ?\d\d ?[02-9]\d ?(?:\d\d|2[AB]) ?\d{3} ?\d{3} ?\d\d",
        words=r"s[ée]curit[ée] sociale|de s[ée]cu\b|nir\b|insee|carte vitale",
    ),
    national("gr-amka", "Greece: ΑΜΚΑ", _gr_amka, named=r"\d{11}", words="amka|αμκα"),
    national("hr-oib", "Croatia: OIB", mod_11_10, named=r"\d{11}", words=r"oib\b|osobni identifikacijski"),
    national(
        "ie-pps",
        "Ireland: PPS number",
        _ie_pps,
        named=r"\d{7}[A-W][A-IW]?",
        words=r"pps\b|ppsn|personal public service",
    ),
    national("is-kennitala", "Iceland: kennitala", _is_kennitala, named=r"\d{6}-?\d{3}[09]", words=r"kennitala|kt\."),
    national(
        "it-codice-fiscale",
        "Italy: codice fiscale",
        _it_codice_fiscale,
        alone=r"[A-Z]{6}[0-9L-NP-V]{2}[A-EHLMPRST][0-9L-NP-V]{2}[A-Z][0-9L-NP-V]{3}[A-Z]",
    ),
    national(
        "lt-asmens-kodas", "Lithuania: asmens kodas", _ee_lt, named=r"[1-8]\d{10}", words="asmens k|personal code"
    ),
    national(
        "nl-bsn",
        "Netherlands: burgerservicenummer",
        _nl_bsn,
        named=r"\d{9}|\d{3} \d{3} \d{3}|\d{4}\.\d\d\.\d{3}|\d{3}\.\d{3}\.\d{3}",
        words="bsn|burgerservice|sofi-?n|citizen service",
    ),
    national("no-fodselsnummer", "Norway: fødselsnummer", _no_fodselsnummer, alone=r"\d{6} ?\d{5}"),
    national("pl-pesel", "Poland: PESEL", _pl_pesel, named=r"\d{11}", words="pesel"),
    national(
        "pt-nif",
        "Portugal: NIF of a person",
        _pt_nif,
        named=r"\d{9}|\d{3} \d{3} \d{3}",
        words=r"nif\b|contribuinte|n[úu]mero fiscal",
    ),
    national("ro-cnp", "Romania: CNP", _ro_cnp, named=r"\d{13}", words=r"cnp\b|cod(?:ul)? numeric"),
    national(
        "se-personnummer",
        "Sweden: personnummer, samordningsnummer",
        _se_personnummer,
        alone=r"(?:(?:18|19|20)\d{6}-|\d{6}[-+])\d{4}",
        named=r"(?:18|19|20)\d{10}|\d{10}",
        strip=b"-+",
        words="personnummer|personnr|samordningsn|personal identity n",
    ),
    national("si-emso", "Slovenia: EMŠO", _si_emso, named=r"\d{13}", words="em[šs]o"),
    national(
        "uk-nhs",
        "United Kingdom: NHS number",
        _uk_nhs,
        named=r"\d{10}|\d{3}[ -]\d{3}[ -]\d{4}",
        words="nhs|national health service",
    ),
    national(
        "uk-nino",
        "United Kingdom: National Insurance number",
        _uk_nino,
        alone=rf"(?-i:{_NINO}) \d\d \d\d \d\d (?-i:[A-D])",
        named=rf"{_NINO} ?\d\d ?\d\d ?\d\d ?[A-D]",
        words=r"nino\b|national insurance|ni number|ni no",
    ),
)
