"""Selection by a pairwise judge, which compares in both orders; if the two disagree, it is a tie.

Evidence comes first: only attempts that verifiers rank highest are compared. Of equal answers only the oldest
is compared. `select.rules.keep_if_better` compares, too. Which of two attempts is better is decided in
`evidence.better`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Annotated

from pydantic import Field
from pydantic_core import to_json

from critic_loop.core.protocols import Compare, Pick
from critic_loop.core.tree import Tree
from critic_loop.evidence import Better, Open, better_of, comparison_of, standing, value_of, who_decided
from critic_loop.select.rules import candidates


def tournament(tree: Tree) -> Pick | Compare:
    """A knock-out by the judge: neighbours in age are compared, and an odd one advances.

    2 (n - 1) calls for n answers. The judge is not asked where evidence decides. Ties and abstentions are
    decided by the higher value, then by age. Each round begins with the oldest pair.
    """
    players, judged = players_of(tree), False
    while len(players) > 1:
        winners: list[str] = []
        for first, second in zip(players[::2], players[1::2], strict=False):
            found = better_of(tree, first, second, compared=True)
            if isinstance(found, Open):
                return Compare(first, second)
            judged = judged or found.by == "judge"
            winners.append(found.better if isinstance(found, Better) else _higher(tree, first, second))
        odd = players[-1:] if len(players) % 2 else ()
        players = (*winners, *odd)
    top = players[0] if players else None
    return Pick(attempt=top, decided_by="judge" if judged else who_decided(tree, top))


def _higher(tree: Tree, first: str, second: str) -> str:
    """Return the attempt of higher value, the first of equals: for pairs without a preference."""
    return max(first, second, key=lambda i: value_of(tree, i).key)


@dataclass(frozen=True, kw_only=True)
class WinRate:
    """The attempt with the highest mean preference over all others: a round robin.

    Ties count half; pairs on which the judge only abstained do not count. Of equal means the higher value wins,
    then age. n (n - 1) calls for n answers.

    **Source**: win rates of AlpacaFarm (Dubois et al. 2023), there against one fixed opponent.
    """

    among: Annotated[int, Field(ge=2)] = 8
    """How many are compared: those of highest value, the oldest of equals."""

    def __call__(self, tree: Tree) -> Pick | Compare:
        """Choose, or ask for the next comparison."""
        players = sorted(players_of(tree), key=lambda i: value_of(tree, i).key, reverse=True)[: self.among]
        won: dict[str, list[float]] = {i: [] for i in players}
        for first, second in combinations(players, 2):
            met = comparison_of(tree, first, second)
            if not met.complete:
                return Compare(first, second)
            if met.share is not None:
                won[first].append(met.share)
                won[second].append(1.0 - met.share)
        rates = {i: sum(each) / len(each) if each else 0.5 for i, each in won.items()}
        top = max(players, key=rates.__getitem__, default=None)
        if top is None or not won[top]:
            return Pick(attempt=top, decided_by=who_decided(tree, top))
        return Pick(attempt=top, decided_by="judge", text=f"win rate {rates[top]:.2f} among {len(players)}")


def players_of(tree: Tree) -> tuple[str, ...]:
    """Return the candidates that are compared, oldest first: one for each answer."""
    first: dict[bytes, str] = {}
    for i in standing(tree, candidates(tree)):
        first.setdefault(to_json(tree[i].answer), i)
    return tuple(first.values())
