"""The list of models that an endpoint serves, and what in it does not fit a request.

Knows the lists of OpenAI-compatible servers and of Anthropic, with what vLLM adds. Does not know how they are
fetched (`models.client`, `vllm.server`).
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from critic_loop.core.printable import excerpt

_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedModel:
    """A model as an endpoint lists it."""

    name: str
    base: str = ""
    """The base model if it is an adapter, by its name in the same list; empty = none, or unknown."""
    weights: str = ""
    """What it was loaded from, where the list has that."""
    context_tokens: int | None = None
    """Prompt and answer together, where the list has that."""


def listed(answer: Any) -> tuple[ListedModel, ...] | None:
    """Return the models of the answer to `GET /models`; None if it is no list."""
    data = answer.get("data") if isinstance(answer, dict) else None
    if not isinstance(data, list):
        return None
    return tuple(_read(one) for one in data if isinstance(one, dict) and "id" in one)


def _read(one: dict[str, Any]) -> ListedModel:
    most = one.get("max_model_len")
    return ListedModel(
        name=str(one["id"]),
        base=str(one.get("parent") or ""),
        weights=str(one.get("root") or ""),
        context_tokens=most if isinstance(most, int) else None,
    )


def found(name: str, served: Sequence[ListedModel]) -> ListedModel | None:
    """Return the model of a name, with or without the tag `:latest`."""
    same = (one for one in served if name in (one.name, one.name.removesuffix(":latest")))
    return next(same, None)


def nearest(name: str, served: Sequence[ListedModel]) -> list[str]:
    """Return a few of the names, those first that look most like `name`."""
    names = [one.name for one in served]
    near = difflib.get_close_matches(name, names, n=_SHOWN, cutoff=0.3)
    return [*near, *(other for other in names if other not in near)][:_SHOWN]


def offer(name: str, served: Sequence[ListedModel]) -> str:
    """Return what is served instead of `name`, as in "'a', 'b' and 5 more"."""
    near = nearest(name, served)
    more = len(served) - len(near)
    return ", ".join(repr(excerpt(one, 60)) for one in near) + (f" and {more:,} more" if more else "")


def other_base(name: str, base: str, served: Sequence[ListedModel]) -> str:
    """Return the base model of the adapter `name` if it is another than `base`; empty if not, or if unknown."""
    adapter = found(name, served)
    if adapter is None or not adapter.base:
        return ""
    parent = found(adapter.base, served)
    known = {adapter.base, parent.weights if parent else ""}
    alike = {one.name for one in served if parent and one.weights == parent.weights and not one.base}
    return "" if base in known | alike else adapter.base
