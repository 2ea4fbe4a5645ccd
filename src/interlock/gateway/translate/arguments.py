"""The arguments of a tool call, JSON text in two of the formats, as the object that Messages wants."""

from typing import Any

import jiter

from interlock import strictjson


def object_of(arguments: str, *, cut: bool = False) -> dict[str, Any]:
    """The object; none said is {}. Of a key that is said twice the last counts, as in every client's own reading.

    `cut`: they may stop anywhere (Anthropic's SDK reads those of an answer that was cut off so, too).

    Raises: ValueError: they are not one JSON object of less than 200 levels, or hold a number that no double holds,
        and that another encoder would therefore change (1e400).
    """
    if not arguments.strip():
        return {}
    value = jiter.from_json(arguments.encode(), allow_inf_nan=False, cache_mode="none", partial_mode=cut)
    if type(value) is not dict:
        raise ValueError("not a JSON object")
    if not strictjson.is_finite(value):
        raise ValueError("a number in it is too large")
    return value
