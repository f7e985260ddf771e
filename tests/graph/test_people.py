"""People who are asked about attempts: what waits is shown, and no answer of theirs is lost."""

from __future__ import annotations

import asyncio
import io
from typing import Any, TypedDict

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command
from rich.console import Console

import critic_loop as cl
from critic_loop.cli import results
from critic_loop.core.records import Verdict
from critic_loop.errors import NoSuchAttempt, NoSuchTree, NotAwaited, UnreadableResponse
from critic_loop.testing import ScriptedModel
from tests.graph.conftest import counting, outline

pytestmark = pytest.mark.anyio


def reviewed(*people: cl.Human, store: Any = None, **parts: Any) -> cl.Loop[str]:
    """A loop whose n-th answer is `answer n`, and waits for people."""
    asked = [*(people or (cl.Human("ann", question="May this go out?"),))]
    parts = {"actor": counting(), "verifiers": [], **parts}
    return cl.Loop(parts.pop("recipe", "refine"), critic=asked, store=store, **parts)


def said(tree: cl.Tree, attempt_id: str) -> list[tuple[str, Any, str]]:
    return [(f.author, f.verdict, f.text) for f in tree.judgements(attempt_id)]


# -- what waits is shown ---------------------------------------------------------------------------


async def test_a_result_shows_the_draft_that_waits_and_the_question() -> None:
    result = await reviewed().run("x", tree_id="t")
    assert result.stop == "parked"
    [waiting] = result.waiting
    assert (waiting.attempt_id, waiting.answer, waiting.text) == ("t.1", "answer 1", "answer 1")
    assert (waiting.asked, waiting.question) == (("ann",), "May this go out?")
    assert result.problem == "t.1 waits for ann: May this go out?"


async def test_a_result_that_waits_says_so_wherever_it_is_written() -> None:
    result = await reviewed().run("x", tree_id="t")
    written = result.model_dump(mode="json")
    assert written["waiting"] == [
        {
            "attempt_id": "t.1", "answer": "answer 1", "text": "answer 1", "asked": ["ann"],
            "question": "May this go out?",
        }
    ]  # fmt: skip
    out = io.StringIO()
    Console(file=out, width=100).print(results.facts(result, results.row(result)))
    for shown in (str(result), out.getvalue()):
        assert "t.1 waits for ann: May this go out?" in shown
        assert "answer 1" in shown
    assert "loop.respond('t', ...)" in str(result)


async def test_a_result_that_waits_for_nobody_is_printed_as_its_answer() -> None:
    loop = reviewed()
    await loop.run("x", tree_id="t")
    await loop.respond("t", True)
    result = await loop.run("x", tree_id="t")
    assert result.waiting == ()
    assert str(result).splitlines()[0] == "answer 1"
    assert "waits" not in str(result)


# -- no answer is lost -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "",
        "  \n",
        {},
        {"text": ""},
        {"author": "ann"},
        cl.Feedback(),
        {"t.1": ""},
        {"t.1": {}},
        {"t.1": None},
    ],
)
async def test_an_empty_answer_is_refused(answer: Any) -> None:
    loop = reviewed()
    await loop.run("x", tree_id="t")
    with pytest.raises(UnreadableResponse, match=r"about attempt 't\.1' cannot be read: it is empty"):
        await loop.respond("t", answer)
    assert said(await loop.store.load("t"), "t.1") == []


@pytest.mark.parametrize(
    "answer", [{"verdict": "abstain"}, {"score": 0.0}, {"first_error": 0}, {"suggestion": "Warmer."}, 0, "No."]
)
async def test_an_answer_that_says_anything_is_kept(answer: Any) -> None:
    loop = reviewed()
    await loop.run("x", tree_id="t")
    await loop.respond("t", answer)
    assert len(said(await loop.store.load("t"), "t.1")) == 1


async def test_a_misspelt_field_is_refused_by_name() -> None:
    loop = reviewed()
    await loop.run("x", tree_id="t")
    with pytest.raises(UnreadableResponse, match="verdit"):
        await loop.respond("t", {"verdit": "pass"})


async def test_a_feedback_with_wrong_fields_is_refused_and_not_an_abstention() -> None:
    loop = reviewed()
    await loop.run("x", tree_id="t")
    with pytest.raises(UnreadableResponse, match="score"):
        await loop.respond("t", cl.Feedback().model_copy(update={"score": 7.0}))


@pytest.mark.parametrize("unknown", ["t.9", "other.1"])
async def test_an_answer_about_an_unknown_attempt_is_refused_and_nothing_of_it_is_written(unknown: str) -> None:
    loop = reviewed()
    await loop.run("x", tree_id="t")
    with pytest.raises(NoSuchAttempt, match=rf"{unknown}.*These wait: t\.1"):
        await loop.respond("t", {"t.1": True, unknown: True})
    assert said(await loop.store.load("t"), "t.1") == []
    with pytest.raises(NoSuchTree):
        await loop.respond("other", True)


@pytest.mark.parametrize("second", [False, {"t.1": False}])
async def test_a_second_answer_is_refused_and_may_be_added_as_later_feedback(second: Any) -> None:
    loop = reviewed()
    await loop.run("x", tree_id="t")
    await loop.respond("t", {"t.1": True})
    with pytest.raises(NotAwaited, match=r"waits for no answer.*store\.add_feedback"):
        await loop.respond("t", second)
    assert said(await loop.store.load("t"), "t.1") == [("ann", Verdict.PASS, "")]
    assert (await loop.run("x", tree_id="t")).stop == "accepted"
    with pytest.raises(NotAwaited):
        await loop.respond("t", second)
    await loop.store.add_feedback("t.1", cl.Feedback.user(text="No."))
    assert len(said(await loop.store.load("t"), "t.1")) == 2


async def test_an_answer_where_nobody_is_asked_is_refused() -> None:
    loop = cl.Loop("try-again", actor=counting(), verifiers=[], max_calls=1)
    await loop.run("x", tree_id="t")
    with pytest.raises(NotAwaited):
        await loop.respond("t", True)


async def test_attempts_without_an_answer_go_on_waiting() -> None:
    loop = reviewed(recipe="best-of-n", max_calls=3)
    await loop.run("x", tree_id="t")
    await loop.respond("t", {"t.2": True})
    assert (await loop.run("x", tree_id="t")).parked == ("t.1", "t.3")


async def test_of_several_people_each_answers_once() -> None:
    loop = reviewed(cl.Human("ann"), cl.Human("bob"))
    await loop.run("x", tree_id="t")
    await loop.respond("t", {"author": "bob", "verdict": "pass", "text": "Good."})
    with pytest.raises(NotAwaited, match=r"'bob' has answered about attempt 't\.1' already\. It waits for ann"):
        await loop.respond("t", {"author": "bob", "verdict": "fail"})
    assert (await loop.run("x", tree_id="t")).waiting[0].asked == ("ann",)
    await loop.respond("t", True)
    tree = (await loop.run("x", tree_id="t")).tree
    assert sorted(said(tree, "t.1")) == [("ann", Verdict.PASS, ""), ("bob", Verdict.PASS, "Good.")]


async def test_of_two_answers_at_once_one_is_taken_and_the_other_refused(store: str) -> None:
    gate = asyncio.Event()

    async def reply(request: Any) -> str:
        if len(actor.requests) > 1:
            await gate.wait()
        return f"answer {len(actor.requests)}"

    actor = ScriptedModel(reply)
    search = cl.search(lambda tree: cl.Move() if len(tree.asks) < 3 else cl.Wait())
    async with reviewed(recipe="best-of-n", actor=actor, search=search, lanes=2, store=store) as loop:
        running = asyncio.create_task(loop.run("x", tree_id="t"))
        while not (await loop.store.has("t") and (await loop.store.load("t")).attempts):
            await asyncio.sleep(0.01)
        both = await asyncio.gather(*(loop.respond("t", a) for a in (True, False)), return_exceptions=True)
        gate.set()
        tree = (await running).tree
    assert [type(one).__name__ for one in both] == ["NoneType", "NotAwaited"]
    assert said(tree, "t.1") == [("ann", Verdict.PASS, "")]


# -- in a host -------------------------------------------------------------------------------------


class State(TypedDict, total=False):
    task: str
    answer: Any
    tree_id: str


def host(loop: cl.Loop[str], embedded: str) -> Any:
    graph: Any = StateGraph(State)
    graph.add_node("write", loop.as_node() if embedded == "as_node" else loop.graph)
    graph.add_edge(START, "write")
    graph.add_edge("write", END)
    return graph.compile(checkpointer=InMemorySaver())


THREAD = {"configurable": {"thread_id": "1"}}


def asked_in(state: Any) -> dict[str, Any]:
    return state["__interrupt__"][0].value


@pytest.mark.parametrize("embedded", ["as_node", "bare"])
@pytest.mark.parametrize("answer", ["", {"verdit": "pass"}, {"nowhere.9": True}, 7.5])
async def test_a_host_is_asked_again_where_its_answer_cannot_be_used(embedded: str, answer: Any) -> None:
    graph = host(reviewed(), embedded)
    await graph.ainvoke({"task": "x"}, THREAD)
    again = asked_in(await graph.ainvoke(Command(resume=answer), THREAD))
    assert again["error"]
    assert again["attempts"][0]["answer"] == "answer 1"
    revised = asked_in(await graph.ainvoke(Command(resume=False), THREAD))
    assert (revised["attempts"][0]["answer"], "error" in revised) == ("answer 2", False)
    assert (await graph.ainvoke(Command(resume=True), THREAD))["answer"] == "answer 2"


@pytest.mark.parametrize("embedded", ["as_node", "bare"])
async def test_an_answer_of_a_host_that_comes_second_is_later_feedback(embedded: str) -> None:
    """It is about the attempt that the host was asked about, whatever waits by then."""
    loop = reviewed()
    graph = host(loop, embedded)
    asked = asked_in(await graph.ainvoke({"task": "x"}, THREAD))
    tree_id, first = asked["tree_id"], asked["attempts"][0]["attempt_id"]
    await loop.respond(tree_id, {"verdict": "fail", "text": "Too short."})
    state = await graph.ainvoke(Command(resume={"verdict": "pass", "text": "Fine."}), THREAD)
    tree = await loop.store.load(tree_id)
    assert said(tree, first) == [("ann", Verdict.FAIL, "Too short."), ("ann", Verdict.PASS, "Fine.")]
    assert all(said(tree, attempt.id) == [] for attempt in tree if attempt.id != first)
    assert asked_in(state)["attempts"][0]["answer"] == "answer 2"


@pytest.mark.parametrize("embedded", ["as_node", "bare"])
async def test_a_host_whose_question_others_have_answered_goes_on_without_an_answer(embedded: str) -> None:
    loop = reviewed()
    graph = host(loop, embedded)
    tree_id = asked_in(await graph.ainvoke({"task": "x"}, THREAD))["tree_id"]
    await loop.respond(tree_id, False)
    asked = asked_in(await graph.ainvoke(None, THREAD))
    assert asked["attempts"][0]["answer"] == "answer 2"
    done = await graph.ainvoke(Command(resume=True), THREAD)
    assert done["answer"] == "answer 2"
    tree = await loop.store.load(tree_id)
    assert [v for a in tree for _, v, _ in said(tree, a.id)] == [Verdict.FAIL, Verdict.PASS]


async def test_a_host_and_a_caller_leave_the_same_tree() -> None:
    alone, embedded = reviewed(), reviewed()
    graph = host(embedded, "as_node")
    tree_id = asked_in(await graph.ainvoke({"task": "x"}, THREAD))["tree_id"]
    for answer in (False, True):
        await alone.run("x", tree_id=tree_id)
        await alone.respond(tree_id, answer)
        await graph.ainvoke(Command(resume=answer), THREAD)
    result = await alone.run("x", tree_id=tree_id)
    assert outline(result.tree) == outline(await embedded.store.load(tree_id))
