"""A run once more, without a model."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda

import critic_loop as cl
from critic_loop.core.errors import ConfigError, NotRecorded
from critic_loop.models import Fallback
from critic_loop.testing import ScriptedModel
from tests.graph.conftest import RIGHT, WRONG, by_seed, disagree, is_42, never, outline

pytestmark = pytest.mark.anyio


def critic() -> Any:
    mumbling = ScriptedModel(lambda r: "hm", spec="mumbling")
    return Fallback(mumbling, ScriptedModel([WRONG, WRONG, RIGHT], spec="clear"))


async def test_a_replay_is_the_run_once_more(store: str) -> None:
    async with cl.Loop("refine", actor=by_seed(), critic=critic(), verifiers=[], store=store) as loop:
        first = await loop.run("What is 6 * 7?")
    async with cl.Loop("refine", verifiers=[], replay=store) as loop:
        again = await loop.run("What is 6 * 7?")
        assert loop.store.where == "memory"
    assert [line[1:] for line in outline(again.tree)[:3]] != []
    assert [a.answer for a in again.tree] == [a.answer for a in first.tree]
    assert [f.text for f in again.tree.feedback.values()] == [f.text for f in first.tree.feedback.values()]
    assert (again.answer, again.stop, again.spend.usage.output_tokens > 0) == (first.answer, first.stop, True)
    assert {c.binding for c in again.tree.calls.values()} == {"scripted", "clear"}


async def test_lanes_and_samples_are_replayed_too(store: str) -> None:
    parts: dict[str, Any] = {"verifiers": [never], "lanes": 4}
    async with cl.Loop("parallel-refine", actor=by_seed(), critic=disagree(), store=store, **parts) as loop:
        first = await loop.run("x")
    async with cl.Loop("parallel-refine", replay=store, **parts) as loop:
        again = await loop.run("x")
    assert sorted(str(a.answer) for a in again.tree) == sorted(str(a.answer) for a in first.tree)


async def test_a_changed_loop_is_told_where_it_leaves_the_stored_run(store: str) -> None:
    async with cl.Loop("refine", actor=by_seed(), critic=disagree(), verifiers=[], store=store) as loop:
        await loop.run("x", seed=3)
    async with cl.Loop("refine", verifiers=[is_42], replay=store) as loop:
        with pytest.raises(NotRecorded, match=r"asked actor/solver about t.* something else") as caught:
            await loop.run("x", seed=3)
    assert "verifier" in str(caught.value)
    async with cl.Loop("refine", verifiers=[], replay=store) as loop:
        with pytest.raises(NotRecorded, match=r"no run of task .* with seed 0\. There are runs with seed 3"):
            await loop.run("x")
        with pytest.raises(NotRecorded, match="holds no run"):
            async for _ in loop.map(["y"], seed=3):
                pass


async def test_a_job_is_replayed_tree_by_tree(store: str) -> None:
    tasks = [f"task {n}" for n in range(12)]
    async with cl.Loop("refine", actor=by_seed(), critic=disagree(), verifiers=[], store=store) as loop:
        first = {r.task.id: r.answer async for r in loop.map(tasks, in_flight=4)}
    async with cl.Loop("refine", verifiers=[], replay=store, stop=cl.Spent(usd=1) | cl.MaxRounds(4)) as loop:
        with pytest.raises(NotRecorded):
            async for _ in loop.map(tasks, in_flight=4, seed=1):
                pass
    async with cl.Loop("refine", verifiers=[], replay=store) as loop:
        assert {r.task.id: r.answer async for r in loop.map(tasks, in_flight=4)} == first


def test_what_makes_calls_by_itself_cannot_be_replayed(store: str) -> None:
    with pytest.raises(ConfigError, match="cannot be replayed"):
        cl.Loop("refine", actor=RunnableLambda(lambda m: "42"), replay=store)
