"""What it costs to look for sensitive content, and how often it is seen where there is none: `python -m bench.guard`.

Speed: one text of prose and one of code at three sizes, and a chat request of the same prose, all kinds, CPU time of a
scan, the median of some rounds; beside it Python's `re` with the same expressions, one after another and as one, and
the detector with an operator's ten patterns. Then texts that are made to cost much. Precision: this repository, the
standard library, and what machines write (numbers, digests, UUIDs, images), with the kinds that are found in them.
"""

import argparse
import base64
import re
import sys
import sysconfig
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from statistics import median

from interlock.guard import Detector, Pattern
from interlock.guard.detector import _BUILT_IN

ROOT = Path(__file__).parents[1]
SIZES = (1500, 20_000, 200_000)
BIRDS = ("falcon", "osprey", "kestrel", "harrier", "merlin", "buzzard", "kite", "eagle", "hobby", "goshawk")
PATTERNS = [Pattern(name=bird, regex=rf"(?i)\bproject[ -]{bird}\b") for bird in BIRDS]
LIMIT_US = {1500: 25.0, 200_000: 1000.0}


def cpu_us(work: Callable[[], object], budget_s: float = 0.2) -> float:
    """CPU µs a call, the median of five rounds."""
    work()
    began = time.thread_time()
    work()
    calls = max(1, int(budget_s / 5 / max(time.thread_time() - began, 1e-6)))
    rounds = []
    for _ in range(5):
        began = time.thread_time()
        for _ in range(calls):
            work()
        rounds.append((time.thread_time() - began) / calls * 1e6)
    return median(rounds)


def sources() -> dict[str, str]:
    """Prose and code, each long enough."""
    prose = [path.read_text() for path in sorted((ROOT / "docs").rglob("*.md")) if "guard" not in path.stem]
    code = [path.read_text() for path in sorted((ROOT / "src").rglob("*.py")) if "guard" not in path.parts]
    return {"prose": "\n".join(prose)[: SIZES[-1]], "code": "\n".join(code)[: SIZES[-1]]}


def chat(text: str) -> dict[str, object]:
    """A conversation in messages of some hundred characters."""
    pieces = [text[at : at + 700] for at in range(0, len(text), 700)]
    messages = [{"role": ("user", "assistant")[n % 2], "content": piece} for n, piece in enumerate(pieces)]
    return {"model": "auto", "messages": messages, "max_tokens": 512, "stream": True}


def speed() -> bool:
    """Print the table; whether the limits are kept."""
    detector, ours = Detector(), Detector(PATTERNS)
    each = [re.compile(kind.hint) for kind in _BUILT_IN.values()]
    one = re.compile("|".join(f"(?:{expression.pattern})" for expression in each))
    kept = True
    print("| text | bytes | scan | request | with ten patterns | `re`, one by one | `re`, as one |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, source in sources().items():
        for size in SIZES:
            text = source[:size]
            works: list[Callable[[], object]] = [
                partial(detector.scan, text),
                partial(detector.scan_document, chat(text)),
                partial(ours.scan, text),
                partial(searched, each, text),
                partial(one.search, text),
            ]
            row = [cpu_us(work) for work in works]
            kept &= max(row[:2]) <= LIMIT_US.get(size, float("inf"))
            print(f"| {name} | {len(text.encode()):,} | {' | '.join(f'{us:,.1f} µs' for us in row)} |", flush=True)
    return kept


def searched(expressions: list[re.Pattern[str]], text: str) -> int:
    """How many are in it."""
    return sum(expression.search(text) is not None for expression in expressions)


WORDS = "bsn nhs cpf SSN steuer pesel egn oib amka cnp nif kimlik isikukood tfn svnr personnummer aadhaar passport"
TOKENS = (
    "a://",
    "b:",
    "sk-ant-a-",
    "sk-proj-",
    "-",
    "eyJaaaa",
    ".eyJbb.",
    "AIza",
    "glpat-",
    "ilk_",
    "DE12 ",
    "4111 ",
    " ",
)


def hostile() -> Iterator[tuple[str, str]]:
    """Texts of 200 KB that make the automaton or the checks work."""
    chance, size = Random(1), SIZES[-1]
    yield "one letter", "a" * size
    yield "a table of numbers", "".join(f"{chance.randrange(10_000):04} " for _ in range(size // 5))
    yield "card numbers that are none", "4111111111111112 " * (size // 17)
    yield "beginnings of tokens", "".join(chance.choices(TOKENS, k=size // 5))[:size]
    yield "every id's word, then numbers", WORDS + numbers(chance, 11, size)


def numbers(chance: Random, digits: int, size: int) -> str:
    """Lines of numbers of so many digits."""
    low, high = 10 ** (digits - 1), 10**digits
    return "\n".join(str(chance.randrange(low, high)) for _ in range(size // (digits + 1)))


def log_lines(chance: Random, count: int) -> Iterator[str]:
    """Milliseconds, nanoseconds, addresses, ids in paths, seconds."""
    for at_ms in range(1_764_000_000_000, 1_764_000_000_000 + count):
        at_ns, order = at_ms * 10**6 + chance.randrange(10**6), chance.randrange(10**8)
        yield f"{at_ms} {at_ns} 10.0.{at_ms % 256}.{at_ms % 199} GET /orders/{order} 200 {chance.random():.6f}"


def machine_data() -> Iterator[tuple[str, list[str]]]:
    """What machines write, a megabyte of each."""
    chance, size = Random(2), 1_000_000
    yield "embeddings (floats)", [", ".join(repr(chance.uniform(-1, 1)) for _ in range(size // 21))]
    yield "UUIDs", ["\n".join(str(uuid.UUID(int=chance.getrandbits(128))) for _ in range(size // 37))]
    yield "SHA-256, hex", ["\n".join(chance.randbytes(32).hex() for _ in range(size // 65))]
    images = (base64.b64encode(chance.randbytes(30_000)).decode() for _ in range(size // 40_000))
    yield "images in Base64", ["\n".join(images)]
    yield "logs", ["\n".join(log_lines(chance, size // 80))]
    calls = (
        f"+{chance.randrange(1, 99)} {chance.randrange(100, 999)} {chance.randrange(10**7)}" for _ in range(size // 16)
    )
    yield "telephone numbers", ["\n".join(calls)]
    for digits in (8, 9, 10, 11, 12, 13, 14, 15, 16, 19):
        yield f"numbers of {digits} digits, each by itself", numbers(chance, digits, size).split()


def files() -> Iterator[tuple[str, list[str]]]:
    """Texts that people wrote. What is about this is left out: it is full of what is sought."""
    kinds, others = {".py", ".md", ".toml", ".json", ".yaml"}, {"guard", ".peers", "results"}
    places = [
        path for name in ("src", "tests", "bench", "docs", "examples") for path in sorted((ROOT / name).rglob("*"))
    ]
    ours = [path for path in places if path.suffix in kinds and not others & {*path.parts, path.stem}]
    library = Path(sysconfig.get_path("stdlib"))
    standard = [path for path in sorted(library.rglob("*.py")) if "site-packages" not in path.parts]
    for name, paths in (("this repository", ours), ("Python's standard library", standard)):
        yield name, [path.read_text(errors="replace") for path in paths]


def precision() -> None:
    """Print the table."""
    detector = Detector()
    print("| text | bytes | texts | with something found | what |")
    print("| --- | ---: | ---: | ---: | --- |")
    for name, texts in [*files(), *machine_data()]:
        tally, flagged = Counter[str](), 0
        for text in texts:
            found = detector.scan(text)
            flagged += bool(found)
            tally.update({detection.kind: detection.count for detection in found})
        told = ", ".join(f"{kind} × {times}" for kind, times in sorted(tally.items())) or "nothing"
        print(f"| {name} | {sum(map(len, texts)):,} | {len(texts):,} | {flagged} | {told} |", flush=True)


def main() -> int:
    """The tables; 1 if a limit was missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.guard", description=__doc__)
    parser.add_argument(
        "--precision", action="store_true", help="only how often something is found where there is nothing"
    )
    if parser.parse_args().precision:
        precision()
        return 0
    kept = speed()
    detector = Detector()
    print("\n| made to cost much, 200 KB | scan |\n| --- | ---: |")
    for name, text in hostile():
        print(f"| {name} | {cpu_us(partial(detector.scan, text)) / 1000:,.1f} ms |", flush=True)
    print()
    precision()
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
