"""Searches that go step by step: what the actor is asked, what is judged, and what the answer is."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

import critic_loop as cl
from critic_loop.assets import Recipe
from critic_loop.assets.library import bundled
from critic_loop.core.errors import ConfigError, SearchError
from critic_loop.core.protocols import Completion, Move, Request, Stop, Wait
from critic_loop.core.records import Choice
from critic_loop.testing import ScriptedModel

pytestmark = pytest.mark.anyio

RECIPE = Recipe.model_validate(
    {
        "name": "stepwise",
        "search": {"kind": "refine"},
        "actor": "actor/step",
        "critics": [{"agent": "critic/verdict", "when": "unfinished"}],
        "verifiers": ["answer"],
        "stop": [{"verified": True}, {"max_rounds": 1}],
    }
)
TASK = cl.Task(prompt=(cl.user("What is 2 + 3 + 4?"),), reference="9")
STEPS = ["2 + 3 = 5", "5 + 4 = 9", "Answer: 9"]


@cl.search
def straight_on(tree: cl.Tree, *, agent: str = "actor") -> Move | Wait | Stop:
    """A step below the last one, until an answer stands."""
    if tree.open:
        return Wait()
    last = next(reversed(tree.attempts), None)
    if last is not None and tree[last].kind == "answer":
        return Stop()
    return Move(parents=() if last is None else (last,), kind="step", agent=agent)


def judge(request: Request) -> str:
    return "Verdict: correct"


def made(*texts: str | Completion, **fields: Any) -> tuple[cl.Loop[str], ScriptedModel, ScriptedModel]:
    actor, critic = ScriptedModel(list(texts) or STEPS), ScriptedModel(judge)
    settings: dict[str, Any] = {"recipe": RECIPE, "search": straight_on, "actor": actor, "critic": critic}
    return cl.Loop(**(settings | fields)), actor, critic


async def test_steps_add_up_to_an_answer_that_verifiers_judge_and_critics_judge_the_steps() -> None:
    loop, actor, critic = made()
    result = await loop.run(TASK)
    tree = result.tree
    assert [(a.kind, a.answer) for a in tree] == [
        ("step", None), ("step", None), ("answer", "2 + 3 = 5\n\n5 + 4 = 9\n\nAnswer: 9"),
    ]  # fmt: skip
    assert (result.stop, result.decided_by) == ("verified", "verifier")
    assert {f.subject.attempts[0]: f.source for f in tree.feedback.values() if f.subject} == dict(
        zip(tree.attempts, ("critic", "critic", "verifier"), strict=True)
    )
    said = [request.messages[-1].text for request in actor.requests]
    assert ["2 + 3 = 5" in text for text in said] == [False, True, True]
    assert all("Write the next step." in text for text in said)
    assert len(critic.requests) == 2
    assert "2 + 3 = 5\n\n5 + 4 = 9" in critic.requests[1].messages[-1].text


async def test_an_accepted_step_is_no_accepted_answer_and_an_unfinished_one_is_never_chosen() -> None:
    loop, _, _ = made(stop=cl.Accepted() | cl.MaxAttempts(2))
    result = await loop.run(TASK)
    assert (result.stop, result.answer, len(result.tree)) == ("max_attempts", None, 2)


async def test_a_prompt_without_a_block_for_steps_lets_the_model_go_on_with_its_own_beginning(
    tmp_path: Path,
) -> None:
    spec = tmp_path / "agents" / "actor" / "step.toml"
    spec.parent.mkdir(parents=True)
    text = (bundled() / "agents" / "actor" / "step.toml").read_text()
    spec.write_text(text.replace("actor/step.md", "actor/solver.md"))
    loop, actor, _ = made(assets=[tmp_path])
    result = await loop.run(TASK)
    assert result.answer == "\n\n".join(STEPS)
    assert [(r.continues, r.messages[-1].role) for r in actor.requests] == [
        (False, "user"), (True, "assistant"), (True, "assistant"),
    ]  # fmt: skip
    assert actor.requests[2].messages[-1].text == "2 + 3 = 5\n\n5 + 4 = 9\n\n"


async def test_what_stopped_a_step_stands_between_it_and_the_next(tmp_path: Path) -> None:
    spec = tmp_path / "agents" / "actor" / "step.toml"
    spec.parent.mkdir(parents=True)
    spec.write_text(
        'role = "actor"\nprompt = "actor/solver.md"\nslot = "actor"\n'
        'sampling = { stop = ["=", ";"] }\nsteps = { ends = "^[0-9]+$" }\n'
    )
    halves = [("2 + 3", "="), ("5", ";"), ("5 + 4", "="), ("9", "")]
    script = [
        Completion(choices=(Choice(message=cl.assistant(text, sampled=True), stopped_by=stop),))
        for text, stop in halves
    ]
    loop, actor, _ = made(*script, assets=[tmp_path])
    result = await loop.run(TASK)
    assert [a.messages[-1].text for a in result.tree] == [
        "2 + 3=",
        "2 + 3=5;",
        "2 + 3=5;5 + 4=",
        "2 + 3=5;5 + 4=9",
    ]
    assert [r.messages[-1].text for r in actor.requests[1:]] == ["2 + 3=", "2 + 3=5;", "2 + 3=5;5 + 4="]


async def test_a_spec_that_does_not_say_where_an_answer_ends_is_refused() -> None:
    loop, _, _ = made(recipe=RECIPE.model_copy(update={"actor": "actor/solver"}))
    with pytest.raises(ConfigError, match="does not say where an answer ends"):
        await loop.run(TASK)


async def test_a_further_actor_plays_where_the_search_names_it() -> None:
    recipe = Recipe.model_validate(
        RECIPE.model_dump(exclude={"search"})
        | {"search": {"kind": "refine"}, "actors": {"second": {"agent": "actor/step", "slot": "second"}}}
    )
    second = ScriptedModel(STEPS)
    loop, first, _ = made("never", recipe=recipe, search=straight_on(agent="second"), slots={"second": second})
    result = await loop.run(TASK)
    assert result.stop == "verified"
    assert (len(first.requests), len(second.requests)) == (0, 3)
    assert {ask.agent for ask in result.tree.asks.values()} == {"second"}
    assert {c.slot for c in result.tree.calls.values()} == {"second", "critic"}


async def test_an_actor_that_nobody_named_is_refused() -> None:
    loop, _, _ = made(search=straight_on(agent="third"))
    with pytest.raises(SearchError, match=r"asks for actor 'third'; the recipe has actor\."):
        await loop.run(TASK)


@cl.search
def twice(tree: cl.Tree) -> Move | Wait | Stop:
    """Two first steps, the second in sight of the first."""
    if tree.open:
        return Wait()
    return Stop() if len(tree) == 2 else Move(kind="step", shows=tuple(tree.attempts))


async def test_what_stands_beside_the_path_is_shown_with_the_feedback_on_it() -> None:
    loop, actor, _ = made("2 + 3 = 6", "2 + 3 = 5", search=twice)
    await loop.run(TASK)
    assert "2 + 3 = 6" in actor.requests[1].messages[-2].text
    assert "critic critic/verdict: pass" in actor.requests[1].messages[-2].text
    assert "tried already" not in "".join(m.text for m in actor.requests[0].messages)


async def test_a_prompt_that_has_no_place_for_it_is_refused() -> None:
    recipe = RECIPE.model_copy(update={"actor": "actor/solver"})

    @cl.search
    def again(tree: cl.Tree) -> Move | Wait | Stop:
        return Wait() if tree.open else Move(shows=tuple(tree.attempts))

    loop, _, _ = made("a", "b", recipe=recipe, search=again, stop=cl.MaxAttempts(2))
    with pytest.raises(ConfigError, match="no block 'also_shown'"):
        await loop.run(TASK)


async def test_a_function_returns_its_steps_as_parts() -> None:
    async def act(view: cl.View[str]) -> cl.Unfinished | str:
        so_far = view.path[-1].messages[-1].text if view.path else ""
        assert view.kind == "step"
        return f"{so_far}9" if so_far.count("1") == 2 else cl.Unfinished(f"{so_far}1")

    loop, _, _ = made(actor=act)
    result = await loop.run(cl.Task(prompt=(cl.user("?"),), reference="119"))
    assert (result.answer, [a.kind for a in result.tree]) == ("119", ["step", "step", "answer"])


async def test_a_tree_of_steps_is_gone_on_with_where_it_was_left(store: str) -> None:
    loop, first, _ = made(stop=cl.Spent(calls=2), store=store)
    begun = await loop.run(TASK, tree_id="t")
    assert begun.answer is None
    await loop.aclose()
    loop, second, _ = made(*STEPS[len(first.requests) :], store=store)
    result = await loop.run(TASK, tree_id="t")
    assert result.answer == "\n\n".join(STEPS)
    assert len(first.requests) + len(second.requests) == 3
    await loop.aclose()


async def test_the_small_model_writes_line_by_line_what_it_writes_at_once() -> None:
    """Greedily, since a line's seed is its own."""
    pytest.importorskip("onnxruntime", reason="needs the extra 'demo'")
    at_zero = cl.Sampling(temperature=0.0)

    @cl.search
    def lines(tree: cl.Tree) -> Move | Wait | Stop:
        move = straight_on.function(tree)
        return dataclasses.replace(move, sampling=at_zero) if isinstance(move, Move) else move

    @cl.search
    def whole(tree: cl.Tree) -> Move | Wait | Stop:
        return Wait() if tree.open else Stop() if len(tree) else Move(sampling=at_zero)

    task = cl.Task(prompt=(cl.user("Countdown 24: 3 5 7 8"),))
    answers: list[str | None] = []
    for search in (lines, whole):
        recipe = Recipe.model_validate(
            {"search": {"kind": "refine"}, "actor": "actor/countdown-step", "stop": []}
        )
        recipe = recipe if search is lines else recipe.model_copy(update={"actor": "actor/countdown"})
        async with cl.Loop(recipe=recipe, search=search, actor="embedded:countdown") as loop:
            answers.append((await loop.run(task)).answer)
    assert answers[0] == answers[1]
    assert answers[0] is not None
    assert len(answers[0].splitlines()) == 3


async def test_a_verifier_of_parts_fails_steps_that_are_wrong_already_and_answers() -> None:
    @cl.verifier(steps=True)
    def adds_up(view: cl.View[str]) -> cl.Feedback | bool:
        assert view.attempt is not None
        if "= 6" in view.attempt.messages[-1].text:
            return cl.Feedback.failed("2 + 3 is 5")
        return cl.Feedback.abstain("right so far") if view.attempt.unfinished else True

    loop, _, critic = made("2 + 3 = 6", *STEPS, verifiers=[adds_up], search=leaves_what_failed)
    tree = (await loop.run(TASK)).tree
    said = [
        (f.subject.attempts[0], f.verdict)
        for f in tree.feedback.values()
        if f.subject and f.source == "verifier"
    ]
    assert [verdict for _, verdict in said] == ["fail", "abstain", "abstain", "pass"]
    assert tree.roots == tuple(tree.attempts)[:2], "what failed was not gone on from"
    assert tree.outcome is not None
    assert (tree.outcome.chosen, tree.outcome.stop) == (said[-1][0], "verified")
    assert len(critic.requests) == 3


@cl.search
def leaves_what_failed(tree: cl.Tree) -> Move | Wait | Stop:
    """Straight on from the last step, or anew where it has failed."""
    last = next(reversed(tree.attempts), None)
    if last is not None and not tree.open and cl.value_of(tree, last).verified is False:
        return Move(kind="step")
    return straight_on.function(tree)
