import pytest

from critic_loop.core.errors import SearchError
from critic_loop.core.protocols import Move, Stop, Wait
from critic_loop.core.records import Attempt
from critic_loop.search import Refine
from tests.unit.search.worlds import next_move


def test_the_draft_has_no_parents(grown):
    assert next_move(Refine(moves="thought"), grown) == Move(kind="thought")


def test_it_waits_for_what_is_in_flight(grown):
    grown.ask()
    assert next_move(Refine(), grown) == Wait()


def test_each_revision_builds_on_the_last_one(grown):
    draft = grown.attempt(answer="1")
    assert next_move(Refine(), grown) == Move(parents=(draft,))
    revision = grown.attempt(draft, answer="2")
    assert next_move(Refine(), grown) == Move(parents=(revision,))


def test_a_failed_attempt_is_never_built_on(grown):
    grown.attempt(status="failed", error="no answer came")
    assert next_move(Refine(), grown) == Move()
    draft = grown.attempt(answer="1")
    grown.attempt(draft, status="failed", error="no answer came")
    assert next_move(Refine(), grown) == Move(parents=(draft,))


def test_steps_go_on_until_one_ends_the_answer(grown):
    search = Refine(moves="step")
    step = grown.attempt(kind="step")
    assert next_move(search, grown) == Move(parents=(step,), kind="step")
    last = grown.attempt(step, answer="42")
    assert next_move(search, grown) == Stop("exhausted", f"{last} ended the answer")


def test_kept_goes_back_to_the_parent_that_was_not_beaten(grown):
    search = Refine(base="kept")
    draft = grown.attempt(answer="1")
    grown.say(draft, score=0.5)
    worse = grown.attempt(draft, answer="2")
    grown.say(worse, score=0.4)
    assert next_move(search, grown) == Move(parents=(draft,))
    better = grown.attempt(draft, answer="3")
    grown.say(better, score=0.6)
    assert next_move(search, grown) == Move(parents=(better,))


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        ((1.0, 0.0), (0.0, 1.0), "draft"),
        ((0.0, 1.0), (1.0, 0.0), "revision"),
        ((1.0, 0.0), (1.0, 0.0), "draft"),
    ],
)
def test_kept_asks_the_judge_of_both_orders(grown, first, second, kept):
    draft = grown.attempt(answer="1")
    grown.say(draft, score=0.9)
    revision = grown.attempt(draft, answer="2")
    grown.say(draft, revision, source="judge", preference=first)
    grown.say(revision, draft, source="judge", preference=second)
    assert next_move(Refine(base="kept"), grown) == Move(
        parents=({"draft": draft, "revision": revision}[kept],)
    )


def test_it_ends_after_its_rounds_and_counts_failures(grown):
    search = Refine(rounds=2)
    grown.attempt(status="failed")
    assert isinstance(next_move(search, grown), Move)
    grown.attempt(answer="1")
    assert next_move(search, grown) == Stop("exhausted", "2 rounds made")


def test_an_unknown_attempt_is_refused(grown):
    search = Refine()
    with pytest.raises(SearchError, match=r"attempt 'x\.1' is unknown to tree 't'"):
        search.fold(search.start(grown.tree.task), grown.tree, Attempt(id="x.1"))
