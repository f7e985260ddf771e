"""Monte Carlo tree search over attempts: one search, and the published ones as settings of it.

Down from the root by a score rule to a node that may have another child (`search.descent`); there an attempt
is asked for; what it is worth is backed up (`search.endings`, `search.statistics`). Knows the moves that come
of it. Does not know who makes attempts or judges them.
"""

from __future__ import annotations

from dataclasses import dataclass

from critic_loop.core.protocols import Move, Stop, Wait
from critic_loop.core.records import Ask, Attempt, Task
from critic_loop.core.tree import Tree
from critic_loop.search.base import require_known
from critic_loop.search.descent import leaf
from critic_loop.search.endings import asked, ended
from critic_loop.search.knobs import Knobs
from critic_loop.search.room import places
from critic_loop.search.statistics import ROOT, Statistics


@dataclass(frozen=True, kw_only=True)
class Mcts(Knobs):
    """Tree search over attempts: down by a score rule, one attempt more, its worth backed up.

    The reward of an attempt is `value_of(...).score` in [0, 1]; None (nobody judged it) brings no return,
    but counts as a visit. Any rule works with any kind, reducer and backup; what fits together is yours:

    - Q by `mean`, `max` and `last` stays in [0, 1], and so does the scale that `c` is made for. By `sum`, or
      with `backup="cumulative"`, Q grows with visits or depth, and soon nothing is explored any more.
    - `ln N` is 0 at one visit: with `uct`, `puct` and `var_puct` the child that was asked for first then wins.
      `visits_from` or `log="parent+1"` avoid that.

    With several lanes, attempts in flight are virtual losses. A failed attempt is a visit without a return and
    is never built on. **Source**: UCT (Kocsis and Szepesvári 2006); virtual losses (Chaslot et al. 2008);
    progressive widening (Coulom 2007); the rest is named at each setting.
    """

    def start(self, task: Task) -> Statistics:  # noqa: ARG002
        """Return the statistics of a tree without attempts."""
        return Statistics()

    def fold(self, state: Statistics, tree: Tree, record: Ask | Attempt) -> Statistics:
        """Take in an ask or an ended attempt. O(depth), and O(width) at the parent."""
        require_known(tree, record)
        if isinstance(record, Ask):
            asked(self, state, record)
        else:
            ended(self, state, tree, record)
        return state

    def ask(self, state: Statistics, tree: Tree) -> Move | Wait | Stop:
        """Go on with a simulation, else rewrite, else go down the tree. O(depth * width)."""
        if state.asked < self.n:
            if state.tips:
                return self._go_on(state, min(state.tips))
            if state.again:
                return self._rewrite(state, tree, min(state.again))
            if state.ready[ROOT]:
                return self._expand(state, leaf(self, state, tree))
        if state.pending[ROOT]:
            return Wait()
        return Stop("exhausted", f"{state.asked} attempts made")

    def _go_on(self, state: Statistics, node: int) -> Move:
        parents = (state.ids[node],)
        if self.moves == "thought":
            return Move(parents=parents, agent=self.answerer)
        return Move(parents=parents, kind=self.moves, agent=self.agent)

    def _rewrite(self, state: Statistics, tree: Tree, node: int) -> Move:
        attempt = state.ids[node]
        return Move(
            parents=tree.asks[attempt].parents,
            kind=self.moves,
            agent=self.agent,
            replaces=attempt,
            shows=(attempt, *self._answer(state, node)),
        )

    def _expand(self, state: Statistics, node: int) -> Move:
        free = 1 if self.batch == 1 else min(self.batch, self.n - state.asked, places(self, state, node))
        return Move(
            parents=() if node == ROOT else (state.ids[node],),
            kind=self.moves,
            agent=self.agent,
            samples=free,
            shows=(*self._answer(state, node), *self._hindsight(state, node)),
        )

    def _answer(self, state: Statistics, node: int) -> tuple[str, ...]:
        answer = state.answers.get(node)
        return () if answer is None else (state.ids[answer],)

    def _hindsight(self, state: Statistics, node: int) -> tuple[str, ...]:
        if not self.hindsight:
            return ()
        judged = [c for c in state.children[node] if state.said[c] and state.own(c) is not None]
        return tuple(state.ids[c] for c in judged[-self.hindsight :])
