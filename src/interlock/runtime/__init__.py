"""Agents that outlive their process: sessions (the log), brains (the loop), hands (sandboxes), permissions.

A session is the only state. A brain is woken with a session's id, reads its log, decides the next step, and acts;
killed at any instruction, another goes on. Hands are cattle. See docs/runtime.md.
"""
