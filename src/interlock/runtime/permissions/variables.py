"""Which variables change what programs run, load or trust. Pure.

Few are known to change nothing; of those that reach a program, any other has to be allowed by name. A variable that
the shell keeps for itself matters only if it is one of those that are known to change something.
"""

import re

from interlock.runtime.permissions.found import Simple

_HARMLESS = re.compile(
    r"LANG|LANGUAGE|LC_[A-Z]+|TZ|TERM|COLUMNS|LINES|NO_COLOR|FORCE_COLOR|CLICOLOR|CI|DEBUG|VERBOSE|NODE_ENV|RUST_BACKTRACE"
    r"|RUST_LOG|PYTHONUNBUFFERED|PYTHONDONTWRITEBYTECODE|PYTHONHASHSEED|DEBIAN_FRONTEND|SOURCE_DATE_EPOCH"
)
_HARMFUL = re.compile(
    r"PATH|[A-Z_]*_PATH|[A-Z]*PATH|LD_.*|DYLD_.*|GIT_.*|SSH_.*|BASH.*|ENV|IFS|SHELL.*|PS[0-4]|PROMPT_COMMAND|HOME|XDG_.*"
    r"|[A-Z_]*EDITOR|VISUAL|[A-Z_]*PAGER|BROWSER|LESS.*|PYTHON.*|PERL.*|RUBY.*|NODE_.*|(?i:npm_.*)|YARN_.*|.*JAVA.*|JDK_.*"
    r"|MAKE.*|CC|CXX|CPP|LD|AR|AS|CFLAGS|LDFLAGS|RUSTC.*|RUSTFLAGS|CARGO.*|GO.*|PIP_.*|UV_.*|VIRTUAL_ENV|CONDA_.*|TMPDIR"
    r"|POSIXLY_CORRECT|GLOBIGNORE|FIGNORE|FUNCNEST|OPTIND|HISTFILE|HOSTFILE|INPUTRC|TERMINFO.*|MAIL.*|SUDO_.*|DOCKER_.*"
    r"|KUBECONFIG|AWS_.*|(?i:[a-z]+_proxy)|SSL_.*|OPENSSL_.*|CURL_.*|REQUESTS_.*|GREP_.*|TAR_.*|RSYNC_.*|GCONV_.*"
    r"|GLIBC_.*|MALLOC_.*|LOCPATH|NLSPATH|EXECIGNORE|REPLY|_"
)
_LOCAL = {"local", "declare", "typeset", "readonly"}


def changes(name: str) -> bool:
    """Setting this variable may change what runs, even if it is not exported. `*`: nobody knows which it is."""
    return name == "*" or _HARMFUL.fullmatch(name) is not None


def told(simple: Simple) -> list[tuple[str, str]]:
    """A command's variables that have to be allowed by name, with their values."""
    local = (
        bool(simple.words) and simple.words[0].value in _LOCAL and not any("x" in w.value for w in simple.words[1:2])
    )
    reaches = simple.exported and not local
    return [
        (name, word.value)
        for name, word in simple.assigns
        if (_HARMLESS.fullmatch(name) is None if reaches else changes(name))
    ]
