"""Down a tree by a score rule, to the node at which the next attempt is asked for. Changes nothing."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import inf, sqrt

from critic_loop.core.tree import Tree
from critic_loop.search.knobs import Knobs
from critic_loop.search.scores import RULES, Seen, chance_of_random, over_root
from critic_loop.search.statistics import ROOT, Statistics

Best = Callable[[int, float], tuple[int, float]]
"""From a node and its Q to the child to go down to and that one's Q."""

_FIRST = 1e9
"""Above any score: children that have not had their least visits."""


def leaf(knobs: Knobs, state: Statistics, tree: Tree) -> int:
    """Return the node at which the next child is to be asked for; one is ready. O(depth * width)."""
    best = _by_sum(knobs, state) if knobs.rule == "additive" else _by_rule(knobs, state)
    node, q, wide = ROOT, 0.5, state.wide
    while not wide[node]:
        if knobs.randomness is not None and _by_chance(knobs, state, tree, node):
            ready = [c for c in state.children[node] if state.ready[c]]
            node = ready[_draw(state, tree, node, "child").randrange(len(ready))]
        else:
            node, q = best(node, q)
    return node


def _by_rule(knobs: Knobs, state: Statistics) -> Best:
    """Return what takes the child of highest score. It runs at each level: names are bound once."""
    rule, loss, more = RULES[knobs.rule], knobs.virtual_loss, knobs.visits_from + (knobs.log == "parent+1")
    c, base, of_tree = rule.c if knobs.c is None else knobs.c, knobs.base, knobs.log == "tree"
    visits, pending, weight_of = state.visits, state.pending, rule.weight
    plain = knobs.q == "mean" and rule.share is over_root and not knobs.min_visits

    def best(node: int, parent_q: float) -> tuple[int, float]:
        of = ROOT if of_tree else node
        weight = weight_of(visits[of] + loss * pending[of] + more, c, base)
        if plain and not pending[node]:
            try:
                return _best_plain(state, node, weight)
            except ZeroDivisionError:
                pass  # a child that was not visited or not judged
        return _best(knobs, state, node, parent_q, weight)

    return best


def _best_plain(state: Statistics, node: int, weight: float) -> tuple[int, float]:
    """Do what `_best` does where nothing flies, all are judged, Q is the mean and 1/sqrt(n) the share."""
    ready, visits, returns, worth = state.ready, state.visits, state.returns, state.worth
    best, top = node, -inf
    for child in state.children[node]:
        if ready[child]:
            score = worth[child] / returns[child] + weight / sqrt(visits[child])
            if score > top:
                best, top = child, score
    return best, worth[best] / returns[best]


def _best(knobs: Knobs, state: Statistics, node: int, parent_q: float, weight: float) -> tuple[int, float]:
    share, best, best_q, top = RULES[knobs.rule].share, node, parent_q, -inf
    for child in state.children[node]:
        if not state.ready[child]:
            continue
        n, q = (
            state.visits[child] + knobs.virtual_loss * state.pending[child],
            _q(knobs, state, child, parent_q),
        )
        prior = state.prior.get(child, 1.0)
        score = _FIRST - n if n < knobs.min_visits else q + weight * share(n, prior)
        if score > top:
            best, best_q, top = child, q, score
    return best, best_q


def _by_sum(knobs: Knobs, state: Statistics) -> Best:
    return lambda node, parent_q: _best_sum(knobs, state, node, parent_q)


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
    if not state.returns[node]:
        own = state.own(node)
        given = parent_q if knobs.unjudged is None else knobs.unjudged
        return given if own is None else own
    if knobs.q == "mean":
        return state.worth[node] / (state.returns[node] + knobs.virtual_loss * state.pending[node])
    return state.worth[node]


def _by_chance(knobs: Knobs, state: Statistics, tree: Tree, node: int) -> bool:
    chance = chance_of_random(knobs.randomness or 0.0, state.depth[node], knobs.depth or 1)
    return _draw(state, tree, node, "whether").random() < chance


def _draw(state: Statistics, tree: Tree, node: int, what: str) -> random.Random:
    return random.Random(f"{tree.task.id}/{tree.head.seed}/{state.asked}/{node}/{what}")  # noqa: S311
