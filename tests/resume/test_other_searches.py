"""Searches killed in the middle, under virtual time, go on as if undisturbed and pay for nothing twice."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from typing import Any

import pytest

import critic_loop as cl
from critic_loop.core.records import Ask, Attempt
from critic_loop.search import SEARCHES, build
from critic_loop.store import MemoryStore
from critic_loop.testing import ScriptedModel, run_virtual
from tests.graph.conftest import outline

AXES = [{"name": "size", "edges": [0.5]}, {"name": "colour", "values": ["red", "green", "blue"]}]
THINKS = {"moves": "thought", "answerer": "coder", "rule": "var_puct", "statistics": "edge"}
PLAYED: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "refine": [("refine", {"rounds": 7, "base": "kept"})],
    "refine by steps": [("refine", {"rounds": 12, "moves": "step"})],
    "sample": [("sample", {"n": 40, "batch": 2})],
    "mcts": [("mcts", {"n": 15, "rethink": 1, "hindsight": 1})],
    "mcts by steps": [("mcts", {"n": 15, "moves": "step", "depth": 5, "randomness": 0.8})],
    "mcts of thoughts": [("mcts", {"n": 15, **THINKS})],
    "prospect": [("prospect", {"n": 15})],
    "ab-mcts by steps": [("ab-mcts", {"n": 15, "moves": "step", "depth": 4})],
    "nested": [("sample", {"n": 3}), ("mcts", {"n": 4, "roots": 1})],
    "ab-mcts": [("ab-mcts", {"n": 18})],
    "beam": [("beam", {"width": 2, "samples": 3, "depth": 3, "moves": "answer"})],
    "best-first": [("best-first", {"n": 15, "roots": 3, "epsilon": 0.3})],
    "evolve": [("evolve", {"epochs": 3, "size": 6, "baseline": 0.5, "inspiring": 2, "avoided": 3})],
    "map-elites": [("map-elites", {"axes": AXES, "n": 18, "seeds": 4, "shots": 1})],
    "propose-verify-reflect": [("propose-verify-reflect", {"rounds": 10, "holds": 0.6, "moves": "answer"})],
    "nested beam": [("sample", {"n": 2}), ("beam", {"width": 2, "samples": 2, "depth": 3, "moves": "answer"})],
    "islands": [("sample", {"n": 3}), ("evolve", {"epochs": 1, "size": 6, "baseline": 0.2, "inspiring": 2})],
    "shared": [("pool", {"n": 14, "shares": {"revision": 0.6}}), ("sample", {"n": 9}), ("refine", {})],
    "modified": [
        ("temperature", {"by": "asked"}),
        ("anti-repeat", {}),
        ("pool", {"n": 9}),
        ("sample", {"n": 12}),
    ],
}


RECIPES = {"mcts of thoughts": "rethink-mcts"} | dict.fromkeys(
    ["refine by steps", "mcts by steps", "prospect", "ab-mcts by steps"], "step-beam"
)
"""Whose actors make what the search asks for; else those of `evolve`."""


def number(text: object, modulus: int) -> int:
    return int.from_bytes(hashlib.blake2b(str(text).encode(), digest_size=4).digest()) % modulus


@cl.critic(name="scale")
async def scale(view: cl.View[str]) -> cl.Feedback:
    """Weigh an answer by its text alone, which takes time: some are killed before they are judged."""
    await asyncio.sleep(0.5 + number(("time", view.answer), 5) / 4)
    colour = ("red", "green", "blue")[number(("colour", view.answer), 3)]
    data = {"size": number(("size", view.answer), 100) / 100, "colour": colour}
    return cl.Feedback(score=number(view.answer, 100) / 100, data=data)


def actor() -> ScriptedModel:
    """Answers by the seed of its place, after 1 to 3 seconds; few different answers, so that some repeat."""

    def said(seed: int) -> str:
        last = number(("ends", seed), 9) == 3
        return f"{'Answer:' if last else 'step'} {seed % 12}"

    return ScriptedModel(
        lambda request: [said((request.sampling.seed or 0) + k) for k in range(request.choices)],
        latency_s=lambda request: 1.0 + number(request.sampling.seed, 9) / 4,
    )


def loop(name: str, model: ScriptedModel, store: MemoryStore, lanes: int) -> cl.Loop[str]:
    return cl.Loop(
        RECIPES.get(name, "evolve"), actor=model, critic=scale, verifiers=[], search=build(PLAYED[name]),
        output="text", store=store, stop=cl.MaxAttempts(60), lanes=lanes, max_calls=400,
    )  # fmt: skip


async def killed(name: str, lanes: int, every_s: float) -> tuple[cl.Tree, ScriptedModel]:
    """Run to the end, killed again and again after so many virtual seconds."""
    store, model = MemoryStore(), actor()
    for _ in range(200):
        running = asyncio.ensure_future(loop(name, model, store, lanes).run("x", tree_id="t"))
        done, _ = await asyncio.wait([running], timeout=every_s)
        if done:
            return running.result().tree, model
        running.cancel()
        await asyncio.wait([running])
    raise AssertionError("it came to no end")


def test_every_search_is_killed_here() -> None:
    assert {kind for levels in PLAYED.values() for kind, _ in levels} == set(SEARCHES)


@pytest.mark.parametrize("every_s", [3.6, 7.9])
@pytest.mark.parametrize("name", PLAYED)
def test_with_one_lane_the_tree_is_that_of_an_undisturbed_run(name: str, every_s: float) -> None:
    async def main() -> None:
        whole = await loop(name, actor(), MemoryStore(), 1).run("x", tree_id="t")
        tree, _ = await killed(name, 1, every_s)
        assert outline(tree) == outline(whole.tree)
        assert [ask.parents for ask in tree.asks.values()] == [ask.parents for ask in whole.tree.asks.values()]
        assert len(tree) > 5

    run_virtual(main())


@pytest.mark.parametrize(("lanes", "every_s"), [(2, 3.6), (8, 3.3)])
@pytest.mark.parametrize("name", PLAYED)
def test_with_racing_lanes_no_answered_call_is_sent_again_and_the_log_is_enough(
    name: str, lanes: int, every_s: float
) -> None:
    tree, model = run_virtual(killed(name, lanes, every_s))
    answered = Counter(
        call.digest for call in tree.calls.values() if (r := tree.replies.get(call.id)) and r.status == "ok"
    )
    assert max(answered.values()) == 1
    assert len(model.requests) > len(answered), "the kills hit calls in flight"
    assert not tree.open
    search = build(PLAYED[name])
    state = search.start(tree.task)
    for record in tree.log:
        if isinstance(record, Ask) or (isinstance(record, Attempt) and record.settled):
            state = search.fold(state, tree, record)
    assert isinstance(search.ask(state, tree), cl.Stop), "the log alone leads to the end"
