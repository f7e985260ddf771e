"""Loops from end to end, with scripted models."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from pydantic import BaseModel

import critic_loop as cl
from critic_loop.core.errors import (
    AuthFailed,
    ConfigError,
    ModelError,
    OtherLoop,
    OtherTask,
    SearchError,
    Unreachable,
)
from critic_loop.core.records import Ask, Call, Feedback, Outcome, Reply
from critic_loop.models import Retrying, RetryPolicy, resolve
from critic_loop.search import Refine
from critic_loop.testing import Fault, ScriptedModel, TestServer
from tests.graph.conftest import RIGHT, WRONG, by_seed, counting, disagree, is_42, never, outline

pytestmark = pytest.mark.anyio


async def test_refines_until_the_critic_accepts() -> None:
    actor, critic = ScriptedModel(["41", "42"]), ScriptedModel([WRONG, RIGHT])
    result = await cl.Loop("refine", actor=actor, critic=critic).run("What is 6*7?")
    assert (result.answer, result.stop, result.decided_by) == ("42", "accepted", "critic")
    assert result.verdict is cl.Verdict.PASS
    assert result.spend.calls == 4
    assert "No." in actor.requests[1].messages[-1].text


async def test_stops_at_the_first_verified_answer_and_spares_the_critic() -> None:
    critic = disagree()
    loop = cl.Loop("refine", actor=ScriptedModel(["42"]), critic=critic, verifiers=[is_42])
    result = await loop.run("What is 6*7?")
    assert (result.answer, result.stop, result.decided_by) == ("42", "verified", "verifier")
    assert critic.requests == []


async def test_a_critics_outage_is_an_abstention_and_the_loop_goes_on() -> None:
    critic = ScriptedModel([ModelError("down"), RIGHT])
    result = await cl.Loop("refine", actor=counting(), critic=critic).run("x")
    first = next(f for f in result.tree.feedback.values() if f.source == "critic")
    assert first.verdict is cl.Verdict.ABSTAIN
    assert first.score is None
    assert "down" in first.reason
    assert result.stop == "accepted"


async def test_an_unreachable_critic_abstains_but_an_unreachable_actor_ends_the_run() -> None:
    critic = ScriptedModel(lambda request: Unreachable("nobody there"))
    result = await cl.Loop("refine", actor=counting(), critic=critic, stop=cl.MaxRounds(2)).run("x")
    assert len(result.tree) == 2
    with pytest.raises(Unreachable):
        await cl.Loop("refine", actor=critic, critic=disagree()).run("x")


async def test_three_failures_in_a_row_are_a_stop_reason() -> None:
    actor = ScriptedModel(lambda request: ModelError("broken"))
    loop = cl.Loop("refine", actor=actor, critic=disagree(), stop=cl.Failing(3) | cl.MaxAttempts(9))
    result = await loop.run("x")
    assert (result.stop, len(result.tree), result.answer) == ("failing", 3, None)


async def test_the_budget_is_a_stop_reason_with_the_best_so_far(store: str) -> None:
    async with cl.Loop(
        "refine", actor=counting(), critic=disagree(), max_calls=5, store=store, stop=cl.MaxAttempts(4)
    ) as loop:
        result = await loop.run("x", tree_id="t")
        assert (result.stop, result.answer) == ("budget", "answer 3"), "not judged ranks above rejected"
        assert result.spend.calls == 5
    more = cl.Loop(
        "refine", actor=counting(), critic=disagree(), max_calls=50, store=store, stop=cl.MaxAttempts(4)
    )
    async with more:
        again = await more.run("x", tree_id="t")
    assert again.stop == "max_attempts"
    assert again.spend.calls == 8, "what was paid for under the smaller budget is not asked again"


async def test_lanes_share_the_tree_and_make_each_attempt_once() -> None:
    loop = cl.Loop("best-of-n", actor=counting(), verifiers=[never], lanes=8, max_calls=64)
    result = await loop.run("x")
    assert len(result.tree) == 8
    assert len({a.answer for a in result.tree}) == 8
    assert result.stop == "exhausted"


async def test_one_request_answers_a_group_of_samples() -> None:
    actor = counting()
    search = cl.search(
        lambda tree: cl.Stop() if len(tree) else (cl.Wait() if tree.asks else cl.Move(samples=3))
    )
    result = await cl.Loop("best-of-n", actor=actor, verifiers=[], search=search).run("x")
    assert [r.choices for r in actor.requests] == [3]
    assert len(result.tree) == 3
    assert {ask.group for ask in result.tree.asks.values()} == {f"{result.tree.id}.1"}


async def test_nested_searches_refine_each_draft() -> None:
    loop = cl.Loop("parallel-refine", actor=counting(), critic=disagree(), verifiers=[])
    result = await loop.run("x")
    depths = sorted(result.tree.depth(a.id) for a in result.tree)
    assert depths == [0] * 4 + [1] * 4 + [2] * 4


async def test_self_check_votes_among_what_the_critic_accepts() -> None:
    answers = ["7", "7", "7", "8", "8", "9", "9", "9"]
    critic = ScriptedModel(
        lambda r: WRONG if "\n7\n" in r.messages[-1].text or "\n9\n" in r.messages[-1].text else RIGHT
    )
    loop = cl.Loop("self-check", actor=ScriptedModel(answers), critic=critic, lanes=1)
    result = await loop.run("x")
    assert (result.answer, result.decided_by) == ("8", "vote")


async def test_a_revision_stays_only_if_it_beats_its_parent_in_both_orders() -> None:
    rubric = '{"criteria": [{"name": "clear", "score": 0.5}], "verdict": "fail"}'
    verdicts = iter(["Better: A", "Better: A", "Better: B", "Better: A"])
    judge = ScriptedModel(lambda request: next(verdicts))
    loop = cl.Loop(
        "refine-rubric",
        actor=counting(),
        critic=ScriptedModel(lambda r: rubric),
        judge=judge,
        stop=cl.MaxAttempts(3),
    )
    result = await loop.run("Write a haiku.")
    ids = [a.id for a in result.tree]
    # Judged (1, 2) A and (2, 1) A: contradicts itself, a tie, the parent stays and is revised again.
    assert result.tree[ids[2]].parents == (ids[0],)
    # Judged (1, 3) B and (3, 1) A: the third wins in both orders.
    assert result.attempt_id == ids[2]
    assert result.decided_by == "judge"


class Patch(BaseModel):
    file: str
    line: int


async def test_an_answer_that_does_not_fit_its_schema_is_feedback_for_the_next_revision() -> None:
    actor = ScriptedModel(['{"file": "a.py"}', '{"file": "a.py", "line": 3}'])
    loop = cl.Loop("refine", actor=actor, critic=ScriptedModel([RIGHT]), output=Patch)
    result = await loop.run("Fix it.")
    assert result.answer == Patch(file="a.py", line=3)
    first = next(iter(result.tree.feedback.values()))
    assert (first.source, first.author, first.verdict) == ("verifier", "output", cl.Verdict.FAIL)
    assert "line" in actor.requests[1].messages[-1].text
    assert actor.requests[0].output is not None


async def test_an_unreadable_answer_is_never_returned_as_an_answer() -> None:
    loop = cl.Loop(
        "refine",
        actor=ScriptedModel(lambda r: "not json"),
        critic=disagree(),
        output=Patch,
        stop=cl.MaxRounds(2),
    )
    result = await loop.run("Fix it.")
    assert result.answer is None
    assert result.stop == "max_rounds"


async def test_actors_and_critics_may_be_functions() -> None:
    async def actor(view: cl.View[str]) -> str:
        return f"{view.task.text} {len(view.path)} {[f.verdict for f in view.feedback]}"

    @cl.critic
    async def strict(view: cl.View[str]) -> cl.Feedback:
        reply = await view.ask(f"Is {view.answer} good?")
        return cl.Feedback.passed(reply) if reply == "yes" else cl.Feedback.failed(reply)

    critic_model = ScriptedModel(["no", "yes"])
    loop = cl.Loop("refine", actor=actor, critic=strict, slots={"critic": critic_model})
    result = await loop.run("x")
    assert result.answer == "x 1 [<Verdict.FAIL: 'fail'>]"
    assert [f.calls for f in result.tree.feedback.values() if f.source == "critic"] != [(), ()]
    assert len(critic_model.requests) == 2


async def test_a_function_actor_that_raises_is_a_failed_attempt() -> None:
    async def actor(view: cl.View[str]) -> str:
        raise ValueError("oops")

    result = await cl.Loop("refine", actor=actor, critic=disagree(), stop=cl.Failing(2)).run("x")
    assert result.stop == "failing"
    assert "oops" in result.tree[result.tree.roots[0]].error


async def test_tools_run_between_turns_of_one_attempt() -> None:
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    call = cl.Message.model_validate(
        {
            "role": "assistant",
            "sampled": True,
            "parts": [{"type": "tool_call", "id": "c1", "name": "add", "arguments": {"a": 40, "b": 2}}],
        }
    )
    actor = ScriptedModel([call, "42"])
    result = await cl.Loop("refine", actor=actor, critic=disagree(), verifiers=[is_42], tools=[add]).run("x")
    assert result.answer == "42"
    assert len(result.tree) == 1
    attempt = result.tree[result.tree.roots[0]]
    assert [m.role for m in attempt.messages] == ["assistant", "tool", "assistant"]
    assert actor.requests[1].messages[-1].parts[0].text == "42"  # type: ignore[union-attr]
    assert len(attempt.calls) == 2


async def test_stream_yields_every_record_and_the_result_last() -> None:
    loop = cl.Loop("refine", actor=ScriptedModel(["42"]), critic=ScriptedModel([RIGHT]))
    seen = [item async for item in loop.stream("x")]
    kinds = [type(item) for item in seen[:-1]]
    assert (
        kinds.index(Ask) < kinds.index(Call) < kinds.index(Reply) < kinds.index(Feedback) < kinds.index(Outcome)
    )
    assert isinstance(seen[-1], cl.Result)
    assert seen[-1].tree.log[1:] == seen[:-1]


def test_run_sync_works_with_and_without_a_running_event_loop() -> None:
    loop = cl.Loop("refine", actor=by_seed(), critic=disagree(), stop=cl.MaxRounds(1))
    first = loop.run_sync("x").answer

    async def inside() -> Any:
        return await asyncio.to_thread(loop.run_sync, "x")

    assert asyncio.run(inside()).answer == first
    asyncio.run(loop.aclose())


def test_closing_ends_generators_that_were_left_open() -> None:
    ended: list[bool] = []

    async def pieces() -> AsyncGenerator[str]:
        try:
            yield "42"
        finally:
            ended.append(True)

    held = pieces()

    async def answer(request: Any) -> str:
        return await anext(held)

    loop = cl.Loop("best-of-n", actor=ScriptedModel(answer), max_calls=1)
    assert loop.run_sync("x").answer == "42"
    assert not ended
    asyncio.run(loop.aclose())
    assert ended


async def test_map_keeps_its_window() -> None:
    running, most = 0, 0

    async def slow(request: Any) -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return "42"

    loop = cl.Loop("try-again", actor=ScriptedModel(slow), verifiers=[is_42])
    results = [r async for r in loop.map((f"task {n}" for n in range(20)), in_flight=4)]
    assert len(results) == 20
    assert most == 4


async def test_a_wrong_key_ends_the_map_and_writes_nothing_as_failed(store: str) -> None:
    def reply(request: Any) -> Any:
        return AuthFailed("wrong key") if "task 3" in request.messages[-1].text else "42"

    loop = cl.Loop("try-again", actor=ScriptedModel(reply), verifiers=[is_42], store=store)
    seen: list[Any] = []
    with pytest.raises(AuthFailed, match="wrong key"):
        async for result in loop.map([f"task {n}" for n in range(8)], in_flight=2):
            seen.append(result.stop)
    assert set(seen) == {"verified"}
    infos = [info async for info in loop.store.trees()]
    unfinished = [info for info in infos if info.stop is None]
    assert len(unfinished) == 1
    tree = await loop.store.load(unfinished[0].id)
    assert all(a.status != "failed" for a in tree)
    await loop.aclose()
    mended = cl.Loop("try-again", actor=ScriptedModel(lambda r: "42"), verifiers=[is_42], store=store)
    again = [r async for r in mended.map([f"task {n}" for n in range(8)], in_flight=2)]
    assert [r.stop for r in again] == ["verified"] * 8
    await mended.aclose()


async def test_map_run_again_asks_for_nothing_that_is_finished(store: str) -> None:
    tasks = [f"task {n}" for n in range(5)]
    async with cl.Loop("try-again", actor=by_seed(), verifiers=[never], store=store) as loop:
        before = {r.task.id: outline(r.tree) async for r in loop.map(tasks)}
    silent = ScriptedModel([])
    async with cl.Loop("try-again", actor=silent, verifiers=[never], store=store) as loop:
        after = {r.task.id: outline(r.tree) async for r in loop.map(tasks)}
    assert silent.requests == []
    assert after == before


async def test_another_loop_may_not_resume_a_tree(store: str) -> None:
    async with cl.Loop("try-again", actor=counting(), verifiers=[never], store=store) as loop:
        await loop.run("x", tree_id="t")
    async with cl.Loop("refine", actor=counting(), critic=disagree(), store=store) as other:
        with pytest.raises(OtherLoop, match=r"these differ: .*recipe"):
            await other.run("x", tree_id="t")


async def test_a_search_that_waits_for_nothing_is_told_so() -> None:
    loop = cl.Loop("best-of-n", actor=counting(), verifiers=[], search=lambda tree: cl.Wait())
    with pytest.raises(SearchError, match="nothing is in flight"):
        await loop.run("x")


async def test_a_search_that_returns_no_move_ends_the_tree() -> None:
    class Silent(Refine):
        def ask(self, state: Any, tree: cl.Tree) -> Any:
            return None

    with pytest.raises(SearchError, match="search 'Silent' returned None"):
        await cl.Loop("refine", actor=counting(), critic=disagree(), search=Silent(rounds=2)).run("x")


async def test_cancelling_stops_all_lanes_and_records_what_was_in_flight() -> None:
    started = asyncio.Event()

    async def hang(request: Any) -> str:
        started.set()
        await asyncio.sleep(3600)
        return "never"

    loop = cl.Loop("best-of-n", actor=ScriptedModel(hang), verifiers=[], lanes=4)
    running = asyncio.create_task(loop.run("x", tree_id="t"))
    await started.wait()
    await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    tree = await loop.store.load("t")
    assert {r.status for r in tree.replies.values()} == {"cancelled"}
    assert len(tree.attempts) == 0


async def test_elapsed_bounds_a_hanging_call() -> None:
    seen: list[float | None] = []

    def reply(request: Any) -> str:
        seen.append(request.timeout_s)
        return "x"

    await cl.Loop(
        "refine", actor=ScriptedModel(reply), critic=disagree(), stop=cl.Elapsed(20) | cl.MaxRounds(1)
    ).run("x")
    assert seen[0] is not None
    assert 0 < seen[0] <= 20


async def test_a_loop_is_a_model_for_another_loop() -> None:
    inner = cl.Loop("refine", actor=ScriptedModel(["42"]), critic=ScriptedModel([RIGHT]))
    outer = cl.Loop("try-again", actor=inner.as_model(), verifiers=[is_42])
    result = await outer.run("What is 6*7?")
    assert result.answer == "42"
    assert result.tree.calls[f"{result.tree.id}.c1"].binding == "loop:refine"


async def test_no_critic_means_the_actors_model_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="no critic was given"):
        loop = cl.Loop("refine", actor=ScriptedModel(["42", RIGHT]))
    assert (await loop.run("x")).stop == "accepted"


def test_no_actor_is_a_clear_error() -> None:
    with pytest.raises(ConfigError, match="no actor was given"):
        cl.Loop("refine")


async def test_images_and_chinese_go_through_unharmed(store: str) -> None:
    picture = cl.Image.of(b"\x89PNG fake", "image/png")
    task = cl.Task(prompt=(cl.user("图中有几只猫？", picture),), language="zh", reference="三")
    actor, critic = ScriptedModel(["两只", "答案：三"]), ScriptedModel(["数错了。\n判断：错误"])
    async with cl.Loop("refine", actor=actor, critic=critic, store=store) as loop:
        result = await loop.run(task)
        stored = await loop.store.load(result.tree.id)
    assert (result.answer, result.stop) == ("答案：三", "verified")
    assert actor.requests[1].messages[1].parts[1].data == picture.data  # type: ignore[union-attr]
    assert critic.requests[0].messages[-1].blobs[0].data == picture.data
    assert stored.task.prompt[0].blobs[0].data == picture.data
    assert outline(stored) == outline(result.tree)


async def test_late_feedback_reaches_the_stored_tree(store: str) -> None:
    async with cl.Loop(
        "refine", actor=ScriptedModel(["42"]), critic=ScriptedModel([RIGHT]), store=store
    ) as loop:
        result = await loop.run("x")
        assert result.attempt_id is not None
        await loop.store.add_feedback(result.attempt_id, cl.Feedback.user(score=0.0, text="wrong file"))
        tree = await loop.store.load(result.tree.id)
    late = [f for f in tree.about(result.attempt_id) if f.source == "user"]
    assert [(f.score, f.text) for f in late] == [(0.0, "wrong file")]


async def test_retries_count_against_the_budget() -> None:
    async with TestServer(["unused"], faults=lambda request: Fault("server_error")) as server:
        model = resolve(f"chat:test@{server.url}", settings={"attempts": 9})
        assert isinstance(model, Retrying)
        hasty = Retrying(model.inner, RetryPolicy(attempts=9, same_error=9, first_wait_s=0.001))
        loop = cl.Loop("try-again", actor=hasty, verifiers=[never], max_calls=3)
        result = await loop.run("x")
        assert len(server.requests) == 3
        assert result.stop == "budget"
        await loop.aclose()
        await hasty.aclose()


async def test_the_tools_that_were_offered_stand_in_the_tree_and_in_the_rows() -> None:
    from critic_loop.export import FORMATS, Row

    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    call = cl.Message.model_validate(
        {
            "role": "assistant",
            "sampled": True,
            "parts": [{"type": "tool_call", "id": "c1", "name": "add", "arguments": {"a": 40, "b": 2}}],
        }
    )
    final = cl.assistant("42", sampled=True)
    loop = cl.Loop("try-again", actor=ScriptedModel([call, final]), verifiers=[is_42], tools=[add])
    result = await loop.run("x")
    rows = [row for row in FORMATS["sft"]().rows([result.tree]) if isinstance(row, Row)]
    function = rows[0].columns["tools"][0]["function"]  # type: ignore[index,call-overload]
    assert function["name"] == "add"  # type: ignore[index,call-overload]
    assert set(function["parameters"]["properties"]) == {"a", "b"}  # type: ignore[index,call-overload]


async def test_an_actor_that_always_fails_ends_the_loop_whatever_its_rules() -> None:
    async def broken(view: cl.View[str]) -> str:
        raise ValueError("oops")

    result = await cl.Loop("try-again", actor=broken, verifiers=[never], stop=cl.Verified()).run("x")
    assert (result.stop, len(result.tree)) == ("failing", 3)


async def test_function_actors_are_bounded_by_the_cap_on_calls() -> None:
    async def tireless(view: cl.View[str]) -> str:
        return "no"

    result = await cl.Loop("try-again", actor=tireless, verifiers=[never], stop=cl.Verified(), max_calls=7).run(
        "x"
    )
    assert (result.stop, len(result.tree)) == ("budget", 7)


async def test_a_known_task_id_with_another_prompt_is_refused(store: str) -> None:
    async with cl.Loop(
        "try-again", actor=ScriptedModel(lambda r: "42"), verifiers=[is_42], store=store
    ) as loop:
        first = cl.Task.of("6*7?", id="q1")
        assert [r.answer async for r in loop.map([first])] == ["42"]
        with pytest.raises(OtherTask, match=r"another task .*its prompt differs"):
            async for _ in loop.map([cl.Task.of("7*7?", id="q1")]):
                pass


def rejecting(**fields: Any) -> cl.Recipe:
    given = {"actor": "actor/anti-repeat", "memory": "rejected", "stop": [{"max_rounds": 3}], **fields}
    return cl.Recipe.model_validate({"name": "anti-repeat", "search": {"kind": "refine"}, **given})


async def test_rejected_answers_are_shown_together_in_one_message() -> None:
    actor = counting()
    result = await cl.Loop(rejecting(), actor=actor, verifiers=[never]).run("x")
    assert len(result.tree) == 3
    system, task, told = actor.requests[2].messages
    assert (system.role, task.text, told.role) == ("system", "x", "user")
    assert re.findall(r"<data \w+ rejected>\n(.*)\n</data", told.text) == ["answer 1", "answer 2"]
    assert told.text.endswith(
        "Do not repeat any of them. Think again from the beginning, and give a different answer."
    )


async def test_rejected_answers_need_a_prompt_that_lists_them() -> None:
    expected = r"recipe 'anti-repeat', key 'memory', .*solver\.md, key 'variables', does not declare 'rejected'"
    with pytest.raises(ConfigError, match=expected):
        cl.Loop(rejecting(actor="actor/solver"), actor=counting())

    async def own(view: cl.View[str]) -> str:
        return f"{len(view.path)} before"

    result = await cl.Loop(rejecting(actor="actor/solver"), actor=own, verifiers=[never]).run("x")
    assert [a.answer for a in result.tree] == ["0 before", "1 before", "2 before"]


async def test_a_search_is_told_of_each_attempt_once_when_it_has_been_judged() -> None:
    class Listening:
        told: list[tuple[str, int]]

        def start(self, task: cl.Task) -> int:
            self.told = []
            return 0

        def fold(self, state: int, tree: cl.Tree, record: Ask | cl.Attempt) -> int:
            about = 0 if isinstance(record, Ask) else len(tree.judgements(record.id))
            self.told.append((record.type, about))
            return state + 1

        def ask(self, state: int, tree: cl.Tree) -> cl.Move | cl.Wait | cl.Stop:
            return cl.Wait() if state % 2 else cl.Move() if state < 4 else cl.Stop()

    search = Listening()
    await cl.Loop("refine", actor=counting(), critic=disagree(), verifiers=[never], search=search).run("x")
    assert search.told == [("ask", 0), ("attempt", 2)] * 2
