"""Fenced code blocks in Markdown text.

Knows fences of backticks and tildes. Does not know the content of blocks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_FENCE = re.compile(r"^[ \t]*(?P<fence>`{3,}|~{3,})[ \t]*(?P<info>[^`\n]*)$")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block."""

    language: str
    """The first word after the opening fence in lower case; "" if there is none."""
    body: str
    closed: bool
    """False for a block without a closing fence, which ends with the text."""


def blocks(text: str) -> list[Block]:
    """Return the fenced blocks of `text` in order."""
    found: list[Block] = []
    fence, language, lines = "", "", list[str]()
    for line in text.split("\n"):
        match = _FENCE.match(line.rstrip("\r"))
        if not fence:
            if match:
                fence, lines = match["fence"], []
                language = (match["info"].split() or [""])[0].lower().strip("{}.")
        elif match and not match["info"].strip() and match["fence"].startswith(fence):
            found.append(Block(language, "\n".join(lines), closed=True))
            fence = ""
        else:
            lines.append(line)
    if fence:
        found.append(Block(language, "\n".join(lines), closed=False))
    return found
