"""What goes wrong around a loop: budgets in the middle, broken tools, two runs of one tree, cancelled hosts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypedDict

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import Command

import critic_loop as cl
from critic_loop.core.errors import (
    AlreadyRunning,
    ConfigError,
    ModelError,
    RateLimited,
    SameError,
    StopRuleError,
    StoreError,
)
from critic_loop.core.records import Attempt, Outcome
from critic_loop.store import layout
from critic_loop.store.memory import MemoryStore
from critic_loop.testing import ScriptedModel
from tests.graph.conftest import counting, disagree, is_42, never

pytestmark = pytest.mark.anyio

CALL = cl.Message.model_validate(
    {
        "role": "assistant",
        "sampled": True,
        "parts": [{"type": "tool_call", "id": "c1", "name": "look", "arguments": {}}],
    }
)


class SharedState(TypedDict, total=False):
    task: str
    answer: Any
    stop: str
    tree_id: str


def host(loop: cl.Loop[str]) -> Any:
    graph: Any = StateGraph(SharedState)
    graph.add_node("loop", loop.graph)
    graph.add_edge(START, "loop")
    return graph.compile(checkpointer=InMemorySaver())


async def within(seconds: float, work: Any) -> Any:
    async with asyncio.timeout(seconds):
        return await work


# -- tools -----------------------------------------------------------------------------------------


async def test_a_budget_that_ends_between_tool_and_actor_ends_the_loop() -> None:
    def look() -> str:
        """Look."""
        return "nothing"

    actor = ScriptedModel(lambda request: CALL)
    loop = cl.Loop("try-again", actor=actor, verifiers=[never], tools=[look], max_calls=2)
    result = await within(5, loop.run("x"))
    assert (result.stop, len(actor.requests)) == ("budget", 2)


async def test_a_tool_may_raise_any_error_of_ours() -> None:
    def look() -> str:
        """Look."""
        raise RateLimited("the search engine is tired")

    actor = ScriptedModel([CALL, "42"])
    result = await within(5, cl.Loop("try-again", actor=actor, verifiers=[is_42], tools=[look]).run("x"))
    assert result.stop == "verified"
    told = result.tree[result.tree.roots[0]].messages[1].parts[0]
    assert told.is_error  # type: ignore[union-attr]
    assert "tired" in told.text  # type: ignore[union-attr]


# -- one tree, one writer --------------------------------------------------------------------------


async def test_a_tree_is_run_once_at_a_time(store: str) -> None:
    async with cl.Loop("try-again", actor=counting(), verifiers=[never], store=store) as loop:
        both = await asyncio.gather(*(loop.run("x", tree_id="t") for _ in range(2)), return_exceptions=True)
        assert sorted(type(one).__name__ for one in both) == ["AlreadyRunning", "Result"]
        assert len(await loop.store.load("t")) == 5


async def test_a_task_that_comes_twice_is_run_once(store: str) -> None:
    actor = counting()
    async with cl.Loop("try-again", actor=actor, verifiers=[never], store=store) as loop:
        results = [r async for r in loop.map(["same", "same", "other"], in_flight=3)]
    assert len(results) == 3
    assert len({r.tree.id for r in results}) == 2
    assert len(actor.requests) == 10


async def test_a_person_may_answer_while_the_tree_goes_on(store: str) -> None:
    gate = asyncio.Event()

    async def reply(request: Any) -> str:
        if len(actor.requests) > 1:
            await gate.wait()
        return f"answer {len(actor.requests)}"

    actor = ScriptedModel(reply)
    search = cl.search(lambda tree: cl.Move() if len(tree.asks) < 3 else cl.Wait())
    async with cl.Loop(
        "best-of-n", actor=actor, critic=cl.Human("ann"), verifiers=[], search=search, lanes=2, store=store
    ) as loop:
        running = asyncio.create_task(loop.run("x", tree_id="t"))
        while not (await loop.store.has("t") and (await loop.store.load("t")).attempts):
            await asyncio.sleep(0.01)
        await loop.respond("t", {"t.1": False})
        gate.set()
        result = await within(5, running)
        assert (result.stop, len(result.parked)) == ("parked", 2)
        assert len(await loop.store.load("t")) == 3, "it can be read again"


async def test_streaming_a_tree_twice_leaves_the_first_stream_its_records() -> None:
    loop = cl.Loop("try-again", actor=ScriptedModel(lambda r: "42", latency_s=0.01), verifiers=[is_42])
    first = loop.stream("x", tree_id="t")
    seen = [await anext(first)]
    with pytest.raises(AlreadyRunning, match="is being run already"):
        async for _ in loop.stream("x", tree_id="t"):
            pass
    seen += [item async for item in first]
    assert any(isinstance(item, Attempt) for item in seen)


@pytest.mark.parametrize("run", ["run", "map"])
async def test_an_error_that_was_caught_is_not_raised_again_when_the_loop_closes(
    store: str, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = layout.connect

    def small_disk(path: Any, **options: Any) -> Any:
        connection = connect(path, **options)
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 60}")
        return connection

    monkeypatch.setattr(layout, "connect", small_disk)
    actor = ScriptedModel(lambda request: " ".join(str(len(actor.requests) * n) for n in range(40_000)))
    async with cl.Loop("best-of-n", actor=actor, verifiers=[never], lanes=3, store=store) as loop:
        with pytest.raises(StoreError, match="Free disk space"):
            if run == "run":
                await loop.run("x")
            else:
                await mapped(loop, 5, in_flight=5)


# -- lanes -----------------------------------------------------------------------------------------


async def test_lanes_wait_for_a_store_that_takes_its_time() -> None:
    class Slow(MemoryStore):
        async def append(self, tree_id: str, *records: Any, durable: bool = True) -> None:
            await asyncio.sleep(0.001)
            await super().append(tree_id, *records, durable=durable)

    loop = cl.Loop("try-again", actor=counting(), verifiers=[never], lanes=2, store=Slow())
    assert (await within(5, loop.run("x"))).stop == "max_rounds"


async def test_a_rule_that_raises_ends_all_lanes() -> None:
    class Broken(cl.Verified):
        def __call__(self, progress: Any) -> Any:
            raise ZeroDivisionError("in the rule")

    actor = ScriptedModel(lambda r: "x", latency_s=0.005)
    loop = cl.Loop("best-of-n", actor=actor, verifiers=[never], lanes=4, stop=Broken())
    with pytest.raises(StopRuleError, match="stop rule 'Broken': ZeroDivisionError: in the rule"):
        await loop.run("x", tree_id="t")
    made = len(actor.requests)
    await asyncio.sleep(0.05)
    assert len(actor.requests) == made, "nobody goes on paying"


async def test_a_failed_request_for_several_attempts_is_one_failure() -> None:
    actor = ScriptedModel([RateLimited("busy"), "42", "42", "42"])
    search = cl.search(
        lambda tree: cl.Stop() if len(tree) >= 5 else (cl.Move(samples=3) if not tree.open else cl.Wait())
    )
    result = await cl.Loop("best-of-n", actor=actor, verifiers=[is_42], search=search).run("x")
    assert result.stop != "failing"


async def test_the_cap_counts_requests_not_samples() -> None:
    loop = cl.Loop("best-of-n", actor=counting(), verifiers=[never], search=cl_sample(16, batch=8), max_calls=4)
    result = await loop.run("x")
    assert (result.stop, len(result.tree)) == ("exhausted", 16)


def cl_sample(n: int, batch: int) -> Any:
    from critic_loop.search import Sample

    return Sample(n=n, batch=batch)


# -- going on --------------------------------------------------------------------------------------


async def test_after_an_outage_the_same_tree_goes_on(store: str) -> None:
    def down(request: Any) -> Any:
        return RateLimited("busy")

    async with cl.Loop("try-again", actor=ScriptedModel(down), verifiers=[is_42], store=store) as loop:
        assert [r.stop async for r in loop.map(["x"])] == ["failing"]
    async with cl.Loop("try-again", actor=ScriptedModel(["42"]), verifiers=[is_42], store=store) as loop:
        again = [r async for r in loop.map(["x"])]
    assert [r.stop for r in again] == ["verified"]


async def test_a_critic_cut_off_by_the_clock_is_asked_again(store: str) -> None:
    async def slow(request: Any) -> str:
        await asyncio.sleep(1)
        return "late"

    class Impatient(ScriptedModel):
        async def complete(self, request: Any) -> Any:
            try:
                async with asyncio.timeout(request.timeout_s):
                    return await super().complete(request)
            except TimeoutError:
                from critic_loop.core.errors import DeadlineExceeded

                raise DeadlineExceeded("too slow") from None

    async with cl.Loop(
        "refine",
        actor=counting(),
        critic=Impatient(slow),
        verifiers=[],
        stop=cl.Elapsed(0.05) | cl.MaxRounds(1),
        store=store,
    ) as loop:
        cut = await loop.run("x", tree_id="t")
    assert cut.stop == "elapsed"
    assert not cut.tree.feedback, "an abstention would stand for ever"
    async with cl.Loop(
        "refine",
        actor=counting(),
        critic=disagree(),
        verifiers=[],
        stop=cl.Elapsed(9) | cl.MaxRounds(1),
        store=store,
    ) as loop:
        result = await loop.run("x", tree_id="t")
    assert [f.verdict for f in result.tree.feedback.values()] == [cl.Verdict.FAIL]


async def test_a_selection_without_budget_for_its_judge_says_that_nobody_judged() -> None:
    judge = ScriptedModel(lambda r: "Better: A")
    loop = cl.Loop(
        "refine-rubric", actor=counting(), critic=ScriptedModel(lambda r: '{"score": 0.5}'), judge=judge,
        select="keep-if-better", search="sample", max_calls=4,
    )  # fmt: skip
    result = await loop.run("x")
    assert (result.stop, judge.requests) == ("budget", [])
    assert result.decided_by != "judge"


# -- one error, again and again --------------------------------------------------------------------


class Down:
    """Fails alike from call to call, but for the numbers in its message; answers where `answers` says so."""

    def __init__(self, answers: Callable[[int], bool] = lambda n: False) -> None:
        self.n = 0
        self.answers = answers

    async def __call__(self, request: Any) -> Any:
        self.n += 1
        n = self.n
        await asyncio.sleep(0)
        return "42" if self.answers(n) else ModelError(f"request {n} came to nothing.", hint="Mend it.")


async def mapped(loop: cl.Loop[str], tasks: int, **settings: Any) -> list[cl.Result[str]]:
    return [r async for r in loop.map([f"task {n}" for n in range(tasks)], **settings)]


async def test_one_error_of_all_trees_ends_the_job_and_the_next_run_goes_on(store: str) -> None:
    down = Down()
    async with cl.Loop("try-again", actor=ScriptedModel(down), verifiers=[is_42], store=store) as loop:
        with pytest.raises(SameError, match=r"20 calls in a row .* request 20 .* Mend it\. Then run") as raised:
            await mapped(loop, 50, in_flight=1)
        assert raised.value.scope == "job"
        trees = [info async for info in loop.store.trees()]
    assert (down.n, len(trees), trees[-1].stop) == (20, 7, None)
    async with cl.Loop(
        "try-again", actor=ScriptedModel(lambda r: "42"), verifiers=[is_42], store=store
    ) as loop:
        results = await mapped(loop, 50)
    assert {r.stop for r in results} == {"verified"}
    assert sum(a.status == "failed" for r in results for a in r.tree) == 19, "the last is tried again"


async def test_calls_that_were_in_flight_together_count_once() -> None:
    actor = ScriptedModel(Down(lambda n: n > 50))
    results = await mapped(cl.Loop("try-again", actor=actor, verifiers=[is_42]), 50, in_flight=50)
    assert {r.stop for r in results} == {"verified"}, "a moment's trouble"
    down = Down()
    with pytest.raises(SameError):
        await mapped(cl.Loop("try-again", actor=ScriptedModel(down), verifiers=[is_42]), 1000, in_flight=50)
    assert down.n <= 150


async def test_an_answer_and_another_error_begin_anew() -> None:
    answering = ScriptedModel(Down(lambda n: n % 3 == 0))
    results = await mapped(
        cl.Loop("try-again", actor=answering, verifiers=[is_42]), 9, in_flight=1, same_error=3
    )
    assert len(results) == 9
    errors = iter([ModelError("one"), ModelError("other")] * 30)
    other = ScriptedModel(lambda request: next(errors))
    results = await mapped(cl.Loop("try-again", actor=other, verifiers=[is_42]), 9, in_flight=1, same_error=2)
    assert [r.stop for r in results] == ["failing"] * 9


async def test_a_critic_that_always_fails_leaves_the_actor_alone() -> None:
    loop = cl.Loop("refine", actor=counting(), critic=ScriptedModel(Down()), verifiers=[], max_calls=6)
    assert len(await mapped(loop, 9, in_flight=1, same_error=2)) == 9


# -- people and hosts ------------------------------------------------------------------------------


async def test_a_search_that_stops_leaves_time_for_people() -> None:
    search = cl.search(lambda tree: cl.Move() if len(tree.asks) < 2 else cl.Stop())
    loop = cl.Loop("best-of-n", actor=counting(), critic=cl.Human("ann"), verifiers=[], search=search)
    result = await loop.run("x", tree_id="t")
    assert (result.stop, len(result.parked)) == ("parked", 2)
    await loop.respond("t", {"t.1": True, "t.2": False})
    result = await loop.run("x", tree_id="t")
    assert (result.answer, result.stop) == ("answer 1", "exhausted")


async def test_evidence_comes_before_a_person_is_asked_even_after_a_crash(store: str) -> None:
    def make(checks: list[Any]) -> cl.Loop[str]:
        return cl.Loop(
            "refine", actor=ScriptedModel(["42"]), critic=cl.Human("ann", when="unverified"),
            verifiers=checks, store=store,
        )  # fmt: skip

    reached = asyncio.Event()

    @cl.verifier(name="is_42")
    async def hangs(view: cl.View[str]) -> bool:
        reached.set()
        await asyncio.sleep(3600)
        return True

    async with make([hangs]) as loop:
        running = asyncio.create_task(loop.run("x", tree_id="t"))
        await within(5, reached.wait())
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    async with make([is_42]) as loop:
        result = await loop.run("x", tree_id="t")
    assert (result.stop, result.answer) == ("verified", "42")


@pytest.mark.parametrize("embedded", ["as_node", "bare"])
async def test_an_unreadable_answer_is_asked_for_again(embedded: str) -> None:
    loop = cl.Loop("refine", actor=ScriptedModel(["42"]), critic=cl.Human("ann"), verifiers=[])
    graph: Any = StateGraph(SharedState)
    graph.add_node("fix", loop.as_node())
    graph.add_edge(START, "fix")
    compiled = host(loop) if embedded == "bare" else graph.compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    await compiled.ainvoke({"task": "x"}, config)
    again = await compiled.ainvoke(Command(resume=7.5), config)
    assert "7.5" in again["__interrupt__"][0].value["error"]
    done = await compiled.ainvoke(Command(resume=True), config)
    assert done["answer"] == "42"


async def test_a_cancelled_host_may_invoke_the_same_thread_again() -> None:
    hanging = True

    async def reply(request: Any) -> str:
        if hanging:
            await asyncio.sleep(3600)
        return "42"

    loop = cl.Loop("best-of-n", actor=ScriptedModel(reply), verifiers=[is_42], lanes=2)
    compiled, config = host(loop), {"configurable": {"thread_id": "1"}}
    running = asyncio.create_task(compiled.ainvoke({"task": "x"}, config))
    await asyncio.sleep(0.05)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    hanging = False
    state = await within(5, compiled.ainvoke({"task": "x"}, config))
    assert state["stop"] == "verified"


async def test_two_loops_in_one_host_have_trees_of_their_own(store: str) -> None:
    shared = cl.open_store(store)
    first = cl.Loop("try-again", actor=ScriptedModel(lambda r: "42"), verifiers=[is_42], store=shared)
    second = cl.Loop("best-of-n", actor=ScriptedModel(lambda r: "42"), verifiers=[is_42], store=shared)
    config = {"configurable": {"thread_id": "1"}}
    states = [await host(loop).ainvoke({"task": "x"}, config) for loop in (first, second)]
    assert [s["stop"] for s in states] == ["verified"] * 2
    assert len({s["tree_id"] for s in states}) == 2
    await shared.aclose()


async def test_run_sync_from_inside_its_own_loop_is_refused() -> None:
    @cl.verifier
    def asks(view: cl.View[str]) -> bool:
        return loop.run_sync("y").answer == "42"

    loop = cl.Loop("try-again", actor=ScriptedModel(["42"]), verifiers=[asks], stop=cl.MaxRounds(1))
    with pytest.raises(ConfigError, match="own event loop"):
        await asyncio.to_thread(loop.run_sync, "x")
    await loop.aclose()


def test_outcomes_that_go_on_are_named_once() -> None:
    from critic_loop.core.progress import GOES_ON

    assert "verified" not in GOES_ON
    assert Outcome(stop="failing").stop in GOES_ON
