"""A real vLLM that is killed during a job: another model answers until it has been started again.

VLLM_PYTHON=/opt/vllm/bin/python python -m pytest tests/real/test_vllm_fallback.py
"""

import itertools
import os
import signal
import time

import pytest

import critic_loop as cl
from critic_loop.demo.countdown import EASY, sample_puzzles
from critic_loop.demo.verifier import task_of
from critic_loop.models import FailurePolicy, Fallback
from critic_loop.models.vllm.servers import server_of
from critic_loop.models.vllm.settings import Serve
from critic_loop.testing import TestServer
from tests.real.vllm import NEEDS_VLLM, SERVE_DEMO, processes_of, servers_of
from tests.unit.models.vllm.outage import Outage

pytestmark = [pytest.mark.anyio, NEEDS_VLLM]


def puzzles():
    """Yield any number of tasks with different ids."""
    some = sample_puzzles(7, 50, EASY)
    for number, puzzle in enumerate(itertools.cycle(some)):
        yield task_of(puzzle).model_copy(update={"id": f"puzzle {number}"})


async def test_a_fallback_answers_while_a_killed_vllm_is_started_again(countdown):
    first = f"vllm:{countdown / 'base'}"
    server = server_of(str(countdown / "base"), Serve(**SERVE_DEMO))
    recipe = cl.Recipe(name="once", actor="actor/countdown", search=[{"kind": "sample", "n": 1}])
    killed = []

    def kill():
        killed.extend(servers_of(countdown))
        for pid in killed:
            os.kill(pid, signal.SIGKILL)

    async with TestServer(lambda _: "by another", delay_s=0.5) as other:
        second = f"chat:test@{other.url}"
        chain = Fallback(first, second, outage=FailurePolicy(opens_after=3, pause_s=5.0))
        async with cl.Loop(recipe, actor=chain) as loop:
            outage = Outage(loop, first, kill)
            results = await outage.pass_by(puzzles())
            came_back = servers_of(countdown)
    outage.was_passed_by(results, second=second, patience_s=10.0)
    assert len(killed) == len(came_back) == 1
    assert killed != came_back
    assert not server.runs
    until = time.monotonic() + 5
    while left := processes_of(countdown):
        assert time.monotonic() < until, left
