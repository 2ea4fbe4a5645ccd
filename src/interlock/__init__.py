"""Interlock: the control plane for AI agents.

What each subpackage is for, and which way imports go, is drawn in docs/design.md.
"""

__version__ = "0.1.0"
