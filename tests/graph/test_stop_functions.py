"""Plain functions stand wherever a stop rule does, and an error of theirs ends one tree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import critic_loop as cl
from critic_loop.assets import Library
from critic_loop.core.errors import ConfigError, StopRuleError
from critic_loop.core.records import Event
from critic_loop.graph.check import check_file
from critic_loop.testing import ScriptedModel

pytestmark = pytest.mark.anyio


def tired(progress: cl.Progress) -> bool:
    return progress.judged >= 2


def shouts(progress: cl.Progress) -> str | None:
    return "it shouts" if "!" in str(progress.tree[progress.latest].answer) else None


@cl.verifier
def never(view: cl.View[str]) -> bool:
    return False


def a_loop(replies: list[str] | None = None, **parts: Any) -> cl.Loop[str]:
    actor = ScriptedModel(replies or ["a", "b", "c", "d"], cycle=True)
    return cl.Loop(parts.pop("recipe", "try-again"), actor=actor, verifiers=[never], **parts)


@pytest.mark.parametrize(
    ("stop", "reason", "text", "attempts"),
    [
        (tired, "tired", "", 2),
        (shouts | cl.MaxRounds(4), "shouts", "it shouts", 3),
        (cl.MaxRounds(4) & tired, "max_rounds+tired", "4 rounds made", 4),
    ],
)
async def test_a_function_ends_a_loop_and_names_the_reason(
    stop: Any, reason: str, text: str, attempts: int
) -> None:
    result = await a_loop(["a", "b", "c!", "d"], stop=stop).run("x")
    assert (result.stop, result.stop_text, len(result.tree)) == (reason, text, attempts)


async def test_a_rule_that_raises_ends_its_tree_and_no_other(store: str) -> None:
    def picky(progress: cl.Progress) -> bool:
        return 1 / (len(progress.tree.task.text) - 1) < 0

    async with a_loop(stop=picky | cl.MaxRounds(2), store=store) as loop:
        with pytest.raises(StopRuleError, match=r"tree 't': stop rule 'picky': ZeroDivisionError"):
            await loop.run("x", tree_id="t")
        tree = await loop.store.load("t")
        errors = [event.data["code"] for event in tree.log if isinstance(event, Event)]
        assert (errors, len(tree.attempts)) == (["stop-rule"], 1), "what was paid for is kept"
        results = {r.task.text: r.stop async for r in loop.map(["y", "longer"])}
        assert results == {"y": "error", "longer": "max_rounds"}
    async with a_loop(stop=cl.MaxRounds(2), store=store) as repaired:
        assert (await repaired.run("x", tree_id="t")).stop == "max_rounds", "the tree goes on"


async def test_what_is_no_rule_is_refused_when_the_loop_is_made() -> None:
    with pytest.raises(ConfigError, match="MaxRounds is a class, not a stop rule"):
        a_loop(stop=cl.MaxRounds)


def a_recipe(stop: Any) -> cl.Recipe:
    return cl.Recipe.model_validate({"search": {"kind": "refine"}, "actor": "actor/solver", "stop": stop})


async def test_a_recipe_names_a_function_by_its_path(tmp_path: Path) -> None:
    text = Library().find("recipe", "try-again").read_text()
    path = tmp_path / "mine.toml"
    lines = [line for line in text.splitlines() if not line.startswith("stop")]
    path.write_text(f'stop = ["{__name__}:tired", {{ max_rounds = 4 }}]\n' + "\n".join(lines))
    assert check_file(path, Library()) == []
    result = await a_loop(recipe=str(path)).run("x")
    assert (result.stop, len(result.tree)) == ("tired", 2)


def test_a_path_that_leads_nowhere_is_a_problem_of_the_recipe(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(f'search = {{ kind = "refine" }}\nstop = ["{__name__}:nobody"]\n')
    (problem,) = check_file(path, Library())
    assert (problem.line, problem.key) == (2, "stop")
    assert "has no 'nobody'" in problem.message


def test_a_recipe_that_is_only_read_imports_nothing() -> None:
    recipe = a_recipe(["nowhere.to.find:it"])
    assert recipe.stop == ("nowhere.to.find:it",)
    with pytest.raises(ConfigError, match="cannot import"):
        a_loop(recipe=recipe)


def test_a_recipe_made_in_python_takes_functions_and_rules_as_data() -> None:
    recipe = a_recipe(tired | cl.MaxRounds(4))
    assert recipe.stop == (f"{__name__}:tired", {"max_rounds": 4})
    assert a_recipe([tired, cl.MaxRounds(4)]) == recipe
    assert cl.Recipe.model_validate(recipe.model_dump(mode="json")) == recipe
    assert a_recipe(tired).stop == (f"{__name__}:tired",)
    assert a_recipe(shouts & cl.Verified()).stop == ({"all": [f"{__name__}:shouts", {"verified": True}]},)


def test_the_name_of_a_function_enters_the_identity_of_a_recipe() -> None:
    assert len({a_recipe(stop).digest for stop in ([tired], [shouts], [{"max_rounds": 4}])}) == 3


def test_a_function_without_a_path_is_no_part_of_a_recipe() -> None:
    with pytest.raises(ValueError, match="cannot be written as data"):
        a_recipe(lambda progress: True)
