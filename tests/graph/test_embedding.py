"""The loop inside other people's graphs: foreign state, context, checkpointer, step limit; people who park."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command

import critic_loop as cl
from critic_loop.assets import Library
from critic_loop.testing import ScriptedModel
from tests.graph.conftest import by_seed, counting, disagree, is_42, never

pytestmark = pytest.mark.anyio


class Host(TypedDict, total=False):
    issue: str
    patch: str | None
    stop: str


@dataclass
class HostContext:
    user: str


def host(node: Any, checkpointer: Any = None) -> Any:
    graph: Any = StateGraph(Host, context_schema=HostContext)
    graph.add_node("fix", node)
    graph.add_edge(START, "fix")
    graph.add_edge("fix", END)
    return graph.compile(checkpointer=checkpointer)


def long_loop(attempts: int, store: str | None = None) -> cl.Loop[str]:
    recipe = Library().recipe("try-again").model_copy(update={"memory": "last"})
    return cl.Loop(
        recipe, actor=counting(), verifiers=[never], stop=cl.MaxAttempts(attempts), max_calls=1000, store=store
    )


async def test_a_host_with_its_own_limit_gets_all_400_attempts() -> None:
    loop = long_loop(400)
    node = loop.as_node(
        input=lambda state: state["issue"],
        output=lambda r: {"patch": r.answer, "stop": f"{r.stop} {len(r.tree)}"},
    )
    config = {"recursion_limit": 25, "configurable": {"thread_id": "1"}}
    graph = host(node, InMemorySaver())
    state = await graph.ainvoke({"issue": "Fix #41"}, config, context=HostContext(user="ann"))
    assert state["stop"] == "max_attempts 400"


async def test_as_a_bare_subgraph_it_stops_in_time_with_the_best_so_far() -> None:
    loop = long_loop(400)

    async def fix(state: Host) -> dict[str, Any]:
        out = await loop.graph.ainvoke({"task": state["issue"]})
        return {"patch": out["answer"], "stop": out["stop"]}

    graph = host(fix, InMemorySaver())
    config = {"recursion_limit": 25, "configurable": {"thread_id": "1"}}
    state = await graph.ainvoke({"issue": "Fix #41"}, config, context=HostContext(user="ann"))
    assert state["stop"] == "steps"
    assert state["patch"] is not None


class SharedState(TypedDict, total=False):
    task: str
    answer: Any
    stop: str
    tree_id: str


@pytest.mark.parametrize("limit", [6, 10, 25])
async def test_as_a_node_that_shares_keys_it_never_hits_the_hosts_fuse(limit: int) -> None:
    loop = long_loop(400)
    graph: Any = StateGraph(SharedState)
    graph.add_node("loop", loop.graph)
    graph.add_edge(START, "loop")
    graph.add_edge("loop", END)
    state = await graph.compile().ainvoke({"task": "x"}, {"recursion_limit": limit})
    assert state["stop"] == "steps"
    tree = await loop.store.load(state["tree_id"])
    assert not tree.open, "what was begun was finished"


async def test_a_host_that_is_invoked_synchronously_runs_the_loop() -> None:
    """Also in code that an event loop runs: the loop has an event loop of its own, in a thread."""
    loop = cl.Loop("try-again", actor=ScriptedModel(lambda r: "42"), verifiers=[is_42], lanes=2)
    graph = host(loop.as_node(input="issue", output="patch"))
    assert graph.invoke({"issue": "x"})["patch"] == "42"
    assert (await asyncio.to_thread(graph.invoke, {"issue": "x"}))["patch"] == "42"
    assert (await graph.ainvoke({"issue": "x"}))["patch"] == "42"
    await loop.aclose()


async def test_a_person_is_asked_and_heard_under_invoke(store: str, tmp_path: Path) -> None:
    config: Any = {"configurable": {"thread_id": "1"}}
    async with asking(store, tmp_path / "log") as loop:
        graph = host(loop.as_node(input="issue", output="patch"), InMemorySaver())

        def converse() -> list[Any]:
            asked = graph.invoke({"issue": "6*7?"}, config)["__interrupt__"][0].value["attempts"][0]["answer"]
            again = graph.invoke(Command(resume={"verdict": "fail", "text": "Too small."}), config)
            done = graph.invoke(Command(resume=True), config)
            return [asked, again["__interrupt__"][0].value["attempts"][0]["answer"], done["patch"]]

        assert await asyncio.to_thread(converse) == ["41", "42", "42"]
    assert (tmp_path / "log").read_text() == "paid\n" * 2


async def test_lanes_make_few_checkpoints() -> None:
    saver = InMemorySaver()
    graph = host(long_loop(50).as_node(input="issue", output="patch"), saver)
    config = {"configurable": {"thread_id": "1"}}
    await graph.ainvoke({"issue": "x"}, config)
    assert len(list(saver.list(None))) <= 9


def asking(store: str, log: Path) -> cl.Loop[str]:
    """A loop whose attempts wait for a person; every paid call leaves a line in `log`."""

    def reply(request: Any) -> str:
        with log.open("a") as file:
            file.write("paid\n")
        return "41" if len(request.messages) < 4 else "42"

    return cl.Loop(
        "refine",
        actor=ScriptedModel(reply),
        critic=cl.Human("ann", question="Right?"),
        verifiers=[],
        store=store,
    )


async def test_outside_a_host_a_person_parks_the_tree_and_hear_lets_it_go_on(
    store: str, tmp_path: Path
) -> None:
    async with asking(store, tmp_path / "log") as loop:
        result = await loop.run("What is 6*7?", tree_id="t")
        assert result.stop == "parked"
        assert len(result.parked) == 1
        await loop.respond("t", {"verdict": "fail", "text": "Too small."})
        result = await loop.run("What is 6*7?", tree_id="t")
        assert result.stop == "parked"
        await loop.respond("t", True)
        result = await loop.run("What is 6*7?", tree_id="t")
    assert (result.answer, result.stop) == ("42", "accepted")
    assert (tmp_path / "log").read_text() == "paid\n" * 2


@pytest.mark.parametrize("embedded", ["as_node", "bare"])
async def test_an_interrupt_survives_a_restart_and_repeats_no_paid_call(
    store: str, tmp_path: Path, embedded: str
) -> None:
    log, config = tmp_path / "log", {"configurable": {"thread_id": "1"}}

    async def session(given: Any) -> Any:
        """What one process does: everything is opened anew."""
        async with (
            AsyncSqliteSaver.from_conn_string(str(tmp_path / "host.db")) as saver,
            asking(store, log) as loop,
        ):
            if embedded == "as_node":
                graph = host(loop.as_node(input="issue", output="patch"), saver)
            else:
                shared: Any = StateGraph(SharedState)
                shared.add_node("loop", loop.graph)
                shared.add_edge(START, "loop")
                graph = shared.compile(checkpointer=saver)
            return await graph.ainvoke(given, config)

    task = "What is 6*7?"
    first = await session({"issue": task, "task": task} if embedded == "bare" else {"issue": task})
    asked = first["__interrupt__"][0].value
    assert asked["attempts"][0]["answer"] == "41"
    assert asked["attempts"][0]["question"] == "Right?"
    second = await session(Command(resume={"verdict": "fail", "text": "Too small."}))
    assert second["__interrupt__"][0].value["attempts"][0]["answer"] == "42"
    third = await session(Command(resume=True))
    assert third.get("patch") == "42" or third.get("answer") == "42"
    assert log.read_text() == "paid\n" * 2


async def test_other_lanes_go_on_while_one_attempt_is_parked(tmp_path: Path) -> None:
    loop = cl.Loop("best-of-n", actor=by_seed(), critic=cl.Human("ann"), verifiers=[], lanes=2)
    result = await loop.run("x")
    assert result.stop == "parked"
    assert len(result.parked) == 8, "all samples were made before anybody was asked"


async def test_the_same_thread_with_another_task_gets_another_tree() -> None:
    loop = cl.Loop("try-again", actor=ScriptedModel(lambda r: "42"), verifiers=[is_42])
    graph: Any = StateGraph(SharedState)
    graph.add_node("loop", loop.graph)
    graph.add_edge(START, "loop")
    compiled = graph.compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    one = await compiled.ainvoke({"task": "a"}, config)
    two = await compiled.ainvoke({"task": "b"}, config)
    assert one["tree_id"] != two["tree_id"]


async def test_a_graph_without_a_task_says_what_to_pass() -> None:
    with pytest.raises(cl.CriticLoopError, match="without a task"):
        await long_loop(3).graph.ainvoke({})


async def test_runnables_and_compiled_graphs_play_the_actor() -> None:
    from langchain_core.runnables import RunnableLambda

    def act(turns: list[tuple[str, str]]) -> str:
        return "42" if any("too small" in text for _, text in turns) else "41"

    class Chat(TypedDict):
        messages: list[Any]

    def node(state: Chat) -> dict[str, Any]:
        return {"messages": [Said(act(state["messages"]))]}

    graph: Any = StateGraph(Chat)
    graph.add_node("act", node)
    graph.add_edge(START, "act")

    @cl.verifier
    def checked(view: cl.View[str]) -> cl.Feedback:
        return cl.Feedback.passed() if view.answer == "42" else cl.Feedback.failed("too small")

    for actor in (RunnableLambda(act), graph.compile()):
        result = await cl.Loop("refine", actor=actor, critic=disagree(), verifiers=[checked]).run("6*7?")
        assert (result.answer, result.stop) == ("42", "verified")


@dataclass
class Said:
    content: str


def test_importing_the_package_loads_no_langgraph() -> None:
    code = "import sys, critic_loop; sys.exit('langgraph' in sys.modules or 'httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
