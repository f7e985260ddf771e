"""Kill -9 of the critic's server in mid-job: a fallback judges meanwhile, and gives back when it returns."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import critic_loop as cl
from critic_loop.models import FailurePolicy, Fallback
from critic_loop.testing import ScriptedModel

pytestmark = pytest.mark.anyio

ANSWERS, IN_FLIGHT = 40, 8
DEADLINE_S = 30.0
"""Of a call to the critic: what waited for it in vain would show."""
AFTER = 40
"""Tasks for the first critic once it is back."""


class Critic:
    """The process: of a number of answers and then none, until it is killed and started again."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.start("0", ANSWERS)
        self.port = self.url.rpartition(":")[2].removesuffix("/v1")

    def start(self, port: str, answers: int) -> None:
        command = [sys.executable, "-m", "tests.resume.critic", port, str(self.log), str(answers)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()

    def arrived(self) -> int:
        return self.log.read_text().count('"arrived"') if self.log.exists() else 0

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    async def live(self, job: Job) -> None:
        """Die with calls in flight, and come back once the other critic has had real work."""
        while self.arrived() < ANSWERS + IN_FLIGHT // 2:
            await asyncio.sleep(0.01)
        self.kill()
        while job.said.count("second") < AFTER:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(self.start, self.port, 1_000_000)


class Job:
    """What came of the tasks, of which there are enough."""

    def __init__(self) -> None:
        self.trees: list[cl.Tree] = []
        self.said: list[str] = []
        self._turns: set[tuple[float, str]] = set()

    def add(self, tree: cl.Tree) -> None:
        self.trees.append(tree)
        self.said += [feedback.text.split("\n")[0] for feedback in tree.feedback.values()]
        self._turns |= {(e.at, e.data["state"]) for e in tree.events if e.kind == "breaker"}

    @property
    def states(self) -> list[str]:
        """Those of the breaker, in order; each running tree notes a change."""
        return [state for _, state in sorted(self._turns)]

    def tasks(self) -> Iterator[str]:
        more = AFTER
        for n in range(20_000):
            more -= "closed" in self.states
            if not more:
                return
            yield f"task {n}"


@pytest.fixture
def critic(tmp_path: Path) -> Iterator[Critic]:
    running = Critic(tmp_path / "requests.jsonl")
    yield running
    running.kill()


def better(request: Any) -> str:
    return "better" if any(message.role == "assistant" for message in request.messages) else "draft"


def judge(request: Any) -> str:
    return "second\nVerdict: " + ("correct" if "better" in request.messages[-1].text else "wrong")


async def test_a_fallback_judges_while_the_critics_server_is_dead(critic: Critic) -> None:
    first = cl.model(f"chat:test@{critic.url}", settings={"timeout_s": DEADLINE_S})
    second = ScriptedModel(judge, spec="second")
    chain = Fallback(first, second, outage=FailurePolicy(opens_after=3, pause_s=0.2), retries=0)
    job = Job()
    loop = cl.Loop("refine", actor=ScriptedModel(better, latency_s=0.02), critic=chain, verifiers=[])
    async with loop, asyncio.TaskGroup() as beside:
        beside.create_task(critic.live(job))
        async for result in loop.map(job.tasks(), in_flight=IN_FLIGHT):
            job.add(result.tree)
            assert (result.stop, result.answer) == ("accepted", "better")
    await first.aclose()

    assert (job.states[0], job.states[-1]) == ("open", "closed")
    assert "half-open" in job.states
    assert (job.said[0], job.said[-1]) == ("first", "first")
    assert job.said.count("second") >= AFTER

    replies = [reply for tree in job.trees for reply in tree.replies.values()]
    broken = [reply for reply in replies if reply.status != "ok"]
    assert len(broken) >= IN_FLIGHT // 2, "it died with calls in flight"
    assert "deadline" not in {reply.error_code for reply in broken}, "nobody waited for the dead"
    for tree in job.trees:
        assert [a.status for a in tree] == ["complete", "complete"]
        assert [f.verdict for f in tree.feedback.values()] == [cl.Verdict.FAIL, cl.Verdict.PASS]
        for attempt in tree:
            asked = [c for c in tree.calls.values() if (c.slot, c.place.subject) == ("critic", (attempt.id,))]
            took_s = max(tree.replies[call.id].ended_at for call in asked) - asked[0].sent_at
            assert took_s < DEADLINE_S, "whoever was asked in the end answered within one call's deadline"
