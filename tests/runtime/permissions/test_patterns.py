"""Rules: what parses, what is said of what does not, and what each names."""

import pytest
from tests.runtime.permissions.asking import rows, ruling

from interlock.errors import LocalError
from interlock.runtime.permissions import Ruleset
from interlock.runtime.permissions.patterns import PATTERN_CHARS_MAX, PATTERNS_MAX
from interlock.runtime.sessions.agent import Rules

WRONG = [
    ("", "no rule"),
    ("shell(", "no rule"),
    ("shell(ls) ", "no rule"),
    ("Bash(git status:*)", "write shell"),
    ("Write(src/**)", "write edit"),
    ("WebFetch(domain:a.org)", "write fetch"),
    ("Read(a)", "write read"),
    ("teleport", "the tools are shell, read"),
    ("shell()", "names nothing"),
    ("edit( )", "names nothing"),
    ("shell(git *)", "write shell(git:*)"),
    ("shell(npm run *:*)", "write shell(npm run:*)"),
    ("shell(rm*)", "write shell(rm:*)"),
    ("shell(*rm)", "write shell(*:*)"),
    ("shell(:*)", "shell(*)"),
    ("shell(a && b)", "simple command"),
    ("shell(a | b)", "simple command"),
    ("shell(a > b)", "simple command"),
    ("shell(a $(b))", "simple command"),
    ("shell(a 'b)", "No closing quote"),
    ("edit(../x)", "without `..`"),
    ("edit(a/../b)", "without `..`"),
    ("edit(!a)", "allow, ask or deny"),
    ("edit({a,b})", "one rule for each"),
    ("edit(a[b)", "not closed"),
    ("edit(~bob/x)", "names a place"),
    ("edit(a\nb)", "no path pattern"),
    ("fetch(https://a.org/)", "write a host"),
    ("fetch(a*.org)", "write a host"),
    ("mcp(github)", "mcp(server.tool)"),
    ("mcp(a b.c)", "mcp(server.tool)"),
    ("mcp(a.[b])", "mcp(server.tool)"),
]


@pytest.mark.parametrize(("pattern", "said"), WRONG)
@pytest.mark.parametrize("which", ["deny", "ask", "allow"])
def test_a_wrong_pattern_is_refused_with_what_would_be_right(which: str, pattern: str, said: str) -> None:
    with pytest.raises(LocalError) as caught:
        Ruleset.parse(Rules(**{which: ("read", pattern)}))
    assert caught.value.field == f"rules.{which}[1]"
    assert said in caught.value.message


def test_no_rule_allows_paths_outside_but_rules_may_deny_them() -> None:
    for pattern in ("edit(/etc/**)", "read(~/.ssh/**)", "edit(/tmpx/a)", "read(/)"):
        with pytest.raises(LocalError, match="outside the workspace"):
            Ruleset.parse(Rules(allow=(pattern,)))
        Ruleset.parse(Rules(deny=(pattern,), ask=(pattern,)))
    Ruleset.parse(Rules(allow=("edit(/tmp/**)",)))


def test_bounds() -> None:
    Ruleset.parse(Rules(deny=("read",) * 400, ask=("read",) * 300, allow=("read",) * 300))
    with pytest.raises(LocalError, match=f"more than {PATTERNS_MAX}"):
        Ruleset.parse(Rules(deny=("read",) * 400, ask=("read",) * 300, allow=("read",) * 301))
    Ruleset.parse(Rules(deny=("read(" + "a" * (PATTERN_CHARS_MAX - 6) + ")",)))
    with pytest.raises(LocalError, match=f"longer than {PATTERN_CHARS_MAX}"):
        Ruleset.parse(Rules(deny=("read(" + "a" * (PATTERN_CHARS_MAX - 5) + ")",)))
    Ruleset.parse(Rules(deny=("read(" + "*a" * 200 + ")",)))  # RE2 does not go back


# rule, then verdict and command: what an allow rule names
ALLOWS = rows(r"""
shell(git status:*) | allow git status
shell(git status:*) | allow git status --show-stash x
shell(git status:*) | ask git statusx y
shell(git status:*) | ask git push status
shell(git status:*) | ask git -C x status
shell(git stash:*) | allow "git" 'stash' pop
shell(git stash:*) | allow /usr/bin/git stash
shell(git stash:*) | ask ./git stash
shell(git stash:*) | ask /opt/git stash
shell(git stash:*) | ask git stash; npm test
shell(git stash:*) | ask git stash $(npm test)
shell(git stash:*) | allow git stash $X
shell(git stash:*) | ask git $X stash
shell(git stash:*) | ask GIT_DIR=x git stash
shell(git stash:*) | allow LANG=C git stash
shell(git stash:*) | ask git stash > out
shell(git stash:*) | allow git stash 2>/dev/null
shell(git stash:*) | allow ls && git stash | cat
shell(git stash:*) | allow timeout 5 git stash
shell(git stash:*) | ask sudo git stash
shell(git stash:*) | ask git stash .git/config
shell(npm test) | allow npm test
shell(npm test) | ask npm test x
shell(npm test) | ask npm
shell(npm test) | ask npm $X
shell(npm test) | ask npm te*
shell(git commit -m "a b") | allow git commit -m 'a b'
shell(git commit -m "a b") | ask git commit -m a b
shell(make '*') | allow make "*"
shell(make '*') | ask make *
shell(*) | allow npm test; make
shell(*) | ask $X
shell(*) | ask PATH=. make
shell | allow npm test
shell(FOO=1 make:*) | allow FOO=1 make all
shell(FOO=1 make:*) | allow env FOO=1 make all
shell(FOO=1 make:*) | ask FOO=2 make all
shell(FOO=1 make:*) | ask FOO=1 BAR=2 make all
shell(FOO=1 make:*) | ask make all
shell(LANG=C make) | allow LANG=C make
shell(./run.sh:*) | allow ./run.sh a
shell(./run.sh:*) | ask run.sh a
shell(./run.sh:*) | allow bash ./run.sh a
shell(timeout:*) | allow timeout 5 npm test
shell(timeout 5:*) | allow timeout 5 npm test
shell(timeout 5:*) | ask timeout 6 npm test
""")


@pytest.mark.parametrize(("rule", "row"), ALLOWS)
def test_what_an_allow_rule_names(rule: str, row: str) -> None:
    verdict, _, command = row.partition(" ")
    assert ruling(command, allow=[rule]).verdict == verdict, ruling(command, allow=[rule])


# rule, then verdict and command, in a session where everything else is allowed
DENIES = rows(r"""
shell(rm -rf:*) | deny rm -rf x
shell(rm -rf:*) | ask rm -fr x
shell(rm -rf:*) | ask rm -r -f x
shell(rm -rf:*) | ask rm $X
shell(rm -rf:*) | allow rm x
shell(npm publish) | deny npm publish
shell(npm publish) | deny npm --silent publish
shell(npm publish) | ask npm --registry x publish
shell(npm publish) | allow npm publish x
shell(npm publish) | allow npm run publish
shell(npm publish:*) | deny npm publish x
shell(npm publish:*) | allow npm run publish
shell(rm:*) | deny ./rm x
shell(rm:*) | deny FOO=1 rm x
shell(rm:*) | ask strace rm x
shell(rm:*) | ask /lib64/ld-linux-x86-64.so.2 /bin/rm x
shell(rm:*) | ask unshare -r rm x
shell(rm:*) | allow git rm x
shell(rm:*) | allow echo rm
shell(rm:*) | allow grep rm x
shell(/usr/bin/rm:*) | deny rm x
shell(FOO=1 rm:*) | deny rm x
shell(./deploy.sh:*) | deny bash deploy.sh
shell(./deploy.sh:*) | deny . ./deploy.sh
shell(./deploy.sh:*) | deny sh -x ./deploy.sh now
edit(secrets/**) | deny echo x > secrets/a
edit(secrets/**) | deny cp a secrets/b
edit(secrets/**) | deny rm -r secrets/a
edit(secrets/**) | ask rm -r sec*/a
edit(secrets/**) | ask echo x > $X
edit(secrets/**) | allow cat secrets/a
edit(secrets/**) | allow cp a b
read(secrets/**) | ask cat s*/a
read(secrets/**) | allow cat src/*.py
read(secrets/**) | allow cat *.py
read(*.pem) | deny cat deep/key.pem
read(*.pem) | ask cat deep/*
read(*.pem) | allow cat deep/a.txt
read(.env) | allow cat *
read(.env) | ask cat .*
read(/etc/**) | deny cat /etc/passwd
read(/etc/**) | deny cat /usr/../etc/passwd
read(~/.ssh/**) | deny cat ~/.ssh/id_rsa
read(~/.ssh/**) | allow cat ~/x
read(src) | deny cat src/a
read(a/a/x) | ask for i in 1 2; do cd a; done; cat x
read(a/a/x) | deny cd a && cd a && cat x
read(src/) | deny cat src/deep/a
read(/workspace/x) | allow cat x
""")


@pytest.mark.parametrize(("rule", "row"), DENIES)
def test_what_a_deny_rule_names(rule: str, row: str) -> None:
    verdict, _, command = row.partition(" ")
    given = ruling(command, allow=["shell(*)", "edit(*)"], deny=[rule], mode="accept-edits")
    assert given.verdict == verdict, given


GLOBS = rows(r"""
src/** | yes src/a src/a/b src/.x
src/** | no src a srcx/a a/src/b
src | yes src src/a a/src a/src/b
src/ | yes src/a a/src/b
*.md | yes a.md a/b.md .md a.md/x
*.md | no a.mdx amd
a/*.md | yes a/b.md
a/*.md | no b.md a/b/c.md x/a/b.md
a/**/b | yes a/b a/x/b a/x/y/b a/b/c
a/**/b | no ab a/bx
**/a/b | yes a/b x/a/b
** | yes a a/b .x
* | yes a a/b
a? | yes ab a\?
a? | no a abc
[ab]c | yes ac bc
[!ab]c | yes cc
[!ab]c | no ac
[^ab]c | no bc
[a-c]x | yes bx
[a-c]x | no dx
a.b | no axb
a+(b) | yes a+(b)
./src/a | yes src/a
src//a | yes src/a
\*x | yes *x
\*x | no ax
""")


@pytest.mark.parametrize(("pattern", "row"), GLOBS)
def test_path_patterns(pattern: str, row: str) -> None:
    expected, *paths = row.split(" ")
    for path in paths:
        path = path.replace("\\?", "?")
        verdict = ruling(path, "edit", deny=[f"edit({pattern})"], mode="accept-edits").verdict
        assert (verdict == "deny") == (expected == "yes"), path
        if not path.startswith(".") or path == ".md":
            verdict = ruling(path, "edit", allow=[f"edit({pattern})"]).verdict
            assert (verdict == "allow") == (expected == "yes"), path
