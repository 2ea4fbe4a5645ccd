"""Traffic from files: what is read, what is refused, and sums by hand."""

from pathlib import Path

import pytest

from interlock.errors import LocalError
from interlock.gateway import Deployment, Policy, Rule, Tier, When
from interlock.ledger import Price
from interlock.replay import Baseline, Traffic, baseline_of, read_traffic, replay_traffic

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n2023-11-16 18:17:04.03,110,27\n"


def read(tmp_path: Path, text: str, **named: str) -> list[Traffic]:
    path = tmp_path / "traffic.csv"
    path.write_text(text)
    return list(read_traffic(path, named))


def test_headers_that_are_understood(tmp_path: Path) -> None:
    assert read(tmp_path, AZURE) == [Traffic(1, 4808, 10, "", "auto"), Traffic(2, 110, 27, "", "auto")]
    text = "mode,input_tokens,output_tokens,model\nPlan,5,6,gpt-5\n\n,7,8,\n"
    assert read(tmp_path, text) == [Traffic(1, 5, 6, "plan", "gpt-5"), Traffic(3, 7, 8, "", "auto")]
    assert read(tmp_path, "\ufeffa,b\n1,2\n", input="a", output="b") == [Traffic(1, 1, 2, "", "auto")]


@pytest.mark.parametrize(
    ("text", "named", "said"),
    [
        ("", {}, "no column for input"),
        ("a,b\n1,2\n", {"input": "c"}, "no column for input ('c'); the header has a, b"),
        ("input,b\n1,2\n", {}, "no column for output"),
        ("input,output\n1,2\nx,2\n", {}, "row 2: 'x' is not a number of tokens"),
        ("input,output\n-1,2\n", {}, "row 1: '-1' is not a number of tokens"),
        ("input,output\n1.5,2\n", {}, "row 1: '1.5' is not"),
        ("input,output\n1\n", {}, "row 1: '' is not"),
        ("input,output\n" + "9" * 13 + ",1\n", {}, "is not a number of tokens"),
        ("input,output,x\n1,2," + "y" * 5000 + "\n", {}, "line 2: field larger than field limit"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, named: dict[str, str], said: str) -> None:
    with pytest.raises(LocalError, match=r".") as caught:
        read(tmp_path, text, **named)
    assert said in caught.value.message


def policy(**fields: object) -> Policy:
    def deployment(name: str, each: int) -> Deployment:
        price = Price(per_mtok={"input": each, "output": 2 * each})
        return Deployment(
            name=name, provider="o", base_url="http://h", model="m", family="f", formats=("chat",), price=price
        )

    return Policy(
        version="v",
        deployments={"big": deployment("big", 5_000_000), "small": deployment("small", 1_000_000)},
        tiers={name: Tier(name=name, deployments=(name,)) for name in ("big", "small")},
        rules=(
            Rule(name="short", when=When(input_tokens_max=100), tier="small"),
            Rule(name="plans", when=When(mode=("plan",)), tier="big"),
        ),
        profiles={},
        default_tier="big",
        baseline="big",
    )


CALLS = [Traffic(1, 100, 10, "", "auto"), Traffic(2, 101, 10, "plan", "auto"), Traffic(3, 50, 0, "plan", "small")]


def test_by_hand() -> None:
    made = policy()
    report = replay_traffic(CALLS, made, baseline_of(made)).report("v", "big")
    assert (report.attempts, report.changed) == (3, 2)
    assert report.actual_nanousd == (100 + 20) * 5 + (101 + 20) * 5 + 50 * 5
    assert report.replayed_nanousd == (100 + 20) * 1 + (101 + 20) * 5 + 50 * 1
    assert [(rule.rule, rule.attempts, rule.difference_nanousd) for rule in report.rules] == [
        ("short", 1, -480),
        ("model", 1, -200),
        ("plans", 1, 0),
    ]
    assert [(move.was, move.would_be, move.attempts, move.example) for move in report.moves] == [
        ("big", "small", 1, "row 1"),
        ("big", "small", 1, "row 3"),
    ]


def test_against_another_policy_is_the_difference_of_both() -> None:
    made = policy()
    other = Policy(**{name: getattr(made, name) for name in made.__struct_fields__} | {"rules": ()})
    report = replay_traffic(CALLS, made, other).report("v", "other")
    assert report.difference_nanousd == -480 and report.changed == 1
    back = replay_traffic(CALLS, other, made).report("other", "v")
    assert back.difference_nanousd == 480


def test_without_a_baseline_there_is_nothing_to_compare_with() -> None:
    made = policy()
    bare = Policy(**{name: getattr(made, name) for name in made.__struct_fields__} | {"baseline": None})
    with pytest.raises(LocalError, match="--against"):
        baseline_of(bare)
    report = replay_traffic(CALLS, bare, Baseline("free", Price(per_mtok={"input": 0, "output": 0}))).report("v", "x")
    assert report.actual_nanousd == 0 < report.replayed_nanousd
