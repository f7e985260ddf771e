"""`Mcts`: the phases of Monte Carlo tree search in their order."""

from __future__ import annotations

from dataclasses import dataclass

from critic_loop.core.protocols import Move, Stop, Wait
from critic_loop.core.records import Ask, Attempt, Task
from critic_loop.core.tree import Tree
from critic_loop.evidence import value_of
from critic_loop.search.base import exact, require_known, state_key
from critic_loop.search.mcts.backup import add_return, add_visit
from critic_loop.search.mcts.config import MctsConfig
from critic_loop.search.mcts.evaluation import continues, note_prior, rejects, reward_of
from critic_loop.search.mcts.expansion import (
    add_child,
    closes,
    evaluates_thought,
    give_back_place,
    is_step,
    lock,
    room_at,
    settle_place,
    update_room,
)
from critic_loop.search.mcts.selection import select
from critic_loop.search.mcts.state import ROOT, MctsState


@dataclass(frozen=True, kw_only=True)
class Mcts(MctsConfig):
    """Monte Carlo tree search: select a node by a score rule, add one attempt, back up its reward.

    The reward of an attempt is `value_of(...).score` in [0, 1]; None (not judged) gives no return, but counts
    as a visit. Any rule works with any kind of move, aggregation and backup, but not all fit together:

    - Q by `mean`, `max` and `last` stays in [0, 1], the scale for which `c` is made. By `sum`, or with
      `backup="cumulative"`, Q grows with visits or depth, and exploration soon ends.
    - `ln N` is 0 at one visit: with `uct`, `puct` and `var_puct` the child that was asked for first then wins.
      `visits_from` or `log="parent+1"` avoid that.

    With several lanes, attempts in flight are virtual losses. A failed attempt is a visit without a return and
    is never expanded. **Source**: UCT (Kocsis and Szepesvári 2006); virtual losses (Chaslot et al. 2008);
    progressive widening (Coulom 2007); other sources are named at each setting.
    """

    def start(self, task: Task) -> MctsState:  # noqa: ARG002
        """Return the statistics of a tree without attempts."""
        return MctsState()

    def fold(self, state: MctsState, tree: Tree, record: Ask | Attempt) -> MctsState:
        """Take in an ask or an ended attempt. O(depth), and O(width) at the parent.

        Raises:
            SearchError: the record is about an attempt that was not asked for.
        """
        require_known(tree, record)
        if isinstance(record, Ask):
            add_child(self, state, record)
        else:
            _take_in(self, state, tree, record)
        return state

    def ask(self, state: MctsState, tree: Tree) -> Move | Wait | Stop:
        """Continue a simulation, else rewrite an attempt, else select and expand a node. O(depth * width)."""
        if state.asked < self.n:
            if state.to_continue:
                return self._continue(state, min(state.to_continue))
            if state.to_rewrite:
                return self._rewrite(state, tree, min(state.to_rewrite))
            if state.selectable[ROOT]:
                return self._expand(state, select(self, state, tree))
        if state.pending[ROOT]:
            return Wait()
        return Stop("exhausted", f"{state.asked} attempts made")

    def _continue(self, state: MctsState, node: int) -> Move:
        parents = (state.ids[node],)
        if self.moves == "thought":
            return Move(parents=parents, agent=self.answerer)
        return Move(parents=parents, kind=self.moves, agent=self.agent)

    def _rewrite(self, state: MctsState, tree: Tree, node: int) -> Move:
        attempt = state.ids[node]
        return Move(
            parents=tree.asks[attempt].parents,
            kind=self.moves,
            agent=self.agent,
            replaces=attempt,
            shows=(attempt, *self._answer(state, node)),
        )

    def _expand(self, state: MctsState, node: int) -> Move:
        samples = 1
        if self.batch > 1:
            samples = min(self.batch, self.n - state.asked, room_at(self, state, node))
        return Move(
            parents=() if node == ROOT else (state.ids[node],),
            kind=self.moves,
            agent=self.agent,
            samples=samples,
            shows=(*self._answer(state, node), *self._hindsight(state, node)),
        )

    def _answer(self, state: MctsState, node: int) -> tuple[str, ...]:
        answer = state.answers.get(node)
        return () if answer is None else (state.ids[answer],)

    def _hindsight(self, state: MctsState, node: int) -> tuple[str, ...]:
        if not self.hindsight:
            return ()
        judged = [c for c in state.children[node] if state.complete[c] and state.reward_at(c) is not None]
        return tuple(state.ids[c] for c in judged[-self.hindsight :])


# -- folding an ended attempt ----------------------------------------------------------------------


def _take_in(config: MctsConfig, state: MctsState, tree: Tree, attempt: Attempt) -> None:
    node, ask = state.own_node(attempt.id), tree.asks[attempt.id]
    state.pending[node] -= 1
    if ask.replaces is not None:
        lock(state, state.node(ask.replaces), -1)
    evaluates = evaluates_thought(config, ask)
    if attempt.status == "failed":
        place = _failed(state, node, evaluates=evaluates)
    elif evaluates:
        place = _evaluated(config, state, tree, ask)
    else:
        place = _complete(config, state, tree, attempt)
    if ask.replaces is not None:
        update_room(config, state, state.node(ask.replaces))
    update_room(config, state, place)
    if place != node or node in state.merged:
        update_room(config, state, state.parent[place])


def _failed(state: MctsState, node: int, *, evaluates: bool) -> int:
    """Take in a failed attempt: a visit without a return; return the node that it changes."""
    parent = state.parent[node]
    if evaluates:
        state.expandable[parent] = 1  # its thought is expanded without an evaluation
    else:
        give_back_place(state, node)
    add_visit(state, node, 1)
    return parent


def _complete(config: MctsConfig, state: MctsState, tree: Tree, attempt: Attempt) -> int:
    """Evaluate an attempt, give it its place, back up its reward; return its place."""
    node, value = state.own_node(attempt.id), value_of(tree, attempt.id)
    thought = config.moves == "thought"
    note_prior(config, state, node, value)
    state.reward[node] = None if thought else reward_of(config, value)
    place = settle_place(config, state, tree, attempt, node)
    if config.state and is_step(attempt) and (name := state_key(attempt, config.state)) is not None:
        state.state[place] = name
    state.expandable[place] = not thought or (state.expandable[place] and node not in state.rewrites)
    if config.may_close:
        state.closed[place] |= closes(config, state, tree, attempt, node)
    rewritten = config.rethink > 0 and not thought and rejects(config, state, node, place, value)
    unended = config.may_continue and not rewritten and continues(config, state, attempt, node)
    continued = unended and (node in state.rewrites or not state.continued[place])
    if continued:
        state.continued[place] = 1
        state.to_continue.add(place)
    reward = state.reward[node] if config.returns == "judged" or not unended else None
    if reward is not None and config.uniform_returns:
        add_visit(state, place, not continued, exact(reward))
    else:
        add_visit(state, place, not continued)
        add_return(config, state, tree, node, place, reward)
    return place


def _evaluated(config: MctsConfig, state: MctsState, tree: Tree, ask: Ask) -> int:
    """Take in the answer by which a thought is evaluated: its reward is the thought's; return the thought."""
    node, value = state.own_node(ask.attempt), value_of(tree, ask.attempt)
    thought, place = state.own_node(ask.parents[0]), state.parent[node]
    state.expandable[place] = 1
    state.reward[node] = state.reward[thought] = reward_of(config, value)
    state.answers[place] = max(node, state.answers.get(place, 0))
    rejects(config, state, thought, place, value)
    add_visit(state, node, 1)
    add_return(config, state, tree, thought, place, state.reward[thought])
    return place
