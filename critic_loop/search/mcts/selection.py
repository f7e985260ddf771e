"""Selection: down the tree by a score rule, to the node where the next child is asked for. Changes nothing."""

from __future__ import annotations

from math import inf, sqrt

from critic_loop.core.tree import Tree
from critic_loop.search.mcts.backup import returns_at
from critic_loop.search.mcts.config import MctsConfig
from critic_loop.search.mcts.scores import RULES, Observed, random_share
from critic_loop.search.mcts.state import ROOT, MctsState
from critic_loop.search.rng import Rng, rng_of

_FIRST = 1e9
"""Above any score: for children with less than their least visits."""


def select(config: MctsConfig, state: MctsState, tree: Tree) -> int:
    """Return the node where the next child is asked for; the root must be selectable. O(depth * width)."""
    node, q, has_room = ROOT, 0.5, state.has_room
    rng = None if config.randomness is None else rng_of(tree)
    while not has_room[node]:
        if rng is not None and _is_random(config, state, rng, node):
            node = rng.choice([c for c in state.children[node] if state.selectable[c]])
        elif config.rule == "additive":
            node, q = _best_sum(config, state, node, q)
        elif config.mean_over_root and not state.pending[node]:
            node, q = _descend_by_mean(config, state, node, q)
        else:
            node, q = _best(config, state, node, q)
    return node


def _descend_by_mean(config: MctsConfig, state: MctsState, node: int, q: float) -> tuple[int, float]:
    """Do what `_best` does, level by level, for `mean_over_root` where nothing is in flight.

    Most of the time of a search is spent here. Ends early where a child was not visited or not judged.
    """
    children, has_room, selectable, visits = state.children, state.has_room, state.selectable, state.visits
    returns, value, weight_of, c = state.returns, state.value, config.weight_of, config.exploration
    while not has_room[node]:
        weight, top, best = weight_of(visits[node] + config.visits_from, c, 0.0), -inf, node
        for child in children[node]:
            if selectable[child]:
                if not returns[child]:
                    return _best(config, state, node, q)
                score = value[child] / returns[child] + weight / sqrt(visits[child])
                if score > top:
                    best, top = child, score
        node, q = best, value[best] / returns[best]
    return node, q


def _best(config: MctsConfig, state: MctsState, node: int, parent_q: float) -> tuple[int, float]:
    """Return the selectable child of highest `Q + weight * share`, and its Q; the oldest of equals."""
    of, loss, share = ROOT if config.log == "tree" else node, config.virtual_loss, RULES[config.rule].share
    seen = state.visits[of] + loss * state.pending[of] + config.visits_from + (config.log == "parent+1")
    weight = config.weight_of(seen, config.exploration, config.base)
    best, best_q, top = node, parent_q, -inf
    for child in state.children[node]:
        if not state.selectable[child]:
            continue
        n, q = state.visits[child] + loss * state.pending[child], _q(config, state, child, parent_q)
        prior = state.prior.get(child, 1.0)
        score = _FIRST - n if n < config.min_visits else q + weight * share(n, prior)
        if score > top:
            best, best_q, top = child, q, score
    return best, best_q


def _best_sum(config: MctsConfig, state: MctsState, node: int, parent_q: float) -> tuple[int, float]:
    """Return the selectable child of the highest sum of terms (`Additive`), and its Q."""
    parent_n = state.visits[node] + config.virtual_loss * state.pending[node] + config.visits_from
    best, best_q, top = node, parent_q, -inf
    for child in state.children[node]:
        if not state.selectable[child]:
            continue
        q = _q(config, state, child, parent_q)
        n = state.visits[child] + config.virtual_loss * state.pending[child]
        observed = Observed(
            q=q, n=n, parent_n=parent_n, depth=state.depth[child], parent_q=parent_q,
            children=tuple(state.reward_at(c) for c in state.children[child] if state.complete[c]),
            duplicates=len(state.merged.get(child, ())),
        )  # fmt: skip
        score = config.additive.score(observed) if n >= config.min_visits else _FIRST - n
        if score > top:
            best, best_q, top = child, q, score
    return best, best_q


def _q(config: MctsConfig, state: MctsState, node: int, parent_q: float) -> float:
    returns, value = returns_at(state, node) if state.state else (state.returns[node], state.value[node])
    if not returns:
        own = state.reward_at(node)
        given = parent_q if config.unjudged is None else config.unjudged
        return given if own is None else own
    if config.q == "mean":
        return value / (returns + config.virtual_loss * state.pending[node])
    return value


def _is_random(config: MctsConfig, state: MctsState, rng: Rng, node: int) -> bool:
    share = random_share(config.randomness or 0.0, state.depth[node], config.depth or 1)
    return rng.random() < share
