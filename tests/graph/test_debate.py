"""A debate before each comparison: who reads what, who decides, and what trouble costs."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from typing import Any

import pytest

import critic_loop as cl
from critic_loop.core.errors import AuthFailed, ConfigError, ModelError
from critic_loop.core.value import NOT_JUDGED
from critic_loop.evidence import preference
from critic_loop.store import MemoryStore
from critic_loop.testing import ScriptedModel, run_virtual
from tests.graph.conftest import counting, outline

pytestmark = pytest.mark.anyio

SHOWN = re.compile(r"^answer (\d+)$", re.MULTILINE)


def advocate(request: Any) -> str:
    """Say for which answer, and what the other side said last."""
    mine, theirs = SHOWN.findall(request.messages[-1].text)[:2]
    heard = re.findall(rf"^{theirs}: .*$", request.messages[-1].text, re.MULTILINE)
    return f"{mine}: " + (f"not so, {len(heard[-1])} letters" if heard else "it is mine")


def more(request: Any) -> str:
    """Judge the higher number the better, whichever stands first."""
    first, second = SHOWN.findall(request.messages[-1].text)[:2]
    return "Better: A" if int(first) > int(second) else "Better: B"


def debate(
    *, n: int = 2, debater: Any = advocate, judge: Any = more, **parts: Any
) -> tuple[cl.Loop[str], Any, Any]:
    speaks = debater if isinstance(debater, ScriptedModel) else ScriptedModel(debater)
    judges = ScriptedModel(judge)
    search = cl.search(lambda tree: cl.Move() if len(tree.asks) < n else cl.Wait() if tree.open else cl.Stop())
    loop = cl.Loop(
        "debate", actor=parts.pop("actor", None) or counting(), judge=judges, slots={"debater": speaks},
        search=search, **parts,
    )  # fmt: skip
    return loop, speaks, judges


def arguments(tree: cl.Tree) -> list[cl.Feedback]:
    return [f for f in tree.feedback.values() if f.author == "debater/advocate"]


async def test_both_sides_speak_each_round_and_the_judge_reads_all_of_it_in_both_orders() -> None:
    loop, debater, judge = debate()
    result = await loop.run("Which?")
    assert (result.answer, result.decided_by) == ("answer 2", "judge")
    assert [r.messages[-1].text.count("it is mine") for r in debater.requests] == [0, 0, 2, 2]
    assert ["Open the debate" in r.messages[-1].text for r in debater.requests] == [True, True, False, False]
    said = {f.text for f in arguments(result.tree)}
    assert said == {"1: it is mine", "2: it is mine", "1: not so, 13 letters", "2: not so, 13 letters"}
    orders = [re.findall(r"For answer ([AB]):\n.*\n(\d):", r.messages[-1].text) for r in judge.requests]
    assert sorted(orders) == [
        [("A", "1"), ("B", "2"), ("A", "1"), ("B", "2")], [("A", "2"), ("B", "1"), ("A", "2"), ("B", "1")],
    ]  # fmt: skip


async def test_arguments_are_feedback_that_the_verdicts_rest_on_and_no_judgement() -> None:
    loop, *_ = debate()
    tree = (await loop.run("Which?")).tree
    one, two = tree.attempts
    assert Counter(f.subject.attempts for f in arguments(tree) if f.subject) == {(one, two): 2, (two, one): 2}
    assert all(f.calls and f.verdict is None and f.preference is None for f in arguments(tree))
    for verdict in (f for f in tree.feedback.values() if f.source == "judge"):
        assert set(verdict.rests_on) == {f.id for f in arguments(tree)}
    assert not tree.judgements(one)
    assert cl.value_of(tree, one) == NOT_JUDGED


@pytest.mark.parametrize("says", ["Better: A", "Better: tie"])
async def test_a_judge_who_contradicts_itself_has_called_it_a_tie(says: str) -> None:
    loop, *_ = debate(judge=lambda request: says)
    result = await loop.run("Which?")
    assert (result.answer, result.decided_by) == ("answer 1", "judge")
    assert preference(result.tree, *result.tree.attempts) == 0.5


@pytest.mark.parametrize("lost", [ModelError("the line is dead"), ""])
async def test_a_debater_who_cannot_speak_abstains_and_nobody_wins_by_that(lost: Any) -> None:
    def fails_for_one(request: Any) -> Any:
        mine = SHOWN.findall(request.messages[-1].text)[0]
        return lost if mine == "1" else advocate(request)

    loop, debater, judge = debate(debater=fails_for_one)
    result = await loop.run("Which?")
    abstained = [f for f in arguments(result.tree) if f.verdict is cl.Verdict.ABSTAIN]
    assert len(abstained) == 1
    assert abstained[0].reason
    assert (len(debater.requests), len(judge.requests)) == (2, 0), "no further round, and nothing to decide on"
    verdicts = [f for f in result.tree.feedback.values() if f.source == "judge"]
    assert [(f.verdict, f.score) for f in verdicts] == [(cl.Verdict.ABSTAIN, None)] * 2
    assert abstained[0].reason in verdicts[0].reason
    assert (result.answer, result.decided_by) == ("answer 1", "nobody")


async def test_a_wrong_key_of_the_debater_ends_the_run() -> None:
    loop, *_ = debate(debater=lambda request: AuthFailed("key"))
    with pytest.raises(AuthFailed):
        await loop.run("Which?")


async def test_without_a_call_left_the_debate_is_left_and_goes_on_later() -> None:
    store = MemoryStore()
    poor, first, _ = debate(store=store, max_calls=5)
    result = await poor.run("Which?", tree_id="t")
    assert (result.stop, result.decided_by) == ("budget", "nobody")
    assert len(arguments(result.tree)) == len(first.requests) == 3
    rich, second, judge = debate(store=store, max_calls=8)
    result = await rich.run("Which?", tree_id="t")
    assert (result.answer, result.decided_by) == ("answer 2", "judge")
    assert (len(second.requests), len(judge.requests)) == (1, 2)


@pytest.mark.parametrize("kill_s", [0.5, 1.5, 2.5, 3.5, 4.5, 6.0])
def test_a_debate_that_was_killed_goes_on_and_pays_for_nothing_twice(kill_s: float) -> None:
    """Each call lasts a second: drafts, two rounds, judge; and again for the next pair."""

    async def run(store: MemoryStore) -> tuple[cl.Result[str], list[ScriptedModel]]:
        slow = [ScriptedModel(f, latency_s=1.0) for f in (advocate, more)]
        actor = ScriptedModel(lambda r: f"answer {(r.sampling.seed or 0) % 1000}", latency_s=0.9)
        search = cl.search(
            lambda tree: cl.Move() if len(tree.asks) < 3 else cl.Wait() if tree.open else cl.Stop()
        )
        loop = cl.Loop(
            "debate",
            actor=actor,
            judge=slow[1],
            slots={"debater": slow[0]},
            search=search,
            store=store,
            lanes=3,
        )
        return await loop.run("Which?", tree_id="t"), [actor, *slow]

    async def killed() -> tuple[cl.Result[str], cl.Result[str]]:
        store = MemoryStore()
        task = asyncio.ensure_future(run(store))
        await asyncio.sleep(kill_s)
        task.cancel()
        await asyncio.wait([task])
        return (await run(store))[0], (await run(MemoryStore()))[0]

    resumed, whole = run_virtual(killed())
    assert outline(resumed.tree) == outline(whole.tree)
    answered = Counter(
        c.digest for c in resumed.tree.calls.values() if resumed.tree.replies[c.id].status == "ok"
    )
    assert max(answered.values()) == 1
    assert len(answered) == len(whole.tree.calls) == 3 + 2 * (4 + 2)


async def test_a_revision_that_must_beat_its_parent_is_debated_with_it() -> None:
    debater, judge = ScriptedModel(advocate), ScriptedModel(more)
    recipe = cl.Recipe.model_validate(
        {
            "name": "kept", "search": {"kind": "refine", "base": "kept", "rounds": 3}, "judge": "judge/debate",
            "debate": {"agent": "debater/advocate", "rounds": 1, "slot": "pleader"},
            "select": "keep-if-better", "stop": [], "show": [],
        }
    )  # fmt: skip
    loop = cl.Loop(recipe, actor=ScriptedModel(["answer 1", "answer 3", "answer 2"]), judge=judge,
                   slots={"pleader": debater})  # fmt: skip
    result = await loop.run("Which?")
    assert result.answer == "answer 3"
    assert [a.parents[0].rpartition(".")[2] for a in result.tree if a.parents] == ["1", "2"]
    assert (len(debater.requests), len(judge.requests)) == (4, 4)


def test_a_debate_needs_a_judge_whose_prompt_prints_it() -> None:
    data = {"search": {"kind": "sample"}, "debate": {"agent": "debater/advocate"}, "select": "tournament"}
    with pytest.raises(ValueError, match="a debate needs a judge"):
        cl.Recipe.model_validate(data)
    deaf = cl.Recipe.model_validate({**data, "judge": "judge/pairwise"})
    with pytest.raises(ConfigError, match="does not declare 'debate'"):
        cl.Loop(deaf, actor=counting())


def test_trees_of_recipes_without_a_debate_are_told_from_those_with_one() -> None:
    data: dict[str, Any] = {"search": {"kind": "sample"}, "judge": "judge/debate", "select": "tournament"}
    use = {"agent": "debater/advocate"}
    digests = [
        cl.Recipe.model_validate({**data, **more}).digest
        for more in ({}, {"debate": use}, {"debate": {**use, "rounds": 3}})
    ]
    assert len(set(digests)) == 3
