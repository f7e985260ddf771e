"""The glossary has the words of records and recipes; the page that helps to choose has each recipe."""

from __future__ import annotations

import re
from typing import Any, get_args

import pytest

from critic_loop.assets import AgentSpec, Library, Recipe
from critic_loop.core.records import AttemptKind, Record, Source, Task, Verdict
from tests.docs.pages import ROOT

GLOSSARY = (ROOT / "docs/glossary.md").read_text("utf-8")
ENTRY = re.compile(r"^- \*\*([^*]+)\*\*(?: \(([^)]*)\))?: (.+)$", re.MULTILINE)
ENTRIES = {term: (names or "", text) for term, names, text in ENTRY.findall(GLOSSARY)}
EVERYWHERE = {"name", "description"}
"""Keys that mean the same in every file of the world."""


def records() -> set[str]:
    kinds: tuple[Any, ...] = get_args(get_args(Record)[0])
    return {kind.__name__ for kind in (*kinds, Task)}


def keys(model: Any) -> set[str]:
    return set(model.model_fields) - EVERYWHERE


WORDS = {
    "record": records(),
    "key of a recipe": keys(Recipe),
    "key of a recipe's critic": keys(get_args(Recipe.model_fields["critics"].annotation)[0]),
    "key of an agent spec": keys(AgentSpec),
    "source of feedback": set(get_args(Source)),
    "verdict": {verdict.value for verdict in Verdict},
    "kind of attempt": set(get_args(AttemptKind)),
}


def defined() -> set[str]:
    """Return the terms, and the names of keys and classes in brackets behind them."""
    return {*ENTRIES, *(name for names, _ in ENTRIES.values() for name in re.findall(r"`(\w+)`", names))}


@pytest.mark.parametrize("kind", WORDS)
def test_every_word_of_a_kind_is_defined(kind: str) -> None:
    assert len(WORDS[kind]) >= 3
    assert WORDS[kind] - defined() == set()


def test_each_term_is_one_line_in_order_with_a_link_to_its_home() -> None:
    lines = [line for line in GLOSSARY.splitlines() if line.startswith("- ")]
    assert len(lines) == len(ENTRIES) >= 80
    assert list(ENTRIES) == sorted(ENTRIES)
    for term, (_, text) in ENTRIES.items():
        assert re.search(r"\. \[[^\]]+\]\([^)]+\.md(#[\w.-]+)?\)$", text), term


def test_every_bundled_recipe_is_on_the_page_that_helps_to_choose() -> None:
    page = (ROOT / "docs/howto/choose.md").read_text("utf-8")
    assert {name for name in Library().recipes() if f"`{name}`" not in page} == set()
