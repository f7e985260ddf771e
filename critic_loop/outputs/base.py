"""Text functions that all parsers share.

A parser takes a model's message and returns a typed value or a reason; it never raises because of the text of a
message. The protocols are `core.protocols.Output` and `CritiqueOutput`.
"""

from __future__ import annotations


def visible(text: str) -> str:
    """Return `text` without the `<think>` block that some servers leave before the answer."""
    _, closed, after = text.rpartition("</think>")
    if closed:
        return after
    return "" if text.lstrip().startswith("<think>") else text


def clipped(text: str, length: int) -> str:
    """Return `text` on one line, cut to `length` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 1] + "…"
