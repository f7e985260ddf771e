"""Bindings that a resumed tree keeps."""

import pytest

from critic_loop.core.records import Ask, Call, Event, Head, Place, Task
from critic_loop.core.tree import Tree
from critic_loop.models import Switchboard
from critic_loop.models.slots.pins import Pin, pins_in, restore
from critic_loop.testing import ScriptedModel

pytestmark = pytest.mark.anyio


@pytest.fixture
def tree():
    return Tree(Head(tree="t", task=Task.of("x"), recipe="r", recipe_digest="d", key="k", created_at=0))


def ask(tree, *attempts):
    for attempt in attempts:
        tree.append(Ask(attempt=attempt))


def swapped(tree, old, new, when, slot="critic"):
    data = {
        "slot": slot,
        "old": f"c{old}",
        "new": f"c{new}",
        "old_revision": old,
        "revision": new,
        "when": when,
    }
    tree.append(Event(kind="swap", at=0, data=data))


def pin(revision, attempt=""):
    return Pin(slot="critic", attempt=attempt, revision=revision, spec=f"c{revision}")


def test_a_swap_for_calls_pins_nothing_and_lifts_what_was_pinned(tree):
    ask(tree, "t.1")
    swapped(tree, 0, 1, "attempt")
    swapped(tree, 1, 2, "tree")
    swapped(tree, 2, 3, "call")
    assert pins_in(tree) == []


def test_attempts_keep_what_they_began_with(tree):
    ask(tree, "t.1", "t.2")
    swapped(tree, 0, 1, "attempt")
    ask(tree, "t.3")
    swapped(tree, 1, 2, "attempt")
    assert pins_in(tree) == [pin(0, "t.1"), pin(0, "t.2"), pin(1, "t.3")]


def test_a_tree_that_had_begun_keeps_the_old_and_one_that_had_not_the_new(tree):
    swapped(tree, 0, 1, "tree")
    assert pins_in(tree) == [pin(1)]
    ask(tree, "t.1")
    swapped(tree, 1, 2, "tree")
    assert pins_in(tree) == [pin(1)], "the second swap was for later trees"


def test_a_swap_for_attempts_ends_a_trees_own_pin_for_later_ones(tree):
    ask(tree, "t.1")
    swapped(tree, 0, 1, "tree")
    ask(tree, "t.2")
    swapped(tree, 1, 2, "attempt")
    assert pins_in(tree) == [pin(0, "t.1"), pin(0, "t.2")]


def board_with(**models):
    board = Switchboard()
    for slot, spec in models.items():
        board.bind(slot, ScriptedModel(lambda _: "ok", spec=spec))
    return board


def test_what_began_before_a_restart_goes_on_with_what_it_had(tree):
    ask(tree, "t.1")
    swapped(tree, 0, 1, "attempt")
    ask(tree, "t.2")
    board = board_with(critic="c1", judge="c0")
    assert restore(board, tree, list(tree.asks)) == []
    assert [board.binding("critic", attempt=a).spec for a in ("t.1", "t.2", "t.3")] == ["c0", "c1", "c1"]


async def test_an_open_attempt_is_spared_by_a_swap_after_the_restart(tree):
    ask(tree, "t.1")
    board = board_with(critic="c0")
    restore(board, tree, list(tree.asks))
    new = ScriptedModel(lambda _: "ok", spec="c1")
    await board.swap("critic", new, when="attempt", warm=False, drain=False)
    assert board.binding("critic", attempt="t.1").spec == "c0"


def test_what_cannot_be_kept_is_said(tree):
    ask(tree, "t.1")
    swapped(tree, 0, 1, "tree")
    board = board_with(critic="c9")
    [said] = restore(board, tree, list(tree.asks))
    assert said.data == {"slot": "critic", "old": "c0", "new": "c9", "revision": 0, "when": "resume"}
    assert "names no model" in said.text
    tree.append(Event(kind="swap", at=0, text=said.text, data=said.data))
    assert pins_in(tree) == [pin(0)], "another process may have the model"


def test_a_recipe_that_is_gone_is_a_pin_that_cannot_be_kept(tree):
    ask(tree, "t.1")
    data = {"slot": "critic", "old": "loop:gone@ollama:a", "new": "c1", "old_revision": 0, "revision": 1}
    tree.append(Event(kind="swap", at=0, data=data | {"when": "tree"}))
    [said] = restore(board_with(critic="c1"), tree, list(tree.asks))
    assert "gone" in said.text


def test_another_model_than_that_of_the_last_call_is_said(tree):
    place = Place(subject=("t.1",), agent="critic/stepwise")
    tree.append(Call(id="t.c1", place=place, digest="d", request=(), binding="c0", slot="critic", sent_at=0))
    assert [(one.old, one.new) for one in restore(board_with(critic="c9"), tree, list(tree.asks))] == [
        ("c0", "c9")
    ]
    assert restore(board_with(critic="c0"), tree, list(tree.asks)) == []
