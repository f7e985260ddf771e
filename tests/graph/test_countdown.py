"""The Countdown recipes with the embedded model in every role: what it is shown, and who decides."""

from __future__ import annotations

import pytest

pytest.importorskip("onnxruntime", reason="the demo extra is not installed")

import critic_loop as cl
from critic_loop.core.records import Verdict
from critic_loop.demo.chars import (
    Rejected,
    critique_prompt,
    decode,
    draft_prompt,
    rejected_line,
    revise_prompt,
)
from critic_loop.demo.countdown import EASY, HARD, Puzzle, puzzle_of, sample_puzzles
from critic_loop.demo.model import embedded
from critic_loop.demo.verifier import task_of
from critic_loop.evidence import value_of
from critic_loop.testing import ScriptedModel

PUZZLES = [*sample_puzzles(21, 4, EASY), *sample_puzzles(21, 4, HARD)]


@pytest.fixture
def model():
    return embedded("countdown")


async def results(loop: cl.Loop[str]) -> list[cl.Result[str]]:
    return [r async for r in loop.map([task_of(p) for p in PUZZLES], seed=3)]


def puzzle_in(result: cl.Result[str]) -> Puzzle:
    found = puzzle_of(result.task.text)
    assert found is not None
    return found


def shown(result: cl.Result[str], role: str) -> list[str]:
    """The prompts of a role as the network read them."""
    calls = [call for call in result.tree.calls.values() if call.place.agent.startswith(role)]
    return [decode(result.tree.replies[call.id].prompt_token_ids or ()) for call in calls]


@pytest.mark.anyio
async def test_a_revision_is_shown_the_lines_that_the_critic_objected_to(model):
    for result in await results(cl.Loop("countdown", actor=model, critic=model)):
        puzzle, answers = puzzle_in(result), [str(a.answer) for a in result.tree]
        said = [result.tree.judgements(a.id)[0] for a in result.tree]
        shorn = [Rejected(answer, rejected_line(f.text)) for answer, f in zip(answers, said, strict=True)]
        revisions = [revise_prompt(puzzle, shorn[:n]) for n in range(1, len(shorn))]
        assert shown(result, "actor") == [draft_prompt(puzzle), *revisions]
        assert shown(result, "critic") == [critique_prompt(puzzle, answer) for answer in answers]
        assert [f.verdict for f in said[:-1]] == [Verdict.FAIL] * (len(said) - 1)
        assert result.stop == ("accepted" if said[-1].verdict is Verdict.PASS else "budget")
        assert result.decided_by == "critic"


@pytest.mark.anyio
async def test_samples_are_drafts_and_the_critics_score_decides(model):
    for result in await results(cl.Loop("countdown-best-of-n", actor=model, critic=model)):
        assert set(shown(result, "actor")) == {draft_prompt(puzzle_in(result))}
        assert len(shown(result, "critic")) == len(result.tree) == 8
        worth = {a.id: value_of(result.tree, a.id).key for a in result.tree}
        assert worth[result.attempt_id or ""] == max(worth.values())


@pytest.mark.anyio
async def test_a_vote_counts_what_the_critic_accepts(model):
    for result in await results(cl.Loop("countdown-vote", actor=model, critic=model)):
        accepted = [a.answer for a in result.tree if value_of(result.tree, a.id).accepted]
        assert result.decided_by == "vote"
        assert not accepted or result.answer in accepted


@pytest.mark.anyio
async def test_a_critic_that_weighs_the_models_own_words_tells_right_from_wrong(model, tmp_path):
    for folder in ("agents/critic", "prompts/critic"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "agents/critic/first-line.toml").write_text(
        'role = "critic"\nprompt = "critic/first-line.md"\nslot = "critic"\noutput = "p-yes"\n'
    )
    (tmp_path / "prompts/critic/first-line.md").write_text(
        '+++\nvariables = ["task", "answer"]\n+++\n{% block system %}Role: critic{% endblock %}\n'
        "{% block user %}{{ task }}\n\n{{ answer }}{% endblock %}\n"
        "{% block likely %}Line 1: right, reachable{% endblock %}\n"
        "{% block unlikely %}\nLine 1: right, dead end\nLine 1: wrong\n{% endblock %}\n"
    )
    (tmp_path / "weigh.toml").write_text(
        "search = { kind = 'sample', n = 4 }\nactor = 'actor/countdown'\n"
        "critics = [{ agent = 'critic/first-line' }]\nverifiers = ['countdown']\nselect = 'best-value'\n"
    )
    right, wrong = [], []
    recipe = tmp_path / "weigh.toml"
    for result in await results(cl.Loop(recipe, actor=model, critic=model, assets=[tmp_path])):
        for attempt in result.tree:
            said = {f.source: f for f in result.tree.judgements(attempt.id)}
            passed = said["verifier"].verdict is Verdict.PASS
            (right if passed else wrong).append(said["critic"].score)
    assert sum(right) / len(right) > sum(wrong) / len(wrong) + 0.3


@pytest.mark.anyio
async def test_the_control_arm_revises_from_the_first_answer_on(model):
    recipe = cl.Recipe(
        name="control",
        search=({"kind": "sample", "n": 2},),
        actor="actor/countdown-reviser",
        show=(),
    )
    for result in await results(cl.Loop(recipe, actor=model, verifiers=["countdown"])):
        head = draft_prompt(puzzle_in(result)).removeprefix("<draft>")
        assert set(shown(result, "actor")) == {f"<revise>{head}"}


@pytest.mark.anyio
async def test_it_answers_the_canary_of_a_swap(model):
    async with cl.Loop("countdown", actor=model, critic=ScriptedModel([])) as loop:
        await loop.swap("critic", "embedded:countdown")
        assert loop.switchboard.binding("critic").spec == "embedded:countdown"
