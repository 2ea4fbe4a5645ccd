"""How `--help` lays out what a command says of itself."""

import argparse
from itertools import groupby


class Help(argparse.HelpFormatter):
    """Text is wrapped, but a line that begins with two spaces, an example to type, stays as it is."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        pieces: list[str] = []
        for kept, lines in groupby(text.splitlines(), key=lambda line: line.startswith("  ")):
            joined = "\n".join(lines)
            pieces.append(joined if kept else super()._fill_text(joined, width, indent))
        return "\n".join(pieces)
