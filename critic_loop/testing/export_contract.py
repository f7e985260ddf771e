"""What every exporter promises, as tests that anyone can run over their own.

    class TestMyExporter(ExporterContract):
        @pytest.fixture
        def exporter(self):
            return MyExporter()

Knows the `Exporter` protocol and the fixture trees (`testing.trees`). Does not know any format: text is
looked for wherever a row holds some. Needs pytest.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast

import pytest

from critic_loop.core.messages import Message, Reasoning, Text, ToolResult
from critic_loop.core.tree import Tree
from critic_loop.export import Exporter, Row, Skip
from critic_loop.testing.trees import ALL

NOT_CONTENT = ("provenance", "weight", "tools", "images")
"""Columns that say something about a row and hold none of its text."""

_MARKS = ("role", "type")
"""Keys whose values belong to the format."""


class ExporterContract:
    """Override `exporter`; `trees` too, if the fixture trees give it no row."""

    @pytest.fixture
    def exporter(self) -> Exporter:
        """Return the exporter."""
        raise NotImplementedError("override the fixture `exporter`")

    @pytest.fixture
    def trees(self) -> list[Tree]:
        """Return trees of which some give rows."""
        return [make() for make in ALL.values()]

    def test_it_is_an_exporter(self, exporter: Exporter) -> None:
        """The protocol's parts are there, and say something."""
        assert isinstance(exporter, Exporter)
        assert exporter.name
        assert exporter.when_empty

    def test_some_tree_gives_a_row(self, exporter: Exporter, trees: list[Tree]) -> None:
        """Otherwise the other tests show nothing."""
        assert rows_of(exporter, trees)

    def test_the_same_trees_give_the_same_rows(self, exporter: Exporter, trees: list[Tree]) -> None:
        """Nothing is kept from one export to the next, and trees are left as they were."""
        before = [list(tree.log) for tree in trees]
        assert list(exporter.rows(trees)) == list(exporter.rows(trees))
        assert [tree.log for tree in trees] == before

    def test_a_trees_rows_do_not_depend_on_other_trees(self, exporter: Exporter, trees: list[Tree]) -> None:
        """Each tree alone, or all in reverse, gives what it gave among the others."""
        together = list(exporter.rows(trees))
        alone = {tree.id: list(exporter.rows([tree])) for tree in trees}
        assert together == [item for tree in trees for item in alone[tree.id]]
        backwards = [item for tree in reversed(trees) for item in alone[tree.id]]
        assert list(exporter.rows(reversed(trees))) == backwards

    def test_rows_are_json(self, exporter: Exporter, trees: list[Tree]) -> None:
        """Columns survive JSON to the letter, without NaN."""
        for row in rows_of(exporter, trees):
            assert json.loads(json.dumps(row.columns, allow_nan=False)) == row.columns

    def test_every_row_says_where_it_comes_from(self, exporter: Exporter, trees: list[Tree]) -> None:
        """Tree, task, recipe and attempts are named, and all rows name the same things."""
        by_id = {tree.id: tree for tree in trees}
        rows = rows_of(exporter, trees)
        named = [cast("dict[str, Any]", row.columns["provenance"]) for row in rows]
        assert len({tuple(provenance) for provenance in named}) == 1
        for provenance in named:
            tree = by_id[provenance["tree"]]
            assert provenance["task"] == tree.task.id
            assert (provenance["recipe"], provenance["recipe_digest"]) == (
                tree.head.recipe,
                tree.head.recipe_digest,
            )
            assert provenance["schema_version"] == tree.head.schema_version
            assert all(attempt in tree for attempt in provenance["attempts"])
            assert all(i in tree.feedback or i in tree.grades for i in provenance["feedback"])

    def test_no_row_holds_text_that_is_not_in_its_tree(self, exporter: Exporter, trees: list[Tree]) -> None:
        """Every text is, whole, a text of a message of the tree."""
        for tree in trees:
            known = texts_of(tree)
            for row in rows_of(exporter, [tree]):
                invented = [text for text in texts_in(row) if text not in known]
                assert invented == []

    def test_no_row_holds_the_trees_secret(self, exporter: Exporter, trees: list[Tree]) -> None:
        """The key that fences are made from stays in the tree."""
        for tree in trees:
            for row in rows_of(exporter, [tree]):
                assert not [text for text in texts_in(row) if tree.head.key in text]

    def test_pictures_come_with_their_bytes(self, exporter: Exporter, trees: list[Tree]) -> None:
        """The `images` column names as many as the row carries, and as its messages have places for."""
        for row in rows_of(exporter, trees):
            named = cast("list[Any]", row.columns.get("images", []))
            assert len(named) == len(row.images)
            assert all(image.data for image in row.images)

    def test_what_is_left_out_has_a_reason(self, exporter: Exporter, trees: list[Tree]) -> None:
        """Reasons are short, and the same for the same cause: they are counted."""
        skips = [item for item in exporter.rows(trees) if isinstance(item, Skip)]
        ids = {tree.id for tree in trees}
        assert all(0 < len(skip.reason) < 100 and skip.tree in ids for skip in skips)


def rows_of(exporter: Exporter, trees: list[Tree]) -> list[Row]:
    """Return the rows of `trees`, without what was left out."""
    return [item for item in exporter.rows(trees) if isinstance(item, Row)]


def texts_of(tree: Tree) -> set[str]:
    """Return every text that a row of `tree` may hold: of messages, their parts, tool names and arguments."""
    found = {""}
    for message in messages_of(tree):
        found.add(message.text)
        found |= {p.text for p in message.parts if isinstance(p, Text | ToolResult | Reasoning)}
        found.add("".join(p.text for p in message.parts if isinstance(p, Reasoning)))
        found |= {p.name for p in message.parts if isinstance(p, ToolResult)}
        for call in message.tool_calls:
            found |= {call.name, *_strings(call.arguments or {}, marks=False)}
    return found


def messages_of(tree: Tree) -> Iterator[Message]:
    """Yield every message of a tree's records."""
    yield from tree.task.prompt
    for attempt in tree:
        yield from attempt.messages
    for call in tree.calls.values():
        yield from call.request
    for reply in tree.replies.values():
        yield from (choice.message for choice in reply.choices)


def texts_in(row: Row) -> list[str]:
    """Return every text that a row's content columns hold."""
    content = {name: value for name, value in row.columns.items() if name not in NOT_CONTENT}
    return [text for value in content.values() for text in _strings(value, marks=True)]


def _strings(value: Any, *, marks: bool) -> Iterator[str]:
    """Yield the strings in JSON; with `marks`, without those that belong to the format."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in cast("list[Any]", value):
            yield from _strings(item, marks=marks)
    elif isinstance(value, dict):
        for key, item in cast("dict[str, Any]", value).items():
            if not (marks and key in _MARKS):
                yield from _strings(item, marks=marks and key != "arguments")
