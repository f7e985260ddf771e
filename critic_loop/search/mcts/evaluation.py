"""Evaluation: what an ended attempt is worth, whether it is rewritten, and whether its simulation continues."""

from __future__ import annotations

from critic_loop.core.records import Attempt
from critic_loop.core.value import Value
from critic_loop.search.mcts.config import MctsConfig
from critic_loop.search.mcts.expansion import is_step
from critic_loop.search.mcts.state import MctsState

_WITH_PRIOR = ("puct", "var_puct")


def reward_of(config: MctsConfig, value: Value) -> float | None:
    """Return an attempt's reward in [0, 1]: its score, or its score mixed with opinion; None = not judged."""
    score = value.score
    if score is None or not config.opinion:
        return score
    opinion = 0.5 if value.opinion is None else value.opinion
    return (1 - config.opinion) * score + config.opinion * opinion * (value.verified is True)


def note_prior(config: MctsConfig, state: MctsState, node: int, value: Value) -> None:
    """Take the critics' score as the prior of an attempt, for rules with one; a rewritten attempt has none."""
    if value.opinion is not None and config.rule in _WITH_PRIOR and node not in state.rewrites:
        state.prior[node] = value.opinion


def rejects(config: MctsConfig, state: MctsState, node: int, place: int, value: Value) -> bool:
    """Note that an attempt is to be rewritten; return whether it is."""
    failing = value.verified is False or (value.verified is None and value.accepted is False)
    if not failing or state.rewrites.get(node, 0) >= config.rethink:
        return False
    if node in state.rewrites or place not in state.rewrite_seen:
        state.to_rewrite.add(place)
    state.rewrite_seen.add(place)
    return True


def continues(config: MctsConfig, state: MctsState, attempt: Attempt, node: int) -> bool:
    """Whether a simulation continues below a new attempt: from a thought always, else as `rollout` has it."""
    if config.moves == "thought":
        return True
    if config.rollout == "never" or (config.depth is not None and state.depth[node] >= config.depth):
        return False
    return is_step(attempt) if config.moves == "step" else config.rollout == "depth"
