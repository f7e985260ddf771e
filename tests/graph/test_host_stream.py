"""What a host graph sees of a loop in it: its events in the stream, its runs in the trace."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, TypedDict
from uuid import UUID

import pytest
from jsonschema import Draft202012Validator
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import RunnableLambda
from langgraph.graph import END, START, StateGraph

import critic_loop as cl
from critic_loop.cli.schemas import schemas
from critic_loop.testing import ScriptedModel
from tests.graph.conftest import RIGHT, WRONG

pytestmark = pytest.mark.anyio


class State(TypedDict, total=False):
    task: str
    answer: Any
    stop: str
    tree_id: str


def loop_of_two_rounds(**parts: Any) -> cl.Loop[str]:
    parts = {"actor": ScriptedModel(["41", "42"]), "critic": ScriptedModel([WRONG, RIGHT]), **parts}
    return cl.Loop("refine", verifiers=[], **parts)


def host(node: Any) -> Any:
    graph: Any = StateGraph(State)
    graph.add_node("solve", node)
    graph.add_edge(START, "solve")
    graph.add_edge("solve", END)
    return graph.compile()


async def streamed(graph: Any, *, how: str, **options: Any) -> list[Any]:
    given = {"task": "6*7?"}
    if how == "ainvoke":
        return [chunk async for chunk in graph.astream(given, **options)]
    return await asyncio.to_thread(lambda: list(graph.stream(given, **options)))


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
@pytest.mark.parametrize("deltas", [False, True])
async def test_the_hosts_stream_has_the_events_of_the_loop_in_their_published_shape(
    how: str, deltas: bool
) -> None:
    alone = [event async for event in loop_of_two_rounds().stream("6*7?", deltas=deltas)]
    node = loop_of_two_rounds().as_node(deltas=deltas)
    chunks = await streamed(host(node), how=how, stream_mode="custom")
    assert [chunk["type"] for chunk in chunks] == [json.loads(cl.event_json(event))["type"] for event in alone]
    published = Draft202012Validator(schemas()["stream-event"])
    assert all(published.is_valid(json.loads(json.dumps(chunk))) for chunk in chunks)
    assert chunks[-1]["answer"] == "42"


async def test_an_event_reaches_the_host_while_the_loop_runs() -> None:
    asked, release = asyncio.Event(), asyncio.Event()

    async def slow(request: Any) -> str:
        asked.set()
        await release.wait()
        return "42"

    loop = cl.Loop("refine", actor=ScriptedModel(slow), critic=ScriptedModel([RIGHT]), verifiers=[])
    chunks = host(loop.as_node()).astream({"task": "6*7?"}, stream_mode="custom")
    async with asyncio.timeout(10):
        assert [(await anext(chunks))["type"] for _ in range(2)] == ["ask", "call"]
    assert asked.is_set()
    release.set()
    assert [chunk["type"] async for chunk in chunks][-1] == "result"


@pytest.mark.parametrize("embedded", [False, True])
async def test_the_graph_of_a_loop_streams_its_records_too(embedded: bool) -> None:
    graph = loop_of_two_rounds().graph
    options: dict[str, Any] = {"subgraphs": True} if embedded else {}
    graph = host(graph) if embedded else graph
    chunks = await streamed(graph, how="ainvoke", stream_mode="custom", **options)
    kinds = [chunk[1]["type"] if embedded else chunk["type"] for chunk in chunks]
    assert (kinds[0], kinds[-1], kinds.count("attempt")) == ("ask", "outcome", 2)


async def test_other_stream_modes_of_the_host_are_as_before() -> None:
    [update] = await streamed(host(loop_of_two_rounds().as_node()), how="ainvoke", stream_mode="updates")
    assert update == {"solve": {"answer": "42"}}


class Traced(BaseCallbackHandler):
    """Knows each run's name, parent and tags."""

    def __init__(self) -> None:
        self.runs: dict[UUID, tuple[str, UUID | None]] = {}
        self.tags: set[str] = set()

    def on_chain_start(self, serialized: Any, inputs: Any, *, run_id: UUID, **given: Any) -> None:
        self.runs[run_id] = (given["name"], given.get("parent_run_id"))
        self.tags |= set(given.get("tags") or ())

    def path(self, run_id: UUID | None) -> str:
        if run_id is None:
            return ""
        name, parent = self.runs[run_id]
        return f"{self.path(parent)}/{name}"

    def paths(self) -> list[str]:
        return [self.path(run_id) for run_id in self.runs]


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
async def test_the_hosts_trace_has_the_stages_of_the_loop_under_its_node(how: str) -> None:
    traced, graph = Traced(), host(loop_of_two_rounds().as_node())
    config = {"callbacks": [traced], "tags": ["ticket"]}
    await streamed(graph, how=how, config=config)
    paths = traced.paths()
    assert paths[0] == "/LangGraph"
    assert all(path.startswith("/LangGraph/solve/critic_loop/lane") for path in paths[3:])
    assert paths.count("/LangGraph/solve/critic_loop/lane/actor") == 2
    assert "ticket" in traced.tags


async def test_a_runnable_that_plays_the_actor_is_traced_under_its_stage() -> None:
    traced = Traced()
    loop = loop_of_two_rounds(actor=RunnableLambda(lambda _: "42").with_config(run_name="drafts"))
    await streamed(host(loop.as_node()), how="ainvoke", config={"callbacks": [traced]})
    assert "/LangGraph/solve/critic_loop/lane/actor/drafts" in traced.paths()


async def test_a_run_within_a_function_of_the_host_is_traced_as_well() -> None:
    traced, loop = Traced(), loop_of_two_rounds()

    async def solve(state: State) -> dict[str, Any]:
        return {"answer": (await loop.run(state["task"])).answer}

    await streamed(host(solve), how="ainvoke", config={"callbacks": [traced]})
    assert "/LangGraph/solve/lane/actor" in traced.paths()


@pytest.mark.parametrize("call", ["invoke", "ainvoke"])
async def test_a_node_runs_outside_a_graph_as_well(call: str) -> None:
    node: Any = loop_of_two_rounds().as_node()
    run: Callable[[Any], Any] = getattr(node, call)
    update = (
        await run({"task": "6*7?"}) if call == "ainvoke" else await asyncio.to_thread(run, {"task": "6*7?"})
    )
    assert update == {"answer": "42"}
