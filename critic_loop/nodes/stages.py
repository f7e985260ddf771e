"""The stages of a lane, named by role: actor, tool_executor, verifier, critic, judge.

Each is idempotent: it looks into the tree first and does only what is missing, so that a resumed lane
may run it again. Errors of scope *attempt* become records there; so does an untyped error that a verifier,
critic or judge raises. Others pass through.
"""

from critic_loop.nodes.acting import actor, mid_turn
from critic_loop.nodes.adding import add
from critic_loop.nodes.comparing import judge, judge_revisions
from critic_loop.nodes.gather import gather
from critic_loop.nodes.judging import awaited, critic, missing, pair_verifier, release, verifier
from critic_loop.nodes.tool_executor import tool_executor

__all__ = [
    "actor", "add", "awaited", "critic", "gather", "judge", "judge_revisions", "mid_turn", "missing",
    "pair_verifier", "release", "tool_executor", "verifier",
]  # fmt: skip
