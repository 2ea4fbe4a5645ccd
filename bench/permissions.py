"""What a decision on a tool call costs: CPU time, the median of some rounds: `python -m bench.permissions`.

Lines of shell as agents write them, and calls of other tools, under 50 rules of all kinds and under 1,000; then texts
of the longest length that are made to cost much. Exit 1 if a limit was missed.
"""

import argparse
import sys
import time
from functools import partial

from bench.guard import cpu_us
from interlock.runtime.permissions import Facts, Request, Ruleset, decide
from interlock.runtime.permissions.script import TEXT_BYTES_MAX
from interlock.runtime.sessions.agent import Rules

US_MAX, LONGEST_S_MAX = 1000.0, 2.0
CALLS = {
    "read": ("read", {"path": "src/interlock/errors.py"}),
    "edit": ("edit", {"path": "src/interlock/errors.py"}),
    "fetch": ("fetch", {"url": "https://docs.python.org/3/library/re.html"}),
    "mcp": ("mcp(github.create_issue)", {}),
    "git status": ("shell", {"command": "git status"}),
    "a pipeline": ("shell", {"command": "cd src && git diff HEAD~1 -- a.py | grep -n foo | head -20"}),
    "a test run": ("shell", {"command": "cd app && LANG=C timeout 600 npm test -- --ci 2>&1 | tail -n 50"}),
    "a loop": ("shell", {"command": 'for f in a b c; do if [ -f "$f" ]; then wc -l "$f"; fi; done'}),
    "a file, 4 KB": ("shell", {"command": "cat > src/a.py <<'EOF'\n" + "print('hello')\n" * 270 + "EOF"}),
}
HOSTILE = ("a ", "a;", "$(", "`", '"', "{ ", "a|", "<<a ", "eval ", "cd a;", "../", ">a ", "${a", "case a in ")


def rules(count: int) -> Ruleset:
    """So many rules: a tenth deny, a tenth ask, half of all are of commands."""
    made = []
    for number in range(count):
        commands = f"shell(program{number} sub:*)", f"edit(src/part{number}/**)", f"shell(git sub{number}:*)"
        others = f"read(secret{number}/**)", f"fetch(*.host{number}.org)", f"mcp(server{number}.*)"
        made.append((*commands, *others)[number % 6])
    tenth = count // 10
    lists = Rules(deny=tuple(made[:tenth]), ask=tuple(made[tenth : 2 * tenth]), allow=tuple(made[2 * tenth :]))
    return Ruleset.parse(lists)


def main() -> int:
    """The tables; 1 if a limit was missed."""
    argparse.ArgumentParser(prog="python -m bench.permissions", description=__doc__).parse_args()
    few, many = (Facts(mode="default", rules=rules(count), strength="namespace") for count in (50, 1000))
    kept = True
    print("| call | verdict | 50 rules | 1,000 rules |\n| --- | --- | ---: | ---: |")
    for name, (tool, arguments) in CALLS.items():
        request = Request(tool=tool, arguments=arguments)
        figures = [cpu_us(partial(decide, request, facts)) for facts in (few, many)]
        kept &= figures[0] <= US_MAX
        print(f"| {name} | {decide(request, few).verdict} | {figures[0]:,.0f} µs | {figures[1]:,.0f} µs |", flush=True)
    print("\n| made to cost much, 128 KiB | verdict | 1,000 rules |\n| --- | --- | ---: |")
    for piece in HOSTILE:
        request = Request(tool="shell", arguments={"command": piece * (TEXT_BYTES_MAX // len(piece))})
        began = time.process_time()
        verdict = decide(request, many).verdict
        took = time.process_time() - began
        kept &= took <= LONGEST_S_MAX
        print(f"| `{piece.strip()}` repeated | {verdict} | {took * 1000:,.0f} ms |", flush=True)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
