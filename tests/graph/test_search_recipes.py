"""The bundled recipes of tree and population searches, from end to end, with scripted models."""

from __future__ import annotations

import json
import re

import pytest

import critic_loop as cl
from critic_loop.core.protocols import Request
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
