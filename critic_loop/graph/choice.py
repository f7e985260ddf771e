"""How the answer is chosen: the selection, and the comparisons that it needs.

Knows when verifiers of pairs and the judge are asked. Does not know the rules (`select`).
"""

from __future__ import annotations

from critic_loop.core.errors import BudgetSpent, SearchError
from critic_loop.core.protocols import Compare, Pick, Select
from critic_loop.nodes import stages
from critic_loop.nodes.context import RunContext
from critic_loop.select import best_value


async def choice_of(run: RunContext, select: Select) -> tuple[Pick, bool]:
    """Return what the selection picks, and whether the budget ended before all its comparisons were made.

    In that case the attempt of the best value is picked.

    Raises:
        SearchError: the selection asks for a comparison twice, or for one without a judge.
    """
    await stages.pair_verifier(run)
    pick = select(run.tree)
    compared: set[frozenset[str]] = set()
    while isinstance(pick, Compare):
        pair = frozenset((pick.first, pick.second))
        if pair in compared:
            raise SearchError(
                f"tree {run.tree.id!r}: the selection asks again for a comparison that was made.",
                hint="A selection reads comparisons in the tree (evidence.comparison_of).",
            )
        compared.add(pair)
        if run.judge is None:
            raise SearchError(
                "the selection has two attempts to compare, but there is no judge.",
                hint="Give the recipe a judge, or another selection.",
            )
        try:
            await stages.judge(run, pick.first, pick.second)
        except BudgetSpent:
            return best_value(run.tree), True
        pick = select(run.tree)
    return pick, False
