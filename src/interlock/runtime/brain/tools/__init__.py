"""The built-in tools: what a model can do in its sandbox. They act through the sandbox's port and nothing else."""

from interlock.runtime.brain.tools.edit import Edit
from interlock.runtime.brain.tools.fetch import Fetch
from interlock.runtime.brain.tools.ports import Done, Tool, Use
from interlock.runtime.brain.tools.read import Read
from interlock.runtime.brain.tools.search import Search
from interlock.runtime.brain.tools.shell import Shell

BUILT_IN: tuple[Tool, ...] = (Shell(), Read(), Edit(), Search(), Fetch())

__all__ = ["BUILT_IN", "Done", "Edit", "Fetch", "Read", "Search", "Shell", "Tool", "Use"]
