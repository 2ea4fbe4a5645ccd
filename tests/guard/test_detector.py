"""The detector as a whole: what it says, the operator's patterns, that its work is linear and bounded."""

import threading
import time
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.guard.numbers import IDS

from interlock.errors import LocalError
from interlock.guard import COUNT_MAX, KINDS, Detection, Detector, Pattern
from interlock.guard.detector import CANDIDATES_MAX
from interlock.guard.patterns import PATTERNS_MAX, REGEX_CHARS_MAX

DETECTOR = Detector()
CARD, BSN, KEY = "4111 1111 1111 1111", "BSN 111222333", "AK" + "IAQWERTYUIAS23DFGH"
BOTH = (Detection(kind="card", count=1), Detection(kind="id.nl-bsn", count=2))


def test_kinds_in_order_and_how_often() -> None:
    assert DETECTOR.scan(f"{BSN} {CARD} and {BSN}") == BOTH
    assert DETECTOR.scan_document({"messages": [{"content": f"{BSN} {CARD}"}, {"content": BSN}]}) == BOTH
    assert DETECTOR.scan("") == DETECTOR.scan("nothing here") == DETECTOR.scan_document({}) == ()
    assert [detection.kind for detection in DETECTOR.scan(f"{BSN} {KEY}")] == ["credential.aws-access-key", "id.nl-bsn"]


def test_kinds_that_are_chosen() -> None:
    text = f"{KEY} {CARD} {BSN}"
    chosen = {("card",): ["card"], ("id",): ["id.nl-bsn"], ("id.nl-bsn", "card"): ["card", "id.nl-bsn"],
              ("credential",): ["credential.aws-access-key"], (): [], ("id.uk-nhs", "unjudged"): []}  # fmt: skip
    for kinds, found in chosen.items():
        assert [detection.kind for detection in Detector(kinds=kinds).scan(text)] == found
    with pytest.raises(LocalError, match=r"kinds: there is no 'id.nl', 'pan'") as caught:
        Detector(kinds=["card", "pan", "id.nl"])
    assert caught.value.field == "kinds"


def test_kinds_are_described() -> None:
    assert list(KINDS) == sorted(KINDS)
    assert all(what and "\n" not in what for what in KINDS.values())


def test_counting_ends() -> None:
    assert DETECTOR.scan(f"{CARD}, " * (COUNT_MAX + 1)) == (Detection(kind="card", count=COUNT_MAX),)
    assert DETECTOR.scan(f"{CARD}, " * (COUNT_MAX - 1)) == (Detection(kind="card", count=COUNT_MAX - 1),)


def test_what_was_found_is_nowhere_said(capfd: pytest.CaptureFixture[str]) -> None:
    patterns = [Pattern(name="ours", regex="hush[0-9]+")]
    found = Detector(patterns).scan(f"{CARD} {KEY} hush12345")
    assert len(found) == 3
    for secret in ("4111", KEY, "12345"):
        assert secret not in repr(found) + str(found) + repr(Detector(patterns))
    assert capfd.readouterr() == ("", "")


class TestPatterns:
    """The operator's own."""

    def test_they_are_found_beside_the_others(self) -> None:
        patterns = [Pattern(name="project", regex=r"(?i)project[ -](?:falcon|osprey)"),
                    Pattern(name="case.no", regex=r"\bK-\d{4}\b"), Pattern(name="städte", regex="x")][:2]  # fmt: skip
        found = Detector(patterns).scan(f"Project Osprey, K-1234 K-12345 K-4321, {CARD}")
        assert [(one.kind, one.count) for one in found] == [("card", 1), ("pattern.case.no", 2), ("pattern.project", 1)]
        assert [one.kind for one in Detector(patterns, kinds=()).scan(f"{CARD} K-1234")] == ["pattern.case.no"]

    def test_they_are_read_as_characters(self) -> None:
        found = Detector([Pattern(name="a", regex="Zür.ch"), Pattern(name="b", regex="(?i)ÜBER")]).scan("Zürïch, über")
        assert [one.kind for one in found] == ["pattern.a", "pattern.b"]

    @pytest.mark.parametrize(
        ("regex", "why"),
        [
            ("(", r"missing \)"),
            ("a)(b", r"unexpected \)"),
            ("[", "missing ]"),
            ("a**", "bad repetition operator"),
            ("(?=a)", "no look-around"),
            (r"(a)\1", "no backreferences"),
            ("a{1001}", "invalid repetition size"),
            ("[a-z]{500}[0-9]{200}", "more than 600 instructions"),
            (r"\pL{40}", "more than 600 instructions"),
            ("", "expected 1 to"),
            ("a" * (REGEX_CHARS_MAX + 1), "513 characters, expected 1 to 512"),
            ("a*", "empty text"),
            ("a|", "empty text"),
            (r"\b", "empty text"),
            ("^", "empty text"),
            (r"a|\B", "empty text"),
            (r"^\b", "empty text"),
            (r"\b$", "empty text"),
            (r"(?:foo)?\z", "empty text"),
            (r"\C", "single byte"),
            (r"\\\Cx", "single byte"),
            ("\ud800", "half a character"),
        ],
    )
    def test_a_bad_one_is_refused(self, regex: str, why: str, capfd: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(LocalError, match=why) as caught:
            Detector([Pattern(name="good", regex="good"), Pattern(name="bad", regex=regex)])
        assert caught.value.field == "patterns[1].regex"
        assert caught.value.message.startswith("patterns[1].regex: ")
        assert capfd.readouterr() == ("", "")

    @pytest.mark.parametrize("regex", [r"\\C", "^a", r"a\b", "a" * REGEX_CHARS_MAX, "[a-z]{500}", r".*x"])
    def test_a_good_one_is_taken(self, regex: str) -> None:
        Detector([Pattern(name="good", regex=regex)])

    @pytest.mark.parametrize("name", ["", "A", ".a", "-a", "a b", "a" * 65, "ä", "a\n", "a_b"])
    def test_a_bad_name_is_refused(self, name: str) -> None:
        with pytest.raises(LocalError, match=r"patterns\[0\].name: .* is not lower case") as caught:
            Detector([Pattern(name=name, regex="a")])
        assert caught.value.field == "patterns[0].name"

    def test_two_of_one_name(self) -> None:
        with pytest.raises(LocalError, match="two of 'a'") as caught:
            Detector([Pattern(name="a", regex="a"), Pattern(name="b", regex="a"), Pattern(name="a", regex="b")])
        assert caught.value.field == "patterns[2].name"

    def test_too_many(self) -> None:
        many = [Pattern(name=f"p{n}", regex=f"p{n}") for n in range(PATTERNS_MAX + 1)]
        Detector(many[:-1])
        with pytest.raises(LocalError, match="65 are more than 64") as caught:
            Detector(many)
        assert caught.value.field == "patterns"

    def test_too_much_together(self) -> None:
        large = [Pattern(name=f"p{n}", regex=f"{n}[a-z]{{500}}") for n in range(8)]
        Detector(large[:7])
        with pytest.raises(LocalError, match=r"with patterns\[7\] they compile to more than 4000") as caught:
            Detector(large)
        assert caught.value.field == "patterns"

    def test_they_do_not_multiply_the_states_of_the_built_in_kinds(self) -> None:
        assert len(Detector([Pattern(name="a", regex="a.{20}b")])._sieves) == 2


@given(st.text() | st.text(st.characters(codec="ascii")) | st.text("0123456789 -./ABsk_eyJ:@"))
def test_any_text_gives_the_same_twice(text: str) -> None:
    assert DETECTOR.scan(text) == Detector().scan(text) == DETECTOR.scan(text)


PIECES = [
    *"0123456789-. /:_@+=\\\"'\n\tKkSsXxAaé\u212a\u017f\u00a0\u200b\uff11\ud800",
    *(
        "111",
        "756",
        "19",
        "4111 ",
        "2B",
        "DE89",
        "AKIA",
        "eyJ",
        ".eyJ",
        "sk-",
        "sk-ant-",
        "ghp_",
        "://",
        "Zm9vOmJhcg==",
    ),
    *("-----BEGIN PRIVATE KEY-----", "Bearer ", "basic "),
    *(f" {one.word} " for one in IDS),
    *("".join("1" if char in "#@" else char for char in one.template) for one in IDS),
]


@given(st.lists(st.sampled_from(PIECES), max_size=40))
def test_nothing_makes_a_check_fail(pieces: list[str]) -> None:
    text = "".join(pieces)
    for found in (DETECTOR.scan(text), DETECTOR.scan_document([text]), DETECTOR.scan_document({text: pieces})):
        assert all(detection.kind in KINDS and 0 < detection.count <= COUNT_MAX for detection in found)
        assert [detection.kind for detection in found] == sorted({detection.kind for detection in found})
    assert DETECTOR.scan(text) == DETECTOR.scan_document([text])


class Silent:
    """RE2's set when it has no memory for one more state: it answers as if nothing had matched."""

    def Match(self, text: bytes) -> None:  # noqa: N802 - RE2's name
        return None


def test_an_automaton_that_gives_up_does_not_pass_for_a_clean_text() -> None:
    patterns = [Pattern(name="ours", regex="hush")]
    text, starved = f"{CARD} {BSN} {KEY} {BSN} hush", Detector(patterns)
    for sieve in starved._sieves:
        sieve._automaton = Silent()
    assert starved.scan(text) == Detector(patterns).scan(text)
    assert len(starved.scan(text)) == 4


HOSTILE: dict[str, Callable[[int], str]] = {
    "one letter": lambda n: "a" * n,
    "digits": lambda n: "4" * n,
    "digits and dashes": lambda n: "1-" * (n // 2),
    "a key's header begun": lambda n: "-----BEGIN " * (n // 11),
    "a key's header": lambda n: "-----BEGIN PRIVATE KEY-----" * (n // 27),
    "groups of four": lambda n: "4111 " * (n // 5),
    "cards that are none": lambda n: "4111 1111 1111 1112, " * (n // 21),
    "accounts that are none": lambda n: "DE89 3704 " * (n // 10),
    "prefixes": lambda n: "sk-ant-" * (n // 7),
    "parts of a token": lambda n: "eyJa." * (n // 5),
    "short tokens": lambda n: "eyJa.eyJa.a " * (n // 12),
    "addresses": lambda n: "a://a:" * (n // 6),
    "addresses with a host": lambda n: "a://b:c@" * (n // 8),
    "words and numbers": lambda n: "bsn nhs cpf 12345678901 " * (n // 24),
    "line ends": lambda n: "\\n" * (n // 2),
    "anything": lambda n: "".join(Random(1).choices("AKI sk-eyJ.:/@4111-\u00a0ü\\n", k=n)),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_four_times_the_text_is_four_times_the_work(text: Callable[[int], str]) -> None:
    """Sixteen times, if it grew with the square. The least of some runs, in CPU time: the machine has other work."""
    ours = Detector([Pattern(name="ours", regex="a[^b]*b|[0-9]+x|4.{0,20}x")])

    def cpu_s(length: int) -> float:
        content, least = text(length), float("inf")
        for _ in range(5):
            began = time.thread_time()
            ours.scan(content)
            least = min(least, time.thread_time() - began)
        return least

    cpu_s(1000)  # the automaton's states
    assert cpu_s(100_000) < 9 * cpu_s(25_000)


def test_work_is_bounded_and_what_is_not_judged_is_said() -> None:
    number = "4111111111111112 "
    assert DETECTOR.scan(number * (CANDIDATES_MAX - 1)) == ()
    assert DETECTOR.scan(number * CANDIDATES_MAX) == (Detection(kind="unjudged", count=1),)
    found = DETECTOR.scan(f"{KEY} {number * CANDIDATES_MAX} {CARD} {BSN}")
    assert [detection.kind for detection in found] == ["unjudged"]


def test_threads_share_a_detector() -> None:
    detector = Detector([Pattern(name="ours", regex=r"hush\d+")])
    chance = Random(5)
    texts = [
        " ".join(chance.choices([CARD, BSN, KEY, "hush1", "word", "4111 ", "12345678901"], k=400)) for _ in range(8)
    ]
    expected, wrong = [Detector([Pattern(name="ours", regex=r"hush\d+")]).scan(text) for text in texts], []

    def scan(first: int) -> None:
        for n in range(24):
            which = (first + n) % len(texts)
            if detector.scan(texts[which]) != expected[which]:
                wrong.append(which)

    threads = [threading.Thread(target=scan, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
