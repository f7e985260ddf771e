"""Records: frozen, checked, hashed by content, and the same after a trip through JSON."""

from __future__ import annotations

import json
import math

import pytest
from pydantic import TypeAdapter, ValidationError

from critic_loop.core.messages import assistant, system, user
from critic_loop.core.records import (
    Ask,
    Attempt,
    Box,
    Choice,
    Feedback,
    Head,
    Location,
    Outcome,
    Record,
    Sampling,
    Step,
    Subject,
    Task,
    Usage,
    Verdict,
    digest_of,
    tree_of,
)
from critic_loop.testing.trees import ALL

RECORD: TypeAdapter[Record] = TypeAdapter(Record)


def test_records_are_frozen_and_strict() -> None:
    ask = Ask(attempt="t.1")
    with pytest.raises(ValidationError, match="frozen"):
        ask.attempt = "t.2"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="Extra inputs"):
        Ask(attempt="t.1", colour="red")  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Ask("t.1")  # type: ignore[misc]


@pytest.mark.parametrize("name", ALL)
def test_every_record_survives_json(name: str) -> None:
    for record in ALL[name]().log:
        bare = RECORD.validate_python(record.model_dump())  # bytes are kept apart: see the stores
        short = json.loads(record.model_dump_json(exclude_defaults=True))
        assert RECORD.validate_python({"type": record.type, **short}) == bare
        assert RECORD.validate_json(record.model_dump_json()) == bare


def test_odd_numbers_survive_json() -> None:
    choice = Choice(message=assistant("x"), logprobs=(-0.5, -math.inf))
    assert Choice.model_validate_json(choice.model_dump_json()) == choice
    attempt = Attempt(id="t.1", answer={"big": 2**100})
    assert Attempt.model_validate_json(attempt.model_dump_json()) == attempt


def test_a_task_is_named_by_its_content() -> None:
    one, two = Task.of("Do it."), Task(prompt=(user("Do it."),))
    assert one == two
    assert len(one.id) == 24
    assert Task.of("Do that.").id != one.id
    assert Task.of("Do it.", reference=5).id != one.id
    assert Task.of("Do it.", id="mine").id == "mine"
    assert Task.model_validate(one.model_dump()) == one


def test_a_task_from_what_is_at_hand() -> None:
    messages = [system("Be brief."), user("One."), user("Two.")]
    task = Task.of(messages, tags=("a",))
    assert task.prompt == tuple(messages)
    assert task.text == "One.\n\nTwo."
    assert Task.of(task) is task
    assert Task.of(task, parent="t.1").parent == "t.1"
    assert Task.of(task, parent="t.1").id == task.id
    with pytest.raises(ValidationError, match="at least 1"):
        Task(prompt=())


@pytest.mark.parametrize("name", ["", "two words", "dot.ted", "x" * 129, "slash/"])
def test_names_of_trees(name: str) -> None:
    with pytest.raises(ValidationError):
        Head(tree=name, task=Task.of("x"), recipe="r", recipe_digest="", key="k", created_at=0.0)


def test_secrets_are_not_shown() -> None:
    head = Head(tree="t", task=Task.of("x"), recipe="r", recipe_digest="", key="hush", created_at=0.0)
    assert "hush" not in repr(head)


def test_subjects() -> None:
    assert Subject.of("t.1") == Subject(attempts=("t.1",))
    assert Subject.of("t.1", "t.2") != Subject.of("t.2", "t.1"), "in the order in which they were shown"
    for wrong in (
        {},
        {"attempts": ("t.1",), "feedback": "t.f1"},
        {"attempts": ("t.1", "t.2"), "part": Location(step=1)},
        {"feedback": "t.f1", "part": Location(step=1)},
    ):
        with pytest.raises(ValidationError):
            Subject.model_validate(wrong)


def test_a_preference_fits_its_subject() -> None:
    Feedback(preference=(1.0, 0.0))
    Feedback(subject=Subject.of("t.1", "t.2"), preference=(1.0, 0.0))
    Feedback(subject=Subject.of("t.1", "t.2"))
    with pytest.raises(ValidationError, match="one share for each attempt"):
        Feedback(subject=Subject.of("t.1"), preference=(1.0, 0.0))


@pytest.mark.parametrize("score", [-0.1, 1.1, math.nan, math.inf])
def test_scores_are_in_the_unit_interval(score: float) -> None:
    with pytest.raises(ValidationError):
        Feedback(score=score)
    with pytest.raises(ValidationError):
        Step(index=0, score=score)
    with pytest.raises(ValidationError):
        Box(left=score, top=0.0, right=1.0, bottom=1.0)


def test_ways_to_say_it() -> None:
    assert Feedback.passed("good", score=1.0) == Feedback(verdict=Verdict.PASS, text="good", score=1.0)
    assert Feedback.failed(author="a") == Feedback(verdict=Verdict.FAIL, author="a")
    abstention = Feedback.abstain("no answer", parse="unparsed")
    assert (abstention.verdict, abstention.score, abstention.reason) == (Verdict.ABSTAIN, None, "no answer")
    assert Feedback.user(text="x") == Feedback(source="user", author="user", text="x")
    assert Feedback.user(score=0.0, author="ada").author == "ada"


def test_not_judged_is_not_zero() -> None:
    assert Feedback().score is None
    assert Feedback(score=0.0) != Feedback()


@pytest.mark.parametrize(
    ("status", "settled"), [("complete", True), ("failed", True), ("partial", False), ("parked", False)]
)
def test_settled(status: str, settled: bool) -> None:
    assert Attempt.model_validate({"id": "t.1", "status": status}).settled == settled


def test_usage_adds_up() -> None:
    one = Usage(input_tokens=1, cached_input_tokens=2, output_tokens=3, reasoning_tokens=4)
    assert one + Usage(output_tokens=1) == Usage(
        input_tokens=1, cached_input_tokens=2, output_tokens=4, reasoning_tokens=4
    )


@pytest.mark.parametrize("wrong", [{"temperature": -1}, {"top_p": 0}, {"top_p": 1.5}, {"max_tokens": 0}])
def test_sampling_is_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Sampling.model_validate(wrong)


def test_ids_name_their_tree() -> None:
    assert tree_of("t.1") == tree_of("t.f3") == tree_of("t.u0011aabb") == tree_of("t.c2") == "t"
    assert tree_of("t") == ""


def test_digests_are_stable() -> None:
    assert digest_of({"a": 1}) == digest_of({"a": 1})
    assert digest_of(Outcome()) == digest_of(Outcome())
    assert digest_of([user("x")]) != digest_of([user("y")])
    assert digest_of("") == "b1986d90fbf85478afb018e3", "stored digests depend on it"


@pytest.mark.parametrize("verdict", list(Verdict))
def test_a_verdict_is_compared_and_never_a_bool(verdict):
    """A member of a StrEnum would count as true, FAIL included."""
    with pytest.raises(TypeError, match="three outcomes: compare it"):
        bool(verdict)


def test_the_spelling_of_license_leaves_ids_of_tasks_as_they_were():
    """As written by record schema 1 (`tests/golden/stores/schema-1.db`)."""
    content = {"prompt": [{"role": "user", "parts": [{"type": "text", "text": "x"}]}], "licence": "CC0-1.0"}
    assert Task(prompt=(user("x"),), license="CC0-1.0").id == digest_of(content)
