"""Which attempt is better, and which is right, by the feedback in a tree. Pure functions of a tree.

Each question has a module. `better` may steer a loop, so it never reads grades. `right` is only for
measurement, so it reads all feedback in the tree.
"""

from critic_loop.evidence.better import (
    EVIDENCE,
    OPINION,
    Better,
    By,
    Comparison,
    Open,
    Tie,
    beats,
    best,
    better_of,
    comparison_of,
    preference,
    standing,
    value_of,
    who_decided,
)
from critic_loop.evidence.right import (
    PEOPLE,
    TIERS,
    UNKNOWN,
    Truth,
    is_whole,
    oracle_choice,
    says,
    told_right,
    truth_of,
    truths_of,
    verdict_of,
)

__all__ = [
    "EVIDENCE",
    "OPINION",
    "PEOPLE",
    "TIERS",
    "UNKNOWN",
    "Better",
    "By",
    "Comparison",
    "Open",
    "Tie",
    "Truth",
    "beats",
    "best",
    "better_of",
    "comparison_of",
    "is_whole",
    "oracle_choice",
    "preference",
    "says",
    "standing",
    "told_right",
    "truth_of",
    "truths_of",
    "value_of",
    "verdict_of",
    "who_decided",
]
