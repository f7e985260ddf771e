"""The LangGraph driver: a loop as a graph, compiled from the table of stages (`graph.lane`).

    dispatch ─ Send per lane ─▶ lane: a node for each stage ─▶ dispatch
      │ ▲
      │ └─ human (one interrupt for all parked attempts)
      └─▶ choose, END

State holds ids; nodes close over the loop's sessions. Lanes are compiled without a checkpointer: the
store is the only truth, and the nodes look into the tree before they do anything. A lane that comes
near its step limit hands back to dispatch, which sends it again; when dispatch itself comes near, the
loop stops with reason `steps` and the best so far.
Importing this module loads LangGraph; it is imported when a graph is asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NotRequired, TypedDict

from langgraph.config import get_config
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.managed import RemainingSteps
from langgraph.runtime import Runtime
from langgraph.types import Command, Send

from critic_loop.core.progress import StopReason
from critic_loop.graph.host import host_stream, opened
from critic_loop.graph.interrupts import ask_people
from critic_loop.graph.lane import ACTOR, Lane, Position
from critic_loop.graph.options import ignore
from critic_loop.graph.registry import Sessions
from critic_loop.graph.session import Session

_LANE_RESERVE = 6
"""Steps that a lane keeps for finishing what it begins: actor, tools, actor, verifier, critic, judge."""
_OUTER_RESERVE = 4
"""Steps that dispatch keeps for the lanes' last round and itself."""


class LoopState(TypedDict, total=False):
    """The state of a loop's graph: the task as input, ids and the answer as output."""

    task: Any
    """Text, a list of messages, or a Task, as JSON or as objects."""
    tree_id: str
    answer: Any
    attempt_id: str | None
    decided_by: str
    stop: str


class _Outer(LoopState):
    steps: RemainingSteps


class _Lane(TypedDict):
    tree_id: str
    lane: int
    asks: NotRequired[list[str]]
    steps: RemainingSteps


class _Nothing(TypedDict):
    """A lane's output: none, since its results are in the tree."""


def build_graph(sessions: Sessions, lane: CompiledStateGraph[Any]) -> CompiledStateGraph[Any]:
    """Return the whole loop for a host: its lanes, its step limit, its interrupts."""

    async def dispatch(state: _Outer, runtime: Runtime[Any]) -> Command[Any]:
        session = await opened(sessions, state, runtime)
        session.run.journal.notify = host_stream() or ignore
        known = {"tree_id": session.tree.id}
        if session.error is not None:
            sessions.close(session.tree.id)
            raise session.error
        if session.stop is None and state["steps"] <= _OUTER_RESERVE:
            session.halt(StopReason("steps", "the caller's recursion limit is reached"))
        if session.stop is None and session.idle() and _can_interrupt(runtime):
            return Command(goto="human", update=known)
        if session.stop is not None or session.idle():
            return Command(goto=END, update=known | await _choose(sessions, session))
        return Command(goto=[Send("lane", {**known, "lane": n}) for n in range(session.lanes)], update=known)

    async def human(state: LoopState) -> None:
        tree_id = state.get("tree_id", "")
        session = await sessions.session(tree_id)
        await session.on_disk()
        sessions.close(tree_id)  # an answer may come from another process: it is read from the store
        await ask_people(sessions, tree_id)

    graph: Any = StateGraph(_Outer, input_schema=LoopState, output_schema=LoopState)
    graph.add_node("dispatch", dispatch, destinations=("lane", "human", END))
    graph.add_node("lane", lane)
    graph.add_node("human", human)
    graph.add_edge(START, "dispatch")
    graph.add_edge("lane", "dispatch")
    graph.add_edge("human", "dispatch")
    return graph.compile(name="critic_loop")


async def _choose(sessions: Sessions, session: Session) -> dict[str, Any]:
    outcome = await session.choose()
    sessions.close(session.tree.id)
    chosen = None if outcome.chosen is None else session.tree[outcome.chosen]
    return {
        "answer": None if chosen is None else chosen.answer,
        "attempt_id": outcome.chosen,
        "decided_by": outcome.decided_by,
        "stop": outcome.stop,
    }


def _can_interrupt(runtime: Runtime[Any]) -> bool:
    """Whether the host keeps a thread that it could resume: an id alone is not enough."""
    info = runtime.execution_info
    keeps = get_config().get("configurable", {}).get("__pregel_checkpointer")
    return info is not None and info.thread_id is not None and keeps is not None


def build_lane(sessions: Sessions, lane: Lane) -> CompiledStateGraph[Any]:
    """Return a lane as a graph with a node for each of its stages."""
    graph: Any = StateGraph(_Lane, output_schema=_Nothing)
    for name in lane.stages:
        graph.add_node(name, _node(sessions, lane, name), destinations=(*lane.may_follow(name), END))
    graph.add_edge(START, ACTOR)
    return graph.compile(checkpointer=False, name="lane")


def _node(sessions: Sessions, lane: Lane, stage: str) -> Callable[[_Lane], Awaitable[Command[Any]]]:
    async def node(state: _Lane) -> Command[Any]:
        try:
            session = await sessions.session(state["tree_id"])
            asks = tuple(session.tree.asks[i] for i in state.get("asks", ()))
            room = state["steps"] > _LANE_RESERVE
            at = await lane.step(session, Position(stage, asks), state["lane"], has_room=room)
        except asyncio.CancelledError:  # attempts of a cancelled tree release their bindings
            sessions.close(state["tree_id"])
            raise
        if at is None:
            return Command(goto=END)
        return Command(update={"asks": [ask.attempt for ask in at.asks]}, goto=at.stage)

    return node
