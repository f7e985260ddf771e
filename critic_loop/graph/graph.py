"""The LangGraph graph: dispatch and lanes. One lane graph serves every search.

    dispatch ─ Send per lane ─▶ lane:  search, actor ⇄ tool_executor ─▶ verifier ─▶ critic ─▶ judge ─┐
      ▲ │ ▲                             ▲───────────────────────────────────────────────────────────┘
      │ │ └───────────────────────────────┘
      │ ├─▶ human (one interrupt for all parked attempts)
      │ └─▶ choose, END

State holds ids; nodes close over the loop's sessions. Lanes are compiled without a checkpointer: the
store is the only truth, and the nodes look into the tree before they do anything. A lane that comes
near its step limit hands back to dispatch, which sends it again; when dispatch itself comes near, the
loop stops with reason `steps` and the best so far.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NotRequired, Protocol, TypedDict

from langgraph.config import get_config
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.managed import RemainingSteps
from langgraph.runtime import Runtime
from langgraph.types import Command, Send
from structlog.contextvars import bound_contextvars

from critic_loop.core.records import Ask
from critic_loop.core.stop import StopReason
from critic_loop.graph.people import answers_in, ask_people
from critic_loop.graph.session import Group, Session
from critic_loop.nodes import stages
from critic_loop.nodes.context import RunContext

_LANE_RESERVE = 6
"""Steps that a lane keeps for finishing what it begins: actor, tools, actor, verifier, critic, judge."""
_OUTER_RESERVE = 4
"""Steps that dispatch keeps for the lanes' last round and itself."""


class LoopState(TypedDict, total=False):
    """What a host sees of a loop: the task going in, ids and the answer coming out."""

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
    """A lane's output: all that it did stands in the tree."""


class Sessions(Protocol):
    """Trees being written, by id; opened from the store when they are not in memory."""

    async def open(self, state: Mapping[str, Any], runtime: Runtime[Any]) -> Session:
        """Return the session of the tree that `state` names or implies, new or resumed."""
        ...

    async def session(self, tree_id: str) -> Session:
        """Return the session of a tree that exists."""
        ...

    def close(self, tree_id: str) -> None:
        """Forget a session; the tree stays in the store."""
        ...


Stage = Callable[[RunContext, Sequence[Ask]], Awaitable[None]]


def build_graph(sessions: Sessions, lane: CompiledStateGraph[Any]) -> CompiledStateGraph[Any]:
    """Return the whole loop for a host: its lanes, its step limit, its interrupts."""

    async def dispatch(state: _Outer, runtime: Runtime[Any]) -> Command[Any]:
        session = await sessions.open(state, runtime)
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
        await session.run.journal.flush()
        sessions.close(tree_id)  # somebody may answer in another process: the store knows, we would not
        answer = ask_people(session)
        session = await sessions.session(tree_id)
        for attempt_id, feedback in answers_in(answer, session.parked()).items():
            await session.respond(attempt_id, feedback)

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


def build_lane(
    sessions: Sessions, *, tools: bool, verifier: bool, critic: bool, judge: bool
) -> CompiledStateGraph[Any]:
    """Return the lane; stages that a recipe does not have are left out.

    Asking the search is part of the actor's node: a step of LangGraph costs as much CPU as all else in
    a round, and the search is a pure function.
    """
    wanted: tuple[tuple[str, Stage, bool], ...] = (
        ("verifier", stages.verifier, verifier),
        ("critic", stages.critic, critic),
        ("judge", stages.judge_revisions, judge),
    )
    runs: dict[str, Stage] = {name: run for name, run, has in wanted if has}
    after_actor = next(iter(runs), "actor")
    graph: Any = StateGraph(_Lane, output_schema=_Nothing)
    ways = (*(["tool_executor"] * tools), after_actor, END)
    graph.add_node("actor", _left(sessions, _actor(sessions, after_actor)), destinations=ways)
    graph.add_edge(START, "actor")
    if tools:
        graph.add_node(
            "tool_executor",
            _left(sessions, _stage(sessions, stages.tool_executor, "actor")),
            destinations=("actor", END),
        )
    for name, following in zip(runs, [*list(runs)[1:], "actor"], strict=False):
        is_last = following == "actor"
        node = _last_stage(sessions, runs[name]) if is_last else _stage(sessions, runs[name], following)
        graph.add_node(name, _left(sessions, node), destinations=(following, END))
    return graph.compile(checkpointer=False, name="lane")


def _left(
    sessions: Sessions, node: Callable[[_Lane], Awaitable[Command[Any]]]
) -> Callable[[_Lane], Awaitable[Command[Any]]]:
    """Let a lane that is cancelled forget its tree: what has begun there holds no binding any more."""

    async def leaving(state: _Lane) -> Command[Any]:
        try:
            return await node(state)
        except asyncio.CancelledError:
            sessions.close(state["tree_id"])
            raise

    return leaving


def _actor(sessions: Sessions, after_actor: str) -> Callable[[_Lane], Awaitable[Command[Any]]]:
    async def actor(state: _Lane) -> Command[Any]:
        session = await sessions.session(state["tree_id"])
        asks = _asks(session, state)
        if not stages.mid_turn(session.run, asks):
            asks = await _next(session, state) or ()
        elif session.ended:
            session.put_back(asks)
            asks = ()
        if asks and await _caught(session, stages.actor, asks):
            return _after_actor(session, asks, state, after_actor)
        return Command(goto=END)

    return actor


def _after_actor(session: Session, asks: Group, state: _Lane, following: str) -> Command[Any]:
    """Return where a lane goes when its actor has spoken: to tools, to the next stage, or back."""
    if session.run.caller.spent is not None:
        return _settled(session, asks)
    known = {"asks": [ask.attempt for ask in asks]}
    if not stages.mid_turn(session.run, asks):
        return _settled(session, asks) if following == "actor" else Command(update=known, goto=following)
    if state["steps"] > _LANE_RESERVE and not session.ended:
        return Command(update=known, goto="tool_executor")
    session.put_back(asks)
    return Command(goto=END)


def _stage(sessions: Sessions, run: Stage, following: str) -> Callable[[_Lane], Awaitable[Command[Any]]]:
    async def stage(state: _Lane) -> Command[Any]:
        session = await sessions.session(state["tree_id"])
        well = await _caught(session, run, _asks(session, state))
        return Command(goto=following if well else END)

    return stage


def _last_stage(sessions: Sessions, run: Stage) -> Callable[[_Lane], Awaitable[Command[Any]]]:
    async def stage(state: _Lane) -> Command[Any]:
        session = await sessions.session(state["tree_id"])
        asks = _asks(session, state)
        await _caught(session, run, asks)
        return _settled(session, asks)

    return stage


def _settled(session: Session, asks: Group) -> Command[Any]:
    """Tell the session that the lane is through with `asks`, and go on unless that ended the loop."""
    try:
        session.settle(asks)
    except Exception as error:  # noqa: BLE001  # a user's search or rule; lanes never raise: dispatch does
        session.fail(error)
    return Command(update={"asks": []}, goto=END if session.ended else "actor")


def _asks(session: Session, state: _Lane) -> Group:
    return tuple(session.tree.asks[i] for i in state.get("asks", ()))


async def _next(session: Session, state: _Lane) -> Group | None:
    """Return the search's next asks; None ends the lane: nothing more to do, or no steps to finish it in."""
    if state["steps"] <= _LANE_RESERVE:
        return None
    try:
        return await session.next(state["lane"])
    except Exception as error:  # noqa: BLE001  # lanes never raise: dispatch does, once all have settled
        session.fail(error)
        return None


async def _caught(session: Session, run: Stage, asks: Sequence[Ask]) -> bool:
    """Run a stage; keep what it raises for dispatch. Whether all went well."""
    try:
        with bound_contextvars(tree=session.tree.id, attempt=" ".join(ask.attempt for ask in asks)):
            await run(session.run, asks)
    except Exception as error:  # noqa: BLE001  # siblings must settle first; dispatch raises it
        session.fail(error)
        return False
    return True
