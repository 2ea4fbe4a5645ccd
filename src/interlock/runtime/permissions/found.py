"""What is found in a line of shell: simple commands, and files that the shell itself opens. Values only."""

import msgspec

from interlock.runtime.permissions.words import Word


class Simple(msgspec.Struct, kw_only=True):
    """One simple command: variables set for it, its words, and where it stands."""

    assigns: list[tuple[str, Word]] = []
    words: list[Word] = []
    exported: bool = False
    """Its variables reach programs: they stand before one, or are exported."""
    repeated: bool = False
    """It stands in a loop or a function, or runs later."""
    place: int = 0
    """How many commands began before it."""
    chain: int = 0
    """Commands that only run if those before them in it succeeded have the same."""
    negated: bool = False
    """What follows in its chain runs if it did not succeed."""
    under: "Simple | None" = None
    """The command that runs it (`env`, `xargs`, `sh -c`)."""
    depth: int = 0
    transparent: bool = False
    """All it does is to run the commands under it."""


class Redirect(msgspec.Struct, kw_only=True):
    """A file that the shell itself opens."""

    target: Word
    writes: bool
    place: int
    chain: int


class Script(msgspec.Struct, kw_only=True):
    """All that was found."""

    commands: list[Simple] = []
    redirects: list[Redirect] = []
    opaque: str = ""
    """Why it is not wholly seen through; empty: it is."""
    sets: list[str] = []
    """Variables that are set by other means than an assignment."""
    functions: list[str] = []
    chains: int = 0
    words: int = 0
    again: int = 0
    """Characters of texts in it that were read as commands of their own (`sh -c`)."""
