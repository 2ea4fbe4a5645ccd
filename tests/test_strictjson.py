"""JSON from outside has one reading, and nothing in it changes unseen when it is written again."""

import pytest

from interlock import strictjson
from interlock.errors import LocalError


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b'{"a":1,"a":2}', "duplicate_key"),
        (b'{"a":{"b":1,"b":1}}', "duplicate_key"),
        (b'{"a":NaN}', "invalid_json"),
        (b'{"a":Infinity}', "invalid_json"),
        (b'{"a":"\\ud800"}', "invalid_json"),
        (b'{"a":"\xff"}', "invalid_json"),
        (b"[" * 300 + b"]" * 300, "invalid_json"),
        (b'{"a":1}{', "invalid_json"),
        (b"", "invalid_json"),
    ],
)
def test_what_has_two_readings_or_none_is_refused(text: bytes, code: str) -> None:
    with pytest.raises(LocalError) as caught:
        strictjson.loads(text, what="answer")
    assert (caught.value.code, caught.value.field) == (code, "answer")


TOO_LARGE = [b"1e400", b"-1E+999", b"9" * 400 + b".5", b'[{"a":[0,1e309]}]', b'{"a":{"b":[-1e400]}}']


@pytest.mark.parametrize("text", TOO_LARGE)
def test_a_number_that_no_double_holds_is_refused_where_it_would_be_written_again(text: bytes) -> None:
    strictjson.loads(text)
    with pytest.raises(LocalError) as caught:
        strictjson.loads(text, finite=True)
    assert (caught.value.code, caught.value.field) == ("invalid_json", "body")


def test_any_other_number_is_kept() -> None:
    text = b'[1e308,-1.7976931348623157e308,1e-400,123456789012345678901234567890,-0.0,true,null,"1e400",{"1e400":0}]'
    assert strictjson.loads(text, finite=True) == strictjson.loads(text)
