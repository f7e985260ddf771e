"""A server that is killed in the midst of a job whose slot has somebody else to ask."""

import itertools
import os
import signal

import pytest

import critic_loop as cl
from critic_loop.models import FailurePolicy, Fallback
from critic_loop.testing import ScriptedModel
from tests.unit.models.vllm.conftest import gone
from tests.unit.models.vllm.outage import Outage

pytestmark = pytest.mark.anyio


async def test_a_job_goes_on_elsewhere_while_a_killed_server_is_started_again(fake):
    model = fake.model("vllm:late")
    chain = Fallback(
        model,
        ScriptedModel(["by another"], cycle=True, spec="another", latency_s=0.02),
        outage=FailurePolicy(opens_after=3, pause_s=0.1),
    )
    recipe = cl.Recipe(name="once", actor="actor/solver", search=[{"kind": "sample", "n": 1}])

    def kill():
        os.kill(fake.noted("start")[0]["pid"], signal.SIGKILL)

    async with cl.Loop(recipe, actor=chain) as loop:
        outage = Outage(loop, "vllm:late", kill)
        results = await outage.pass_by(cl.Task.of(f"task {n}") for n in itertools.count())
    outage.was_passed_by(results, second="another", patience_s=0.75)
    starts = fake.noted("start")
    assert len(starts) == 2
    await model.aclose()
    assert gone(*(pid for start in starts for pid in (start["pid"], start["worker"])))
