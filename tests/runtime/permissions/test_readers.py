"""What only reads passes without a rule, and what looks like it and writes, runs or reaches out does not."""

import pytest
from tests.runtime.permissions.asking import rows, ruling

READS = rows(r"""
allow | ls
allow | ls -la src
allow | ls -R --color=never src/*.py
allow | cat a.txt b.txt
allow | cat -- -odd-name
allow | cat < a.txt
allow | cat "a b.txt" 'c d.txt'
allow | /bin/cat a
allow | /usr/bin/git status
allow | head -n 20 a
allow | head -20 a
allow | tail -5 a
allow | wc -l a
allow | git status
allow | git status --short --branch
allow | git --no-pager log --oneline -n 5
allow | git log --oneline -10 main..feature -- src/a.py
allow | git diff HEAD~1 --stat
allow | git show HEAD:src/a.py
allow | git branch -a
allow | git rev-parse --show-toplevel
allow | git ls-files -o --exclude-standard
allow | git blame -L 1,20 src/a.py
allow | grep -rn "foo bar" src
allow | grep -E 'a|b' a.txt
allow | rg -n foo src
allow | rg --files src
allow | find . -name '*.py' -type f
allow | find src -maxdepth 2 -newer a.txt -print0
allow | find . -name '*.py' -exec echo {} +
ask | find . -name '*.py' -exec wc -l {} +
ask | find . -name '*.py' -exec rm {} +
allow | sort a | uniq -c | sort -rn | head
allow | cut -d, -f1 a.csv
allow | tr a-z A-Z < a
allow | sed -n 1,20p a.py
allow | sed -n '/x/p' a.py; true
allow | echo hello
allow | echo "$HOME" $X `pwd`
allow | printf '%s\n' a b
allow | pwd
allow | cd src && ls
allow | cd src; cat a
allow | cd src/deep && cat ../a
allow | cd src && cat < ../a
allow | cd a && cd b && cat ../../x
allow | [ -f a ] && cat a
allow | test -d src || echo none
allow | [[ -f a ]] && cat a
allow | if [ -f a ]; then cat a; else echo none; fi
allow | for f in a b c; do echo $f; done
allow | case $x in a) ls;; *) pwd;; esac
allow | { cat a; ls; } | head
allow | (cd src && ls)
allow | ls 2>/dev/null
allow | ls > /dev/null 2>&1
allow | diff a b
allow | diff <(sort a) <(sort b)
allow | env LANG=C ls
allow | LANG=C sort a
allow | NO_COLOR=1 ls
allow | timeout 5 cat a
allow | nice -n 5 grep -r x src
allow | time ls
allow | command -v git
allow | command cat a
allow | ls | xargs echo
ask | ls | xargs wc -l
allow | bash -c 'ls; cat a'
allow | sh -lc "git status"
allow | x=1; echo $x
allow | x=$(cat a); echo "$x"
allow | cat <<'EOF'\nrm -rf /\nEOF
allow | cat <<EOF\n$(ls) `pwd`\nEOF
allow | ls # rm x
allow | ls \\n  -la
allow | date +%s
allow | jq .name package.json
allow | du -sh src
allow | stat a
allow | sha256sum a
allow | true && false || :
allow | ! grep -q x a
allow | set -euo pipefail; ls
allow | export LANG=C; ls
allow | cat /workspace/a.txt
allow | cd /workspace && ls
allow | cat src/../a
allow | seq 1 3 | tac
""")
OTHERS = rows(r"""
# options that write, run or reach out
ask | sort -o a b
ask | sort --output=a b
ask | sort -uo a b
ask | sort --compress-program=x a
ask | uniq a b
ask | find . -delete
ask | find . -fprint a
ask | find . -ok rm {} \;
ask | git diff --output=x
ask | git diff --ext-diff
ask | git log --output=x
ask | git -c core.pager=x log
ask | git -C .. status
ask | git --git-dir=/x log
ask | git --exec-path=x status
ask | git branch new
ask | git branch -D old
ask | git tag v1
ask | git remote add a b
ask | git push
ask | git grep -O x
ask | git cat-file --textconv x
ask | sed -i s/a/b/ a
ask | sed -n 'w x' a
ask | sed -n '1e rm' a
ask | sed s/a/b/e a
ask | awk '{system("rm")}' a
ask | rg --pre x foo
ask | grep -f /etc/passwd a
ask | tree -o x
ask | tail -f a
ask | date -s now
ask | hostname x
ask | tee a
ask | python -c pass
ask | xxd a b
ask | command rm x
# places
ask | cat /etc/passwd
ask | cat ../x
ask | cat src/../../x
ask | cat ~/.ssh/id_rsa
ask | cat ~root/x
ask | ls /
ask | ls *.py /etc/*
ask | cat < /etc/passwd
ask | cd .. && ls
ask | cd && cat x
ask | cd - && cat x
ask | cd /etc; cat passwd
ask | cd src && cat ../../x
ask | cd src; cat ../x
ask | cd src || cat ../x
ask | cd src && ls; cat ../x
ask | cd src | cat ../x
ask | ! cd src && cat ../x
ask | echo $(cd src) && cat ../x
ask | env cd src && cat ../x
ask | sh -c "cd src" && cat ../x
ask | echo `cd src` && cat ../x
ask | { ! cd src; } && cat ../x
ask | (cd src) && cat ../x
ask | cd src && cat < ../../x
ask | cd a && cd b && cat ../../../x
ask | cd $X && cat a
ask | for d in a b; do cd $d; cat ../x; done
ask | pushd src && cat a
ask | f() { cd ..; }; f; cat x
ask | grep -r x /
ask | rg x ..
ask | wc --files0-from=/etc/x
# words that only running it would tell
ask | cat $X
ask | cat "$X"
ask | cat $(echo a)
ask | cat {a,../b}
ask | sort $X
ask | find $X
ask | git log $X
ask | xargs cat < list
# variables
ask | PATH=. ls
ask | LD_PRELOAD=./x.so ls
ask | GIT_PAGER=./x git log
ask | FOO=1 ls
ask | env FOO=1 ls
ask | export PATH=.; ls
ask | PATH=.; ls
ask | export FOO=1; ls
ask | read PATH < f; ls
ask | for PATH in .; do ls; done
ask | : ${PATH:=.}; ls
ask | printf -v PATH %s .; ls
ask | unset PATH; ls
ask | declare -n x=PATH; ls
ask | IFS=/; ls
# redirects
ask | ls > out
ask | ls >> out
ask | ls >| out
ask | ls &> out
ask | ls <> out
ask | echo x > $F
ask | ls >&out
ask | > out
ask | ls 2> err
deny | ls > /etc/x
deny | ls > ../x
deny | ls > ~/.bashrc
ask | > /tmp//x
# not seen through
ask | $X
ask | $X a
ask | `echo ls`
ask | "$(echo ls)" a
ask | l${x}s
ask | {ls,a}
ask | l*
ask | eval "$X"
ask | eval ls $X
ask | bash -c "$X"
ask | curl x | sh
ask | base64 -d x | bash
ask | bash < script
ask | bash <<< ls
ask | bash <<EOF\nls\nEOF
ask | bash script.sh
ask | ./ls
ask | . ./x
ask | source x
ask | alias ls=rm; ls
ask | shopt -s expand_aliases; ls
ask | hash -p /bin/rm ls; ls x
ask | enable -n test
ask | trap "$X" EXIT
ask | echo $((x))
ask | echo ${x@P}
ask | echo ${!x}
ask | ((x))
ask | let x=1
ask | [[ x -eq y ]]
ask | [[ a && b ]]
ask | a[x]=1; ls
ask | test -v x
ask | ls 'a
ask | ls "a
ask | ls `a
ask | ls $(a
ask | ls; }
ask | ls)
ask | if ls
ask | ls ;; cat a
ask | cat <<EOF\na
ask | fi
ask | echo ok; function x { ls; }
ask | coproc ls
ask | zsh -c ls
ask | time -o x ls
ask | timeout --what 5 ls
ask | ls |& cat
ask | ls &>/dev/null -la
ask | l\\ns a
ask | echo "$x\\ny"
""")


@pytest.mark.parametrize(("verdict", "command"), READS)
def test_reading_passes(verdict: str, command: str) -> None:
    assert ruling(command).verdict == verdict, ruling(command)
    if verdict == "allow":
        assert ruling(command, mode="plan").verdict == "allow"
        assert ruling(command, mode="auto").verdict == "allow"


@pytest.mark.parametrize(("verdict", "command"), OTHERS)
def test_anything_else_is_asked(verdict: str, command: str) -> None:
    assert ruling(command).verdict == verdict, ruling(command)
    assert ruling(command, mode="plan").verdict in ("deny", "ask")
    assert ruling(command, mode="auto").verdict == "deny"
    assert ruling(command, mode="auto", denials=3).verdict == verdict


def test_plan_asks_about_what_only_reads_elsewhere_and_denies_what_does_more() -> None:
    assert ruling("cat /etc/hostname", mode="plan").verdict == "ask"
    assert ruling("cat /etc/hostname", mode="plan", allow=["shell(cat:*)"]).verdict == "allow"
    for command in ("npm test", "ls > out", "FOO=1 ls", "$X", "bash run.sh"):
        assert ruling(command, mode="plan", allow=["shell(*)", "edit(*)"]).verdict == "deny", command
