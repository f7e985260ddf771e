"""Builds a search from a recipe's data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from typing import Any, cast

from critic_loop.core import plugins
from critic_loop.core.errors import ConfigError
from critic_loop.core.protocols import AnySearch
from critic_loop.search.base import Modifier
from critic_loop.search.function import FunctionSearch, SearchFn, search

_PACKAGE = "critic_loop.search"
_HOMES = {
    "ab-mcts": "ab_mcts:AbMcts",
    "beam": "beam:Beam",
    "best-first": "best_first:BestFirst",
    "evolve": "evolve:Evolve",
    "map-elites": "map_elites:MapElites",
    "mcts": "mcts.search:Mcts",
    "propose-verify-reflect": "propose_verify_reflect:ProposeVerifyReflect",
    "prospect": "prospect:Prospect",
    "refine": "refine:Refine",
    "sample": "sample:Sample",
    "anti-repeat": "modifiers:AntiRepeat",
    "pool": "modifiers:Pool",
    "temperature": "modifiers:Temperature",
}
"""Module and class by kind."""


class _Searches(Mapping[str, type[Any]]):
    """Classes by kind. A search's module is loaded when its class is looked up."""

    def __getitem__(self, kind: str) -> type[Any]:
        return plugins.load(f"{_PACKAGE}.{_HOMES[kind]}")

    def __iter__(self) -> Iterator[str]:
        return iter(_HOMES)

    def __len__(self) -> int:
        return len(_HOMES)


SEARCHES: Mapping[str, type[Any]] = _Searches()
"""By kind; the last three are modifiers of the search that follows them."""
GROUP = "critic_loop.searches"


def build(levels: Sequence[tuple[str, dict[str, Any]]]) -> AnySearch:
    """Return the search of a list of `(kind, settings)`, the outermost first.

    Raises:
        ConfigError: a kind or a setting is unknown or wrong.
    """
    searches = [_one(kind, settings) for kind, settings in levels]
    if not searches:
        raise ConfigError("a recipe needs a search.", hint='The simplest is search = { kind = "refine" }.')
    if isinstance(searches[-1], Modifier):
        raise ConfigError(
            f"{levels[-1][0]!r} modifies a search, but none follows it.",
            hint='Write the search behind it: search = [{ kind = "temperature" }, { kind = "refine" }].',
        )
    return reduce(_within, reversed(searches))


def require_settings(search: object) -> None:
    """Refuse a built-in search or modifier that was made in Python with settings out of range.

    Raises:
        ConfigError: a setting is out of its range.
    """
    home = f"{type(search).__module__}:{type(search).__qualname__}".removeprefix(f"{_PACKAGE}.")
    kind = next((kind for kind, built_in in _HOMES.items() if home == built_in), None)
    if kind is not None:
        plugins.checked(f"search {kind!r}", search)


def _within(inner: Any, outer: Any) -> AnySearch:
    from critic_loop.search.modifiers import Modified
    from critic_loop.search.nest import Nest

    return Modified(outer, inner) if isinstance(outer, Modifier) else Nest(outer, inner)


def _one(kind: str, settings: dict[str, Any]) -> Any:
    built_in = SEARCHES.get(kind)
    if built_in is not None:
        return plugins.built(f"search {kind!r}", built_in, settings)
    found = plugins.find(GROUP, kind)
    if found is None:
        known = ", ".join(sorted([*SEARCHES, *plugins.names(GROUP)]))
        raise ConfigError(f"there is no search {kind!r}; there are {known}, or 'package.module:name'.")
    if isinstance(found, FunctionSearch):
        return found(**settings)
    if isinstance(found, type):
        return plugins.built(f"search {kind!r}", found, settings)
    if hasattr(found, "fold"):
        if settings:
            raise ConfigError(f"search {kind!r} is an object, not a class: it takes no settings.")
        return found
    if not callable(found):
        raise ConfigError(f"{kind!r} is no search.", hint="Name a function of the tree, a Search or its class.")
    return search(cast("SearchFn", found))(**settings)
