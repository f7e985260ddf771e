"""Bundled tree searches from end to end, with scripted models."""

from __future__ import annotations

import re

import pytest

import critic_loop as cl
from critic_loop.testing import ScriptedModel

pytestmark = pytest.mark.anyio
TASK = cl.Task(prompt=(cl.user("What is 2 + 3 + 4?"),), reference="9")


def value(score: float) -> ScriptedModel:
    """A critic that finds everything as promising as this."""
    return ScriptedModel(lambda _: f'{{"score": {score}, "text": "so it is", "suggestion": "another way"}}')


async def test_a_thought_whose_program_fails_is_rewritten_and_the_actor_sees_why() -> None:
    said = ["Add two of them.", "```python\n5\n```", "Add all of them.", "```python\n9\n```"]
    actor = ScriptedModel(said)
    loop = cl.Loop("rethink-mcts", actor=actor, critic=value(0.5), output="code:python")
    result = await loop.run(TASK)
    tree = result.tree
    assert [(a.kind, a.replaces and a.replaces[-2:]) for a in tree] == [
        ("thought", None), ("answer", None), ("thought", ".1"), ("answer", None),
    ]  # fmt: skip
    assert (result.answer, result.stop, result.decided_by) == ("9", "verified", "verifier")
    told = "".join(message.text for message in actor.requests[2].messages)
    assert "Add two of them." in told
    assert re.search(r"verifier answer: fail", told)
    assert "Add all of them." in actor.requests[3].messages[-1].text


async def test_steps_are_valued_and_the_second_branch_is_told_of_the_first() -> None:
    actor = ScriptedModel(["Add 2 and 3.", "Answer: 8", "Answer: 9"])
    result = await cl.Loop("swe-search", actor=actor, critic=value(0.4)).run(TASK)
    assert [a.kind for a in result.tree] == ["step", "answer", "answer"]
    assert result.stop == "verified"
    told = ["".join(message.text for message in request.messages) for request in actor.requests]
    assert ["so it is" in text for text in told] == [False, False, True]


async def test_prompt_agent_sums_rewards_along_a_line() -> None:
    numbers = iter(range(1000))
    actor = ScriptedModel(lambda _: f"answer {next(numbers)}")
    result = await cl.Loop("prompt-agent", actor=actor, critic=value(0.5)).run("x")
    depths = [result.tree.depth(i) for i in result.tree.asks]
    assert depths[:8] == list(range(8)), "the first simulation goes to the limit of depth"
    assert len(result.tree) == 36
