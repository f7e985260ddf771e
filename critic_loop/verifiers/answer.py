r"""A verifier that compares an answer with the task's reference, after normalisation.

Of a text, the last `\boxed{}` or else the last line `Answer: ...` is compared, or else the whole text. Texts
are compared without case, outer white space and punctuation, and `$`; numbers by value (`1/2`, `0.5` and
`50 %` are equal); other values as JSON.
"""

from __future__ import annotations

from typing import Any

from pydantic_core import to_jsonable_python

from critic_loop.core.functions import verifier
from critic_loop.core.records import Feedback, Verdict
from critic_loop.core.view import View
from critic_loop.outputs import agree


@verifier
def answer(view: View[Any]) -> Feedback:
    """Pass an answer that equals the reference (score 1), else fail it (0); abstain without a reference."""
    reference = view.task.reference
    if reference is None:
        return Feedback.abstain("the task has no reference answer", data={"lacks": "reference answer"})
    same = agree(to_jsonable_python(view.answer), reference)
    return Feedback(verdict=Verdict.PASS if same else Verdict.FAIL, score=float(same))
