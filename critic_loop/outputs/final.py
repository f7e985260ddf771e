"""Finds the final answer in a text, and compares two answers.

Knows boxes, answer lines and numbers. Does not know what the right answer is (`verifiers/`).
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction

from pydantic import JsonValue

from critic_loop.core.messages import assistant
from critic_loop.outputs.plain import BoxedOutput

_LINE = re.compile(
    r"^[ \t]*(?:\*+[ \t]*)?(?:final answer|answer|答案)[ \t]*(?:\*+[ \t]*)?[:\uff1a]\s*(.+)",
    re.IGNORECASE | re.MULTILINE,
)
_WHOLE = r"(?:\d{1,3}(?:,\d{3})+|\d+)"
_NUMBER = re.compile(rf"([+-]?)\s*({_WHOLE}(?:\.\d+)?|\.\d+)(?:\s*/\s*({_WHOLE}))?\s*(%?)")
_SIGNS = str.maketrans("\u2212\u2010\u2011\u2013", "----")
_AROUND = " \t\r\n$*`\"'"
_KEPT = ("<super>", "<sub>", "<fraction>")
"""Decompositions that are not applied, since they change numbers: 10² is not 102."""
_MAX_NUMBER_CHARS = 1000
"""Longer text is not read as a number; Python rejects numbers of more than 4300 digits."""


def final_part(text: str) -> str:
    r"""Return the final answer in `text`: the last `\boxed{}`, else the last `Answer:` line, else all of it."""
    boxed = BoxedOutput().parse(assistant(text))
    if boxed.value is not None:
        return boxed.value
    lines = _LINE.findall(text)
    return lines[-1] if lines else text


def normalised(text: str) -> str | Fraction:
    """Return a number as an exact fraction, and other text without case, outer punctuation and extra spaces."""
    folded = _folded(text).lstrip(_AROUND).rstrip(_AROUND + ".。").casefold()
    number = _NUMBER.fullmatch(folded.translate(_SIGNS)) if len(folded) <= _MAX_NUMBER_CHARS else None
    if number is None:
        return " ".join(folded.split())
    sign, above, below, percent = number.groups(default="1")
    over = int(below.replace(",", "")) * (100 if percent else 1)
    if over == 0:
        return folded
    return Fraction(sign.replace("1", "") + above.replace(",", "")) / over


def agree(given: JsonValue, reference: JsonValue) -> bool:
    """Return whether two answers are equal after normalisation; a list of references means any of them."""
    if isinstance(reference, list) and not isinstance(given, list):
        return any(agree(given, one) for one in reference)
    if isinstance(given, str | int | float) and isinstance(reference, str | int | float):
        return normalised(final_part(str(given))) == normalised(final_part(str(reference)))
    return given == reference


def _folded(text: str) -> str:
    """Return `text` in compatibility form (NFKC), except superscripts, subscripts and fractions."""
    return "".join(
        c if unicodedata.decomposition(c).startswith(_KEPT) else unicodedata.normalize("NFKC", c)
        for c in unicodedata.normalize("NFC", text)
    )
