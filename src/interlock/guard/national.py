"""How a national id is looked for: by the spellings that stand alone, and by those that need a word beside them. Pure.

A number stands alone where its form and its check digits leave at most one chance in a thousand (bare digits: any
order number is one), or where its punctuation is its own. Else the id's name, or its issuer's, has to stand near.
"""

import re
from collections.abc import Callable

from interlock.guard.kind import Kind, is_named, stands_free

_SEPARATORS = b" .-/"


def national(
    name: str,
    what: str,
    is_valid: Callable[[bytes], bool],
    *,
    alone: str = "",
    named: str = "",
    words: str = "",
    strip: bytes = _SEPARATORS,
) -> Kind:
    """A kind `id.NAME`.

    Args:
        is_valid: whether this is one; it is given upper case without `strip`, of a form that the expressions allow.
        alone, named: the spellings, as expressions; `named` ones need one of `words` near them.
        words: expressions with `|` between them and nowhere else; in a key one may follow `_` or be a hump
            (`patientNhs`).
        Letters may be in either case everywhere.
    """
    sought = rf"(?:^|[^0-9A-Za-z])(?i:{words})"  # not \b, which knows only ASCII letters
    if humps := [f"{word[0].upper()}(?i:{word[1:]})" for word in words.split("|") if re.match("[a-z](?![?*+])", word)]:
        sought += f"|[a-z](?:{'|'.join(humps)})"
    standing = re.compile(f"(?i:{alone})".encode()) if alone else None
    spellings = "|".join(filter(None, (alone, named)))

    def check(text: bytes, start: int, end: int) -> int:
        spelled = text[start:end]
        number = spelled.upper()
        # Neither case: a piece of Base64. Not ASCII: K is also the sign of the kelvin, and S the long s.
        if (spelled != number and spelled != spelled.lower()) or not spelled.isascii():
            return 0
        if not is_valid(number.translate(None, strip)):
            return 0
        if not stands_free(text, start, end):
            return 0
        if standing is not None and standing.fullmatch(spelled):
            return end
        return end if words and is_named(sought, text, start, end) else 0

    hints = [rf"(?i:\b(?:{alone})\b)"] if alone else []
    hints += [sought] if words else []
    return Kind(f"id.{name}", what, rf"(?i:\b(?:{spellings})\b)", check, "|".join(hints))
