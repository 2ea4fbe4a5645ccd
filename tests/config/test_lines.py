"""Lines of keys: right for what people write, and never an error."""

from hypothesis import given
from hypothesis import strategies as st

from interlock.config.lines import Lines

TEXT = '''\
a = 1  # """ not a string
"b.c" = { d = 1,
}
[t]
x = """
y = 2
"""; y2 = "]"
z = ["""[
""", "[", '[', # [
  w]
v = 1
[[r]]
n = 1
[r.when]
mode = 1
[[r]]
n = 2
[t."u v"]
q.p = 1
'''


def test_keys_are_found() -> None:
    lines = Lines(TEXT)
    found = {
        ("a",): 1, ("b.c",): 2, ("b.c", "d"): 2, ("t",): 4, ("t", "x"): 5, ("t", "y"): 4, ("t", "z"): 8, ("t", "v"): 11,
        ("r",): 12, ("r", 0): 12, ("r", 0, "n"): 13, ("r", 0, "when", "mode"): 15, ("r", 1): 16, ("r", 1, "n"): 17,
        ("t", "u v", "q", "p"): 19, ("nowhere",): 0, ("r", 1, "when", "mode"): 16,
    }  # fmt: skip
    assert {path: lines.of(path) for path in found} == found


@given(st.text(alphabet="ab.[]{}\"'=#\n \\", max_size=200))
def test_any_text_can_be_scanned(text: str) -> None:
    assert Lines(text).of(("a", 0)) <= text.count("\n") + 1


def test_a_hostile_text_is_scanned_in_time() -> None:
    for text in ('"\\' * 60_000, "a." * 60_000, "[" * 120_000, "'''\"" * 30_000, "[[a" + ".a" * 60_000):
        assert Lines(text).of(("zz",)) == 0
