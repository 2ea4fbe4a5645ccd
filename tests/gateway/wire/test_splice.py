"""After a splice the body decodes to the same with one change, and every other byte is where it was."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import at_least

from interlock.gateway.wire import asking_usage, model_span, read, with_model

USER = [{"role": "user", "content": "hi"}]
TEXT = st.lists(st.sampled_from(['"model"', '"', "\\", ":", "m", "\\u006d", "é", '"model":"a"', "{", "}", ","])).map(
    "".join
)
VALUE = st.sampled_from(["a", "b", 'q"uo\\te', "modèle", "model", "a/b:c"])
KEY = st.sampled_from(["model", "x", 'x"model', "models", "stream_options", "include_usage", 'y","model'])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | TEXT | VALUE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEY, inner, max_size=3),
    max_leaves=5,
)
SPACE = st.sampled_from(["", "", " ", "\n\t", "\r\n"])


def spelled(draw: st.DrawFn, text: str) -> str:
    """One of the ways to write a JSON string."""

    def escape(c: str) -> str:
        return f"\\u{ord(c):04x}" if draw(st.booleans()) and ord(c) < 0xFFFF else json.dumps(c)[1:-1]

    return '"' + ("".join(map(escape, text)) if draw(st.booleans()) else json.dumps(text)[1:-1]) + '"'


def written(draw: st.DrawFn, value: Any) -> str:
    """One of the ways to write a JSON value."""
    space = draw(SPACE)
    if isinstance(value, dict):
        pairs = [f"{space}{spelled(draw, k)}{space}:{draw(SPACE)}{written(draw, v)}{space}" for k, v in value.items()]
        return "{" + ",".join(pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(written(draw, entry) + space for entry in value) + "]"
    return spelled(draw, value) if isinstance(value, str) else json.dumps(value)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, dict[str, Any]]:
    document: dict[str, Any] = {"model": draw(VALUE), "messages": USER, "stream": True, "temperature": 0.1}
    document |= {f"extra{n}": value for n, value in enumerate(draw(st.lists(JSON, max_size=3)))}
    document |= draw(st.dictionaries(st.sampled_from(['x"model', 'y","model', "z"]), JSON, max_size=2))
    if draw(st.booleans()):
        options = st.dictionaries(st.sampled_from(["include_obfuscation", "x"]), JSON, max_size=2)
        asked = st.fixed_dictionaries({}, optional={"include_usage": st.sampled_from([True, False, None])})
        given = draw(st.none() | st.builds(lambda a, b: {**a, **b}, options, asked))
        document["stream_options"] = given
    keys = draw(st.permutations(list(document)))
    document = {key: document[key] for key in keys}
    return (draw(SPACE) + written(draw, document) + draw(SPACE)).encode(), document


def only_change(before: bytes, after: bytes) -> tuple[bytes, bytes]:
    """The shortest (removed, put in) that explains the difference."""
    start = next(
        (i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after))
    )
    end = 0
    while end < min(len(before), len(after)) - start and before[-1 - end] == after[-1 - end]:
        end += 1
    return before[start : len(before) - end], after[start : len(after) - end]


@settings(max_examples=at_least(150), deadline=None)
@given(made=bodies(), model=VALUE | st.text(min_size=1, max_size=8))
def test_the_model_and_nothing_else(made: tuple[bytes, dict[str, Any]], model: str) -> None:
    body, document = made
    span = model_span(body, read("chat", body).model)
    assert json.loads(body[slice(*span)]) == document["model"]  # noqa: TID251 - oracle
    after = with_model(body, span, model)
    assert json.loads(after) == {**document, "model": model}  # noqa: TID251 - oracle
    assert list(json.loads(after)) == list(document)  # noqa: TID251 - oracle
    assert (after[: span[0]], after[len(after) - len(body) + span[1] :]) == (body[: span[0]], body[span[1] :])


@settings(max_examples=at_least(150), deadline=None)
@given(made=bodies())
def test_asking_for_usage_and_nothing_else(made: tuple[bytes, dict[str, Any]]) -> None:
    body, document = made
    after = asking_usage(body, read("chat", body))
    options = {**(document.get("stream_options") or {}), "include_usage": True}
    assert json.loads(after) == {**document, "stream_options": options}  # noqa: TID251 - oracle
    assert read("chat", after).includes_usage
    removed, added = only_change(body, after)
    assert len(removed) <= len("false") + 1
    assert len(added) <= len('"stream_options":{"include_usage":true},') + 1


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a","messages":[]}',
        b'{ "messages":[{"model":"b"}] , "model" : "a" }',
        b'{"metadata":{"model":"a"},"model":"a"}',
        b'{"mod\\u0065l":"a","metadata":{"model":"a"}}',
        b'{"mod\\u0065l":"a","metadata":{"model":"b"}}',
        b'{"tools":[{"properties":{"model":{"type":"string"}}}],"model":"a"}',
        b'{"x":"say \\"model\\":\\"a\\"","model":"a"}',
        b'{"x\\"model":"a","model":"a"}',
        b'{"x":"model","model":"\\u0061"}',
        b'{"x":["\\"model", "model"],"model":"a"}',
        b'\r\n{"x":{},"y":[],"":{"":""},"model":"a"}',
    ],
)
def test_where_the_model_stands(body: bytes) -> None:
    span = model_span(body, "a")
    changed = json.loads(with_model(body, span, "NEW"))  # noqa: TID251 - oracle
    assert changed == {**json.loads(body), "model": "NEW"}  # noqa: TID251 - oracle


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"a":1}', b'{"stream_options":{"include_usage":true},"a":1}'),
        (b' {"a":1,"stream_options":{}}', b' {"a":1,"stream_options":{"include_usage":true}}'),
        (b'{"stream_options": null}', b'{"stream_options": {"include_usage":true}}'),
        (
            b'{"stream_options":{"x":{"include_usage":false}}}',
            b'{"stream_options":{"include_usage":true,"x":{"include_usage":false}}}',
        ),
        (b'{"stream_options":{ "include_usage" : false }}', b'{"stream_options":{ "include_usage" : true }}'),
        (b'{"stream_options":{"include_usage":null}}', b'{"stream_options":{"include_usage":true}}'),
        (b'{"x":{"stream_options":{}}}', b'{"stream_options":{"include_usage":true},"x":{"stream_options":{}}}'),
    ],
)
def test_asking_by_hand(before: bytes, after: bytes) -> None:
    start = before.index(b"{") + 1
    rest = b'"model":"m","messages":[{"role":"user"}],'
    body = before[:start] + rest + before[start:]
    got = asking_usage(body, read("chat", body))
    assert got.replace(rest, b"") == after
