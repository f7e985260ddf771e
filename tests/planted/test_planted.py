"""The planted trees are what their labels need: five of each failure, each tree labelled once."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from critic_loop.metrics import why
from tests.planted import by_hand, by_loops

LABELS: dict[str, list[str]] = {
    cause: table["trees"]
    for cause, table in tomllib.loads(Path(__file__).with_name("labels.toml").read_text("utf-8")).items()
}
CAUSE_OF = {name: cause for cause, names in LABELS.items() for name in names}
PLANTED = {**by_hand.PLANTED, **by_loops.PLANTED}
FAILURES = (
    "never_found",
    "found_not_selected",
    "broken_by_critique",
    "false_accept",
    "unparsed",
    "verifier_abstained",
    "budget",
)


def test_every_tree_has_one_label() -> None:
    assert sorted(PLANTED) == sorted(name for names in LABELS.values() for name in names)


@pytest.mark.parametrize("cause", FAILURES)
def test_five_of_each_failure(cause: str) -> None:
    assert len(LABELS[cause]) == 5


@pytest.mark.parametrize("name", PLANTED)
def test_planted_trees_are_always_the_same(name: str) -> None:
    """But for the clock: what happened, in which order, is fixed."""
    one, two = PLANTED[name](), PLANTED[name]()
    assert [r.type for r in one.log] == [r.type for r in two.log]
    assert [(a.id, a.answer) for a in one] == [(a.id, a.answer) for a in two]


@pytest.mark.parametrize("name", PLANTED)
def test_why_names_what_was_planted(name: str) -> None:
    tree = PLANTED[name]()
    found = why(tree)
    assert found.cause == CAUSE_OF[name], found
    assert found.tree == tree.id
    assert found.failed == (CAUSE_OF[name] not in ("solved", "parked", "unfinished", "unknown"))
    known = {*tree.attempts, *tree.feedback}
    assert {e.id for e in found.evidence} <= known
    assert found.evidence or found.cause in ("budget", "unfinished")
    assert bool(found.hint) == (found.cause != "solved")
