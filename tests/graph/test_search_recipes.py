"""The bundled recipes of tree and population searches, from end to end, with scripted models."""

from __future__ import annotations

import json
import re

import pytest

import critic_loop as cl
from critic_loop.core.protocols import Request
from critic_loop.search import build
from critic_loop.testing import ScriptedModel

pytestmark = pytest.mark.anyio


def rubric(request: Request) -> str:
    """Score what the answer says of itself."""
    said = re.findall(r"worth (\d+)", request.messages[-1].text)
    worth = min(99, int(said[-1])) / 100
    criteria = [{"name": "quality", "score": worth}]
    criteria += [{"name": n, "score": (7 * worth) % 1, "weight": 0} for n in ("playful", "ornate")]
    return json.dumps({"criteria": criteria, "verdict": "fail", "suggestion": "More."})


def improving() -> ScriptedModel:
    """A revision is worth ten more than what it revises; a draft something from 1 to 60."""

    def answer(request: Request) -> str:
        shown = re.findall(r"worth (\d+)", " ".join(m.text for m in request.messages if m.role == "assistant"))
        return f"worth {int(shown[-1]) + 10 if shown else (request.sampling.seed or 0) % 60 + 1}"

    return ScriptedModel(answer)


@pytest.mark.parametrize(
    ("recipe", "attempts", "stop"),
    [("ab-mcts", 30, "max_attempts"), ("revision-beam", 28, "exhausted"), ("evolve", 40, "exhausted")],
)
async def test_searches_climb_where_revisions_help(recipe: str, attempts: int, stop: str) -> None:
    loop = cl.Loop(
        recipe, actor=improving(), critic=ScriptedModel(rubric), verifiers=[], lanes=1, max_calls=300,
        stop=cl.MaxAttempts(attempts + (stop == "exhausted")),
    )  # fmt: skip
    result = await loop.run("Write.")
    assert (result.stop, len(result.tree)) == (stop, attempts)
    best = max(cl.value_of(result.tree, a.id).score or 0 for a in result.tree)
    assert result.tree.outcome is not None
    assert cl.value_of(result.tree, result.attempt_id or "").score == best > 0.6


async def test_a_grid_keeps_texts_of_many_manners() -> None:
    loop = cl.Loop("qdaif", actor=improving(), critic=ScriptedModel(rubric), stop=cl.MaxAttempts(60))
    result = await loop.run("Write a poem.")
    assert len(result.tree.roots) >= 10
    parents = {a.parents for a in result.tree if a.parents}
    assert len(parents) > 5, "elites of several cells were varied"


async def test_feedback_friction_gets_hotter_and_builds_on_no_answer_twice() -> None:
    actor = ScriptedModel(["41", "41", "40", "39", "42"])
    loop = cl.Loop("feedback-friction", actor=actor)
    result = await loop.run(cl.Task.of("What is 6 * 7?", reference="42"))
    assert (result.answer, result.stop) == ("42", "verified")
    assert [r.sampling.temperature for r in actor.requests] == [0.0, 0.15, 0.15, 0.3, 0.45]
    assert "None of them is correct" in actor.requests[-1].messages[-1].text
    first, repeated, third = list(result.tree.asks)[:3]
    assert result.tree[repeated].answer == "41"
    assert result.tree.asks[third].parents == (first,), "the repetition is left"


async def test_ab_mcts_stops_at_what_a_verifier_passes() -> None:
    loop = cl.Loop("ab-mcts", actor=ScriptedModel(lambda r: "42"), critic=ScriptedModel(rubric))
    result = await loop.run(cl.Task.of("What is 6 * 7?", reference="42"))
    assert (result.stop, result.decided_by) == ("verified", "verifier")


async def test_a_beam_over_steps_follows_the_steps_that_the_critic_likes() -> None:
    """Each step is a digit; the critic likes ascending ones, and three of them end the answer."""

    def step(request: Request) -> str:
        so_far = re.findall(r"^\d$", request.messages[-1].text, re.MULTILINE)
        digit = (request.sampling.seed or 0) % 10
        return f"{digit}\nAnswer: {''.join(so_far)}{digit}" if len(so_far) == 2 else str(digit)

    def value(request: Request) -> str:
        digits = re.findall(r"^\d$", request.messages[-1].text, re.MULTILINE)
        return json.dumps({"score": 0.9 if digits == sorted(digits) else 0.1, "text": "so it is"})

    loop = cl.Loop(
        "step-beam",
        actor=ScriptedModel(step),
        critic=ScriptedModel(value),
        verifiers=[],
        stop=cl.MaxAttempts(99),
    )
    result = await loop.run("Ascend.")
    kinds = [attempt.kind for attempt in result.tree]
    assert (kinds.count("step"), kinds.count("answer")) == (4 + 8, 8)
    assert result.stop == "exhausted"
    digits = (result.answer or "").rpartition("Answer: ")[2]
    assert len(digits) == 3
    assert list(digits) == sorted(digits)
    assert cl.value_of(result.tree, result.attempt_id or "").score == 0.9


async def test_what_is_evolved_sees_what_was_tried_beside_its_path() -> None:
    actor = improving()
    loop = cl.Loop("evolve", actor=actor, critic=ScriptedModel(rubric), stop=cl.MaxAttempts(30), lanes=1)
    result = await loop.run("Write.")
    aside = [
        request for request in actor.requests if "These texts were written, too" in request.messages[-1].text
    ]
    shown = [ask for ask in result.tree.asks.values() if ask.context.also_shown]
    assert len(aside) == len(shown) > 10


async def test_an_answer_that_was_shown_beside_the_path_is_asked_for_again() -> None:
    actor = ScriptedModel(["41", "41", "40", "42"])
    search = build([("anti-repeat", {}), ("sample", {"n": 3})])
    loop = cl.Loop("feedback-friction", actor=actor, search=search, stop=cl.Verified(), lanes=1)
    result = await loop.run(cl.Task.of("What is 6 * 7?", reference="42"))
    assert [ask.replaces for ask in result.tree.asks.values()] == [None, None, None, f"{result.tree.id}.2"]
    assert result.answer == "42"
    assert "None of them is correct either" in actor.requests[1].messages[-1].text


async def test_two_actors_are_arms_of_one_search() -> None:
    def weak(request: Request) -> str:
        return f"worth {(request.sampling.seed or 0) % 10}"

    recipe = cl.Recipe.model_validate(
        {
            "name": "two", "search": {"kind": "ab-mcts", "n": 40, "agents": ["actor", "second"]},
            "actor": "actor/writer", "actors": {"second": {"agent": "actor/writer", "slot": "second"}},
            "critics": [{"agent": "critic/rubric"}], "stop": [], "max_calls": 200, "show": ["score"],
        }
    )  # fmt: skip
    loop = cl.Loop(
        recipe, actor=improving(), slots={"second": ScriptedModel(weak)}, critic=ScriptedModel(rubric)
    )
    result = await loop.run("Write.")
    asked = [ask.agent for ask in result.tree.asks.values()]
    assert len(asked) == 40
    assert 0 < asked.count("second") < 15
