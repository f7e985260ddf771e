"""Down a tree by a score rule, to the node at which the next attempt is asked for. Changes nothing."""

from __future__ import annotations

from math import inf, sqrt

from critic_loop.core.tree import Tree
from critic_loop.search.chance import Chance, chance
from critic_loop.search.knobs import Knobs
from critic_loop.search.scores import RULES, Seen, chance_of_random
from critic_loop.search.statistics import ROOT, Statistics

_FIRST = 1e9
"""Above any score: children that have not had their least visits."""


def leaf(knobs: Knobs, state: Statistics, tree: Tree) -> int:
    """Return the node at which the next child is to be asked for; one is ready. O(depth * width)."""
    node, q, wide = ROOT, 0.5, state.wide
    draws = None if knobs.randomness is None else chance(tree)
    while not wide[node]:
        if draws is not None and _by_chance(knobs, state, draws, node):
            node = draws.choice([c for c in state.children[node] if state.ready[c]])
        elif knobs.rule == "additive":
            node, q = _best_sum(knobs, state, node, q)
        elif knobs.plain and not state.pending[node]:
            node, q = _down_plainly(knobs, state, node, q)
        else:
            node, q = _best(knobs, state, node, q)
    return node


def _down_plainly(knobs: Knobs, state: Statistics, node: int, q: float) -> tuple[int, float]:
    """Do what `_best` does, level by level, where nothing is in flight and the rule is the plain one.

    Most of the time of a search is spent here. Ends early where a child was not visited or not judged.
    """
    children, wide, ready, visits = state.children, state.wide, state.ready, state.visits
    returns, worth, weight_of, c = state.returns, state.worth, knobs.weight_of, knobs.constant
    while not wide[node]:
        weight, top, best = weight_of(visits[node] + knobs.visits_from, c, 0.0), -inf, node
        for child in children[node]:
            if ready[child]:
                if not returns[child]:
                    return _best(knobs, state, node, q)
                score = worth[child] / returns[child] + weight / sqrt(visits[child])
                if score > top:
                    best, top = child, score
        node, q = best, worth[best] / returns[best]
    return node, q


def _best(knobs: Knobs, state: Statistics, node: int, parent_q: float) -> tuple[int, float]:
    of, loss, share = ROOT if knobs.log == "tree" else node, knobs.virtual_loss, RULES[knobs.rule].share
    seen = state.visits[of] + loss * state.pending[of] + knobs.visits_from + (knobs.log == "parent+1")
    weight = knobs.weight_of(seen, knobs.constant, knobs.base)
    best, best_q, top = node, parent_q, -inf
    for child in state.children[node]:
        if not state.ready[child]:
            continue
        n, q = state.visits[child] + loss * state.pending[child], _q(knobs, state, child, parent_q)
        prior = state.prior.get(child, 1.0)
        score = _FIRST - n if n < knobs.min_visits else q + weight * share(n, prior)
        if score > top:
            best, best_q, top = child, q, score
    return best, best_q


def _best_sum(knobs: Knobs, state: Statistics, node: int, parent_q: float) -> tuple[int, float]:
    parent_n = state.visits[node] + knobs.virtual_loss * state.pending[node] + knobs.visits_from
    best, best_q, top = node, parent_q, -inf
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
    returns, worth = state.returned(node) if state.state else (state.returns[node], state.worth[node])
    if not returns:
        own = state.own(node)
        given = parent_q if knobs.unjudged is None else knobs.unjudged
        return given if own is None else own
    if knobs.q == "mean":
        return worth / (returns + knobs.virtual_loss * state.pending[node])
    return worth


def _by_chance(knobs: Knobs, state: Statistics, draws: Chance, node: int) -> bool:
    share = chance_of_random(knobs.randomness or 0.0, state.depth[node], knobs.depth or 1)
    return draws.random() < share
