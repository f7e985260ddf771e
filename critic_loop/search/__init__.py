"""Searches: which attempt comes next. Pure functions and folds over the tree.

`from critic_loop.search import search` (or `cl.search`) makes a search of a plain function.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

from critic_loop.core.lazy import lazy
from critic_loop.search.base import Modifier
from critic_loop.search.build import SEARCHES, build, require_settings
from critic_loop.search.function import FunctionSearch, SearchFn, search

if TYPE_CHECKING:
    from critic_loop.search.ab_mcts import AbMcts
    from critic_loop.search.beam import Beam
    from critic_loop.search.best_first import BestFirst, curriculum_weight
    from critic_loop.search.driver import Driver, drive
    from critic_loop.search.evolve import Evolve, exploit_share
    from critic_loop.search.map_elites import Axis, MapElites, coverage, qd_score
    from critic_loop.search.mcts import Additive, Mcts, MctsConfig
    from critic_loop.search.modifiers import AntiRepeat, Modified, Pool, Temperature
    from critic_loop.search.nest import Nest
    from critic_loop.search.propose_verify_reflect import ProposeVerifyReflect
    from critic_loop.search.refine import Refine
    from critic_loop.search.sample import ExtraSamples, Sample

__all__ = [
    "SEARCHES",
    "AbMcts",
    "Additive",
    "AntiRepeat",
    "Axis",
    "Beam",
    "BestFirst",
    "Driver",
    "Evolve",
    "ExtraSamples",
    "FunctionSearch",
    "MapElites",
    "Mcts",
    "MctsConfig",
    "Modified",
    "Modifier",
    "Nest",
    "Pool",
    "ProposeVerifyReflect",
    "Refine",
    "Sample",
    "SearchFn",
    "Temperature",
    "build",
    "coverage",
    "curriculum_weight",
    "drive",
    "exploit_share",
    "qd_score",
    "require_settings",
    "search",
]
__getattr__ = lazy(
    __name__,
    {
        "ab_mcts": ("AbMcts",),
        "beam": ("Beam",),
        "best_first": ("BestFirst", "curriculum_weight"),
        "driver": ("Driver", "drive"),
        "evolve": ("Evolve", "exploit_share"),
        "map_elites": ("Axis", "MapElites", "coverage", "qd_score"),
        "mcts": ("Additive", "Mcts", "MctsConfig"),
        "modifiers": ("AntiRepeat", "Modified", "Pool", "Temperature"),
        "nest": ("Nest",),
        "propose_verify_reflect": ("ProposeVerifyReflect",),
        "refine": ("Refine",),
        "sample": ("ExtraSamples", "Sample"),
    },
)


class _CallableModule(ModuleType):
    """Lets `@cl.search` work: a package that shares the name of its decorator calls it."""

    def __call__(self, function: SearchFn) -> FunctionSearch:
        return search(function)


sys.modules[__name__].__class__ = _CallableModule
