"""Which attempt comes next: pure functions and folds over the tree.

`from critic_loop.search import search` (or `cl.search`) makes a search of a plain function.
"""

from __future__ import annotations

import sys
from types import ModuleType

from critic_loop.search.base import FunctionSearch, SearchFn, search
from critic_loop.search.build import SEARCHES, build
from critic_loop.search.knobs import Knobs
from critic_loop.search.mcts import Mcts
from critic_loop.search.nest import Nest
from critic_loop.search.refine import Refine
from critic_loop.search.sample import Sample
from critic_loop.search.scores import Additive

__all__ = [
    "SEARCHES",
    "Additive",
    "FunctionSearch",
    "Knobs",
    "Mcts",
    "Nest",
    "Refine",
    "Sample",
    "SearchFn",
    "build",
    "search",
]


class _CallableModule(ModuleType):
    """Lets `@cl.search` work: a package that shares the name of its decorator calls it."""

    def __call__(self, function: SearchFn) -> FunctionSearch:
        return search(function)


sys.modules[__name__].__class__ = _CallableModule
