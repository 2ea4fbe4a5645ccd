"""National ids beyond Europe. Pure. The sources of each check are listed in docs/guard.md."""

from interlock.guard.checksums import is_birthday, is_date, is_varied, luhn, verhoeff, weighted
from interlock.guard.national import national

_SSN_NEVER = (b"078051120", b"123456789", b"219099999", b"457555462")
"""Printed on sample cards and in advertisements, and what is typed where any number will do."""
_CURP = "0123456789ABCDEFGHIJKLMNÑOPQRSTUVWXYZ"


def _au_tfn(digits: bytes) -> bool:
    return is_varied(digits) and weighted(digits, (1, 4, 3, 7, 5, 8, 6, 9, 10)) % 11 == 0


def _br_cpf(digits: bytes) -> bool:
    first = weighted(digits[:9], range(10, 1, -1)) * 10 % 11 % 10
    second = weighted(digits[:10], range(11, 1, -1)) * 10 % 11 % 10
    return is_varied(digits) and (first, second) == (digits[9] - 48, digits[10] - 48)


def _ca_sin(digits: bytes) -> bool:
    """0 and 8 in front are not given to people."""
    return digits[:1] not in (b"0", b"8") and luhn(digits)


def _cl_rut(number: bytes) -> bool:
    digits = number[-2::-1]
    return b"0K987654321"[weighted(digits, (2, 3, 4, 5, 6, 7, 2, 3)) % 11] == number[-1]


def _cn_resident(number: bytes) -> bool:
    """ISO/IEC 7064 MOD 11-2 over 17 digits, which hold a birthday."""
    total = weighted(number[:17], (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2))
    return is_date(int(number[10:12]), int(number[12:14])) and b"10X98765432"[total % 11] == number[17]


def _in_aadhaar(digits: bytes) -> bool:
    return digits != digits[::-1] and verhoeff(digits)


def _jp_my_number(digits: bytes) -> bool:
    rest = weighted(digits, (6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11
    return is_varied(digits) and (0 if rest < 2 else 11 - rest) == digits[11] - 48


def _kr_rrn(digits: bytes) -> bool:
    """Its last digit is a check digit in what was given out before October 2020; later ones are not found."""
    total = weighted(digits, (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5))
    return is_birthday(digits) and (11 - total % 11) % 10 == digits[12] - 48


def _mx_curp(number: bytes) -> bool:
    """Weights 18 to 2 over the places in an alphabet with Ñ."""
    total = sum(_CURP.index(chr(one)) * weight for one, weight in zip(number[:17], range(18, 1, -1), strict=True))
    return is_birthday(number[4:10]) and -total % 10 == number[17] - 48


def _sg_nric(number: bytes) -> bool:
    total = weighted(number[1:8], (2, 7, 6, 5, 4, 3, 2)) + (4 if number[:1] in (b"T", b"G") else 0)
    return (b"JZIHGFEDCBA" if number[:1] in (b"S", b"T") else b"XWUTRQPNMLK")[total % 11] == number[8]


def _tr_kimlik(digits: bytes) -> bool:
    odd, even = weighted(digits[:9:2], (1,) * 5), weighted(digits[1:8:2], (1,) * 4)
    return (odd * 7 - even) % 10 == digits[9] - 48 and weighted(digits, (1,) * 10) % 10 == digits[10] - 48


def _us_ssn(digits: bytes) -> bool:
    """No check digit: area 000, 666 and 9xx, group 00 and serial 0000 are not given out."""
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    never = area in (b"000", b"666") or area >= b"900" or group == b"00" or serial == b"0000"
    return not never and digits not in _SSN_NEVER


def _za_id(digits: bytes) -> bool:
    return is_birthday(digits) and luhn(digits)


ELSEWHERE = (
    national(
        "au-tfn", "Australia: tax file number", _au_tfn, named=r"\d{9}|\d{3} \d{3} \d{3}", words=r"tfn\b|tax file"
    ),
    national(
        "br-cpf",
        "Brazil: CPF",
        _br_cpf,
        alone=r"\d{3}\.\d{3}\.\d{3}-\d\d",
        named=r"\d{11}",
        words="cpf|cadastro de pessoa",
    ),
    national(
        "ca-sin",
        "Canada: social insurance number",
        _ca_sin,
        named=r"\d{9}|\d{3}[ -]\d{3}[ -]\d{3}",
        words=r"(?-i:SIN)\b|social insurance|assurance sociale|(?-i:NAS)\b",
    ),
    national(
        "cl-rut",
        "Chile: RUT, RUN",
        _cl_rut,
        alone=r"\d{1,2}\.\d{3}\.\d{3}-[\dK]",
        named=r"\d{7,8}-[\dK]",
        words=r"rut\b|(?-i:RUN)\b|r\.u\.[tn]",
    ),
    national("cn-resident-id", "China: resident identity number", _cn_resident, alone=r"[1-6]\d{5}(?:19|20)\d{9}[\dX]"),
    national(
        "in-aadhaar", "India: Aadhaar", _in_aadhaar, named=r"[2-9]\d{3}(?: ?\d{4}){2}", words="aadha?ar|uidai|आधार"
    ),
    national(
        "jp-my-number",
        "Japan: My Number",
        _jp_my_number,
        named=r"\d{4}(?:[ -]?\d{4}){2}",
        words="my ?number|マイナンバー|個人番号|individual number",
    ),
    national("kr-rrn", "South Korea: resident registration number", _kr_rrn, alone=r"\d{6}-[1-8]\d{6}"),
    national("mx-curp", "Mexico: CURP", _mx_curp, alone=r"[A-Z]{4}\d{6}[HMX][A-Z]{5}[A-Z0-9]\d"),
    national("sg-nric", "Singapore: NRIC, FIN", _sg_nric, named=r"[STFG]\d{7}[A-Z]", words=r"nric|fin\b|identity card"),
    national("tr-kimlik-no", "Türkiye: T.C. kimlik no", _tr_kimlik, named=r"[1-9]\d{10}", words="kimlik|tckn"),
    national(
        "us-ssn",
        "United States: social security number",
        _us_ssn,
        alone=r"\d{3}-\d\d-\d{4}",
        named=r"\d{9}|\d{3} \d\d \d{4}",
        words="ssn|social[ _-]?security",
    ),
    national(
        "za-id",
        "South Africa: identity number",
        _za_id,
        named=r"\d{10}[01]\d\d|\d{6} \d{4} [01]\d\d",
        words=r"id[ _-]?number|id[ _-]?no\b|id document|identity number|identity document|rsa id|south african id",
    ),
)
