"""Who may do what in a session: modes, rules, and what a tool call really asks for. Pure; docs/permissions.md."""

from interlock.runtime.permissions.decision import Facts, Request, Ruling, decide, paths_of
from interlock.runtime.permissions.patterns import Ruleset

__all__ = ["Facts", "Request", "Ruleset", "Ruling", "decide", "paths_of"]
