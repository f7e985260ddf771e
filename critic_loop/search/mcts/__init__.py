"""Monte Carlo tree search over attempts: one search, and the published ones as settings of it.

    config       settings, by phase
    state        statistics of each node
    selection    from the root down to a node, by a score rule (`scores`)
    expansion    where children may be added, widening, duplicates, pruning
    evaluation   rewards, priors, rewriting, how far a simulation continues
    backup       from a node up to the root: visits and returns
    search       the phases in order: `Mcts`

Knows the moves that follow. Does not know who makes attempts or judges them.
"""

from critic_loop.search.mcts.config import MctsConfig
from critic_loop.search.mcts.scores import Additive
from critic_loop.search.mcts.search import Mcts

__all__ = ["Additive", "Mcts", "MctsConfig"]
