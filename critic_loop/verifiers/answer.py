r"""Whether an answer equals the task's reference, after the usual normalisation.

Text is compared without case, outer white space and punctuation, `\boxed{}` and `$`; numbers by value
(so `1/2`, `0.5` and `50 %` agree); anything else as JSON. Text that quotes more than the answer is
searched for its last boxed part, its last line `Answer: ...`, or taken whole.
"""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction
from typing import Any, Protocol

from pydantic import JsonValue
from pydantic_core import to_jsonable_python

from critic_loop.core.messages import assistant
from critic_loop.core.records import Feedback, Task, Verdict
from critic_loop.outputs import BoxedOutput

_LINE = re.compile(
    r"^[ \t]*(?:\*+[ \t]*)?(?:final answer|answer|答案)[ \t]*(?:\*+[ \t]*)?[:\uff1a]\s*(.+)",
    re.IGNORECASE | re.MULTILINE,
)
_WHOLE = r"(?:\d{1,3}(?:,\d{3})+|\d+)"
_NUMBER = re.compile(rf"([+-]?)\s*({_WHOLE}(?:\.\d+)?|\.\d+)(?:\s*/\s*({_WHOLE}))?\s*(%?)")
_SIGNS = str.maketrans("\u2212\u2010\u2011\u2013", "----")
_AROUND = " \t\r\n$*`\"'"
_KEPT = ("<super>", "<sub>", "<fraction>")
"""Characters that compatibility folding would turn into other numbers: 10² is not 102."""


class _Seen(Protocol):
    """The part of a view that this verifier looks at."""

    @property
    def task(self) -> Task: ...
    @property
    def answer(self) -> Any: ...


def answer(view: _Seen) -> Feedback:
    """Pass an answer that equals the reference; abstain where there is no reference."""
    reference = view.task.reference
    if reference is None:
        return Feedback.abstain("the task has no reference answer")
    same = equal(to_jsonable_python(view.answer), reference)
    return Feedback(verdict=Verdict.PASS if same else Verdict.FAIL, score=float(same))


def equal(given: JsonValue, reference: JsonValue) -> bool:
    """Return whether two answers agree; a list of references means any of them."""
    if isinstance(reference, list) and not isinstance(given, list):
        return any(equal(given, one) for one in reference)
    if isinstance(given, str | int | float) and isinstance(reference, str | int | float):
        return normalised(final_part(str(given))) == normalised(final_part(str(reference)))
    return given == reference


def final_part(text: str) -> str:
    """Return the part of `text` that states the answer: last box, last `Answer:` line, or all of it."""
    boxed = BoxedOutput().parse(assistant(text))
    if boxed.value is not None:
        return boxed.value
    lines = _LINE.findall(text)
    return lines[-1] if lines else text


def normalised(text: str) -> str | Fraction:
    """Return a number as an exact fraction, other text folded to what matters."""
    folded = _folded(text).lstrip(_AROUND).rstrip(_AROUND + ".。").casefold()
    number = _NUMBER.fullmatch(folded.translate(_SIGNS))
    if number is None:
        return " ".join(folded.split())
    sign, above, below, percent = number.groups(default="1")
    over = int(below.replace(",", "")) * (100 if percent else 1)
    if over == 0:
        return folded
    return Fraction(sign.replace("1", "") + above.replace(",", "")) / over


def _folded(text: str) -> str:
    """Return `text` with full-width and other compatibility forms made plain, exponents and fractions kept."""
    return "".join(
        c if unicodedata.decomposition(c).startswith(_KEPT) else unicodedata.normalize("NFKC", c)
        for c in unicodedata.normalize("NFC", text)
    )
