"""Card numbers and IBANs. Pure.

Sources: ISO/IEC 7812-1 (numbering, Luhn); the ranges that the card networks publish to merchants; ISO 13616 and the
IBAN registry that SWIFT keeps for it (lengths and structures); ISO/IEC 7064 (MOD 97-10).
"""

import re
from bisect import bisect_right

from interlock.guard.checksums import is_varied, luhn
from interlock.guard.kind import Kind, is_named, stands_free

_LONG, _ANY = (16, 17, 18, 19), (13, 14, 15, 16, 17, 18, 19)
_RANGES = (
    # the first six digits, from and to; lengths; those that an unbroken number may have with no word beside it
    (220000, 220499, _LONG, (16,)),  # Mir
    (222100, 272099, (16,), (16,)),  # Mastercard
    (300000, 305999, (14, 16), (14, 16)),  # Diners Club
    (309500, 309599, (14, 16), (14, 16)),
    (340000, 349999, (15,), (15,)),  # American Express
    (352800, 358999, _LONG, (16,)),  # JCB
    (360000, 369999, (14, *_LONG), (14, 16)),  # Diners Club
    (370000, 379999, (15,), (15,)),  # American Express
    (380000, 399999, (14, *_LONG), (14, 16)),  # Diners Club
    (400000, 499999, (13, 16, 19), (16,)),  # Visa
    (500000, 509999, _ANY, (16,)),  # Maestro, Verve, RuPay, Elo
    (510000, 559999, (16,), (16,)),  # Mastercard
    (560000, 589999, _ANY, (16,)),  # Maestro
    (600000, 619999, _ANY, (16,)),  # Discover, RuPay, Maestro
    (620000, 629999, _LONG, _LONG),  # UnionPay
    (630000, 699999, _ANY, (16,)),  # Discover, RuPay, Maestro, Elo
    (810000, 829999, _LONG, (16,)),  # UnionPay, RuPay
    (979200, 979289, (16,), (16,)),  # Troy
)
"""Thirteen digits, which some old cards have, are an article's number in every shop; seventeen to nineteen are any
program's 64-bit integer. Only UnionPay's cards have them so often that they are found without a word."""
_STARTS = [first for first, *_ in _RANGES]
_GROUP = re.compile(rb"[0-9]+")
_FOURS_BEFORE = re.compile(rb"(?:^|\D)((?:\d{4}[ -]){1,2})$")
_FOURS_AFTER = re.compile(rb"((?:[ -]\d{4}){1,2})(?!\d)")
_CARD_WORDS = r"(?i:card\b|card[ _-]?n|\bpan\b|\bcv[vc]\b|\bvisa\b|maestro|kreditkart|kartennummer|\bcarte\b|tarjeta)"


def _card(text: bytes, start: int, end: int) -> int:
    """Whole, or in groups of four; what follows the fourth group is part of the number, or the code on the back."""
    groups = [match.span() for match in _GROUP.finditer(text, start, end)]
    for stop in (end,) if len(groups) < 5 else (end, groups[3][1]):
        digits = text[start:stop].translate(None, b" -")
        prefix = int(digits[:6])
        low, high, lengths, alone = _RANGES[bisect_right(_STARTS, prefix) - 1]
        if not (low <= prefix <= high and len(digits) in lengths and luhn(digits)):
            continue
        if stands_free(text, start, stop) and not _is_table(text, start, stop, len(groups)):
            clear = len(groups) > 1 or len(digits) in alone
            return stop if clear or is_named(_CARD_WORDS, text, start, stop) else 0
    return 0


def _is_table(text: bytes, start: int, end: int, groups: int) -> bool:
    """Whether four groups of four stand in a row of six or more: numbers in columns, a dump. One may be a year."""
    if groups < 4:
        return False
    before = _FOURS_BEFORE.search(text, max(start - 11, 0), start)
    after = _FOURS_AFTER.match(text, end, end + 11)
    return len(before[1] if before else b"") + len(after[1] if after else b"") >= 10


_BBAN = (
    "AD:8n12c AE:19n AL:8n16c AT:16n AZ:4a20c BA:16n BE:12n BG:4a6n8c BH:4a14c BI:23n BR:23n1a1c BY:4c4n16c CH:5n12c "
    "CR:18n CY:8n16c CZ:20n DE:18n DJ:23n DK:14n DO:4c20n EE:16n EG:25n ES:20n FI:14n FK:2a12n FO:14n FR:10n11c2n "
    "GB:4a14n GE:2a16n GI:4a15c GL:14n GR:7n16c GT:24c HN:4a20n HR:17n HU:24n IE:4a14n IL:19n IQ:4a15n IS:22n "
    "IT:1a10n12c JO:4a4n18c KW:4a22c KZ:3n13c LB:4n20c LC:4a24c LI:5n12c LT:16n LU:3n13c LV:4a13c LY:21n MC:10n11c2n "
    "MD:20c ME:18n MK:3n10c2n MN:16n MR:23n MT:4a5n18c MU:4a19n3a NI:4a20n NL:4a10n NO:11n OM:3n16c PK:4a16c PL:24n "
    "PS:4a21c PT:21n QA:4a21c RO:4a16c RS:18n RU:14n15c SA:2n18c SC:4a20n3a SD:14n SE:20n SI:15n SK:20n SM:1a10n12c "
    "SO:19n ST:21n SV:4a20n TL:19n TN:20n TR:6n16c UA:6n19c VA:18n VG:4a16n XK:16n YE:4a4n18c"
)
_LETTERS = {"n": "[0-9]", "a": "[A-Z]", "c": "[A-Z0-9]"}


def _structure(entry: str) -> tuple[bytes, int, re.Pattern[bytes]]:
    """Country, length and form of the account's part of `DE:18n`."""
    pieces = re.findall(r"(\d+)([nac])", entry[3:])
    form = "".join(f"{_LETTERS[letters]}{{{length}}}" for length, letters in pieces)
    return entry[:2].encode(), 4 + sum(int(length) for length, _ in pieces), re.compile(form.encode())


_COUNTRIES = {country: (length, form) for country, length, form in map(_structure, _BBAN.split())}


def _iban(text: bytes, start: int, end: int) -> int:
    """Its country says how long it is; what follows on the same line (a BIC, say) looks like more groups of four."""
    length, form = _COUNTRIES[text[start : start + 2]]
    stop = start + length + (length - 1) // 4 * (text[start + 4 : start + 5] == b" ")
    compact = text[start:stop].replace(b" ", b"")
    if stop > end or len(compact) != length or text[stop : stop + 1].isalnum():
        return 0
    moved = compact[4:] + compact[:4]
    right = form.fullmatch(compact, 4) and int("".join(str(int(chr(c), 36)) for c in moved)) % 97 == 1
    return stop if right and is_varied(compact[4:]) else 0


_CARD_REGEX = (
    r"\b(?:2[2-7]|3\d|4\d|5[0-8]|6\d|8[12]|97)\d\d"
    r"(?:\d{9,15}|(?:[ -]\d{4}){3}(?:[ -]\d{1,3})?|[ -]\d{6}[ -]\d{4,5})\b"
)
_IBAN_REGEX = (
    rf"\b(?:{'|'.join(country.decode() for country in _COUNTRIES)})\d\d"
    r"(?:[A-Z0-9]{11,30}|(?: [A-Z0-9]{4}){2,7}(?: [A-Z0-9]{1,3})?)\b"
)
PAYMENT = (
    Kind("card", "payment card number", _CARD_REGEX, _card, _CARD_REGEX),
    Kind("iban", "IBAN, whole or in groups of four", _IBAN_REGEX, _iban, _IBAN_REGEX),
)
