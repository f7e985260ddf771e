"""An interrupted loop keeps what was paid for, sends nothing more, and goes on later as if undisturbed."""

from __future__ import annotations

import asyncio
import threading
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


# -- one tree --------------------------------------------------------------------------------------


class Gated:
    """An actor whose calls wait until they are let go."""

    def __init__(self) -> None:
        self.asked, self.release = asyncio.Event(), asyncio.Event()
        self.model = ScriptedModel(self._reply)

    async def _reply(self, request: Request) -> str:
        self.asked.set()
        await self.release.wait()
        return f"answer {len(self.model.requests)}"


@pytest.mark.parametrize("driver", ["graph", "direct"])
async def test_one_tree_is_stopped_with_its_best_so_far_and_others_go_on(driver: Any) -> None:
    gated, critic = Gated(), reviewer()
    loop = cl.Loop("refine", actor=gated.model, critic=critic, verifiers=[never], stop=cl.MaxRounds(3))
    running = [asyncio.create_task(loop.run("x", tree_id=t, driver=driver)) for t in ("t", "other")]
    while len(gated.model.requests) < 2:
        await asyncio.sleep(0)
    assert loop.stop("t") is True
    await asyncio.sleep(0)
    assert not running[0].done(), "its call in flight is waited for"
    gated.release.set()
    stopped, other = await asyncio.gather(*running)
    assert (stopped.stop, stopped.stop_text) == ("stopped", "the tree was stopped")
    assert stopped.answer in ("answer 1", "answer 2")
    assert stopped.spend.calls == 1
    assert [reply.status for reply in stopped.tree.replies.values()] == ["ok"]
    assert other.stop != "stopped"
    assert other.spend.calls > 1
    assert (await loop.run("y")).stop != "stopped", "the loop sends calls as before"


async def test_a_stopped_tree_goes_on_as_if_undisturbed_when_it_is_run_again() -> None:
    whole = cl.Loop("refine", actor=counting(), critic=reviewer(), verifiers=[never])
    undisturbed = await whole.run("x", tree_id="t")
    loop = cl.Loop("refine", actor=counting(), critic=reviewer(), verifiers=[never])
    async for record in loop.stream("x", tree_id="t"):
        if getattr(record, "type", "") == "call":
            loop.stop("t")
    assert isinstance(record, cl.Result)
    assert record.stop == "stopped"
    again = await loop.run("x", tree_id="t")
    assert outline(again.tree) == outline(undisturbed.tree)
    assert again.spend.calls == undisturbed.spend.calls


async def test_of_a_map_one_tree_is_stopped() -> None:
    def reply(request: Request) -> str:
        if "two" in request.messages[-1].text:
            [tree] = [s.tree.id for s in loop.runner.sessions.all() if s.tree.task.text == "two"]
            loop.stop(tree)
        return "no"

    loop = cl.Loop("best-of-n", actor=ScriptedModel(reply), verifiers=[never], lanes=1)
    results = [result async for result in loop.map(["one", "two", "three"], in_flight=2)]
    stops = {result.task.text: result.stop for result in results}
    assert stops["two"] == "stopped"
    assert {stops["one"], stops["three"]} == {"exhausted"}


async def test_a_tree_that_is_not_being_run_is_not_stopped() -> None:
    loop = cl.Loop("try-again", actor=counting(), verifiers=[never], max_calls=2)
    assert loop.stop("t") is False
    first = await loop.run("x", tree_id="t")
    assert (loop.stop("t"), first.stop) == (False, "budget")


async def test_a_tree_is_stopped_from_another_thread_while_its_lanes_wait() -> None:
    """A search that waits for a call in flight is woken, too: `run_sync` occupies the caller's thread."""
    asked = threading.Event()

    async def slow(request: Request) -> str:
        asked.set()
        for _ in range(5000):
            if loop.runner.sessions.all()[0].ended:
                break
            await asyncio.sleep(0.001)
        return "answer 3"

    search = cl.search(lambda tree: cl.Move() if len(tree.asks) < 1 else cl.Wait())
    loop = cl.Loop("best-of-n", actor=ScriptedModel(slow), verifiers=[never], search=search, lanes=2)
    running = asyncio.create_task(asyncio.to_thread(loop.run_sync, "x", tree_id="t"))
    await asyncio.to_thread(asked.wait)
    assert loop.stop("t")
    async with asyncio.timeout(10):
        assert (await running).stop == "stopped"
    await loop.aclose()
