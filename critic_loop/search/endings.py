"""What asks and ended attempts change in the statistics: where one stands, what it is worth, what is next."""

from __future__ import annotations

from critic_loop.core.records import Ask, Attempt
from critic_loop.core.tree import Tree
from critic_loop.core.value import Value
from critic_loop.evidence import value_of
from critic_loop.search.base import state_in
from critic_loop.search.knobs import Knobs
from critic_loop.search.room import refresh
from critic_loop.search.statistics import ROOT, Statistics, exact

_PRIORS = ("puct", "var_puct")


def asked(knobs: Knobs, state: Statistics, ask: Ask) -> None:
    """Take in that an attempt was asked for: it is in flight, and takes a place."""
    parent = state.node(ask.parents[0]) if ask.parents else ROOT
    evaluates = knobs.moves == "thought" and ask.kind != "thought"
    node = state.add(ask.attempt, parent, place=not evaluates and ask.replaces is None)
    state.tips.discard(parent)
    if ask.replaces is not None:
        replaced = state.node(ask.replaces)
        state.again.discard(replaced)
        state.rethought.add(replaced)
        state.lock(replaced, 1)
        state.rewrites[node] = state.rewrites.get(state.made_for(ask.replaces), 0) + 1
        refresh(knobs, state, replaced)
    refresh(knobs, state, parent)


def ended(knobs: Knobs, state: Statistics, tree: Tree, attempt: Attempt) -> None:
    """Take in what became of an attempt."""
    node, ask = state.made_for(attempt.id), tree.asks[attempt.id]
    state.pending[node] -= 1
    if ask.replaces is not None:
        state.lock(state.node(ask.replaces), -1)
    evaluates = knobs.moves == "thought" and ask.kind != "thought"
    if attempt.status == "failed":
        place = _failed(state, node, evaluates=evaluates)
    elif evaluates:
        place = _evaluated(knobs, state, tree, ask)
    else:
        place = _complete(knobs, state, tree, attempt)
    if ask.replaces is not None:
        refresh(knobs, state, state.node(ask.replaces))
    refresh(knobs, state, place)
    if place != node or node in state.merged:
        refresh(knobs, state, state.parent[place])


def _failed(state: Statistics, node: int, *, evaluates: bool) -> int:
    parent = state.parent[node]
    if evaluates:
        state.grown[parent] = 1  # its thought is built on without an evaluation
    elif node not in state.rewrites:
        state.failed[parent] = state.failed.get(parent, 0) + 1
    state.count(node, 1)
    return parent


def _complete(knobs: Knobs, state: Statistics, tree: Tree, attempt: Attempt) -> int:
    node, value = state.made_for(attempt.id), value_of(tree, attempt.id)
    thought = knobs.moves == "thought"
    if value.opinion is not None and knobs.rule in _PRIORS and node not in state.rewrites:
        state.prior[node] = value.opinion
    state.reward[node] = None if thought else _reward(knobs, value)
    place = _placed(knobs, state, tree, attempt, node)
    if knobs.state and _unended(attempt) and (name := state_in(attempt, knobs.state)) is not None:
        state.state[place] = name
    state.grown[place] = not thought or (state.grown[place] and node not in state.rewrites)
    if knobs.closes:
        state.closed[place] |= _closes(knobs, state, tree, attempt, node)
    again = knobs.rethink > 0 and not thought and _rejects(knobs, state, node, place, value)
    unended = knobs.goes_on and not again and _goes_on_from(knobs, state, attempt, node)
    goes_on = unended and (node in state.rewrites or not state.runs[place])
    if goes_on:
        state.runs[place] = 1
        state.tips.add(place)
    reward = state.reward[node] if knobs.returns == "judged" or not unended else None
    if reward is not None and knobs.flat:
        state.count(place, not goes_on, exact(reward))
    else:
        state.count(place, not goes_on)
        _back_up(knobs, state, tree, node, place, reward)
    return place


def _evaluated(knobs: Knobs, state: Statistics, tree: Tree, ask: Ask) -> int:
    """Take in the answer that a thought is evaluated by: what it is worth, the thought is worth."""
    node, value = state.made_for(ask.attempt), value_of(tree, ask.attempt)
    thought, place = state.made_for(ask.parents[0]), state.parent[node]
    state.grown[place] = 1
    state.reward[node] = state.reward[thought] = _reward(knobs, value)
    state.answers[place] = max(node, state.answers.get(place, 0))
    _rejects(knobs, state, thought, place, value)
    state.count(node, 1)
    _back_up(knobs, state, tree, thought, place, state.reward[thought])
    return place


def _placed(knobs: Knobs, state: Statistics, tree: Tree, attempt: Attempt, node: int) -> int:
    """Return the node at which an attempt that has just ended stands: its own, or a sibling's."""
    replaces = tree.asks[attempt.id].replaces
    if replaces is None:
        state.said[node] = 1
        twin = None if knobs.duplicates == "keep" else _twin(state, tree, attempt, node)
        return node if twin is None else state.merge(node, twin, knobs.fold_returns)
    replaced = state.node(replaces)
    if knobs.statistics == "edge":
        return state.merge(node, replaced, knobs.fold_returns)
    state.retired.add(replaced)
    return node


def _twin(state: Statistics, tree: Tree, attempt: Attempt, node: int) -> int | None:
    said, ids, attempts = state.said, state.ids, tree.attempts
    for other in state.children[state.parent[node]]:
        if said[other] and other != node and _same(attempts[ids[other]], attempt):
            return state.stands.get(other, other)
    return None


def _closes(knobs: Knobs, state: Statistics, tree: Tree, attempt: Attempt, node: int) -> bool:
    if knobs.depth is not None and state.depth[node] >= knobs.depth:
        return True
    if knobs.moves == "step" and not _unended(attempt):
        return True
    return knobs.prune_from is not None and _prunes(state, tree, node, knobs.prune_from)


def _prunes(state: Statistics, tree: Tree, node: int, depth: int) -> bool:
    if state.depth[node] - 1 <= depth:
        return False
    path = tree.path(state.ids[node])
    first, parent = state.reward[state.made_for(path[0])], state.reward[state.made_for(path[-2])]
    own = state.reward[node]
    return None not in (own, first, parent) and (own or 0.0) < ((first or 0.0) + (parent or 0.0)) / 2


def _goes_on_from(knobs: Knobs, state: Statistics, attempt: Attempt, node: int) -> bool:
    if knobs.moves == "thought":
        return True
    if knobs.rollout == "never" or (knobs.depth is not None and state.depth[node] >= knobs.depth):
        return False
    return _unended(attempt) if knobs.moves == "step" else knobs.rollout == "depth"


def _rejects(knobs: Knobs, state: Statistics, node: int, place: int, value: Value) -> bool:
    """Note that an attempt is to be rewritten; return whether it is."""
    failing = value.verified is False or (value.verified is None and value.accepted is False)
    if not failing or state.rewrites.get(node, 0) >= knobs.rethink:
        return False
    if node in state.rewrites or place not in state.rethought:
        state.again.add(place)
    state.rethought.add(place)
    return True


def _reward(knobs: Knobs, value: Value) -> float | None:
    score = value.score
    if score is None or not knobs.opinion:
        return score
    opinion = 0.5 if value.opinion is None else value.opinion
    return (1 - knobs.opinion) * score + knobs.opinion * opinion * (value.verified is True)


def _back_up(knobs: Knobs, state: Statistics, tree: Tree, node: int, place: int, reward: float | None) -> None:
    if reward is None:
        return
    rewards = [reward]
    if knobs.backup == "cumulative":
        path = tree.path(state.ids[node])[-2::-1]
        rewards += [state.reward[state.made_for(i)] or 0.0 for i in path]
    state.back_up(place, rewards, discount=knobs.discount, fold=knobs.fold_returns, order=node)


def _unended(attempt: Attempt) -> bool:
    return attempt.kind == "step" and attempt.answer is None


def _same(one: Attempt, other: Attempt) -> bool:
    if one.answer is not None or other.answer is not None:
        return one.answer == other.answer
    text = _text(one)
    return text != "" and text == _text(other)


def _text(attempt: Attempt) -> str:
    return "\n".join(message.text for message in attempt.messages)
