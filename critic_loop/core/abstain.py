"""A role's failure as what it is: an abstention with its reason, never a score."""

from __future__ import annotations

from critic_loop.core.errors import CriticLoopError, Unreachable
from critic_loop.core.records import Feedback


def abstention(error: CriticLoopError) -> Feedback:
    """Return the feedback of a critic, judge or verifier that failed: no verdict, no score, and the reason."""
    parse = "refused" if error.code == "refused" else "error"
    return Feedback.abstain(str(error), parse=parse, data={"error": error.code})


def is_job_error(error: CriticLoopError) -> bool:
    """Whether an error ends the whole job even where a critic met it (a wrong key, an empty account).

    A critic that cannot be reached abstains: the actor can go on without it.
    """
    return error.scope == "job" and not isinstance(error, Unreachable)
