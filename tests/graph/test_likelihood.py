"""Critics that weigh given texts, in a loop over a server that serves log-probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import critic_loop as cl
from critic_loop.assets import Library
from critic_loop.core.records import Subject, Verdict
from critic_loop.export import CritiqueSft, Row
from critic_loop.graph.check import check_file
from critic_loop.models import ANTHROPIC, VLLM, ChatModel
from critic_loop.render.outline import outline
from critic_loop.testing import Received, Reply, ScriptedModel, TestServer

pytestmark = pytest.mark.anyio

TASK = "What is 6 * 7?"


def weighing(received: Received) -> Reply:
    """Yes where the answer is 42; a question is half as likely per token after any other answer."""
    messages = received.body["messages"]
    right = "\n42\n" in "".join(m["content"] for m in messages)
    last = messages[-1]["content"]
    speaks_for = last == "Yes" or last.startswith(("Thank", "Great", "Very")) or last == TASK
    return Reply(text="x", prompt_logprob=-0.1 if speaks_for == right else -2.0)


def recipe(folder: Path, critic: str) -> Path:
    path = folder / "weigh.toml"
    path.write_text(
        "search = { kind = 'sample', n = 2 }\nactor = 'actor/solver'\n"
        f"critics = [{{ agent = 'critic/{critic}' }}]\nselect = 'best-value'\n"
    )
    return path


async def weighed(tmp_path: Path, critic: str, model: Any = None, **fields: Any) -> cl.Result[str]:
    async with TestServer(weighing) as server:
        model = model or ChatModel("m", url=server.url, profile=VLLM)
        actor = ScriptedModel(["41", "42"], cycle=True)
        loop = cl.Loop(recipe(tmp_path, critic), actor=actor, critic=model, verifiers=[], **fields)
        result = await loop.run(TASK)
        await model.aclose()
    return result


@pytest.mark.parametrize("critic", ["yes", "follow-up", "reverse"])
async def test_the_likelier_answer_wins(tmp_path: Path, critic: str) -> None:
    result = await weighed(tmp_path, critic)
    tree = result.tree
    said = {tree[f.subject.attempts[0]].answer: f for f in tree.feedback.values() if f.subject}
    if critic == "reverse":  # both tasks are asked for with the same words, and only the answer differs
        assert said["42"].score == pytest.approx(0.905, abs=0.001)
    assert said["42"].score > said["41"].score
    assert result.answer == "42"
    assert (said["42"].verdict is Verdict.PASS) == (critic == "yes")


async def test_one_call_weighs_all_texts_and_keeps_ids_and_logprobs_as_served(tmp_path: Path) -> None:
    result = await weighed(tmp_path, "yes")
    calls = [call for call in result.tree.calls.values() if call.score]
    assert [call.score for call in calls] == [("Yes", "No")] * 2
    for call in calls:
        reply = result.tree.replies[call.id]
        assert [choice.message.text for choice in reply.choices] == ["Yes", "No"]
        assert all(len(c.token_ids or ()) == len(c.logprobs or ()) == 1 for c in reply.choices)
        assert not any(choice.message.sampled for choice in reply.choices)
        assert reply.prompt_token_ids


async def test_what_was_weighed_is_shown_with_its_weight_and_never_learnt_from(tmp_path: Path) -> None:
    result = await weighed(tmp_path, "yes")
    assert "Yes  [log-probability -" in repr(outline(result.tree))
    tree = result.tree
    for n, attempt in enumerate(tree.attempts, start=100):
        subject = Subject.of(attempt)
        tree.append(cl.Feedback.passed(id=f"{tree.id}.f{n}", source="verifier", author="v", subject=subject))
    assert not [item for item in CritiqueSft().rows([tree]) if isinstance(item, Row)]


async def test_the_reverse_weighs_the_task_itself_without_a_fence(tmp_path: Path) -> None:
    result = await weighed(tmp_path, "reverse")
    (call, *_) = [call for call in result.tree.calls.values() if call.score]
    assert call.score == (TASK,)
    assert TASK not in call.request[-1].text


async def test_a_model_that_cannot_weigh_is_an_abstention_with_the_reason(tmp_path: Path) -> None:
    for model, reason in (
        (ChatModel("m", url="http://127.0.0.1:9", profile=ANTHROPIC), "no log-probabilities of a given text"),
        (ScriptedModel(["Yes it is", "No"], cycle=True), "answered instead of scoring"),
    ):
        result = await weighed(tmp_path, "yes", model)
        said = list(result.tree.feedback.values())
        assert [f.verdict for f in said] == [Verdict.ABSTAIN] * 2
        assert all(f.score is None and reason in f.reason for f in said)


async def test_a_resumed_tree_asks_for_no_weights_again(tmp_path: Path) -> None:
    store = tmp_path / "trees.db"
    async with TestServer(weighing) as server:
        for _ in range(2):
            critic = ChatModel("m", url=server.url, profile=VLLM)
            actor = ScriptedModel(["41", "42"], cycle=True)
            loop = cl.Loop(recipe(tmp_path, "yes"), actor=actor, critic=critic, verifiers=[], store=store)
            result = await loop.run(TASK, tree_id="t")
            await loop.aclose()
            await critic.aclose()
    assert result.answer == "42"
    assert len(server.requests) == 6


@pytest.mark.parametrize("output", ["p-yes", "follow-up-likelihood"])
async def test_a_block_that_comes_out_empty_is_an_abstention(tmp_path: Path, output: str) -> None:
    (tmp_path / "agents/critic").mkdir(parents=True)
    (tmp_path / "prompts/critic").mkdir(parents=True)
    spec = f'role = "critic"\nprompt = "critic/mine.md"\nslot = "critic"\noutput = "{output}"\n'
    (tmp_path / "agents/critic/mine.toml").write_text(spec)
    (tmp_path / "prompts/critic/mine.md").write_text(
        '+++\nvariables = ["answer", "rejected"]\n+++\n{% block user %}{{ answer }}{% endblock %}\n'
        "{% block likely %}Yes{% endblock %}\n"
        "{% block unlikely %}{% if rejected %}No{% endif %}{% endblock %}\n"
    )
    result = await weighed(tmp_path, "mine", assets=[tmp_path])
    assert {f.verdict for f in result.tree.feedback.values()} == {Verdict.ABSTAIN}
    assert all("block 'unlikely' is empty for this task" in f.reason for f in result.tree.feedback.values())


def test_a_prompt_without_the_texts_is_found_before_anything_runs(tmp_path: Path) -> None:
    (tmp_path / "agents/critic").mkdir(parents=True)
    (tmp_path / "prompts/critic").mkdir(parents=True)
    spec = tmp_path / "agents/critic/mine.toml"
    spec.write_text('role = "critic"\nprompt = "critic/mine.md"\nslot = "critic"\noutput = "p-yes"\n')
    (tmp_path / "prompts/critic/mine.md").write_text(
        '+++\nvariables = ["answer"]\n+++\n{% block user %}{{ answer }}{% endblock %}\n'
        "{% block likely %}Yes{% endblock %}\n"
    )
    (problem,) = check_file(spec, Library([tmp_path]))
    assert "no block 'unlikely', as output 'p-yes' needs" in problem.message
    with pytest.raises(cl.CriticLoopError, match="needs a block 'unlikely'"):
        cl.Loop(recipe(tmp_path, "mine"), actor=ScriptedModel([]), critic=ScriptedModel([]), assets=[tmp_path])
