"""Which answer wins: pure functions `Tree -> Pick | Compare`."""

from critic_loop.select.agreement import b4_scores, code_t_scores, groups_of, max_pass_scores, mbr_scores
from critic_loop.select.build import COMPARES, RULES, require_fit, require_judge, selection
from critic_loop.select.by_tests import B4, TestMatrix, code_t, matrix_of, max_pass, mbr
from critic_loop.select.compared import WinRate, tournament
from critic_loop.select.duel import Duel
from critic_loop.select.rules import (
    best_value,
    candidates,
    filtered_majority,
    keep_if_better,
    majority,
    mean_trajectory,
    verified_first,
)
from critic_loop.select.votes import WeightedVote

__all__ = [
    "B4",
    "COMPARES",
    "RULES",
    "Duel",
    "TestMatrix",
    "WeightedVote",
    "WinRate",
    "b4_scores",
    "best_value",
    "candidates",
    "code_t",
    "code_t_scores",
    "filtered_majority",
    "groups_of",
    "keep_if_better",
    "majority",
    "matrix_of",
    "max_pass",
    "max_pass_scores",
    "mbr",
    "mbr_scores",
    "mean_trajectory",
    "require_fit",
    "require_judge",
    "selection",
    "tournament",
    "verified_first",
]
