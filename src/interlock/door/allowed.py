"""Who may use what. Pure: a caller, a server's rules, and the patterns of a session's token, which only ever narrow."""

from fnmatch import fnmatchcase

from interlock.door.settings import Allow, ToolServer
from interlock.identity import Bearer


def may_call(bearer: Bearer, server: ToolServer, tool: str) -> bool:
    """Whether a tool, by the server's own name for it, is the caller's to use."""
    if bearer.tools is not None and not _any(bearer.tools, f"{server.name}.{tool}"):
        return False
    return any(_concerns(rule, bearer) and _any(rule.tools, tool) for rule in server.allow)


def may_reach(bearer: Bearer, server: ToolServer) -> bool:
    """Whether the caller may use anything of a server: otherwise it is not even asked."""
    if bearer.tools is not None and not any(_touches(pattern, server.name) for pattern in bearer.tools):
        return False
    return any(_concerns(rule, bearer) for rule in server.allow)


def may_read(bearer: Bearer, server: ToolServer) -> bool:
    """Whether a server's prompts and resources are the caller's to read: a token must hold all of the server."""
    if bearer.tools is not None and not _any(bearer.tools, f"{server.name}.*"):
        return False
    return any(_concerns(rule, bearer) for rule in server.allow)


def _concerns(rule: Allow, bearer: Bearer) -> bool:
    return _any(rule.tenants, bearer.tenant) and _any(rule.principals, bearer.principal)


def _any(patterns: tuple[str, ...], text: str) -> bool:
    return any(matches(pattern, text) for pattern in patterns)


def matches(pattern: str, text: str) -> bool:
    """`*` stands for any run of characters; nothing else means more than itself."""
    return fnmatchcase(text, pattern.replace("[", "[[]").replace("?", "[?]"))


def _touches(pattern: str, server: str) -> bool:
    """Whether a pattern can match any tool of a server."""
    head, dot, _ = pattern.partition(".")
    return matches(head if dot else pattern, server) or (not dot and "*" in pattern and _begins(pattern, server))


def _begins(pattern: str, server: str) -> bool:
    start = pattern.partition("*")[0]
    return f"{server}.".startswith(start) or start.startswith(f"{server}.")
