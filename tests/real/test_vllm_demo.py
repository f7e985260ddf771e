"""The demo's model in a real vLLM: it writes what the embedded one writes, and replaces it in a running job.

    VLLM_PYTHON=/opt/vllm/bin/python python -m pytest tests/real/test_vllm_demo.py

Also needs onnx, onnxruntime and safetensors; `make test-vllm` installs all of them.
"""

import asyncio
import re
import time
from collections import Counter

import pytest

import critic_loop as cl
from critic_loop.core.protocols import Request
from critic_loop.core.records import Sampling
from critic_loop.demo.chars import CRITIQUE, decode
from critic_loop.demo.countdown import EASY, HARD, check, puzzle_of, read_step, sample_puzzles
from critic_loop.demo.runtime import Runtime
from critic_loop.demo.verifier import task_of
from critic_loop.models import resolve
from critic_loop.models.client.probe import probe
from critic_loop.models.vllm.servers import server_of
from critic_loop.models.vllm.settings import Serve
from critic_loop.models.wire.health_check import HEALTH_CHECK
from critic_loop.search.prospect import Prospect
from critic_loop.testing import TestServer
from tests.real.conversations import NEW_TOKENS, cases, samples
from tests.real.vllm import NEEDS_VLLM, SERVE_DEMO, servers_of
from tests.swaps import check_swaps

pytestmark = [pytest.mark.anyio, NEEDS_VLLM]

EMBEDDED = "embedded:countdown"
SIGNED = "By the rules."
ENOUGH = 30
"""Calls of a critic before it is swapped."""


@pytest.fixture(scope="class")
def vllm(countdown):
    model = resolve(f"vllm:{countdown / 'base'}", settings={"serve": SERVE_DEMO})
    yield model
    asyncio.run(model.aclose())


class TestServed:
    """One server for all of these tests."""

    async def test_it_writes_the_embedded_models_tokens(self, vllm):
        """Two tokens with almost equal logits may be in another order: `test_layouts` checks each such case."""
        conversations = dict(cases())
        assert len(conversations) >= 500
        greedy = Sampling(temperature=0.0, max_tokens=NEW_TOKENS)
        asked = (vllm.complete(Request(messages=one, sampling=greedy)) for one in conversations.values())
        got = await asyncio.gather(*asked)
        assert [decode(one.prompt_token_ids) for one in got] == list(conversations)
        ours = await asyncio.to_thread(samples, list(conversations))
        same = sum(one.choices[0].token_ids == other.token_ids for one, other in zip(got, ours, strict=True))
        assert same >= 0.99 * len(conversations), f"{same} of {len(conversations)}"

    async def test_it_continues_partial_lines_as_the_embedded_model_does(self, vllm):
        """The server reports which stop string ended a step; the next step starts after it."""
        greedy = Prospect(succeeds=(0.5, 0.9) * 4, temperatures=(0.0,))
        tasks, written = [task_of(puzzle) for puzzle in sample_puzzles(5, 12, HARD)], []
        for actor in (vllm, EMBEDDED):
            stop = cl.MaxAttempts(8)
            async with cl.Loop("countdown-steps", actor=actor, search=greedy, stop=stop) as loop:
                results = [result async for result in loop.map(tasks)]
            written.append({r.tree.task.id: [a.messages[-1].text for a in r.tree] for r in results})
            choices = [c for r in results for reply in r.tree.replies.values() for c in reply.choices]
            assert {choice.stopped_by for choice in choices} == {"=", "\n", ""}
            assert all(choice.logprobs for choice in choices), "prospect weighs novelty by them"
        theirs, ours = written
        assert sum(theirs[task] == ours[task] for task in ours) >= len(tasks) - 1, (theirs, ours)

    async def test_a_probe_finds_what_its_chat_template_lets_it_ask(self, vllm):
        async with vllm.inner.reached() as limited:
            found = (await probe(limited.inner)).found
        for name in ("logprobs", "prompt_logprobs", "token_ids", "n", "seed"):
            assert found[name].can is True, found[name]


# -- one job, four swaps -----------------------------------------------------------------------


def by_the_rules(received):
    """Answer as a critic that checks the steps, with a signature."""
    found = check(puzzle_of(received.text), "\n".join(filter(is_step, received.text.splitlines())))
    if found.passed:
        return f"{SIGNED}\nVerdict: correct (99%)"
    return f"{SIGNED}\nLine {found.line or 1}: wrong (99%)\nVerdict: wrong (99%)"


def is_step(line):
    try:
        return bool(read_step(line))
    except ValueError:
        return False


@pytest.fixture
def embedded_log(monkeypatch):
    """The prompts of critiques that the embedded model has answered."""
    log, sample = [], Runtime.sample

    async def noting(self, prompt, **given):
        if prompt.startswith(CRITIQUE):
            log.append(prompt)
        return await sample(self, prompt, **given)

    monkeypatch.setattr(Runtime, "sample", noting)
    return log


@pytest.fixture
def vllm_log(countdown, tmp_path):
    """The log of a server that is started before the job: half of the tasks would end during its start."""
    arguments = SERVE_DEMO["arguments"] | {"enable-log-requests": True}
    log = tmp_path / "vllm.log"
    server = server_of(str(countdown / "base"), Serve(**SERVE_DEMO | {"arguments": arguments, "log": log}))
    server.rouse()
    yield log
    server.stop()


def noted_in(log):
    """Return the ids of requests in vLLM's log, by adapter; requests for one token are health checks."""
    found = {}
    for line in log.read_text().splitlines():
        if (said := re.search(r"Received request (\S+): .*max_tokens=(\w+).*lora_request: (.*)", line)) is None:
            continue
        adapter = re.search(r"lora_name='(.*?)'", said[3])
        if said[2] != "1":
            found.setdefault(adapter[1] if adapter else "", []).append(said[1])
    return found


async def test_a_job_loses_and_repeats_no_call_when_its_critic_is_swapped_four_times(
    countdown, embedded_log, vllm_log
):
    base, tuned = f"vllm:{countdown / 'base'}", f"vllm:{countdown / 'base'}+{countdown / 'v1'}"
    levels = (sample_puzzles(33, 150, level) for level in (EASY, HARD))
    tasks = [task_of(puzzle) for pair in zip(*levels, strict=True) for puzzle in pair]
    async with TestServer(by_the_rules, delay_s=0.01) as server:
        rules = f"chat:test@{server.url}"
        plan = [(EMBEDDED, "call"), (base, "tree"), (tuned, "attempt"), (rules, "call")]
        loop = cl.Loop(
            "countdown", actor=EMBEDDED, critic=rules, stop=cl.Accepted() | cl.MaxRounds(4), max_calls=9
        )
        async with loop:
            results, drained = await swapped(loop, tasks, plan)
            assert servers_of(countdown) == [], "no slot has a model on it any more"
    assert len(results) == len(tasks) == 300
    assert {result.stop for result in results} == {"accepted", "max_rounds"}
    trees = [result.tree for result in results]
    each_attempt_is_judged_once(trees)

    by = {spec: criticism(trees, spec) for spec in (rules, EMBEDDED, base, tuned)}
    calls = [call for pairs in by.values() for call, _ in pairs]
    assert len(calls) == sum(len(tree.feedback) for tree in trees), "a call for each critique"
    worked = Counter(call.revision for call in calls)
    assert sorted(worked) == [0, 1, 2, 3, 4]
    assert min(worked.values()) >= ENOUGH, "each critic had real work"
    kept = check_swaps(trees, [when for _, when in plan])
    assert kept.keys() == {"attempt", "tree"}, "calls after each of these swaps kept what they had"
    assert [c for c in calls if c.sent_at > drained.get(c.revision, float("inf")) + 0.001] == []

    texts = Counter(one.text for one in server.requests if one.text != HEALTH_CHECK)
    assert texts == Counter(call.request[-1].text for call, _ in by[rules])
    assert Counter(embedded_log) == Counter(prompts_of(by[EMBEDDED]))
    noted = noted_in(vllm_log)
    [adapter] = noted.keys() - {""}
    for spec, name in ((base, ""), (tuned, adapter)):
        assert Counter(noted[name]) == Counter(reply.request_id for _, reply in by[spec])

    assert {reply.choices[0].message.text.startswith(SIGNED) for _, reply in by[rules]} == {True}
    assert await as_embedded(by[base]) >= 0.98
    assert await as_embedded(by[tuned]) <= 0.8, "the adapter's weights differ"
    digest = adapter.removeprefix("v1-")
    assert all(reply.weight_version.startswith(f"sha256:{digest}") for _, reply in by[tuned])


async def swapped(loop, tasks, plan):
    """Return the results, and when each binding of the critic was drained, by revision.

    A critic is swapped for the next one when results hold `ENOUGH` calls to it.
    """
    results, drained, heard = [], {}, Counter()
    async for result in loop.map(tasks, in_flight=64):
        results.append(result)
        heard.update(call.revision for call in result.tree.calls.values() if call.slot == "critic")
        if len(drained) < len(plan) and heard[len(drained)] >= ENOUGH:
            spec, when = plan[len(drained)]
            await loop.swap("critic", spec, when=when)
            drained[len(drained)] = time.time()
    return results, drained


def each_attempt_is_judged_once(trees):
    """Check that each attempt has one critique, and that no call was sent twice."""
    for tree in trees:
        assert {(reply.status, reply.sends) for reply in tree.replies.values()} == {("ok", 1)}
        judged = [feedback.subject.attempts[0] for feedback in tree.feedback.values()]
        assert sorted(judged) == sorted(attempt.id for attempt in tree)
        verdicts = {feedback.verdict for feedback in tree.feedback.values()}
        assert verdicts <= {cl.Verdict.PASS, cl.Verdict.FAIL}


def criticism(trees, spec):
    """Return the calls to a critic, each with its reply."""
    calls = ((tree, call) for tree in trees for call in tree.calls.values())
    return [(c, tree.replies[c.id]) for tree, c in calls if (c.slot, c.binding) == ("critic", spec)]


def prompts_of(pairs):
    return [decode(reply.prompt_token_ids) for _, reply in pairs]


async def as_embedded(pairs):
    """Return the share of critiques that are those of the embedded model, character by character."""
    said = await asyncio.to_thread(samples, prompts_of(pairs))
    same = [reply.choices[0].message.text == own.text for (_, reply), own in zip(pairs, said, strict=True)]
    return sum(same) / len(same)
