"""Fixture trees of published methods that strain the records, written by hand.

Each function returns a new tree, always with the same records. Exporters, views, rewards and stores are tested
with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from critic_loop.testing.trees.answers import (
    best_of_n_tree,
    chinese_tree,
    code_t_tree,
    image_tree,
    pairwise_tree,
    refine_tree,
)
from critic_loop.testing.trees.critiques import multi_critique_tree, spc_tree
from critic_loop.testing.trees.people import ask_for_help_tree, gate_tree, parked_tree
from critic_loop.testing.trees.searches import nested_tree, prompt_agent_tree, rethink_mcts_tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from critic_loop.core.tree import Tree

__all__ = [
    "ALL",
    "ask_for_help_tree",
    "best_of_n_tree",
    "chinese_tree",
    "code_t_tree",
    "gate_tree",
    "image_tree",
    "multi_critique_tree",
    "nested_tree",
    "pairwise_tree",
    "parked_tree",
    "prompt_agent_tree",
    "refine_tree",
    "rethink_mcts_tree",
    "spc_tree",
]

ALL: dict[str, Callable[[], Tree]] = {
    "ask-for-help": ask_for_help_tree,
    "best-of-n": best_of_n_tree,
    "chinese": chinese_tree,
    "code-t": code_t_tree,
    "gate": gate_tree,
    "image": image_tree,
    "multi-critique": multi_critique_tree,
    "nested": nested_tree,
    "pairwise": pairwise_tree,
    "parked": parked_tree,
    "prompt-agent": prompt_agent_tree,
    "refine": refine_tree,
    "rethink-mcts": rethink_mcts_tree,
    "spc": spc_tree,
}
"""The functions by the id of their tree."""
