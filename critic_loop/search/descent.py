"""Down a tree by a score rule, to the node at which the next attempt is asked for. Changes nothing."""

from __future__ import annotations

import random

from critic_loop.core.tree import Tree
from critic_loop.search.knobs import Knobs
from critic_loop.search.scores import RULES, Seen, chance_of_random
from critic_loop.search.statistics import ONE, ROOT, Statistics, latest

_FIRST = 1e9
"""Above any score: children that have not had their least visits."""


def leaf(knobs: Knobs, state: Statistics, tree: Tree) -> int:
    """Return the node at which the next child is to be asked for; one is ready. O(depth * width)."""
    node, q, wide = ROOT, 0.5, state.wide
    while not wide[node]:
        if knobs.randomness is not None and _by_chance(knobs, state, tree, node):
            ready = [c for c in state.children[node] if state.ready[c]]
            node = ready[_draw(state, tree, node, "child").randrange(len(ready))]
        elif knobs.rule == "additive":
            node, q = _best_sum(knobs, state, node, q)
        else:
            node, q = _best(knobs, state, node, q)
    return node


def _best(knobs: Knobs, state: Statistics, node: int, parent_q: float) -> tuple[int, float]:
    rule, loss, least, prior = RULES[knobs.rule], knobs.virtual_loss, knobs.min_visits, state.prior
    visits, pending, ready, share = state.visits, state.pending, state.ready, rule.share
    returns, worth, mean = state.returns, state.worth, knobs.q == "mean"
    of = ROOT if knobs.log == "tree" else node
    seen = visits[of] + loss * pending[of] + knobs.visits_from + (knobs.log == "parent+1")
    weight = rule.weight(seen, rule.c if knobs.c is None else knobs.c, knobs.base)
    best, best_q, top = node, parent_q, float("-inf")
    for child in state.children[node]:
        if not ready[child]:
            continue
        lost = loss * pending[child]
        n = visits[child] + lost
        if mean and returns[child]:
            q = worth[child] / (ONE * (returns[child] + lost))
        else:
            q = _q(knobs, state, child, parent_q)
        score = q + weight * share(n, prior.get(child, 1.0)) if n >= least else _FIRST - n
        if score > top:
            best, best_q, top = child, q, score
    return best, best_q


def _best_sum(knobs: Knobs, state: Statistics, node: int, parent_q: float) -> tuple[int, float]:
    parent_n = state.visits[node] + knobs.virtual_loss * state.pending[node] + knobs.visits_from
    best, best_q, top = node, parent_q, float("-inf")
    for child in state.children[node]:
        if not state.ready[child]:
            continue
        q = _q(knobs, state, child, parent_q)
        n = state.visits[child] + knobs.virtual_loss * state.pending[child]
        seen = Seen(
            q=q, n=n, parent_n=parent_n, depth=state.depth[child], parent_q=parent_q,
            children=tuple(state.own(c) for c in state.children[child] if state.said[c]),
            duplicates=len(state.merged.get(child, ())),
        )  # fmt: skip
        score = knobs.additive.score(seen) if n >= knobs.min_visits else _FIRST - n
        if score > top:
            best, best_q, top = child, q, score
    return best, best_q


def _q(knobs: Knobs, state: Statistics, node: int, parent_q: float) -> float:
    if not state.returns[node]:
        own = state.own(node)
        given = parent_q if knobs.unjudged is None else knobs.unjudged
        return given if own is None else own
    if knobs.q == "mean":
        return state.worth[node] / (ONE * (state.returns[node] + knobs.virtual_loss * state.pending[node]))
    return latest(state.worth[node]) if knobs.q == "last" else state.worth[node] / ONE


def _by_chance(knobs: Knobs, state: Statistics, tree: Tree, node: int) -> bool:
    chance = chance_of_random(knobs.randomness or 0.0, state.depth[node], knobs.depth or 1)
    return _draw(state, tree, node, "whether").random() < chance


def _draw(state: Statistics, tree: Tree, node: int, what: str) -> random.Random:
    return random.Random(f"{tree.task.id}/{tree.head.seed}/{state.asked}/{node}/{what}")  # noqa: S311
