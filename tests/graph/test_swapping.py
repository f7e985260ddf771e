"""Critics that are swapped, die and come back while jobs run, on real servers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

import critic_loop as cl
from critic_loop.core.errors import AuthFailed, Unreachable
from critic_loop.models import FailurePolicy, Fallback
from critic_loop.models.slots.pins import pins_in
from critic_loop.models.wire.health_check import HEALTH_CHECK
from critic_loop.testing import Fault, ScriptedModel, TestServer
from tests.graph.conftest import WRONG, disagree, outline
from tests.swaps import check_swaps

pytestmark = pytest.mark.anyio


def writer(**fields: Any) -> ScriptedModel:
    """An actor that does better once it is criticised."""
    return ScriptedModel(
        lambda request: "better" if any(m.role == "assistant" for m in request.messages) else "draft", **fields
    )


def reviewer(name: str, **fields: Any) -> TestServer:
    """A critic that says who it is, and accepts what is better."""

    def reply(received: Any) -> str:
        return f"{name}\nVerdict: " + ("correct" if "better" in received.text else "wrong")

    return TestServer(reply, **fields)


def spec_of(server: TestServer) -> str:
    return f"chat:test@{server.url}"


def criticism(trees: list[cl.Tree]) -> dict[str, Counter[str]]:
    """What each critic was asked, by its spec, as the trees have it."""
    asked: dict[str, Counter[str]] = {}
    for tree in trees:
        for call in tree.calls.values():
            if call.slot == "critic":
                asked.setdefault(call.binding, Counter())[call.request[-1].text] += 1
    return asked


def logged(server: TestServer) -> Counter[str]:
    return Counter(received.text for received in server.requests if received.text != HEALTH_CHECK)


async def test_a_job_whose_critic_is_swapped_loses_and_doubles_nothing() -> None:
    servers = [reviewer(name, delay_s=0.01) for name in ("ann", "bob", "cat")]
    async with AsyncExitStack() as stack:
        for server in servers:
            await stack.enter_async_context(server)
        ann, bob, cat = map(spec_of, servers)
        loop = cl.Loop("refine", actor=writer(latency_s=0.05), critic=ann, verifiers=[])
        await stack.enter_async_context(loop)
        plan = {40: (bob, "call"), 100: (cat, "attempt"), 160: (ann, "tree"), 230: (bob, "call")}
        drained: dict[int, float] = {}
        trees: list[cl.Tree] = []
        async for result in loop.map([f"task {n}" for n in range(300)], in_flight=64):
            trees.append(result.tree)
            assert (result.stop, result.answer) == ("accepted", "better")
            if len(trees) in plan:
                spec, when = plan[len(trees)]
                await loop.swap("critic", spec, when=when)  # type: ignore[arg-type]
                drained[len(drained)] = time.time()
        assert len(trees) == 300
        assert all(reply.status == "ok" for tree in trees for reply in tree.replies.values())

        asked = criticism(trees)
        assert asked == {spec: logged(server) for spec, server in zip((ann, bob, cat), servers, strict=True)}
        assert sum(map(Counter.total, asked.values())) == 600
        assert all(min(len(per), 20) == 20 for per in asked.values()), "each critic had real work"

        names = {ann: "ann", bob: "bob", cat: "cat"}
        for tree in trees:
            for feedback in tree.feedback.values():
                assert feedback.text.startswith(names[tree.calls[feedback.calls[0]].binding])
        late = [
            call
            for tree in trees
            for call in tree.calls.values()
            if call.slot == "critic" and call.sent_at > drained.get(call.revision, float("inf")) + 0.001
        ]
        assert late == []
        kept = check_swaps(trees, [when for _, when in plan.values()])
        assert kept.keys() == {"attempt", "tree"}, "calls after each of these swaps kept what they had"


async def test_a_fallback_takes_over_when_the_critic_dies_and_gives_back_when_it_returns() -> None:
    first, second = reviewer("first", delay_s=0.01), reviewer("second")
    trees: list[cl.Tree] = []

    def states() -> list[str]:
        events = sorted((e for tree in trees for e in tree.events), key=lambda e: e.at)
        return [e.data["state"] for e in events if e.kind == "breaker"]

    def tasks() -> Iterator[str]:
        """As many as it takes until the first critic is back, and forty for it to judge."""
        more = 40
        for n in range(5_000):
            more -= "closed" in states()
            if not more:
                return
            yield f"task {n}"

    async with second:
        await first.start()
        port = first._port
        chain = Fallback(
            spec_of(first), spec_of(second), outage=FailurePolicy(opens_after=3, pause_s=0.3), retries=0
        )
        async with cl.Loop("refine", actor=writer(latency_s=0.02), critic=chain, verifiers=[]) as loop:
            async for result in loop.map(tasks(), in_flight=8):
                trees.append(result.tree)
                assert result.stop == "accepted"
                if len(trees) == 30:
                    await first.stop()
                if len(trees) == 90:
                    first = reviewer("first", port=port)
                    await first.start()
            await first.stop()
    assert (states()[0], states()[-1]) == ("open", "closed")
    assert "half-open" in states()
    assert any(e.kind == "fallback" and e.data["cause"] == "outage" for tree in trees for e in tree.events)
    waits = [tree.replies[c.id].ended_at - c.sent_at for tree in trees for c in tree.calls.values()]
    assert max(waits) < 5.0, "one call's deadline"
    said = [f.text.split("\n")[0] for tree in trees for f in tree.feedback.values()]
    assert all(f.verdict is not cl.Verdict.ABSTAIN for tree in trees for f in tree.feedback.values())
    assert (said[0], said[-1]) == ("first", "first")
    assert "second" in said


async def test_each_leg_that_was_asked_is_a_call_of_its_own() -> None:
    mumbling, clear = ScriptedModel(lambda r: "hm", spec="mumbling"), ScriptedModel([WRONG] * 9, spec="clear")
    loop = cl.Loop(
        "refine", actor=writer(), critic=Fallback(mumbling, clear), verifiers=[], stop=cl.MaxRounds(1)
    )
    tree = (await loop.run("x")).tree
    critics = [(c.binding, tree.replies[c.id]) for c in tree.calls.values() if c.slot == "critic"]
    assert [(spec, r.status, r.error_code) for spec, r in critics] == [
        ("mumbling", "error", "output"), ("clear", "ok", ""),
    ]  # fmt: skip
    assert critics[0][1].choices[0].message.text == "hm", "what could not be read is kept"
    assert critics[0][1].usage.output_tokens == 1, "and was billed"
    assert [e.data["cause"] for e in tree.events] == ["invalid"]
    assert [f.verdict for f in tree.feedback.values()] == [cl.Verdict.FAIL]
    assert tree.outcome is not None
    assert tree.outcome.spend.calls == 3


async def test_an_answer_nobody_can_read_is_the_last_legs() -> None:
    candidates = [ScriptedModel(lambda r: "hm", spec=name) for name in ("a", "b")]
    loop = cl.Loop("refine", actor=writer(), critic=Fallback(*candidates), verifiers=[], stop=cl.MaxRounds(1))
    [feedback] = (await loop.run("x")).tree.feedback.values()
    assert (feedback.verdict, feedback.parse) == (cl.Verdict.ABSTAIN, "unparsed")


async def test_a_critics_wrong_key_ends_the_map_once_and_it_can_be_resumed(store: str) -> None:
    def make(critic: ScriptedModel) -> cl.Loop[str]:
        return cl.Loop("refine", actor=writer(), critic=critic, verifiers=[], store=store)

    tasks = [f"task {n}" for n in range(20)]
    async with make(ScriptedModel(lambda r: AuthFailed("the key is wrong"))) as loop:
        with pytest.raises(AuthFailed, match="the key is wrong"):
            async for _ in loop.map(tasks, in_flight=8):
                pass
        trees = [await loop.store.load(info.id) async for info in loop.store.trees()]
    assert trees
    assert not any(tree.outcome or tree.feedback for tree in trees)
    assert all(attempt.status != "failed" for tree in trees for attempt in tree)
    async with make(ScriptedModel(lambda r: "Verdict: correct")) as loop:
        results = [r async for r in loop.map(tasks, in_flight=8)]
    assert {r.stop for r in results} == {"accepted"}


@pytest.mark.parametrize("when", ["attempt", "tree"])
async def test_what_a_swap_spared_is_spared_after_a_restart(store: str, when: Any) -> None:
    reached, never = asyncio.Event(), asyncio.Event()

    async def hang(request: Any) -> str:
        reached.set()
        await never.wait()
        return WRONG

    old, new = ScriptedModel(hang, spec="old"), ScriptedModel(lambda r: WRONG, spec="new")
    async with cl.Loop("refine", actor=writer(), critic=old, verifiers=[], store=store) as loop:
        running = asyncio.create_task(loop.run("x", tree_id="t"))
        await asyncio.wait_for(reached.wait(), 5)
        await loop.swap("critic", new, when=when, drain=False)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    old, new = (ScriptedModel(lambda r: WRONG, spec=name) for name in ("old", "new"))
    loop = cl.Loop(
        "refine", actor=writer(), critic=new, verifiers=[], store=store, stop=cl.MaxRounds(3),
        slots={"judge": old},  # where the restarted process knows the old model from
    )  # fmt: skip
    async with loop:
        await loop.run("x", tree_id="t")
    kept = len(old.requests)
    assert kept == (1 if when == "attempt" else 3)
    assert len(new.requests) == 3 - kept


async def test_a_tree_that_began_with_the_new_critic_keeps_it_after_a_restart(store: str) -> None:
    person = cl.Human("ann")
    old, new = ScriptedModel(lambda r: WRONG, spec="old"), ScriptedModel(lambda r: WRONG, spec="new")

    def make(critic: Any) -> cl.Loop[str]:
        return cl.Loop(
            cl.Recipe.model_validate(
                {"search": [{"kind": "refine"}], "critics": [{"agent": "critic/stepwise"}]}
            ),
            actor=writer(), critic=[critic, person], slots={"judge": new}, verifiers=[], store=store,
            stop=cl.MaxRounds(2),
        )  # fmt: skip

    async with make(old) as loop:
        await loop.swap("critic", new, when="tree")
        assert (await loop.run("x", tree_id="t")).stop == "parked"
    async with make(old) as loop:
        await loop.respond("t", False)
        await loop.run("x", tree_id="t")
    assert (len(old.requests), len(new.requests)) == (0, 3), "a canary, and both rounds"


async def test_a_swap_from_another_thread_is_an_event_in_the_running_tree() -> None:
    loop = cl.Loop(
        "refine", actor=writer(latency_s=0.01), critic=disagree(), verifiers=[], stop=cl.MaxRounds(30)
    )
    running = asyncio.create_task(loop.run("x"))
    await asyncio.sleep(0.05)
    other = ScriptedModel(lambda r: WRONG, spec="other")
    thread = threading.Thread(target=lambda: asyncio.run(loop.swap("critic", other, when="attempt")))
    thread.start()
    tree = (await running).tree
    thread.join()
    [event] = tree.events
    assert event.data["new"] == "other"
    bindings = [c.binding for c in tree.calls.values() if c.slot == "critic"]
    assert bindings == sorted(bindings, key="other".__eq__), "from one moment on"
    assert {"other", "scripted"} == set(bindings)
    assert outline(cl.Tree.of(tree.log)) == outline(tree)


def two_critics(**use: Any) -> cl.Recipe:
    first = {"agent": "critic/stepwise", "slot": "local"}
    uses = [first | use] if "escalate" in use else [first, {"agent": "critic/verdict", "slot": "hosted", **use}]
    return cl.Recipe.model_validate({"name": "two", "search": [{"kind": "refine"}], "critics": uses})


async def test_a_recipe_may_ask_a_shadow() -> None:
    local, hosted = (
        ScriptedModel(lambda r: WRONG, spec="l"),
        ScriptedModel(lambda r: "Verdict: correct", spec="h"),
    )
    loop = cl.Loop(
        two_critics(shadow=True), actor=writer(), slots={"local": local, "hosted": hosted}, stop=cl.MaxRounds(2)
    )
    result = await loop.run("x")
    heard = {f.author: (not f.advisory, f.verdict) for f in result.tree.feedback.values()}
    assert heard == {"critic/stepwise": (True, cl.Verdict.FAIL), "critic/verdict": (False, cl.Verdict.PASS)}
    with pytest.raises(cl.CriticLoopError, match="asks slot 'hosted', which has no model"):
        cl.Loop(two_critics(shadow=True), actor=writer(), slots={"local": local})


async def test_a_recipe_may_escalate_and_a_resumed_tree_pays_no_opinion_twice(store: str) -> None:
    unsure = '{"verdict": "pass", "confidence": 0.4}'

    def make(hosted: ScriptedModel, local: ScriptedModel, calls: int) -> cl.Loop[str]:
        recipe = two_critics(escalate={"slot": "hosted", "below": 0.7})
        return cl.Loop(
            recipe, actor=writer(), slots={"local": local, "hosted": hosted}, stop=cl.MaxRounds(1),
            max_calls=calls, store=store,
        )  # fmt: skip

    local, hosted = ScriptedModel(lambda r: unsure, spec="l"), ScriptedModel(lambda r: WRONG, spec="h")
    async with make(hosted, local, 2) as loop:
        assert (await loop.run("x", tree_id="t")).stop == "budget"
    async with make(hosted, local, 9) as loop:
        result = await loop.run("x", tree_id="t")
    assert (len(local.requests), len(hosted.requests)) == (1, 1)
    [obeyed] = result.tree.judgements("t.1")
    assert obeyed.verdict is cl.Verdict.FAIL
    assert len(result.tree.feedback) == 2


async def test_an_interrupted_run_asks_no_further_leg() -> None:
    asked: list[str] = []

    async def die(request: Any) -> Any:
        asked.append("first")
        loop.interrupt()
        await asyncio.sleep(0)
        return Unreachable("down")

    second = ScriptedModel(lambda r: WRONG, spec="second")
    chain = Fallback(ScriptedModel(die, spec="first"), second)
    loop = cl.Loop("refine", actor=writer(), critic=chain, verifiers=[])
    result = await loop.run("x")
    assert (result.stop, asked, second.requests) == ("interrupted", ["first"], [])


async def test_a_budget_counts_every_leg() -> None:
    chain = Fallback(
        ScriptedModel(lambda r: Unreachable("down"), spec="a"), ScriptedModel([WRONG] * 9, spec="b")
    )
    loop = cl.Loop("refine", actor=writer(), critic=chain, verifiers=[], max_calls=2)
    result = await loop.run("x")
    assert (result.stop, result.spend.calls) == ("budget", 2)
    assert not result.tree.feedback, "what was not asked stays open"


async def test_a_swap_while_the_search_thinks_stands_before_the_attempt_that_it_held_for() -> None:
    """Else a resumed tree would pin the attempt to what it never had."""

    def swap() -> None:
        critic = ScriptedModel([WRONG], spec="new")
        asyncio.run(loop.swap("critic", critic, when="attempt", warm=False, drain=False))

    def search(tree: cl.Tree) -> Any:
        if tree.asks:
            return cl.Stop()
        thread = threading.Thread(target=swap)
        thread.start()
        thread.join()
        return cl.Move()

    loop = cl.Loop(
        "refine", actor=writer(), critic=ScriptedModel([], spec="old"), verifiers=[], search=cl.search(search)
    )
    tree = (await loop.run("x")).tree
    assert [record.type for record in tree.log[:3]] == ["head", "event", "ask"]
    assert [call.binding for call in tree.calls.values() if call.slot == "critic"] == ["new"]
    assert pins_in(tree) == []


async def test_a_drain_does_not_wait_for_a_graph_that_its_host_cancelled() -> None:
    critic = ScriptedModel([WRONG], spec="old", latency_s=60)
    loop = cl.Loop("refine", actor=writer(), critic=critic, verifiers=[])
    running = asyncio.create_task(loop.graph.ainvoke({"task": "x"}))
    async with asyncio.timeout(10):
        while not critic.requests:
            await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await loop.swap("critic", ScriptedModel([WRONG], spec="new"), when="tree", warm=False)


async def test_a_critic_that_hangs_is_left_within_one_deadline() -> None:
    hanging = TestServer(faults=lambda received: Fault("hang"))
    async with hanging, reviewer("second") as second:
        first = cl.model(spec_of(hanging), settings={"timeout_s": 0.3})
        chain = Fallback(first, spec_of(second), outage=FailurePolicy(opens_after=2, pause_s=60))
        async with cl.Loop("refine", actor=writer(), critic=chain, verifiers=[]) as loop:
            results = [r async for r in loop.map([f"task {n}" for n in range(20)], in_flight=2)]
    assert {r.stop for r in results} == {"accepted"}
    assert len(hanging.requests) <= 4, "then it is left alone"
