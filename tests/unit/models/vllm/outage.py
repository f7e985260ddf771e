"""A job on a fallback chain whose first model loses its server, and what its records say of that."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import critic_loop as cl
from critic_loop.core.records import Call, Reply
from critic_loop.models.wrappers.breaker import BreakerEvent


@dataclass
class Outage:
    """A job that goes on until the first model has answered again."""

    loop: cl.Loop
    first: str
    kill: Callable[[], None]
    enough: int = 4
    """Answers of the first model before its server is killed, and after it is back."""
    states: list[str] = field(default_factory=list)
    """Of the first model's breaker, as they came."""
    calls: list[tuple[Call, Reply]] = field(default_factory=list)
    """In the order in which they were sent."""

    async def pass_by(self, tasks: Iterator[cl.Task]) -> list[cl.Result]:
        """Run the job; the server is killed once it has answered enough."""
        self.loop.switchboard.subscribe(self._note)
        results, killed, before = [], False, 0
        taken = itertools.takewhile(
            lambda _: not killed or self._answered(results) < before + self.enough, tasks
        )
        async for result in self.loop.map(taken, in_flight=4):
            results.append(result)
            if not killed and self._answered(results) >= self.enough:
                self.kill()
                killed, before = True, self._answered(results) + 4  # what is in flight may have been answered
        trees = [result.tree for result in results]
        pairs = [(call, tree.replies[call.id]) for tree in trees for call in tree.calls.values()]
        self.calls = sorted(pairs, key=lambda pair: pair[0].sent_at)
        return results

    def _note(self, change: object) -> None:
        if isinstance(change, BreakerEvent):
            assert change.spec == self.first, "nobody else failed"
            self.states.append(change.state)

    def _answered(self, results: list[cl.Result]) -> int:
        pairs = (
            (call, tree.replies[call.id]) for tree in (r.tree for r in results) for call in tree.calls.values()
        )
        return sum(call.binding == self.first and reply.status == "ok" for call, reply in pairs)

    def was_passed_by(self, results: list[cl.Result], *, second: str, patience_s: float) -> None:
        """Check that every task was answered, by whom the records say, and nobody waited for the start.

        Args:
            results: what `pass_by` returned.
            second: who answered meanwhile.
            patience_s: the longest that a call may have taken while the first model was away.
        """
        assert all(result.attempt_id and not result.error for result in results)
        by = {(call.binding, reply.status) for call, reply in self.calls}
        assert by == {(self.first, "ok"), (self.first, "error"), (second, "ok")}
        lost = [(call, reply) for call, reply in self.calls if reply.status == "error"]
        assert {reply.error_code for _, reply in lost} == {"unreachable"}
        away = [(call, reply) for call, reply in self.calls if call.sent_at > lost[0][0].sent_at]
        assert max(reply.ended_at - call.sent_at for call, reply in away) < patience_s
        bindings = [call.binding for call, reply in self.calls if reply.status == "ok"]
        middle = bindings.index(second)
        assert self.first in bindings[:middle], "it answered before it was killed"
        assert self.first in bindings[-self.enough :], "and when it was back"

        events = [event for result in results for event in result.tree.events]
        fell = [event.data for event in events if event.kind == "fallback"]
        assert len(fell) == len(lost)
        assert {(one["old"], one["new"], one["cause"]) for one in fell} == {(self.first, second, "outage")}
        assert self.states[0] == "open"
        assert self.states[-2:] == ["half-open", "closed"], "one call found it back"
        assert self.states.count("closed") == 1
