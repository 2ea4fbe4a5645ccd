"""The programs that only read, each with every option that was looked at: tables. Pure.

An option that is not here makes a call of the program one that may do anything. `-` and letters stand as in its manual.
"""

from typing import Literal

import msgspec

from interlock.runtime.permissions.launchers import Options, options

Operands = Literal["paths", "text", "pattern", "none"]
"""What stands behind the options: files; words; one pattern, then files; nothing."""


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """A program that only reads, called like this."""

    options: Options
    operands: Operands
    most: int = 1_000_000
    """Operands; a further one would be written to (`uniq in out`)."""
    deep: str = ""
    """Letters of the options with which it reads what is below a directory; `*`: always."""


_GREP = options(
    flags="EFGPivwxcLlqshHnobZzraIUTyR",
    valued="emABC",
    long=(
        "color count extended-regexp files-with-matches files-without-match fixed-strings "
        "ignore-case invert-match line-number line-regexp no-filename no-messages null "
        "only-matching perl-regexp quiet recursive text with-filename word-regexp"
    ),
    long_valued=("after-context before-context color context exclude exclude-dir include max-count regexp"),
    number=True,
)
PROGRAMS: dict[str, Program] = {
    "cat": Program(options=options(flags="AbeEnstTuv", long="number show-all show-ends show-tabs"), operands="paths"),
    "head": Program(
        options=options(flags="qv", valued="nc", long="quiet verbose", long_valued="bytes lines", number=True),
        operands="paths",
    ),
    "tail": Program(
        options=options(flags="qv", valued="nc", long="quiet verbose", long_valued="bytes lines", number=True),
        operands="paths",
    ),
    "nl": Program(options=options(valued="bsvwn"), operands="paths"),
    "tac": Program(options=options(), operands="paths"),
    "rev": Program(options=options(), operands="paths"),
    "wc": Program(options=options(flags="cmlLw", long="bytes chars lines max-line-length words"), operands="paths"),
    "ls": Program(
        options=options(
            flags="aAbBcCdfFgGhHiklLmnNopqQrRsStuUvxXZ1",
            long="all almost-all color directory full-time human-readable recursive",
            long_valued="color sort time",
        ),
        operands="paths",
    ),
    "stat": Program(
        options=options(flags="Lft", valued="c", long="dereference terse", long_valued="format printf"),
        operands="paths",
    ),
    "file": Program(options=options(flags="biLh", long="brief mime mime-type"), operands="paths"),
    "du": Program(
        options=options(
            flags="abchkmsx0", valued="d", long="all bytes human-readable summarize total", long_valued="max-depth"
        ),
        operands="paths",
    ),
    "df": Program(options=options(flags="ahHiklmPT"), operands="paths"),
    "readlink": Program(options=options(flags="femnqsvz"), operands="paths"),
    "realpath": Program(options=options(flags="emLPqsz"), operands="paths"),
    "basename": Program(options=options(flags="az", valued="s"), operands="text"),
    "dirname": Program(options=options(flags="z"), operands="text"),
    "cmp": Program(options=options(flags="bls", valued="in"), operands="paths"),
    "diff": Program(
        options=options(
            flags="abBcdeiNpqrsuwyEZt",
            valued="UCW",
            long=("brief color ignore-all-space ignore-space-change recursive side-by-side unified"),
            long_valued="color unified width",
            number=True,
        ),
        operands="paths",
        deep="r",
    ),
    "comm": Program(options=options(flags="123"), operands="paths"),
    "cut": Program(
        options=options(
            flags="nsz",
            valued="bcdf",
            long="only-delimited",
            long_valued="bytes characters delimiter fields output-delimiter",
        ),
        operands="paths",
    ),
    "sort": Program(
        options=options(
            flags="bdfghiMnRrVcCmsuz",
            valued="kt",
            long=("human-numeric-sort ignore-case numeric-sort reverse unique version-sort"),
            long_valued="field-separator key",
        ),
        operands="paths",
    ),
    "uniq": Program(
        options=options(flags="cdDiuz", valued="fsw", long="count ignore-case repeated unique"),
        operands="paths",
        most=1,
    ),
    "tr": Program(options=options(flags="cCdst"), operands="text"),
    "paste": Program(options=options(flags="sz", valued="d"), operands="paths"),
    "column": Program(options=options(flags="txn", valued="sc"), operands="paths"),
    "strings": Program(options=options(flags="af", valued="nt"), operands="paths"),
    "hexdump": Program(options=options(flags="bcCdovx", valued="ns"), operands="paths"),
    "od": Program(options=options(flags="abcdfilosxv", valued="AjNtw"), operands="paths"),
    "md5sum": Program(options=options(flags="btz"), operands="paths"),
    "sha1sum": Program(options=options(flags="btz"), operands="paths"),
    "sha256sum": Program(options=options(flags="btz"), operands="paths"),
    "grep": Program(options=_GREP, operands="pattern", deep="rR"),
    "egrep": Program(options=_GREP, operands="pattern", deep="rR"),
    "fgrep": Program(options=_GREP, operands="pattern", deep="rR"),
    "rg": Program(
        options=options(
            flags="iSsvwxclnNHIoFUPuaqhp.",
            valued="egtTABCmjM",
            long=(
                "color count files files-with-matches fixed-strings heading hidden ignore-case "
                "json line-number no-heading no-ignore smart-case vimgrep"
            ),
            long_valued="color context glob max-count max-depth regexp sort type type-not",
        ),
        operands="pattern",
        deep="*",
    ),
    "jq": Program(
        options=options(flags="rcneSsaCMj", long="compact-output exit-status null-input raw-output slurp sort-keys"),
        operands="pattern",
    ),
    "seq": Program(options=options(flags="w", valued="fs"), operands="text"),
    "sleep": Program(options=options(), operands="text"),
    "nproc": Program(options=options(long="all"), operands="none"),
    "id": Program(options=options(flags="Ggnru"), operands="text"),
    "whoami": Program(options=options(), operands="none"),
    "uname": Program(options=options(flags="amnoprsv"), operands="none"),
    "arch": Program(options=options(), operands="none"),
    "printenv": Program(options=options(flags="0"), operands="text"),
    "which": Program(options=options(flags="as"), operands="text"),
    "type": Program(options=options(flags="afptP"), operands="text"),
    "pwd": Program(options=options(flags="LP"), operands="none"),
    "exit": Program(options=options(), operands="text"),
    "return": Program(options=options(), operands="text"),
    "break": Program(options=options(), operands="text"),
    "continue": Program(options=options(), operands="text"),
    "shift": Program(options=options(), operands="text"),
    "wait": Program(options=options(), operands="none"),
    "local": Program(options=options(flags="x"), operands="text"),
    "declare": Program(options=options(flags="agrx"), operands="text"),
    "typeset": Program(options=options(flags="agrx"), operands="text"),
    "readonly": Program(options=options(flags="a"), operands="text"),
    "export": Program(options=options(), operands="text"),
    "unset": Program(options=options(flags="v"), operands="text"),
    "set": Program(options=options(flags="euxvf", valued="o"), operands="text"),
}
_GIT_LOG = options(
    flags="pusabwMCzRritl",
    valued="nUSG",
    long=(
        "abbrev-commit all branches cached check color decorate exit-code first-parent "
        "follow full-index graph ignore-all-space ignore-space-change merges name-only "
        "name-status no-color no-decorate no-ext-diff no-merges no-pager no-patch no- "
        "renames no-textconv numstat oneline patch quiet raw relative-date remotes "
        "reverse shortstat show-signature staged stat summary tags word-diff"
    ),
    long_valued=(
        "abbrev after author before color committer date decorate diff-filter find- "
        "renames format grep max-count pretty relative since skip stat unified until "
        "word-diff"
    ),
    number=True,
)
GIT: dict[str, Options] = {
    "status": options(
        flags="sbuvz",
        long="branch ignored long no-renames porcelain short show-stash verbose",
        long_valued="ignored porcelain untracked-files",
    ),
    "log": _GIT_LOG,
    "show": _GIT_LOG,
    "diff": _GIT_LOG,
    "rev-parse": options(
        long=("abbrev-ref git-dir is-inside-work-tree quiet short show-prefix show-toplevel verify"),
        long_valued="abbrev-ref short",
    ),
    "ls-files": options(flags="cdmoskuvz", long="cached deleted error-unmatch exclude-standard modified others stage"),
    "ls-tree": options(flags="drtlz", long="full-name long name-only"),
    "blame": options(flags="wlsenCM", valued="L", long="line-porcelain porcelain show-email"),
    "describe": options(long="all always dirty exact-match long tags", long_valued="abbrev match"),
    "shortlog": options(flags="nse", long="email numbered summary", long_valued="author since until"),
    "cat-file": options(flags="tsep"),
    "branch": options(
        flags="avr", long="all list no-color remotes show-current verbose", long_valued="contains merged no-merged"
    ),
    "tag": options(flags="l", long="list", long_valued="contains merged points-at sort"),
    "remote": options(flags="v", long="verbose"),
}
"""Its subcommands."""
GIT_LISTS = {"branch", "tag", "remote"}
"""With an operand they make or change something."""
FIND_TESTS = frozenset(
    [
        "-amin",
        "-atime",
        "-cmin",
        "-ctime",
        "-group",
        "-iname",
        "-ipath",
        "-iregex",
        "-links",
        "-maxdepth",
        "-mindepth",
        "-mmin",
        "-mtime",
        "-name",
        "-newer",
        "-path",
        "-perm",
        "-printf",
        "-regex",
        "-size",
        "-type",
        "-user",
        "-wholename",
    ]
)
"""Each with one word behind it."""
FIND_WORDS = frozenset(
    [
        "!",
        "(",
        ")",
        ",",
        "-a",
        "-and",
        "-daystart",
        "-depth",
        "-empty",
        "-executable",
        "-false",
        "-follow",
        "-ls",
        "-mount",
        "-not",
        "-nouser",
        "-o",
        "-or",
        "-print",
        "-print0",
        "-prune",
        "-quit",
        "-readable",
        "-true",
        "-writable",
        "-xdev",
    ]
)
