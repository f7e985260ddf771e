"""Evaluation and backup in `Mcts`: rewards, returns, rewriting and simulations, one rule a test."""

import pytest

from critic_loop.core.protocols import Move, Stop, Wait
from critic_loop.search import Mcts
from critic_loop.search.base import exact
from critic_loop.search.mcts.backup import returns_at
from tests.unit.search.worlds import folded, next_move


def scored(grown, *parents, score=0.5, answer=None, **fields):
    attempt = grown.attempt(*parents, answer=answer or f"answer {len(grown.tree.asks)}", **fields)
    grown.say(attempt, score=score)
    return attempt


# -- rewards ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdict", "score", "opinion", "reward"),
    [
        ("pass", 1.0, 0.25, 0.8 + 0.2 * 0.25),
        ("pass", 1.0, None, 0.8 + 0.2 * 0.5),
        ("fail", 0.5, 1.0, 0.8 * 0.5),
        (None, None, 0.75, 0.8 * 0.75),
    ],
)
def test_opinion_is_a_share_of_the_reward_of_what_passed(grown, verdict, score, opinion, reward):
    attempt = grown.attempt(answer="1")
    if verdict:
        grown.verified(attempt, verdict, score=score)
    if opinion is not None:
        grown.say(attempt, score=opinion)
    assert folded(Mcts(opinion=0.2), grown.tree).reward[1] == pytest.approx(reward)


def test_an_unjudged_attempt_is_a_visit_without_a_return(grown):
    grown.attempt(answer="1")
    state = folded(Mcts(), grown.tree)
    assert (state.visits[:2], state.returns[:2]) == ([1, 1], [0, 0])


def test_a_failed_attempt_is_a_visit_without_a_return(grown):
    grown.attempt(status="failed")
    state = folded(Mcts(), grown.tree)
    assert (state.visits, state.returns) == ([1, 1], [0, 0])


def test_the_prior_is_the_critics_score_for_rules_that_have_one(grown):
    attempt = grown.attempt(answer="1")
    grown.verified(attempt, "fail", score=0.5)
    grown.say(attempt, score=0.75)
    assert folded(Mcts(rule="var_puct"), grown.tree).prior == {1: 0.75}
    assert folded(Mcts(rule="uct"), grown.tree).prior == {}


def test_a_rewritten_attempt_has_no_prior(grown):
    bad = grown.attempt(answer="1")
    grown.verified(bad, "fail", score=0.5)
    scored(grown, answer="2", replaces=bad)
    assert folded(Mcts(rule="puct", rethink=1), grown.tree).prior == {}


# -- rewriting -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verifier", "critic", "rewritten"),
    [("fail", "pass", True), ("pass", "fail", False), (None, "fail", True), (None, "pass", False)],
)
def test_what_verifiers_reject_is_rewritten_and_without_them_what_critics_reject(
    grown, verifier, critic, rewritten
):
    attempt = grown.attempt(answer="1")
    grown.say(attempt, verdict=critic)
    if verifier:
        grown.verified(attempt, verifier)
    move = next_move(Mcts(rethink=1, roots=1), grown)
    assert move == (Move(replaces=attempt, shows=(attempt,)) if rewritten else Move(parents=(attempt,)))


@pytest.mark.parametrize("times", [0, 1, 2])
def test_an_attempt_is_rewritten_so_many_times_in_a_row(grown, times):
    search, latest = Mcts(rethink=times, roots=1), grown.attempt(answer="0")
    grown.verified(latest, "fail")
    for k in range(times):
        assert next_move(search, grown) == Move(replaces=latest, shows=(latest,))
        latest = grown.attempt(answer=str(k + 1), replaces=latest)
        grown.verified(latest, "fail")
    assert next_move(search, grown) == Move(parents=(latest,))


def test_duplicates_of_a_rejected_attempt_are_not_rewritten_again(grown):
    bad = grown.attempt(answer="same")
    grown.verified(bad, "fail")
    again = grown.attempt(answer="2", replaces=bad)
    grown.verified(again, "pass")
    grown.verified(grown.attempt(answer="same"), "fail")
    assert next_move(Mcts(rethink=1, roots=2), grown) == Move(parents=(again,))


def test_the_oldest_is_rewritten_first(grown):
    for answer in "12":
        grown.verified(grown.attempt(answer=answer), "fail")
    assert next_move(Mcts(rethink=1), grown).replaces == "t.1"


def test_rewriting_a_thought_shows_it_with_its_answer(grown):
    thought = grown.attempt(kind="thought", answer="sort")
    answer = grown.attempt(thought, answer="x")
    grown.verified(answer, "fail")
    move = next_move(Mcts(moves="thought", rethink=1), grown)
    assert move == Move(kind="thought", replaces=thought, shows=(thought, answer))


# -- thoughts --------------------------------------------------------------------------------------


def test_a_thought_is_not_expanded_before_it_was_evaluated(grown):
    search = Mcts(moves="thought", roots=1)
    thought = grown.attempt(kind="thought", answer="sort")
    grown.ask(thought)
    assert next_move(search, grown) == Wait()


def test_a_thought_whose_evaluation_failed_is_expanded_without_one(grown):
    thought = grown.attempt(kind="thought", answer="sort")
    grown.attempt(thought, status="failed")
    assert next_move(Mcts(moves="thought", roots=1), grown) == Move(kind="thought", parents=(thought,))


def test_a_rewritten_thought_is_not_expanded_before_it_was_evaluated(grown):
    thought = grown.attempt(kind="thought", answer="sort")
    grown.verified(grown.attempt(thought, answer="x"), "fail")
    again = grown.attempt(kind="thought", answer="sort twice", replaces=thought)
    grown.ask(again)
    for statistics in ("node", "edge"):
        assert next_move(Mcts(moves="thought", roots=1, rethink=1, statistics=statistics), grown) == Wait()


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_reward_of_a_thought_is_that_of_the_answer_asked_for_last(grown, order):
    thought = grown.attempt(kind="thought", answer="sort")
    asked = [(grown.ask(thought), 0.25), (grown.ask(thought), 0.75)]
    for answer, score in map(asked.__getitem__, order):
        grown.settle(answer, answer)
        grown.say(answer, score=score)
    state = folded(Mcts(moves="thought"), grown.tree)
    assert state.reward_at(state.node(thought)) == 0.75


def test_the_answer_of_a_thought_is_shown_to_its_children(grown):
    thought = grown.attempt(kind="thought", answer="sort")
    answer = scored(grown, thought)
    move = next_move(Mcts(moves="thought", roots=1), grown)
    assert move == Move(kind="thought", parents=(thought,), shows=(answer,))


# -- simulations -----------------------------------------------------------------------------------


def test_a_simulation_continues_from_a_step_until_an_answer_ends(grown):
    search = Mcts(moves="step", roots=2)
    step = grown.attempt(kind="step", text="a")
    assert next_move(search, grown) == Move(kind="step", parents=(step,))
    assert next_move(Mcts(moves="step", roots=2, rollout="never"), grown) == Move(kind="step")
    grown.attempt(step, kind="answer", answer="42")
    assert next_move(search, grown) == Move(kind="step")


def test_a_simulation_of_answers_continues_to_the_depth(grown):
    draft = grown.attempt(answer="1")
    search = Mcts(rollout="depth", depth=2)
    assert next_move(search, grown) == Move(parents=(draft,))
    assert next_move(Mcts(depth=2), grown) == Move(), "by default it ends with each answer"
    grown.attempt(draft, answer="2")
    assert next_move(search, grown) == Move()


def test_a_simulation_of_steps_ends_at_the_depth(grown):
    grown.attempt(kind="step", text="a")
    assert isinstance(next_move(Mcts(moves="step", roots=1, depth=1), grown), Stop)


def test_simulations_continue_before_anything_else_the_oldest_first(grown):
    for text in "ab":
        grown.attempt(kind="step", text=text)
    assert next_move(Mcts(moves="step"), grown) == Move(kind="step", parents=("t.1",))


def test_an_attempt_that_continues_a_simulation_is_no_visit_yet(grown):
    step = grown.attempt(kind="step", text="a")
    assert folded(Mcts(moves="step"), grown.tree).visits == [0, 0]
    grown.attempt(step, kind="answer", answer="42")
    assert folded(Mcts(moves="step"), grown.tree).visits == [1, 1, 1]


def test_a_duplicate_continues_no_second_simulation(grown):
    search = Mcts(moves="step", roots=2)
    step = grown.attempt(kind="step", text="a")
    grown.attempt(step, kind="answer", answer="42")
    grown.attempt(kind="step", text="a")
    assert next_move(search, grown).parents == (step,)
    state = folded(search, grown.tree)
    assert not state.to_continue
    assert state.visits[0] == 2


def test_a_simulation_does_not_continue_from_what_is_rewritten(grown):
    step = grown.attempt(kind="step", text="a")
    grown.verified(step, "fail")
    assert next_move(Mcts(moves="step", rethink=1), grown).replaces == step
    assert folded(Mcts(moves="step", rethink=1), grown.tree).visits == [1, 1]


# -- returns ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("returns", "worth"), [("judged", 0.5 + 1.0), ("ended", 1.0)])
def test_returns_are_of_all_judged_attempts_or_of_those_that_end_a_simulation(grown, returns, worth):
    step = grown.attempt(kind="step", text="a")
    grown.say(step, score=0.5)
    scored(grown, step, kind="answer", answer="42", score=1.0)
    state = folded(Mcts(moves="step", returns=returns), grown.tree)
    assert state.value[0] == worth


@pytest.mark.parametrize(
    ("backup", "worth"), [("discounted", [0.25, 0.5, 1.0]), ("cumulative", [0.75, 1.5, 1.0])]
)
def test_a_return_is_discounted_and_if_cumulative_the_rewards_on_the_way_are_added(grown, backup, worth):
    draft = scored(grown, score=1.0)
    scored(grown, draft, score=1.0)
    state = folded(Mcts(discount=0.5, backup=backup, returns="ended", rollout="depth", depth=2), grown.tree)
    assert state.value == worth


AGGREGATES = [("sum", 1.5), ("mean", 1.5), ("max", 0.75), ("last", 0.5)]


def three(grown, answer=None):
    """Three attempts that end in another order than they were asked for."""
    asked = [grown.ask() for _ in range(3)]
    for attempt, score in ((asked[2], 0.5), (asked[0], 0.75), (asked[1], 0.25)):
        grown.settle(attempt, answer or attempt)
        grown.say(attempt, score=score)


@pytest.mark.parametrize(("q", "worth"), AGGREGATES)
def test_the_returns_of_a_node_are_aggregated(grown, q, worth):
    """The last is that of the attempt asked for last, in whatever order they end."""
    three(grown)
    assert folded(Mcts(q=q), grown.tree).value[0] == worth


@pytest.mark.parametrize(("q", "worth"), AGGREGATES)
def test_the_returns_of_duplicates_are_aggregated(grown, q, worth):
    three(grown, "same")
    state = folded(Mcts(q=q), grown.tree)
    assert (state.value[1:], state.returns[1:]) == ([worth, 0.0, 0.0], [3, 0, 0])


def test_steps_that_lead_to_the_same_state_share_their_returns(grown):
    steps = [grown.attempt(kind="step", text=text) for text in ("one >x", "two >x", "three >y")]
    for step, score in zip(steps, (1.0, 0.0, 0.5), strict=True):
        scored(grown, step, kind="answer", answer=step, score=score)
    state = folded(Mcts(moves="step", state=">(.)"), grown.tree)
    assert state.shared == {"x": (2, 1.0), "y": (1, 0.5)}
    assert [returns_at(state, state.node(step)) for step in steps] == [(2, 1.0), (2, 1.0), (1, 0.5)]


@pytest.mark.parametrize("discount", [1.0, 0.9])
def test_sums_of_returns_are_exact(grown, discount):
    for score in (0.1, 0.2, 0.3, 0.7):
        scored(grown, score=score)
    state = folded(Mcts(width=4, discount=discount), grown.tree)
    assert state.value[0] == sum(map(exact, (discount * exact(s) for s in (0.7, 0.3, 0.2, 0.1))))
