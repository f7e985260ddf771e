"""The stages of a lane, their order, and the transitions between them.

`STAGES` is the one table, and `Lane.step` the one place that decides what comes next. Two drivers call it:
LangGraph's (`graph.graph`) and the direct one (`graph.walk`). Knows sessions. Does not know the drivers.

    actor ⇄ tool_executor ─▶ verifier ─▶ critic ─▶ judge ─▶ settled: the actor again, or the end

The search is called right before the actor: it is a pure function, and a stage of its own would cost a step.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from critic_loop.core.log_context import log_context
from critic_loop.core.records import Ask
from critic_loop.graph.parts import LoopParts
from critic_loop.graph.session import Group, Session
from critic_loop.nodes import stages
from critic_loop.nodes.context import RunContext


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A stage: its name, the function that runs it, and whether a loop of given parts has it."""

    name: str
    run: Callable[[RunContext, Sequence[Ask]], Awaitable[None]]
    has: Callable[[LoopParts], bool]


ACTOR, TOOL_EXECUTOR = "actor", "tool_executor"
STAGES = (
    Stage(name=ACTOR, run=stages.actor, has=lambda parts: True),  # noqa: ARG005  # every loop has an actor
    Stage(name=TOOL_EXECUTOR, run=stages.tool_executor, has=lambda parts: bool(parts.tools)),
    Stage(name="verifier", run=stages.verifier, has=lambda parts: bool(parts.verifiers)),
    Stage(name="critic", run=stages.critic, has=lambda parts: bool(parts.critics or parts.humans)),
    Stage(name="judge", run=stages.judge_revisions, has=lambda parts: parts.judges_revisions),
)
"""All stages in their order. Only `tool_executor` leads back: to the actor, whose turn goes on."""


@dataclass(frozen=True, slots=True)
class Position:
    """Where a lane is: the stage that it runs next, and the attempts that it works on."""

    stage: str = ACTOR
    asks: Group = ()


class Lane:
    """The stages that one loop has. Holds no state: any number of lanes of any number of trees use it."""

    def __init__(self, parts: LoopParts) -> None:
        """Take the stages that `parts` need from the table."""
        self.stages = {stage.name: stage for stage in STAGES if stage.has(parts)}
        row = [name for name in self.stages if name != TOOL_EXECUTOR]
        self._after: dict[str, str | None] = dict(zip(row, (*row[1:], None), strict=True))

    def may_follow(self, stage: str) -> tuple[str, ...]:
        """Return the stages that may come after `stage`, for a drawing; every stage may also end the lane."""
        if stage == TOOL_EXECUTOR:
            return (ACTOR,)
        tools = (TOOL_EXECUTOR,) if stage == ACTOR and TOOL_EXECUTOR in self.stages else ()
        return (*tools, self._after[stage] or ACTOR)

    async def step(
        self, session: Session, at: Position, number: int, *, has_room: bool = True
    ) -> Position | None:
        """Run one stage and return where the lane is then; None ends the lane. Never raises.

        An error of a stage, the search or a rule is kept in the session (`Session.fail`): the other lanes
        settle first, then the driver raises it.

        Args:
            session: the tree.
            at: where the lane is.
            number: the lane's number, from 0.
            has_room: whether a host's step limit leaves room to begin an attempt or to run tools.
        """
        try:
            asks = at.asks
            if at.stage == ACTOR:
                asks = await _to_act(session, asks, number, has_room=has_room)
            if not asks:
                return None
            with log_context(tree=session.tree.id, attempt=" ".join(ask.attempt for ask in asks)):
                await self.stages[at.stage].run(session.run, asks)
            return self._next(session, at.stage, asks, has_room=has_room)
        except Exception as error:  # noqa: BLE001  # a user's function may raise anything; the driver raises it again
            session.fail(error)
            return None

    def _next(self, session: Session, stage: str, asks: Group, *, has_room: bool) -> Position | None:
        """Return the position after a stage that succeeded."""
        if stage == TOOL_EXECUTOR:
            return Position(ACTOR, asks)
        if stage == ACTOR and session.spent is not None:
            return _settled(session, asks)
        if stage == ACTOR and stages.mid_turn(session.run, asks):
            if has_room and not session.ended:
                return Position(TOOL_EXECUTOR, asks)
            session.put_back(asks)
            return None
        following = self._after[stage]
        return _settled(session, asks) if following is None else Position(following, asks)


async def _to_act(session: Session, asks: Group, number: int, *, has_room: bool) -> Group:
    """Return the asks for the actor: those of its open turn, else new ones from the search."""
    if not stages.mid_turn(session.run, asks):
        return (await session.next(number) or ()) if has_room else ()
    if session.ended:
        session.put_back(asks)
        return ()
    return asks


def _settled(session: Session, asks: Group) -> Position | None:
    session.settle(asks)
    return None if session.ended else Position()
