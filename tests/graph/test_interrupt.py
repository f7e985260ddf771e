"""An interrupted loop keeps what was paid for, sends nothing more, and goes on later as if undisturbed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import critic_loop as cl
from critic_loop.core.errors import RateLimited
from critic_loop.core.protocols import Delta, Request
from critic_loop.core.records import Attempt, Outcome, Verdict
from critic_loop.models import Limited, Retrying, RetryPolicy
from critic_loop.store import MemoryStore
from critic_loop.testing import ScriptedModel
from tests.graph.conftest import RIGHT, WRONG, counting, never, outline

pytestmark = pytest.mark.anyio


def reviewer() -> ScriptedModel:
    return ScriptedModel(lambda r: RIGHT if "answer 3" in r.messages[-1].text else WRONG)


async def test_calls_in_flight_settle_and_no_other_is_sent() -> None:
    store, asked, release = MemoryStore(), asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> str:
        asked.set()
        await release.wait()
        return "answer 3"

    critic = reviewer()
    loop = cl.Loop("refine", actor=ScriptedModel(slow), critic=critic, verifiers=[never], store=store)
    running = asyncio.create_task(loop.run("x", tree_id="t"))
    await asked.wait()
    loop.interrupt()
    await asyncio.sleep(0)
    assert not running.done()
    release.set()
    result = await running
    assert (result.stop, result.stop_text) == ("interrupted", "the run was interrupted")
    assert result.answer == "answer 3"
    assert [reply.status for reply in result.tree.replies.values()] == ["ok"]
    assert len(result.tree.judgements("t.1")) == 1, "evidence costs nothing and is still gathered"
    assert critic.requests == []
    with pytest.raises(StopAsyncIteration):
        await anext(loop.map(["y"]))


@pytest.mark.parametrize("after", range(1, 6))
async def test_it_goes_on_as_if_undisturbed(after: int) -> None:
    whole = cl.Loop("refine", actor=counting(), critic=reviewer(), store=MemoryStore())
    undisturbed = await whole.run("x", tree_id="t")
    actor, critic, store = counting(), reviewer(), MemoryStore()
    first = cl.Loop("refine", actor=actor, critic=critic, store=store)
    calls = 0
    async for record in first.stream("x", tree_id="t"):
        calls += getattr(record, "type", "") == "call"
        if calls == after:
            first.interrupt()
    second = cl.Loop("refine", actor=actor, critic=critic, store=store)
    again = await second.run("x", tree_id="t")
    assert outline(again.tree) == outline(undisturbed.tree)
    assert again.spend.calls == undisturbed.spend.calls
    assert sum(isinstance(record, Outcome) for record in again.tree.log) == 2


async def test_what_would_be_tried_again_stays_open() -> None:
    limited = ScriptedModel(lambda _: RateLimited("slow down", retry_after_s=0.01))
    loop = cl.Loop("try-again", actor=Retrying(limited, RetryPolicy(attempts=5)), verifiers=[never])
    async for record in loop.stream("x"):
        if getattr(record, "type", "") == "call":
            loop.interrupt()
    assert isinstance(record, cl.Result)
    assert record.stop == "interrupted"
    assert len(limited.requests) == 1
    assert list(record.tree.open), "asked, not answered: the next run asks again"
    assert not record.tree.attempts


async def test_map_returns_what_was_in_flight_and_begins_no_other_task() -> None:
    release = asyncio.Event()
    loop: Any = None

    async def slow(request: Request) -> str:
        if len(actor.requests) == 3:
            loop.interrupt()
            release.set()
        await release.wait()
        return "no"

    actor = ScriptedModel(slow)
    loop = cl.Loop("try-again", actor=actor, verifiers=[never], store=MemoryStore())
    results = [r async for r in loop.map([f"task {n}" for n in range(9)], in_flight=3)]
    assert [r.stop for r in results] == ["interrupted"] * 3
    assert len([tree async for tree in loop.store.trees()]) == 3


async def test_pieces_come_with_the_records_of_their_call() -> None:
    loop = cl.Loop("try-again", actor=ScriptedModel(["answer 42"]), verifiers=[never], max_calls=1)
    seen = [r async for r in loop.stream("x", tree_id="t", deltas=True)]
    kinds = [type(r).__name__ for r in seen]
    assert kinds[:2] == ["Ask", "Call"]
    pieces = [r for r in seen if isinstance(r, Delta)]
    assert {piece.call for piece in pieces} == {"t.c1"}
    assert "".join(piece.text for piece in pieces) == "answer 42"
    assert kinds.index("Reply") == 2 + len(pieces)
    assert any(isinstance(r, Attempt) for r in seen)


async def test_an_answer_that_was_verified_while_the_loop_was_ending_is_not_revised_later() -> None:
    store, model = MemoryStore(), ScriptedModel(lambda _: "42")

    def is_right(view: Any) -> bool:
        loop.interrupt()
        return view.answer == "42"

    loop = cl.Loop("try-again", actor=model, verifiers=[cl.verifier(is_right)], store=store)
    first = await loop.run("x", tree_id="t1")
    assert (first.stop, first.verdict) == ("interrupted", Verdict.PASS)
    calls = len(model.requests)
    again = cl.Loop("try-again", actor=model, verifiers=[cl.verifier(is_right)], store=store)
    second = await again.run("x", tree_id="t1")
    assert second.stop == "verified"
    assert len(model.requests) == calls


async def test_calls_that_wait_for_their_turn_are_not_sent_and_cost_nothing() -> None:
    asked, release = asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> str:
        asked.set()
        await release.wait()
        return "answer 3"

    actor, store = ScriptedModel(slow), MemoryStore()
    loop = cl.Loop("best-of-n", actor=Limited(actor, 1), critic=reviewer(), verifiers=[never], store=store)
    running = asyncio.create_task(loop.run("x", tree_id="t"))
    await asked.wait()
    loop.interrupt()
    release.set()
    result = await running
    assert result.stop == "interrupted"
    assert len(actor.requests) == 1
    assert result.spend.calls == 1
    replies = list(result.tree.replies.values())
    assert len(replies) > 1, "the others had been written down before they waited"
    assert [(r.status, r.error_code) for r in replies[1:]] == [("cancelled", "not-sent")] * (len(replies) - 1)
    again = cl.Loop("best-of-n", actor=actor, critic=reviewer(), verifiers=[never], store=store)
    resumed = await again.run("x", tree_id="t")
    assert resumed.stop != "interrupted"
    assert resumed.spend.calls == len(actor.requests)


async def test_a_wait_for_the_next_attempt_ends_with_the_run() -> None:
    asked = asyncio.Event()

    def limited(request: Request) -> RateLimited:
        asked.set()
        return RateLimited("slow down", retry_after_s=60.0)

    actor = ScriptedModel(limited)
    loop = cl.Loop("try-again", actor=Retrying(actor), verifiers=[never], store=MemoryStore())
    running = asyncio.create_task(loop.run("x", tree_id="t"))
    await asked.wait()
    await asyncio.sleep(0.05)
    loop.interrupt()
    async with asyncio.timeout(5):
        result = await running
    assert (result.stop, len(actor.requests), result.spend.calls) == ("interrupted", 1, 1)
