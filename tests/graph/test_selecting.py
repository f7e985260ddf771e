"""Selections inside loops: with settings out of a recipe, by a judge, by single tests."""

from __future__ import annotations

import re
from typing import Any

import pytest

import critic_loop as cl
from critic_loop.core.errors import ConfigError
from critic_loop.select import B4
from critic_loop.testing import ScriptedModel
from tests.graph.conftest import counting

pytestmark = pytest.mark.anyio

TESTS = {"small": 3, "big": 100, "odd": 7}


@cl.verifier
def unit(view: cl.View[str]) -> cl.Feedback:
    """Tells single tests and judges nothing: `answer n` passes those whose number it does not exceed."""
    number = int(view.answer.removeprefix("answer "))
    return cl.Feedback(data={"tests": {name: number <= most for name, most in TESTS.items()}})


def prefers_more(request: Any) -> str:
    """Judge the higher number the better, whichever stands first."""
    first, second = (int(n) for n in re.findall(r"answer (\d+)", request.messages[-1].text))
    return "Better: A" if first > second else "Better: B"


async def test_a_knock_out_by_the_judge_in_both_orders() -> None:
    judge = ScriptedModel(prefers_more)
    result = await cl.Loop("tournament", actor=counting(), judge=judge).run("x")
    assert (result.answer, result.decided_by) == ("answer 4", "judge")
    assert len(judge.requests) == 6
    assert result.tree.outcome is not None
    assert result.tree.outcome.select == "tournament"


@pytest.mark.parametrize(("settings", "answer"), [({}, "answer 1"), ({"alpha": 1, "beta0": 1}, "answer 101")])
async def test_a_recipe_gives_its_selection_settings(settings: dict[str, float], answer: str) -> None:
    recipe = cl.Recipe.model_validate(
        {"search": {"kind": "sample", "n": 9}, "select": {"kind": "b4", **settings}, "stop": [], "lanes": 1}
    )
    numbers = iter((1, 101, 102, 103, 104, 105, 106, 107, 108))
    actor = ScriptedModel(lambda request: f"answer {next(numbers)}")
    loop = cl.Loop(recipe, actor=actor, verifiers=[unit])
    result = await loop.run("x")
    assert (result.answer, result.decided_by) == (answer, "vote")


def test_settings_tell_trees_apart_and_a_brought_rule_is_taken_as_it_is() -> None:
    def digest(**parts: Any) -> str:
        return cl.Loop("best-of-n", actor=counting(), **parts).parts.digest

    small, large = B4(alpha=10), B4(alpha=100)
    assert digest(select=small) == digest(select=B4(alpha=10))
    assert len({digest(select=select) for select in (small, large, "b4", "code-t", None)}) == 5


@pytest.mark.parametrize("name", ["tournament", "win-rate"])
def test_who_compares_needs_a_judge(name: str) -> None:
    with pytest.raises(ConfigError, match=f"selection '{name}' compares, but the recipe has no judge"):
        cl.Loop("best-of-n", actor=counting(), select=name)
