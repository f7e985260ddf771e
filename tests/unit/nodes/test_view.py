import dataclasses
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from critic_loop.assets import Library
from critic_loop.assets.recipe import Field_
from critic_loop.core.messages import Reasoning, Text, assistant, user
from critic_loop.core.protocols import Move
from critic_loop.core.records import Criterion, Span, Step, Task
from critic_loop.core.view import View
from critic_loop.nodes.views import (
    actor_views,
    critic_view,
    evidence_on,
    masked_attempts,
    masked_feedback,
    masked_messages,
    masked_task,
    shown_to_actor,
)
from critic_loop.roles.prompted import critic_values
from critic_loop.roles.texts import feedback_values
from tests.conftest import Grown
from tests.unit.nodes.conftest import prompted_actor, prompted_critic, run_of

FIELDS = get_args(Field_)
TASK = Task(prompt=(user("the-task"),), reference="the-reference", checks={"answer": "the-checks"})
SECRETS = {
    "verdict": "fail",
    "score": 0.8125,
    "text": "the-text",
    "steps": "the-step",
    "spans": "the-span",
    "rubric": "the-criterion",
    "suggestion": "the-suggestion",
}


def full(grown, attempt, **fields):
    """Feedback with every field filled with words that can be searched for."""
    return grown.say(
        attempt,
        **{
            "verdict": "fail",
            "score": 0.8125,
            "confidence": 0.5,
            "text": "the-text",
            "steps": (Step(index=3, text="the-step"),),
            "first_error": 3,
            "spans": (Span(start=0, end=1, text="the-span"),),
            "rubric": (Criterion(name="the-criterion"),),
            "suggestion": "the-suggestion",
            "data": {"tests": "the-data"},
            **fields,
        },
    )


# -- masks -------------------------------------------------------------------------------------


def test_reference_and_checks_are_hidden_unless_shown():
    hidden = masked_task(TASK, ("answer",))
    assert (hidden.reference, hidden.checks) == (None, {})
    shown = masked_task(TASK, ("reference",))
    assert (shown.reference, shown.checks) == ("the-reference", {})
    assert hidden.id == shown.id == TASK.id
    assert (TASK.reference, TASK.checks) == ("the-reference", {"answer": "the-checks"})


@given(st.sets(st.sampled_from(FIELDS)))
def test_only_shown_fields_of_feedback_are_left(fields):
    grown = Grown()
    feedback = grown.tree.feedback[full(grown, grown.attempt(answer="1"))]
    (masked,) = masked_feedback([feedback], fields)
    said = masked.model_dump_json()
    for field, secret in SECRETS.items():
        assert (str(secret) in said) == (field in fields), field
    assert ("the-data" in said) == ("text" in fields)
    assert (masked.first_error is not None) == ("steps" in fields)
    assert (masked.confidence is not None) == ("verdict" in fields)
    assert (masked.id, masked.subject, masked.author) == (feedback.id, feedback.subject, feedback.author)


def test_abstentions_and_shadow_critics_are_never_shown(grown):
    attempt = grown.attempt(answer="1")
    said = [
        grown.say(attempt, verdict="abstain", reason="?"),
        grown.say(attempt, verdict="fail", advisory=True),
        grown.say(attempt, verdict="fail"),
        grown.say(attempt, score=0.5),
    ]
    shown = masked_feedback([grown.tree.feedback[i] for i in said], FIELDS)
    assert [f.id for f in shown] == said[2:]


def test_evidence_is_shown_only_by_name(grown):
    said = grown.tree.feedback[grown.say(grown.attempt(answer="1"), source="verifier", verdict="fail")]
    assert masked_feedback([said], ("verdict", "text")) == ()
    assert [f.verdict for f in masked_feedback([said], ("verdict", "verifier"))] == ["fail"]


def test_reasoning_is_shown_only_by_name():
    thought = assistant(Reasoning(text="hm"), Text(text="42"))
    plain = user("x")
    assert masked_messages([plain, thought], ()) == (plain, assistant("42"))
    assert masked_messages([plain, thought], ("reasoning",)) == (plain, thought)


def test_attempts_keep_all_but_their_reasoning(grown):
    attempt = grown.tree[
        grown.attempt(answer="42", messages=(assistant(Reasoning(text="hm"), Text(text="42")),))
    ]
    (masked,) = masked_attempts([attempt], ("answer",))
    assert masked.messages == (assistant("42"),)
    assert masked.model_copy(update={"messages": attempt.messages}) == attempt


def test_critics_are_shown_evidence_and_never_each_others_words(grown):
    attempt = grown.attempt(answer="1")
    for source in ("critic", "human", "user"):
        grown.say(attempt, source=source, author=source, verdict="fail")
    evidence = grown.verified(attempt, "fail")
    assert [f.id for f in evidence_on(grown.tree, attempt, FIELDS)] == [evidence]
    assert evidence_on(grown.tree, attempt, ("verdict",)) == ()


# -- what the actor is shown -------------------------------------------------------------------


@pytest.fixture
def chain(grown):
    """Draft, a failed revision, a revision, with feedback on each."""
    draft = grown.attempt(answer="1")
    broken = grown.attempt(draft, status="failed")
    last = grown.attempt(broken, answer="2")
    said = [grown.say(i, verdict="fail") for i in (draft, last)]
    return grown, draft, last, said


def test_a_draft_is_shown_nothing(grown):
    shown = shown_to_actor(grown.tree, Move(), "full", ("text",))
    assert (shown.attempts, shown.feedback, shown.fields) == ((), (), ("text",))


def test_the_path_without_failures_and_all_feedback_on_it(chain):
    grown, draft, last, said = chain
    for memory in ("full", "rejected"):
        shown = shown_to_actor(grown.tree, Move(parents=(last,)), memory, ("text",))
        assert (shown.attempts, shown.feedback) == ((draft, last), tuple(said))


def test_only_the_last_one(chain):
    grown, _, last, said = chain
    shown = shown_to_actor(grown.tree, Move(parents=(last,)), "last", ())
    assert (shown.attempts, shown.feedback) == ((last,), (said[1],))


def test_a_parent_that_failed_is_not_shown(chain):
    grown, draft, last, _ = chain
    broken = grown.tree.asks[last].parents[0]
    for memory in ("full", "last"):
        assert shown_to_actor(grown.tree, Move(parents=(broken,)), memory, ()).attempts == (draft,)
    assert shown_to_actor(grown.tree, Move(parents=(draft, broken, last)), "full", ()).attempts == (draft, last)


def test_further_parents_come_behind_once_each(chain):
    grown, draft, last, _ = chain
    other = grown.attempt(answer="3")
    assert shown_to_actor(grown.tree, Move(parents=(last, other, draft)), "full", ()).attempts == (
        draft,
        last,
        other,
    )
    assert shown_to_actor(grown.tree, Move(parents=(last, other)), "last", ()).attempts == (last, other)


# -- what reaches a prompt ---------------------------------------------------------------------

PROMPTS = sorted({Library().agent(n).prompt for n in ("actor/solver", "actor/writer", "actor/try-again")})


@given(st.sets(st.sampled_from(FIELDS)), st.sampled_from(["full", "last", "rejected"]))
def test_masked_fields_never_appear_in_an_actors_prompt(fields, memory):
    import asyncio

    for name in ("actor/solver", "actor/writer", "actor/try-again"):
        grown = Grown(TASK)
        thought = assistant(Reasoning(text="the-reasoning"), Text(text="the-answer"), sampled=True)
        attempt = grown.attempt(answer="the-answer", messages=(thought,))
        full(grown, attempt)
        full(grown, attempt, source="verifier", author="answer", text="the-evidence")
        view = shown_to_actor(grown.tree, Move(parents=(attempt,)), memory, tuple(fields))
        ask = grown.tree.asks[grown.ask(attempt, context=view)]
        run = asyncio.run(run_of(grown, actor=prompted_actor(name), memory=memory))
        (shown,) = actor_views(run, run.actor, [ask])
        request = run.actor.request(shown, 0)
        said = " ".join(m.model_dump_json() for m in request.messages)
        for field, secret in {**SECRETS, "reasoning": "the-reasoning"}.items():
            if field != "verdict" and field not in fields:
                assert str(secret) not in said, (name, field)
        if "verdict" not in fields:
            assert ": fail" not in said
        if "verifier" not in fields:
            assert "the-evidence" not in said
        assert "the-reference" not in said
        assert "the-checks" not in said


@given(st.sets(st.sampled_from(FIELDS)), st.sampled_from(["stepwise", "rubric", "verdict"]))
def test_masked_fields_never_appear_in_a_critics_prompt(sees, name):
    import asyncio

    grown = Grown(TASK)
    earlier = grown.attempt(answer="the-rejected", text="the-rejected")
    thought = assistant(Reasoning(text="the-reasoning"), Text(text="the-answer"), sampled=True)
    attempt = grown.attempt(earlier, answer="the-answer", messages=(thought,))
    full(grown, attempt, text="another-critic")
    full(grown, attempt, source="verifier", author="answer")
    run = asyncio.run(run_of(grown))
    critic = prompted_critic(f"critic/{name}", sees=tuple(sees))
    values = {**critic_values(critic_view(run, critic, attempt), critic.sees), "schema": "{}"}
    said = " ".join(m.text for m in critic.messages("user", values, "key"))
    for field, secret in {**SECRETS, "answer": "the-answer", "reference": "the-reference"}.items():
        if field not in sees and field != "verdict":
            assert str(secret) not in said, field
    if "verdict" not in sees or "verifier" not in sees:
        assert ": fail" not in said
    if "verifier" not in sees:
        assert "verifier" not in said
    assert "another-critic" not in said
    assert "the-reasoning" not in said
    assert "the-checks" not in said
    if "rejected" not in sees:
        assert "the-rejected" not in str(values)


def test_templates_see_names_as_words_and_the_rest_as_data(grown):
    attempt = grown.attempt(answer="1")
    said = grown.tree.feedback[full(grown, attempt, author="not a word")]
    values = feedback_values(said)
    assert {k for k, v in values.items() if type(v).__name__ == "Word"} == {"source", "verdict"}
    assert {k for k, v in values["steps"][0].items() if type(v).__name__ == "Word"} == set()


@pytest.mark.anyio
async def test_a_view_without_a_model_says_so():
    with pytest.raises(TypeError, match="this view cannot ask a model: evidence is deterministic"):
        await View(task=TASK).ask("why?")


def test_only_the_last_one_is_found_without_walking_the_path(chain, monkeypatch):
    grown, draft, last, _ = chain
    broken = grown.tree.asks[last].parents[0]
    monkeypatch.setattr(type(grown.tree), "path", lambda *_: pytest.fail("the path was walked"))
    assert shown_to_actor(grown.tree, Move(parents=(last,)), "last", ()).attempts == (last,)
    assert shown_to_actor(grown.tree, Move(parents=(broken,)), "last", ()).attempts == (draft,)


def test_a_path_may_be_given_late_and_is_made_once(chain):
    grown, draft, *_ = chain
    made = []
    view = View(task=grown.tree.task, path=lambda: made.append(1) or (grown.tree[draft],))
    assert made == []
    assert view.path == view.path == (grown.tree[draft],)
    assert made == [1]
    assert View(task=grown.tree.task).path == ()
    assert View(task=grown.tree.task, path=view.path) == dataclasses.replace(view)
