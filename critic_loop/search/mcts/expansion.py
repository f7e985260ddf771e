"""Expansion: where a child may be asked for, and how a new attempt takes its place in the tree.

A node's width, widening, depth, pruning, duplicates and replaced attempts decide it. The flags `has_room` and
`selectable` are kept up to date as records are folded, so that selection reads them in O(1).
"""

from __future__ import annotations

from bisect import insort

from critic_loop.core.records import Ask, Attempt
from critic_loop.core.tree import Tree
from critic_loop.search.mcts.backup import aggregate
from critic_loop.search.mcts.config import MctsConfig
from critic_loop.search.mcts.state import ROOT, Aggregation, MctsState

# -- places ----------------------------------------------------------------------------------------


def add_child(config: MctsConfig, state: MctsState, ask: Ask) -> None:
    """Add the node of an attempt that was asked for: it is in flight, and takes a place."""
    parent = state.node(ask.parents[0]) if ask.parents else ROOT
    counted = not evaluates_thought(config, ask) and ask.replaces is None
    node = state.add(ask.attempt, parent, counted=counted)
    state.to_continue.discard(parent)
    if ask.replaces is not None:
        replaced = state.node(ask.replaces)
        state.to_rewrite.discard(replaced)
        state.rewrite_seen.add(replaced)
        lock(state, replaced, 1)
        state.rewrites[node] = state.rewrites.get(state.own_node(ask.replaces), 0) + 1
        update_room(config, state, replaced)
    update_room(config, state, parent)


def evaluates_thought(config: MctsConfig, ask: Ask) -> bool:
    """Whether an attempt is the answer by which its parent, a thought, is evaluated."""
    return config.moves == "thought" and ask.kind != "thought"


def lock(state: MctsState, node: int, by: int) -> None:
    """Add `by` to the attempts in flight that rewrite a node; it is not expanded while there are any."""
    count = state.being_rewritten.get(node, 0) + by
    if count:
        state.being_rewritten[node] = count
    else:
        del state.being_rewritten[node]


def give_back_place(state: MctsState, node: int) -> None:
    """Count a failed attempt at its parent, unless it was to rewrite another."""
    if node not in state.rewrites:
        parent = state.parent[node]
        state.failed[parent] = state.failed.get(parent, 0) + 1


# -- room ------------------------------------------------------------------------------------------


def update_room(config: MctsConfig, state: MctsState, node: int) -> None:
    """Update `has_room` and `selectable` of a node and of those above it, as far as they change."""
    while node >= ROOT:
        live = _live(state, node)
        has_room = live and room_at(config, state, node) > 0
        selectable = has_room or (live and _any(state.selectable, state.children[node]))
        if config.widening is None and (state.has_room[node], state.selectable[node]) == (
            has_room,
            selectable,
        ):
            return
        state.has_room[node], state.selectable[node] = has_room, selectable
        node = state.parent[node]
        if selectable and node >= ROOT and state.selectable[node] and config.widening is None:
            return


def room_at(config: MctsConfig, state: MctsState, node: int) -> int:
    """Return how many more children may be asked for at a node."""
    if state.closed[node]:
        return 0
    taken = len(state.children[node])
    if node in state.uncounted:
        taken -= state.uncounted[node]
    if node in state.failed:
        taken -= state.failed[node] if node == ROOT else min(state.failed[node], config.failures)
    return _width(config, state, node) - taken


def _width(config: MctsConfig, state: MctsState, node: int) -> int:
    if node == ROOT and config.roots is not None:
        return config.roots
    if config.widening is None:
        return config.max_children
    n = state.visits[node] + state.pending[node]
    return min(config.max_children, max(1, int(config.widening_k * n**config.widening)))


def _live(state: MctsState, node: int) -> bool:
    if state.being_rewritten or state.to_rewrite or state.replaced:
        busy = node in state.being_rewritten or node in state.to_rewrite or node in state.replaced
        return bool(state.expandable[node]) and not busy
    return bool(state.expandable[node])


def _any(flags: bytearray, nodes: tuple[int, ...]) -> bool:
    for node in nodes:  # noqa: SIM110  # a generator costs more than what it walks over
        if flags[node]:
            return True
    return False


# -- nodes that are never expanded -----------------------------------------------------------------


def closes(config: MctsConfig, state: MctsState, tree: Tree, attempt: Attempt, node: int) -> bool:
    """Whether an ended attempt is never expanded: at the limit of depth, a last step, or pruned."""
    if config.depth is not None and state.depth[node] >= config.depth:
        return True
    if config.moves == "step" and not is_step(attempt):
        return True
    return config.prune_from is not None and _prunes(state, tree, node, config.prune_from)


def is_step(attempt: Attempt) -> bool:
    """Whether it is a step that does not end its answer."""
    return attempt.kind == "step" and attempt.answer is None


def _prunes(state: MctsState, tree: Tree, node: int, depth: int) -> bool:
    if state.depth[node] - 1 <= depth:
        return False
    path = tree.path(state.ids[node])
    first, parent = state.reward[state.own_node(path[0])], state.reward[state.own_node(path[-2])]
    own = state.reward[node]
    return None not in (own, first, parent) and (own or 0.0) < ((first or 0.0) + (parent or 0.0)) / 2


# -- duplicates and replaced attempts --------------------------------------------------------------


def settle_place(config: MctsConfig, state: MctsState, tree: Tree, attempt: Attempt, node: int) -> int:
    """Return the node that represents a complete attempt from now on: its own, or one it is merged with."""
    replaces = tree.asks[attempt.id].replaces
    if replaces is None:
        state.complete[node] = 1
        twin = None if config.duplicates == "keep" else _twin(state, tree, attempt, node)
        return node if twin is None else _merge(state, node, twin, config.aggregation)
    replaced = state.node(replaces)
    if config.statistics == "edge":
        return _merge(state, node, replaced, config.aggregation)
    state.replaced.add(replaced)
    return node


def _twin(state: MctsState, tree: Tree, attempt: Attempt, node: int) -> int | None:
    complete, ids, attempts = state.complete, state.ids, tree.attempts
    for other in state.children[state.parent[node]]:
        if complete[other] and other != node and _same(attempts[ids[other]], attempt):
            return state.merged_into.get(other, other)
    return None


def _same(one: Attempt, other: Attempt) -> bool:
    if one.answer is not None or other.answer is not None:
        return one.answer == other.answer
    text = _text(one)
    return text != "" and text == _text(other)


def _text(attempt: Attempt) -> str:
    return "\n".join(message.text for message in attempt.messages)


def _merge(state: MctsState, new: int, old: int, how: Aggregation) -> int:
    """Merge two nodes; return the one that represents both.

    `new` has just ended and has no children. A rewritten attempt represents all others, otherwise the one that
    was asked for first.
    """
    keep = new if new in state.rewrites or (old not in state.rewrites and new < old) else old
    gone = old if keep == new else new
    for node in (gone, *state.merged.pop(gone, ())):
        state.merged_into[node] = keep
        insort(state.merged.setdefault(keep, []), node)
    if gone == old:
        _move(state, gone, keep, how)
    return keep


def _move(state: MctsState, gone: int, keep: int, how: Aggregation) -> None:
    """Move statistics and children from one node to another."""
    for column in (state.visits, state.returns, state.pending):
        column[keep] += column[gone]
        column[gone] = 0
    aggregate(state, keep, state.value[gone], state.latest.pop(gone, -1), how)
    state.value[gone] = 0.0
    for child in state.children[gone]:
        state.parent[child] = keep
    state.children[keep] = tuple(sorted((*state.children[keep], *state.children[gone])))
    state.children[gone] = ()
    for flags in (state.expandable, state.closed, state.continued):
        flags[keep] |= flags[gone]
    for flags in (state.expandable, state.closed, state.continued, state.has_room, state.selectable):
        flags[gone] = 0
    for counts in (state.failed, state.uncounted, state.being_rewritten):
        if gone in counts:
            counts[keep] = counts.get(keep, 0) + counts.pop(gone)
    for nodes in (state.replaced, state.to_continue, state.to_rewrite, state.rewrite_seen):
        if gone in nodes:
            nodes.remove(gone)
            nodes.add(keep)
    if gone in state.answers:
        state.answers[keep] = state.answers.pop(gone)
    state.state.pop(gone, None)
