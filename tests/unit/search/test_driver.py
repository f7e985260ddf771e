"""Searches over plain functions: what `drive` and `Driver` promise."""

import pytest

from critic_loop.core.errors import ConfigError, SearchError, VerifierError
from critic_loop.core.protocols import Move, Wait
from critic_loop.core.records import Attempt, Feedback, Task, Verdict
from critic_loop.core.roles import Unfinished
from critic_loop.core.stop import MaxAttempts
from critic_loop.evidence import value_of
from critic_loop.search import Mcts, Refine, Sample, drive, search


def number(tree, ask):
    return len(ask.parents) and tree[ask.parents[0]].answer + 1


def zero(tree, attempt):
    return 0.0


def driven(search=None, attempt=number, evaluate=zero, **settings):
    return drive(search or Sample(n=3), "Count.", attempt=attempt, evaluate=evaluate, **settings)


def test_attempts_build_on_their_parents_answers():
    tree = driven(Refine(rounds=4))
    assert [a.answer for a in tree] == [0, 1, 2, 3]
    assert tree.task.text == "Count."


def test_a_task_is_given_as_it_is():
    task = Task.of("?", reference="42")
    assert drive(Sample(n=1), task, attempt=number, evaluate=zero).task is task


@pytest.mark.parametrize(
    ("given", "verdict", "score"),
    [(0.25, None, 0.25), (1, None, 1.0), (True, Verdict.PASS, None), (False, Verdict.FAIL, None)],
)
def test_a_number_or_a_bool_is_evidence(given, verdict, score):
    tree = driven(Sample(n=1), evaluate=lambda *_: given)
    (feedback,) = tree.feedback.values()
    assert (feedback.source, feedback.author) == ("verifier", "<lambda>")
    assert (feedback.verdict, feedback.score) == (verdict, score)


def test_feedback_is_kept_as_it_is():
    said = [Feedback(author="one", score=0.5), Feedback(source="verifier", author="two", score=1.0)]
    tree = driven(Sample(n=1), evaluate=lambda *_: said)
    assert [(f.source, f.author, f.score) for f in tree.feedback.values()] == [
        ("critic", "one", 0.5), ("verifier", "two", 1.0),
    ]  # fmt: skip


@pytest.mark.parametrize("nothing", [None, ()])
def test_none_is_not_judged(nothing):
    tree = driven(Sample(n=1), evaluate=lambda *_: nothing)
    assert value_of(tree, tree.roots[0]).score is None
    assert not tree.feedback


def test_what_is_no_judgement_is_refused():
    with pytest.raises(VerifierError, match="returned 'good'"):
        driven(evaluate=lambda *_: "good")


def test_a_failed_attempt_is_not_evaluated():
    def attempt(tree, ask):
        return Attempt(id=ask.attempt, parents=ask.parents, status="failed")

    tree = driven(Sample(n=2), attempt=attempt, evaluate=lambda *_: pytest.fail("was evaluated"))
    assert [a.status for a in tree] == ["failed"] * 2


def test_a_step_is_unfinished_until_an_answer_is_returned():
    def attempt(tree, ask):
        depth = tree.depth(ask.attempt)
        return "done" if depth == 2 else Unfinished(f"step {depth}")

    tree = driven(Refine(moves="step"), attempt=attempt)
    assert [(a.kind, a.answer, a.messages[0].text) for a in tree] == [
        ("step", None, "step 0"), ("step", None, "step 1"), ("answer", "done", "done"),
    ]  # fmt: skip


@pytest.mark.parametrize("lanes", [1, 3])
def test_so_many_attempts_are_in_flight_and_end_in_the_order_of_asking(lanes):
    in_flight, ended = [], []

    def attempt(tree, ask):
        in_flight.append(len(tree.open))
        ended.append(ask.attempt)
        return ask.attempt

    tree = driven(Sample(n=6), attempt=attempt, lanes=lanes)
    assert max(in_flight) == lanes
    assert ended == list(tree.asks)


def test_a_batch_is_in_flight_as_a_whole():
    asked = []
    driven(Sample(n=4, batch=4), attempt=lambda tree, ask: asked.append(len(tree.open)))
    assert asked == [4, 3, 2, 1]


def test_after_a_stop_rule_only_what_is_in_flight_ends():
    assert len(driven(Refine(), stop=MaxAttempts(5))) == 5
    tree = driven(Sample(n=9), lanes=3, stop=lambda progress: progress.judged == 2)
    assert len(tree) == len(tree.asks) == 4


def test_the_seed_decides_random_draws():
    def parents(seed):
        tree = driven(
            Mcts(n=30, depth=9, randomness=0.0, width=2), seed=seed, attempt=lambda _, ask: ask.attempt
        )
        return [
            a.id.rpartition(".")[2] for ask in tree.asks.values() for a in map(tree.__getitem__, ask.parents)
        ]

    assert parents(1) == parents(1) != parents(2)


def test_a_search_that_waits_for_nothing_is_an_error():
    @search
    def patient(tree):
        return Wait() if tree.asks else Move()

    with pytest.raises(SearchError, match="nothing is in flight"):
        driven(patient)


def test_what_a_function_raises_is_raised():
    def attempt(tree, ask):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        driven(attempt=attempt)


@pytest.mark.parametrize(
    ("proposal", "message"),
    [(None, "returned None"), ("a move", "returned 'a move'"), (Move(samples=0), "0 attempts")],
)
def test_a_search_proposes_a_move_of_one_attempt_or_more(proposal, message):
    class Wrong(Refine):
        def ask(self, state, tree):
            return proposal

    with pytest.raises(SearchError, match=f"search 'Wrong' .*{message}"):
        driven(Wrong(rounds=2))


def test_there_is_a_lane_or_more():
    with pytest.raises(ConfigError, match="0 lanes"):
        driven(lanes=0)
