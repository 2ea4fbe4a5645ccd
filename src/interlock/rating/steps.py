"""How an amount came about, step by step, in text that a person follows and a program computes again.

The rule that a step shows is the one that was computed: `Work.do` evaluates its text. It decides nothing.
"""

import ast
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import lru_cache

import msgspec

from interlock.errors import LocalError
from interlock.rating.exact import MODES, round_to, text_of

STEPS_MAX = 400
"""Of one charge: a hundred thousand events are summed up, not listed."""
TAKEN_MAX = 1_000_000
"""Of one charge, listed or not: some 20 s. A hundred thousand windows in a thousand tiers would take an hour."""

Values = Mapping[str, Fraction]
Rule = Callable[[Values], Fraction]


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One step: `rule` over the named numbers of `input` gives `output`."""

    name: str
    input: dict[str, str]
    """Decimals, or `n/d` where no decimal is exact."""
    rule: str
    """`units * unit + flat`: + - * /, min, max, and `round(x, places, "mode")`."""
    output: str


class Work:
    """The steps of one calculation as they are taken."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.left_out = 0

    def do(self, name: str, rule: str, **values: Fraction) -> Fraction:
        """Compute the rule and write the step down. Raises: LocalError: more than TAKEN_MAX."""
        if self.left_out >= TAKEN_MAX - STEPS_MAX:
            what = f"the charge takes more than {TAKEN_MAX:,} steps to rate: fewer tiers, or fewer buckets and events"
            raise LocalError(what, field="price")
        found = _rule(rule)(values)
        if len(self.steps) < STEPS_MAX:
            given = {key: text_of(value) for key, value in values.items()}
            self.steps.append(Step(name=name, input=given, rule=rule, output=text_of(found)))
        else:
            self.left_out += 1
        return found

    def sum(self, name: str, parts: list[Fraction]) -> Fraction:
        """The sum of many, as one step; the parts are named if they are few."""
        if 1 < len(parts) <= 12:
            named = {f"part_{index}": part for index, part in enumerate(parts, 1)}
            return self.do(name, " + ".join(named), **named)
        found = sum(parts, Fraction(0))
        return self.do(name, "sum", sum=found)

    def taken(self) -> tuple[Step, ...]:
        """The steps, and one that says how many are not listed."""
        if not self.left_out:
            return tuple(self.steps)
        more = text_of(Fraction(self.left_out))
        return (*self.steps, Step(name="steps not listed", input={"steps": more}, rule="steps", output=more))


def holds(step: Step) -> bool:
    """Whether the step's rule over its input gives its output; computed from the text alone.

    >>> holds(Step(name="tier 1", input={"units": "3", "unit": "0.1"}, rule="units * unit", output="0.3"))
    True
    """
    values = {name: Fraction(text) for name, text in step.input.items()}
    return text_of(_rule(step.rule)(values)) == step.output


@lru_cache(maxsize=512)
def _rule(text: str) -> Rule:
    try:
        return _compile(ast.parse(text, mode="eval").body)
    except (SyntaxError, KeyError, ValueError) as error:
        raise LocalError(f"{text!r} is not a rule of a step", field="rule") from error


def _compile(node: ast.expr) -> Rule:
    match node:
        case ast.Name(id=name):
            return lambda values: values[name]
        case ast.Constant(value=int(number)):
            whole = Fraction(number)
            return lambda _: whole
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            one = _compile(inner)
            return lambda values: -one(values)
        case ast.BinOp(left=left, op=op, right=right):
            return _binary(type(op), _compile(left), _compile(right))
        case ast.Call(func=ast.Name(id="min" | "max" as name), args=args, keywords=[]):
            of = min if name == "min" else max
            rules = [_compile(arg) for arg in args]
            return lambda values: of(rule(values) for rule in rules)
        case ast.Call(
            func=ast.Name(id="round"),
            args=[inner, ast.Constant(value=int(places)), ast.Constant(value=str(mode))],
            keywords=[],
        ) if mode in MODES:
            one = _compile(inner)
            chosen = MODES[MODES.index(mode)]
            return lambda values: round_to(one(values), places, chosen)
    raise ValueError(ast.dump(node))


def _binary(op: type[ast.operator], left: Rule, right: Rule) -> Rule:
    if op is ast.Add:
        return lambda values: left(values) + right(values)
    if op is ast.Sub:
        return lambda values: left(values) - right(values)
    if op is ast.Mult:
        return lambda values: left(values) * right(values)
    if op is ast.Div:
        return lambda values: left(values) / right(values)
    raise ValueError(op.__name__)
