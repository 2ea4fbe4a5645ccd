"""Tools through one door: many MCP servers behind `/mcp`, their credentials attached on the way out (docs/tools.md)."""

from interlock.door.approvals import Approvals
from interlock.door.names import SERVER
from interlock.door.pins import STREAM, Definition, Pin
from interlock.door.settings import Allow, OAuth, Tools, ToolServer

__all__ = ["SERVER", "STREAM", "Allow", "Approvals", "Definition", "OAuth", "Pin", "ToolServer", "Tools"]
