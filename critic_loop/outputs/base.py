"""What all parsers share: a model's message in, a typed value or a reason out.

Does not know prompts, models or trees. No parser ever raises because of what a model wrote. The protocols are
`core.protocols.Output` and `CritiqueOutput`.
"""

from __future__ import annotations


def visible(text: str) -> str:
    """Return `text` without the inline thinking that some servers leave in front of the answer."""
    _, closed, after = text.rpartition("</think>")
    if closed:
        return after
    return "" if text.lstrip().startswith("<think>") else text


def clipped(text: str, length: int) -> str:
    """Return `text` on one line, cut to `length` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"
