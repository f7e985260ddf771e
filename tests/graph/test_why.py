"""`Result.why()`: asked of a result at once, and of its tree when more is known."""

from __future__ import annotations

from typing import Any

import pytest

import critic_loop as cl
from critic_loop.core.errors import SearchError
from critic_loop.core.records import Event, Feedback, Subject
from critic_loop.metrics import why
from critic_loop.testing import ScriptedModel
from tests.conftest import Grown
from tests.graph.conftest import RIGHT, is_42

pytestmark = pytest.mark.anyio


async def test_a_result_says_why(store: str) -> None:
    actor, critic = ScriptedModel(["41"]), ScriptedModel([RIGHT])
    async with cl.Loop("refine", actor=actor, critic=critic, verifiers=[], store=store) as loop:
        result = await loop.run("What is 6 * 7?")
        assert result.why().cause == "unknown"
        await loop.store.add_feedback(result.attempt_id or "", cl.Feedback.user(score=0.0, text="No."))
        later = why(await loop.store.load(result.tree.id))
    assert later.cause == "false_accept"
    assert str(later).startswith("false_accept: The critic 'critic/stepwise' accepted attempt 1")


async def test_a_right_answer_has_nothing_to_explain() -> None:
    loop = cl.Loop("try-again", actor=ScriptedModel(["42"]), verifiers=[is_42])
    assert (await loop.run("x")).why().cause == "solved"


async def test_an_error_that_ended_the_tree_is_the_cause() -> None:
    def lost(tree: cl.Tree) -> Any:
        raise SearchError("the search lost its way.")

    loop = cl.Loop("try-again", actor=ScriptedModel(["42"]), verifiers=[is_42], search=lost)
    (result,) = [r async for r in loop.map(["x"])]
    assert result.stop == "error"
    assert result.why().cause == "error"
    assert "lost its way" in result.why().text
    stored = await loop.store.load(result.tree.id)
    assert why(stored) == result.why()
    assert [(e.kind, e.data) for e in stored.events] == [("error", {"code": "search"})]


def test_a_tree_that_goes_on_after_an_error_is_no_error() -> None:
    g = Grown()
    first = g.attempt(answer="41")
    g.tree.append(Event(kind="error", at=1.0, text="lost", data={"code": "search"}))
    user = Feedback(id=g.tree.next_feedback_id(), source="user", score=0.0, subject=Subject.of(first))
    g.tree.append(user)
    assert why(g.tree).cause == "error"
    g.ask(first)
    assert why(g.tree).cause == "unfinished"
