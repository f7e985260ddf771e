"""Actors and critics that are functions, in a whole loop."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import critic_loop as cl
from critic_loop.search import Sample
from critic_loop.store import open_store
from critic_loop.testing import ScriptedModel
from tests.graph.conftest import is_42, never

pytestmark = pytest.mark.anyio


async def test_an_error_in_one_of_a_batch_leaves_the_others() -> None:
    count = iter(range(1, 9))

    async def act(view: cl.View[Any]) -> str:
        if next(count) == 3:
            raise RuntimeError("boom")
        return "42"

    loop = cl.Loop("best-of-n", actor=act, verifiers=[is_42], search=Sample(n=3, batch=3))
    result = await loop.run("x")
    assert result.answer == "42"
    assert sorted(a.status for a in result.tree) == ["complete", "complete", "failed"]


async def test_samples_of_a_function_that_asks_are_different_requests() -> None:
    async def act(view: cl.View[Any]) -> str:
        return await view.ask("Well?")

    model = ScriptedModel(lambda request: "41")
    loop = cl.Loop("best-of-n", actor=act, slots={"actor": model}, verifiers=[never], search=Sample(n=3))
    result = await loop.run("x")
    assert len({call.digest for call in result.tree.calls.values()}) == 3


async def test_two_runs_of_a_tree_leave_it_readable(store: str) -> None:
    """Whatever becomes of two loops that write one tree, the tree can be read."""

    async def act(view: cl.View[Any]) -> str:
        await asyncio.sleep(0.01)
        return "41"

    place = open_store(store)
    loops = [
        cl.Loop("try-again", actor=act, verifiers=[never], stop=cl.MaxRounds(4), store=place) for _ in "ab"
    ]
    ends = await asyncio.gather(*(loop.run("x", tree_id="t") for loop in loops), return_exceptions=True)
    assert any(isinstance(end, cl.Result) for end in ends)
    assert len(await place.load("t")) >= 4
    await place.aclose()
