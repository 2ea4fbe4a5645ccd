"""The project's habits as functions: each takes the repository's root and returns one line a violation.

`test_tidy.py` runs them on the repository, and on a planted violation each. What ruff, mypy and import-linter
can say is not said here.
"""

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path

from interlock.errors import CODES

Check = Callable[[Path], list[str]]

MODULE_LINES_MAX, FUNCTION_LINES_MAX, FILE_BYTES_MAX = 400, 70, 1 << 20
GENERATED = {"__pycache__", ".peers", "results", "build", "dist", "node_modules"}
KEPT_HIDDEN = {".ci", ".gitignore", ".dockerignore"}
TEXT = {".py", ".c", ".h", ".md", ".toml", ".txt", ".conf", ".yaml", ".yml", ".json", ".service", ".sh", ""}
ADR_SECTIONS = ("Context", "Decision", "Alternatives", "Consequences", "Guard")


def files(root: Path, *suffixes: str) -> Iterator[Path]:
    """Every file that belongs to the repository, hidden and generated directories left out, in order."""
    for path in sorted(root.iterdir()):
        hidden = path.name.startswith(".") and path.name not in KEPT_HIDDEN
        if hidden or path.name in GENERATED or path.name.endswith(".egg-info"):
            continue
        if path.is_dir():
            yield from files(path, *suffixes)
        elif not suffixes or path.suffix in suffixes:
            yield path


def sources(root: Path, *under: str) -> Iterator[tuple[str, str]]:
    """Path as shown and text of every Python file under these directories."""
    for directory in under:
        if (root / directory).is_dir():
            for path in files(root / directory, ".py"):
                yield path.relative_to(root).as_posix(), path.read_text()


def modules(root: Path, *under: str, having: str = "") -> Iterator[tuple[str, ast.Module]]:
    """The same with the syntax tree, of those whose text has a word: to parse them all takes seconds."""
    for path, text in sources(root, *under):
        if having in text:
            yield path, ast.parse(text)


def module_length(root: Path) -> list[str]:
    """Modules of at most 400 lines: at 400 ask what the second idea is."""
    every = [(path, len(text.splitlines())) for path, text in sources(root, "src", "tests", "bench")]
    return [f"{path}: {lines} lines" for path, lines in every if lines > MODULE_LINES_MAX]


def function_length(root: Path) -> list[str]:
    """Functions of at most 70 lines."""
    found = []
    for path, tree in modules(root, "src", "tests", "bench"):
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    found.append(f"{path}:{node.lineno}: {node.name} has {lines} lines")
    return found


def docstrings(root: Path) -> list[str]:
    """A docstring on every module with code in it, and on every public function and class of the package.

    Methods are left out: what implements a port is specified by the port.
    """
    found = []
    for path, tree in modules(root, "src", "tests", "bench"):
        if tree.body and ast.get_docstring(tree) is None:
            found.append(f"{path}: no module docstring")
        if not path.startswith("src/"):
            continue
        for node in tree.body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
                continue
            if ast.get_docstring(node) is None:
                found.append(f"{path}:{node.lineno}: {node.name} has no docstring")
    return found


_SILENCER = re.compile(r"#\s*(noqa|type:\s*ignore|pragma:\s*no cover)(?P<rest>.*)")


def silencers(root: Path) -> list[str]:
    """Every noqa, type: ignore and no cover names its rule and gives its reason on the line."""
    found = []
    for path, text in sources(root, "src", "tests", "bench"):
        if _SILENCER.search(text) is None:
            continue
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            match = _SILENCER.search(token.string) if token.type == tokenize.COMMENT else None
            if match and (match["rest"][:1] not in {":", "["} and "cover" not in match[1]):
                found.append(f"{path}:{token.start[0]}: silences every rule: {token.string}")
            elif match and not _reason(match["rest"]):
                found.append(f"{path}:{token.start[0]}: gives no reason: {token.string}")
    return found


def _reason(rest: str) -> str:
    return re.sub(r"^(:\s*[A-Z]+\d+(,\s*[A-Z]+\d+)*|\[[\w-]+(,\s*[\w-]+)*\])", "", rest).strip(" #:—-")


# Put together from halves, so that this file does not name what it forbids.
_HOSTS = "|".join(
    ("py" + "pi", "files.python" + "hosted", "registry.npm" + "js", "proxy.go" + "lang", "deb.deb" + "ian")
)
_FORBIDDEN = {
    "a package registry's host": re.compile(
        rf"\b({_HOSTS})\.(org|com)\b|\b(static\.|index\.)?crates\.i" + "o|repo1?.maven" + r"\.org"
    ),
    "a download address in a lock or install line": re.compile(r'"resolved":\s*"http|--(extra-)?index' + "-url"),
    "a path of one machine": re.compile(
        r"(?<![\w.])/(wor" + "k|roo" + "t|far" + "m|tm" + r"p)/[\w.]|/opt/whe" + "els|/home/[a-z]"
    ),
    "unfinished": re.compile(r"\b(TO" + "DO|FIX" + "ME|XX" + r"X)\b"),
}


def forbidden_words(root: Path) -> list[str]:
    """No registry's host, no path of one machine, nothing unfinished."""
    found = []
    for path in files(root):
        if path.suffix in TEXT and path.name != "LICENSE":
            for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
                where = f"{path.relative_to(root).as_posix()}:{number}"
                found += [
                    f"{where}: {what}: {line.strip()[:100]}" for what, rule in _FORBIDDEN.items() if rule.search(line)
                ]
    return found


def sleeps(root: Path) -> list[str]:
    """No time.sleep in tests: poll a condition with a bound."""
    found = []
    for path, tree in modules(root, "tests", having="sleep"):
        for node in ast.walk(tree):
            called = isinstance(node, ast.Attribute) and ast.unparse(node) == "time.sleep"
            imported = isinstance(node, ast.ImportFrom) and node.module == "time" and "sleep" in ast.unparse(node)
            if isinstance(node, ast.Attribute | ast.ImportFrom) and (called or imported):
                found.append(f"{path}:{node.lineno}: sleeps")
    return found


def skips(root: Path) -> list[str]:
    """No test is skipped or expected to fail without a reason."""
    found = []
    for path, text in sources(root, "tests"):
        if "skip" not in text and "xfail" not in text:
            continue
        tree = ast.parse(text)
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Attribute)
                and node.attr in {"skip", "xfail"}
                and ast.unparse(node.value) in {"pytest", "pytest.mark"}
            ):
                calls = [c for c in ast.walk(tree) if isinstance(c, ast.Call) and c.func is node]
                if not calls or not (calls[0].args or calls[0].keywords):
                    found.append(f"{path}:{node.lineno}: {ast.unparse(node)} without a reason")
    return found


def errors_documented(root: Path) -> list[str]:
    """docs/errors.md has one row for each code, as `error_row` writes it, and no other."""
    page = root / "docs/errors.md"
    rows = [line for line in page.read_text().splitlines() if line.startswith("| `")] if page.exists() else []
    wanted = [error_row(code) for code in CODES]
    missing = [f"docs/errors.md lacks: {row}" for row in wanted if row not in rows]
    return missing + [f"docs/errors.md has, and errors.py has not: {row}" for row in rows if row not in wanted]


def error_row(code: str) -> str:
    """A code's row in docs/errors.md."""
    return f"| `{code}` | {CODES[code].status} | {CODES[code].meaning} |"


def decisions_numbered(root: Path) -> list[str]:
    """ADRs are NNNN-words.md, each number once, with all five sections."""
    found, numbers = [], dict[str, str]()
    for path in sorted((root / "docs/adr").glob("*.md")):
        match = re.fullmatch(r"(\d{4})-[a-z0-9-]+\.md", path.name)
        if not match:
            found.append(f"{path.name}: not NNNN-words.md")
            continue
        if match[1] in numbers:
            found.append(f"{path.name}: number {match[1]} is {numbers[match[1]]}")
        numbers[match[1]] = path.name
        headings = re.findall(r"^## (\w+)", path.read_text(), re.MULTILINE)
        found += [f"{path.name}: no section {section}" for section in ADR_SECTIONS if section not in headings]
    return found


def file_size(root: Path) -> list[str]:
    """No file over 1 MiB."""
    return [f"{path.relative_to(root)}: over 1 MiB" for path in files(root) if path.stat().st_size > FILE_BYTES_MAX]


def tests_mirror(root: Path) -> list[str]:
    """tests/A/test_*.py tests src/interlock/A, a package or a module. Not so: sim, e2e, docs, fuzz, test_tidy.py."""
    found = []
    for path in files(root / "tests", ".py"):
        inside = path.relative_to(root / "tests")
        if not path.name.startswith("test_") or inside.parts[0] in {"sim", "e2e", "docs", "fuzz", "test_tidy.py"}:
            continue
        room, module = root / "src/interlock" / inside.parent, path.stem.removeprefix("test_")
        loose = inside.parent == Path() and not (room / f"{module}.py").exists() and not (room / module).is_dir()
        if loose or not room.is_dir():
            found.append(f"tests/{inside.as_posix()}: tests nothing of that name in src/interlock")
    return found


def licensed(root: Path) -> list[str]:
    """The whole Apache licence is there, and the package says so."""
    text = (root / "LICENSE").read_text() if (root / "LICENSE").exists() else ""
    whole = "Apache License" in text and "END OF TERMS AND CONDITIONS" in text
    return [] if whole else ["LICENSE: not the whole Apache License 2.0"]


def versions_pinned(root: Path) -> list[str]:
    """Constraint files hold name==version lines and nothing else."""
    found = []
    for path in [*root.glob("constraints*.txt"), *root.glob("bench/constraints*.txt")]:
        for line in path.read_text().splitlines():
            if not re.fullmatch(r"[A-Za-z0-9][\w.-]*==[\w.+!]+", line):
                found.append(f"{path.name}: not name==version: {line!r}")
    return found


CHECKS: tuple[Check, ...] = (
    module_length, function_length, docstrings, silencers, forbidden_words, sleeps, skips, errors_documented,
    decisions_numbered, file_size, tests_mirror, licensed, versions_pinned,
)  # fmt: skip
