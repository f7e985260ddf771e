"""Searches killed in the middle go on where they were: asks survive, no answered call is repeated."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

import critic_loop as cl
from critic_loop.core.records import Ask, Attempt
from critic_loop.search import Mcts
from critic_loop.store.memory import MemoryStore
from critic_loop.testing import ScriptedModel, run_virtual
from tests.graph.conftest import outline

N = 24
SEARCHES = {
    "revisions": Mcts(n=N, width=2),
    "widening": Mcts(n=N, widening=0.6, rule="puct", q="max", discount=0.9),
    "in batches": Mcts(n=N, width=3, batch=2, c=0.2),
}


@cl.verifier
def by_digits(view: cl.View[str]) -> float:
    """A score below 1 that follows from the answer."""
    return random.Random(view.answer).random() * 0.99


class Watched:
    """A search that keeps the state which it was last left in."""

    def __init__(self, search: Mcts) -> None:
        self.search, self.state = search, None

    def __repr__(self) -> str:
        return repr(self.search)

    def start(self, task: cl.Task) -> Any:
        return self.search.start(task)

    def fold(self, state: Any, tree: cl.Tree, record: Ask | Attempt) -> Any:
        self.state = self.search.fold(state, tree, record)
        return self.state

    def ask(self, state: Any, tree: cl.Tree) -> Any:
        return self.search.ask(state, tree)


def answers(request: Any) -> list[str]:
    """Answers that follow from the place; some siblings say the same."""
    return [f"answer {(request.sampling.seed + k) % 40}" for k in range(request.choices)]


class Run:
    """One process's part of a run: its actor counts what it was asked and what it answered."""

    def __init__(self, search: Mcts, store: MemoryStore, lanes: int) -> None:
        self.watched, self.answered = Watched(search), Counter[int]()
        self.actor = ScriptedModel(self._answer, latency_s=self._latency)
        self.loop = cl.Loop(
            "best-of-n", actor=self.actor, verifiers=[by_digits], search=self.watched, store=store,
            lanes=lanes, max_calls=10 * N,
        )  # fmt: skip

    def _answer(self, request: Any) -> list[str]:
        self.answered[request.sampling.seed] += 1
        return answers(request)

    def _latency(self, request: Any) -> float:
        return random.Random(request.sampling.seed).uniform(0.2, 1.8)

    async def go(self) -> cl.Result[str]:
        return await self.loop.run("x", tree_id="t", seed=5)


async def killed_and_resumed(search: Mcts, lanes: int, kills_s: tuple[float, ...]) -> tuple[list[Run], cl.Tree]:
    store, runs = MemoryStore(), list[Run]()
    for kill_s in kills_s:
        runs.append(Run(search, store, lanes))
        task = asyncio.create_task(runs[-1].go())
        await asyncio.sleep(kill_s)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    runs.append(Run(search, store, lanes))
    return runs, (await runs[-1].go()).tree


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("lanes", [1, 4])
def test_a_search_that_was_killed_twice_goes_on(name: str, lanes: int) -> None:
    search = SEARCHES[name]
    kills = (2.6, 1.9) if lanes > 1 else (5.1, 4.2)
    runs, tree = run_virtual(killed_and_resumed(search, lanes, kills))
    assert len(tree.asks) == len(tree) == N
    assert not tree.open
    assert all(run.answered for run in runs), "each of them did something"
    assert max(sum((run.answered for run in runs), Counter()).values()) == 1, "no answered call is repeated"
    sent = Counter(r.sampling.seed for run in runs for r in run.actor.requests)
    assert sum(sent.values()) - len(sent) <= lanes * len(kills), "only what was in flight is sent again"
    if lanes == 1:
        whole = run_virtual(killed_and_resumed(search, lanes, ()))[1]
        assert outline(tree) == outline(whole)


@pytest.mark.parametrize("lanes", [1, 4])
def test_the_log_rebuilds_the_state_that_the_run_was_left_in(lanes: int) -> None:
    search = SEARCHES["revisions"]
    runs, tree = run_virtual(killed_and_resumed(search, lanes, (2.5,)))
    state = search.start(tree.task)
    for record in tree.log:
        if isinstance(record, Ask | Attempt):
            state = search.fold(state, tree, record)
    assert state == runs[-1].watched.state


def test_from_every_prefix_of_its_log_one_lane_comes_to_the_same_tree() -> None:
    search = Mcts(n=8, width=2, rethink=0)

    async def resumed(records: tuple[Any, ...]) -> cl.Tree:
        store = MemoryStore()
        await store.append("t", *records)
        return (await Run(search, store, 1).go()).tree

    whole = run_virtual(killed_and_resumed(search, 1, ()))[1]
    for cut in range(1, len(whole.log)):
        assert outline(run_virtual(resumed(tuple(whole.log[:cut])))) == outline(whole)
