"""What a tree takes, what it refuses, and what it knows of its records."""

from __future__ import annotations

import pytest

from critic_loop.core.errors import NoSuchAttempt, StoreError
from critic_loop.core.messages import user
from critic_loop.core.records import (
    Ask,
    Attempt,
    Call,
    Event,
    Feedback,
    Head,
    Location,
    Outcome,
    Place,
    Record,
    Reply,
    Spend,
    Subject,
    Task,
    Usage,
)
from critic_loop.core.tree import Tree

PLACE = Place(subject=("t.1",), agent="actor/0/solver")


def head(**fields: object) -> Head:
    given = {"tree": "t", "recipe": "refine", "recipe_digest": "d", "key": "k", "created_at": 0.0, **fields}
    return Head(task=Task(prompt=(user("Do it."),)), **given)  # type: ignore[arg-type]


def call(number: int, place: Place = PLACE) -> Call:
    return Call(id=f"t.c{number}", place=place, digest="d", request=(user("x"),), binding="b", sent_at=0.0)


def on(number: int, *attempts: str, **fields: object) -> Feedback:
    return Feedback(id=f"t.f{number}", subject=Subject.of(*attempts), **fields)  # type: ignore[arg-type]


def grown(*records: Record) -> Tree:
    return Tree.of([head(), *records])


CHAIN = (Ask(attempt="t.1"), Attempt(id="t.1"), Ask(attempt="t.2", parents=("t.1",)))


def test_begins_with_a_head() -> None:
    tree = Tree(head())
    assert (tree.id, tree.task.text, len(tree), tree.log, tree.outcome) == ("t", "Do it.", 0, [head()], None)
    assert repr(tree) == "Tree('t', recipe='refine', attempts=0)"
    for records in ([], [Ask(attempt="t.1")]):
        with pytest.raises(StoreError, match="begins with its head"):
            Tree.of(records)
    with pytest.raises(StoreError, match="'t' has a head already"):
        tree.append(head())


def test_ids_count_from_one() -> None:
    tree = Tree(head())
    assert (tree.next_attempt_id(), tree.next_feedback_id()) == ("t.1", "t.f1")
    tree = grown(*CHAIN, on(1, "t.1"))
    assert (tree.next_attempt_id(), tree.next_feedback_id()) == ("t.3", "t.f2")


def test_late_feedback_never_takes_the_next_id() -> None:
    late = Feedback(id="t.u0011aabb", subject=Subject.of("t.1"))
    tree = grown(*CHAIN, on(1, "t.1"), late)
    assert tree.next_feedback_id() not in tree.feedback


def test_moves_in_flight() -> None:
    tree = grown(*CHAIN)
    assert [*tree.open] == ["t.2"]
    for status, still_open in (("partial", True), ("parked", True), ("failed", False)):
        tree.append(Attempt(id="t.2", parents=("t.1",), status=status))  # type: ignore[arg-type]
        assert ("t.2" in tree.open) == still_open
    assert tree["t.2"].status == "failed"
    assert [a.id for a in tree] == ["t.1", "t.2"]


def test_relations() -> None:
    tree = grown(
        *CHAIN,
        Ask(attempt="t.3", parents=("t.1",)),
        Ask(attempt="t.4", parents=("t.3", "t.2")),
        Ask(attempt="t.5", parents=("t.1", "t.4")),
        Ask(attempt="t.6"),
    )
    assert tree.roots == ("t.1", "t.6")
    assert tree.children("t.1") == ("t.2", "t.3", "t.5")
    assert [tree.depth(f"t.{n}") for n in range(1, 7)] == [0, 1, 1, 2, 3, 0]
    assert tree.path("t.4") == ("t.1", "t.3", "t.4")
    assert tree.path("t.5") == ("t.1", "t.5"), "along first parents"
    assert tree.path("t.6") == ("t.6",)


def test_unknown_ids() -> None:
    tree = grown(*CHAIN)
    assert "t.2" not in tree, "asked for, but nothing arrived"
    with pytest.raises(NoSuchAttempt, match=r"'t' has no attempt 't\.2'"):
        _ = tree["t.2"]
    for look in (tree.children, tree.depth, tree.path):
        with pytest.raises(KeyError):
            look("t.9")
    assert tree.about("t.9") == tree.judgements("t.9") == ()


@pytest.mark.parametrize(
    ("record", "says"),
    [
        (Ask(attempt="t.1"), "'t.1' was asked for already"),
        (Ask(attempt="t.3", parents=("t.9",)), "unknown parent 't.9'"),
        (Attempt(id="t.9"), "'t.9' was never asked for"),
        (Attempt(id="t.2"), "'t.2' has other parents than its ask"),
        (Attempt(id="t.1"), "'t.1' is settled already"),
        (Feedback(id="t.f2"), "has an id and a subject"),
        (Feedback(subject=Subject.of("t.1")), "has an id and a subject"),
        (on(1, "t.1"), "'t.f1' exists already"),
        (on(2, "t.1", "t.9"), "unknown attempt 't.9'"),
        (Feedback(id="t.f2", subject=Subject(feedback="t.f9")), "unknown feedback 't.f9'"),
        (on(2, "t.1", supersedes="t.f9"), "supersedes unknown feedback 't.f9'"),
        (on(2, "t.1", supersedes="t.f1", rests_on=("t.f9",)), "rests on unknown feedback 't.f9'"),
        (call(1), "call 't.c1' exists already"),
        (Reply(call="t.c9", status="ok", ended_at=0.0), "reply to unknown call 't.c9'"),
        (Outcome(chosen="t.2"), "chose unknown attempt 't.2'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_fit_is_refused_whole(record: Record, says: str) -> None:
    tree = grown(*CHAIN, call(1), on(1, "t.1"))
    before = list(tree.log)
    with pytest.raises(StoreError, match=says):
        tree.append(record)
    assert tree.log == before
    assert tree.about("t.1") == (on(1, "t.1"),), "nothing was superseded"


def test_feedback_by_subject() -> None:
    whole, pair = on(1, "t.1", score=0.5), on(2, "t.1", "t.2", preference=(1.0, 0.0))
    part = Feedback(id="t.f3", subject=Subject(attempts=("t.1",), location=Location(message=0)))
    shadow, doubt = on(4, "t.1", advisory=True), Feedback(id="t.f5", subject=Subject(feedback="t.f1"))
    tree = grown(*CHAIN, whole, pair, part, shadow, doubt)
    assert tree.about("t.1") == (whole, pair, part, shadow)
    assert tree.about("t.2") == (pair,)
    assert tree.about("t.f1") == (doubt,)
    assert tree.judgements("t.1") == (whole,)
    assert tree.judgements("t.2") == ()


def test_what_is_superseded_is_no_longer_valid() -> None:
    tree = grown(*CHAIN, on(1, "t.1"), on(2, "t.1", supersedes="t.f1"))
    assert [f.id for f in tree.about("t.1")] == [f.id for f in tree.judgements("t.1")] == ["t.f2"]
    assert [*tree.feedback] == ["t.f1", "t.f2"], "it stays in the log"


def test_calls_and_spend() -> None:
    usage = Usage(input_tokens=10, cached_input_tokens=4, output_tokens=5, reasoning_tokens=1)
    elsewhere = PLACE.model_copy(update={"turn": 1})
    tree = grown(
        *CHAIN,
        call(1),
        Reply(call="t.c1", status="error", error="no", ended_at=0.0),
        call(2),
        Reply(call="t.c2", status="ok", usage=usage, ended_at=0.0),
        call(3, elsewhere),
    )
    assert tree.calls_at(PLACE) == (call(1), call(2))
    assert tree.calls_at(elsewhere) == (call(3, elsewhere),)
    assert tree.calls_at(PLACE.model_copy(update={"sample": 1})) == ()
    assert tree.replies["t.c1"].status == "error"
    assert "t.c3" not in tree.replies
    assert tree.spend() == Spend(calls=3, usage=usage)


def test_the_last_outcome_counts() -> None:
    tree = grown(
        *CHAIN, Event(kind="park", at=1.0), Outcome(stop="parked"), Outcome(chosen="t.1", stop="verified")
    )
    assert tree.outcome == Outcome(chosen="t.1", stop="verified")
    assert tree.events == [Event(kind="park", at=1.0)]
    assert len(tree.log) == 7


# -- grades ----------------------------------------------------------------------------------------


def graded() -> Tree:
    """A grade on `t.1`, and one of each kind of feedback that uses it; `f1` and `f6` use none."""
    return grown(
        *CHAIN,
        on(1, "t.1"),
        on(2, "t.1", source="grader"),
        Feedback(id="t.f3", subject=Subject(feedback="t.f2")),
        on(4, "t.1", rests_on=("t.f2",), source="judge"),
        on(5, "t.1", supersedes="t.f3", source="user"),
        on(6, "t.1", "t.2"),
        on(7, "t.1", supersedes="t.f1", source="grader"),
    )


def test_grades_and_what_uses_them_stand_apart() -> None:
    tree = graded()
    assert list(tree.feedback) == ["t.f1", "t.f6"]
    assert list(tree.grades) == ["t.f2", "t.f3", "t.f4", "t.f5", "t.f7"]
    assert [f.id for f in tree.about("t.1")] == ["t.f1", "t.f6"], "no grade makes other feedback invalid"
    assert [f.id for f in tree.judgements("t.1")] == ["t.f1"]
    assert tree.about("t.f2") == ()
    assert [f.id for f in tree.grades_on("t.1")] == ["t.f2", "t.f4", "t.f5", "t.f7"]
    assert tree.grades_on("t.f2") == (), "the only one was superseded"
    assert tree.grades_on("t.2") == ()
    assert [f.id for f in tree.all_about("t.1")] == ["t.f2", "t.f4", "t.f5", "t.f6", "t.f7"]
    assert tree.all_about("t.2") == tree.about("t.2")
    assert len(tree.log) == 11, "the log holds all records in order"


def test_a_tree_without_its_grades_is_as_if_none_had_been_given() -> None:
    tree, bare = graded(), grown(*CHAIN, on(1, "t.1"), on(6, "t.1", "t.2"))
    assert tree.without_grades().log == bare.log
    assert bare.without_grades() is bare


def test_ids_stay_unique_where_there_are_grades() -> None:
    tree = grown(*CHAIN)
    for _ in range(3):
        for grade in (True, False):
            id_ = tree.next_grade_id() if grade else tree.next_feedback_id()
            assert id_[2] == ("u" if grade else "f")
            source = "grader" if grade else "critic"
            tree.append(Feedback(id=id_, subject=Subject.of("t.1"), source=source))  # type: ignore[arg-type]
    assert (len(tree.feedback), len(tree.grades)) == (3, 3)
    for known in ("t.f1", tree.grades_on("t.1")[0].id):
        with pytest.raises(StoreError, match="exists already"):
            tree.append(Feedback(id=known, subject=Subject.of("t.1")))
    by_hand = grown(*CHAIN, on(1, "t.1", source="grader"))
    assert by_hand.next_feedback_id() == "t.f2"
