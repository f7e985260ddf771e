r"""Whether an answer equals the task's reference, after the usual normalisation.

Text is compared without case, outer white space and punctuation, `\boxed{}` and `$`; numbers by value
(so `1/2`, `0.5` and `50 %` agree); anything else as JSON. Text that quotes more than the answer is
searched for its last boxed part, its last line `Answer: ...`, or taken whole.
"""

from __future__ import annotations

from typing import Any

from pydantic_core import to_jsonable_python

from critic_loop.core.functions import verifier
from critic_loop.core.records import Feedback, Verdict
from critic_loop.core.roles import View
from critic_loop.outputs import agree


@verifier
def answer(view: View[Any]) -> Feedback:
    """Pass an answer that equals the reference; abstain where there is no reference."""
    reference = view.task.reference
    if reference is None:
        return Feedback.abstain("the task has no reference answer", data={"lacks": "reference answer"})
    same = agree(to_jsonable_python(view.answer), reference)
    return Feedback(verdict=Verdict.PASS if same else Verdict.FAIL, score=float(same))
