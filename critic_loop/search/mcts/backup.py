"""Backup: what an ended attempt adds to its node and to all nodes above it."""

from __future__ import annotations

from critic_loop.core.tree import Tree
from critic_loop.search.base import exact
from critic_loop.search.mcts.config import MctsConfig
from critic_loop.search.mcts.state import ROOT, Aggregation, MctsState


def add_visit(state: MctsState, node: int, visit: int, gained: float | None = None) -> None:
    """Add `visit` (0 or 1) to a node and all above it, where an attempt has ended. O(depth).

    Args:
        state: the statistics; at `node` itself, the attempt was taken off `pending` before.
        node: where the attempt ended.
        visit: whether its simulation ended, too.
        gained: a return that is the same for all of them and is summed; for others see `add_return`.
    """
    visits, pending, parent, value, returns = (
        state.visits,
        state.pending,
        state.parent,
        state.value,
        state.returns,
    )
    start = node
    pending[node] += 1
    while node >= ROOT:
        visits[node] += visit
        pending[node] -= 1
        if gained is not None:
            returns[node] += 1
            value[node] += gained
        node = parent[node]
    if gained is not None and state.state:
        _share(state, start, gained)


def add_return(
    config: MctsConfig, state: MctsState, tree: Tree, node: int, place: int, reward: float | None
) -> None:
    """Back up a return from `place` to the root; None adds none. O(depth).

    One level up a return is `discount` times what it was below, plus, if cumulative, the reward there.

    Args:
        config: discount, backup and aggregation.
        state: the statistics.
        tree: the tree, for the rewards on the attempt's path.
        node: the node that was made for the attempt.
        place: the node that represents it, where the return counts first.
        reward: what the attempt earned, in [0, 1].
    """
    if reward is None:
        return
    rewards = [reward]
    if config.backup == "cumulative":
        path = tree.path(state.ids[node])[-2::-1]
        rewards += [state.reward[state.own_node(i)] or 0.0 for i in path]
    total, levels = 0.0, iter(rewards)
    while place >= ROOT:
        total = next(levels, 0.0) + config.discount * total
        state.returns[place] += 1
        aggregate(state, place, exact(total), node, config.aggregation)
        place = state.parent[place]


def aggregate(state: MctsState, node: int, amount: float, order: int, how: Aggregation) -> None:
    """Add a return to the value of a node; `order` says when its attempt was asked for."""
    if how == "sum":
        state.value[node] += amount
    elif how == "max":
        state.value[node] = max(state.value[node], amount)
    elif order > state.latest.get(node, -1):
        state.latest[node], state.value[node] = order, amount


def returns_at(state: MctsState, node: int) -> tuple[int, float]:
    """Return number and value of the returns that count at a node: those of its state, if it has one."""
    name = state.state.get(node)
    return (state.returns[node], state.value[node]) if name is None else state.shared.get(name, (0, 0.0))


def _share(state: MctsState, node: int, gained: float) -> None:
    """Add a return to the states of a node and all above it."""
    while node >= ROOT:
        name = state.state.get(node)
        if name is not None:
            returns, value = state.shared.get(name, (0, 0.0))
            state.shared[name] = (returns + 1, value + gained)
        node = state.parent[node]
