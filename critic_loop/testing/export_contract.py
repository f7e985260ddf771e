"""Contract tests of exporters, to run over your own exporter.

    class TestMyExporter(ExporterContract):
        @pytest.fixture
        def exporter(self):
            return MyExporter()

Knows the `Exporter` protocol and the fixture trees (`testing.trees`). Does not know any format: all text in a
row is checked. Needs pytest.
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
"""Columns without text of the conversation."""

_MARKS = ("role", "type")
"""Keys whose values belong to the format."""


class ExporterContract:
    """Override `exporter`; also `trees`, if the exporter makes no row of the fixture trees."""

    @pytest.fixture
    def exporter(self) -> Exporter:
        """Return the exporter."""
        raise NotImplementedError("override the fixture `exporter`")

    @pytest.fixture
    def trees(self) -> list[Tree]:
        """Return trees, at least one of which has a row."""
        return [make() for make in ALL.values()]

    def test_it_is_an_exporter(self, exporter: Exporter) -> None:
        """It has the protocol's methods, and its texts are not empty."""
        assert isinstance(exporter, Exporter)
        assert exporter.name
        assert exporter.when_empty

    def test_some_tree_gives_a_row(self, exporter: Exporter, trees: list[Tree]) -> None:
        """Without a row the other tests would check nothing."""
        assert rows_of(exporter, trees)

    def test_the_same_trees_give_the_same_rows(self, exporter: Exporter, trees: list[Tree]) -> None:
        """An exporter keeps no state between exports, and does not change trees."""
        before = [list(tree.log) for tree in trees]
        assert list(exporter.rows(trees)) == list(exporter.rows(trees))
        assert [tree.log for tree in trees] == before

    def test_a_trees_rows_do_not_depend_on_other_trees(self, exporter: Exporter, trees: list[Tree]) -> None:
        """A tree has the same rows alone, among others, and in reverse order."""
        together = list(exporter.rows(trees))
        alone = {tree.id: list(exporter.rows([tree])) for tree in trees}
        assert together == [item for tree in trees for item in alone[tree.id]]
        backwards = [item for tree in reversed(trees) for item in alone[tree.id]]
        assert list(exporter.rows(reversed(trees))) == backwards

    def test_rows_are_json(self, exporter: Exporter, trees: list[Tree]) -> None:
        """Columns are unchanged by a round trip through JSON, without NaN."""
        for row in rows_of(exporter, trees):
            assert json.loads(json.dumps(row.columns, allow_nan=False)) == row.columns

    def test_every_row_says_where_it_comes_from(self, exporter: Exporter, trees: list[Tree]) -> None:
        """The provenance names tree, task, recipe and attempts, with the same keys in all rows."""
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
        """Every text in a row is the whole text of a part of a message in its tree."""
        for tree in trees:
            known = texts_of(tree)
            for row in rows_of(exporter, [tree]):
                invented = [text for text in texts_in(row) if text not in known]
                assert invented == []

    def test_no_row_holds_the_trees_secret(self, exporter: Exporter, trees: list[Tree]) -> None:
        """The tree's secret key is in no row."""
        for tree in trees:
            for row in rows_of(exporter, [tree]):
                assert not [text for text in texts_in(row) if tree.head.key in text]

    def test_pictures_come_with_their_bytes(self, exporter: Exporter, trees: list[Tree]) -> None:
        """The `images` column has an entry for each image of the row, and each image has its bytes."""
        for row in rows_of(exporter, trees):
            named = cast("list[Any]", row.columns.get("images", []))
            assert len(named) == len(row.images)
            assert all(image.data for image in row.images)

    def test_what_is_left_out_has_a_reason(self, exporter: Exporter, trees: list[Tree]) -> None:
        """Reasons are short texts: they are counted in the manifest."""
        skips = [item for item in exporter.rows(trees) if isinstance(item, Skip)]
        ids = {tree.id for tree in trees}
        assert all(0 < len(skip.reason) < 100 and skip.tree in ids for skip in skips)


def rows_of(exporter: Exporter, trees: list[Tree]) -> list[Row]:
    """Return the rows of `trees`, without skipped items."""
    return [item for item in exporter.rows(trees) if isinstance(item, Row)]


def texts_of(tree: Tree) -> set[str]:
    """Return the texts that a row of `tree` may have: of messages, their parts, tool names and arguments."""
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
    """Yield the messages in a tree's records."""
    yield from tree.task.prompt
    for attempt in tree:
        yield from attempt.messages
    for call in tree.calls.values():
        yield from call.request
    for reply in tree.replies.values():
        yield from (choice.message for choice in reply.choices)


def texts_in(row: Row) -> list[str]:
    """Return the texts in a row's content columns."""
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
