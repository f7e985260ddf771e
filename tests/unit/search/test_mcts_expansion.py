"""Expansion in `Mcts`: where children may be asked for, one rule a test."""

import pytest

from critic_loop.core.protocols import Move, Stop, Wait
from critic_loop.search import Mcts
from tests.unit.search.worlds import folded, next_move


def roots(grown, count):
    return [grown.attempt(answer=str(k)) for k in range(count)]


# -- width -----------------------------------------------------------------------------------------


def test_a_node_has_three_children_unless_it_is_said(grown):
    assert next_move(Mcts(batch=9), grown) == Move(samples=3)
    assert next_move(Mcts(batch=9, width=5), grown) == Move(samples=5)


def test_roots_are_as_many_as_width_unless_it_is_said(grown):
    assert next_move(Mcts(batch=9, width=2), grown) == Move(samples=2)
    assert next_move(Mcts(batch=9, width=2, roots=4), grown) == Move(samples=4)


def test_a_failed_child_gives_its_place_back_so_many_times(grown):
    search = Mcts(roots=1, width=1, failures=2)
    draft = grown.attempt(answer="1")
    for _ in range(2):
        grown.attempt(draft, status="failed")
        assert next_move(search, grown) == Move(parents=(draft,))
    grown.attempt(draft, status="failed")
    assert isinstance(next_move(search, grown), Stop)


def test_a_failed_root_gives_its_place_back_always(grown):
    for _ in range(5):
        grown.attempt(status="failed")
        assert next_move(Mcts(roots=1, failures=0), grown) == Move()


def test_a_failed_rewrite_gives_no_place_back(grown):
    bad = grown.attempt(answer="1")
    grown.verified(bad, "fail", score=0.5)
    grown.attempt(replaces=bad, status="failed")
    assert next_move(Mcts(rethink=1, roots=1), grown) == Move(parents=(bad,))


def test_a_rewrite_takes_no_place(grown):
    search = Mcts(rethink=1, roots=2)
    bad = grown.attempt(answer="1")
    grown.verified(bad, "fail", score=0.5)
    grown.attempt(answer="2", replaces=bad)
    assert next_move(search, grown) == Move()


def test_the_answer_of_a_thought_takes_no_place(grown):
    search = Mcts(moves="thought", width=1)
    thought = grown.attempt(kind="thought", answer="sort")
    answer = grown.attempt(thought, answer="sorted(x)")
    assert next_move(search, grown) == Move(kind="thought", parents=(thought,), shows=(answer,))


# -- progressive widening --------------------------------------------------------------------------


def test_widening_allows_one_child_at_least(grown):
    grown.attempt(status="failed")
    assert next_move(Mcts(widening=0.5, widening_k=0.1), grown) == Move()


@pytest.mark.parametrize(("k", "alpha", "allowed"), [(1.0, 0.5, 3), (2.0, 0.5, 6), (0.5, 1.0, 4)])
def test_widening_allows_k_times_n_to_the_alpha_children(grown, k, alpha, allowed):
    for _ in range(9):
        grown.attempt(status="failed")  # a visit that takes no place
    assert next_move(Mcts(widening=alpha, widening_k=k, batch=99, n=99), grown) == Move(samples=allowed)


def test_widening_is_bounded_by_width(grown):
    roots(grown, 2)
    assert next_move(Mcts(widening=1.0, widening_k=9.0, width=2), grown).parents != ()
    assert next_move(Mcts(widening=1.0, widening_k=9.0), grown).parents == ()


def test_widening_counts_attempts_in_flight_as_visits(grown):
    search = Mcts(widening=1.0, widening_k=2.0)
    grown.ask()
    assert next_move(search, grown) == Move()
    assert next_move(Mcts(widening=1.0, widening_k=1.0), grown) == Wait()


# -- attempts that are never expanded --------------------------------------------------------------


def test_an_attempt_at_the_limit_of_depth_is_never_expanded(grown):
    draft = grown.attempt(answer="1")
    child = grown.attempt(draft, answer="2")
    assert next_move(Mcts(roots=1, width=1, depth=3), grown) == Move(parents=(child,))
    assert isinstance(next_move(Mcts(roots=1, width=1, depth=2), grown), Stop)


def test_a_step_that_ends_the_answer_is_never_expanded(grown):
    search = Mcts(moves="step", roots=1, width=1)
    grown.attempt(kind="answer", answer="42")
    assert isinstance(next_move(search, grown), Stop)


@pytest.mark.parametrize(("rewards", "pruned"), [((1.0, 0.4, 0.6), True), ((1.0, 0.4, 0.8), False)])
def test_below_the_mean_of_root_and_parent_an_attempt_is_pruned(grown, rewards, pruned):
    parent = ()
    for reward in rewards:
        parent = (grown.attempt(*parent, answer=str(reward)),)
        grown.say(*parent, score=reward)
    move = next_move(Mcts(roots=1, width=1, prune_from=1), grown)
    assert isinstance(move, Stop) == pruned


@pytest.mark.parametrize(("depth", "pruned"), [(0, True), (1, False)])
def test_attempts_are_pruned_below_a_depth(grown, depth, pruned):
    draft = grown.attempt(answer="1")
    grown.say(draft, score=1.0)
    grown.say(grown.attempt(draft, answer="2"), score=0.1)
    move = next_move(Mcts(roots=1, width=1, prune_from=depth), grown)
    assert isinstance(move, Stop) == pruned


def test_a_failed_attempt_is_never_expanded(grown):
    grown.attempt(status="failed")
    second = grown.attempt(answer="2")
    assert next_move(Mcts(roots=1, failures=0), grown) == Move(parents=(second,))


# -- duplicates ------------------------------------------------------------------------------------


def test_the_same_answer_is_merged_and_others_are_not(grown):
    first, second, third = (grown.attempt(answer=answer) for answer in ("1", "1", "2"))
    state = folded(Mcts(), grown.tree)
    assert state.node(second) == state.node(first) != state.node(third)


def test_duplicates_may_be_kept(grown):
    first, second = grown.attempt(answer="1"), grown.attempt(answer="1")
    state = folded(Mcts(duplicates="keep"), grown.tree)
    assert state.node(second) != state.node(first)


def test_without_answers_the_same_text_is_merged_but_no_text_is_not(grown):
    made = [grown.attempt(kind="step", text=text) for text in ("a", "a", "b", "", "")]
    state = folded(Mcts(moves="step", rollout="never"), grown.tree)
    assert len({state.node(attempt) for attempt in made}) == 4
    assert state.node(made[0]) == state.node(made[1])


def test_a_failed_attempt_has_no_duplicates(grown):
    failed = grown.attempt(status="failed", text="a", kind="step")
    step = grown.attempt(text="a", kind="step")
    state = folded(Mcts(moves="step", rollout="never"), grown.tree)
    assert state.node(step) != state.node(failed)


def test_of_duplicates_the_one_asked_for_first_represents_all(grown):
    asked = [grown.ask() for _ in range(3)]
    for attempt in (asked[2], asked[0], asked[1]):
        grown.settle(attempt, "same")
    state = folded(Mcts(), grown.tree)
    assert [state.node(attempt) for attempt in asked] == [1, 1, 1]
    assert state.visits[1] == 3


def test_the_children_of_a_merged_node_belong_to_its_representative(grown):
    first, second = grown.ask(), grown.ask()
    grown.settle(second, "same")
    below = grown.attempt(second, answer="below")
    grown.settle(first, "same")
    state = folded(Mcts(roots=2), grown.tree)
    assert state.parent[state.node(below)] == state.node(first)
    assert state.children[state.node(first)] == (state.node(below),)


# -- rewritten attempts ----------------------------------------------------------------------------


def rejected(grown):
    bad = grown.attempt(answer="1")
    grown.verified(bad, "fail", score=0.5)
    return bad


def test_an_attempt_that_is_to_be_rewritten_is_not_expanded(grown):
    other = grown.attempt(answer="0")
    grown.verified(other, "pass", score=1.0)
    rejected(grown)
    state = folded(Mcts(rethink=1, roots=2), grown.tree)
    assert list(state.has_room) == [0, 1, 0]


def test_an_attempt_that_is_being_rewritten_is_not_expanded(grown):
    grown.ask(replaces=rejected(grown))
    assert next_move(Mcts(rethink=1, roots=1), grown) == Wait()


@pytest.mark.parametrize("statistics", ["node", "edge"])
def test_a_replaced_attempt_is_not_expanded_but_its_replacement_is(grown, statistics):
    again = grown.attempt(answer="2", replaces=rejected(grown))
    search = Mcts(rethink=1, roots=1, statistics=statistics)
    assert next_move(search, grown) == Move(parents=(again,))
    assert sum(folded(search, grown.tree).has_room) == 1


def test_on_edges_the_rewritten_attempt_represents_the_one_that_it_replaces(grown):
    bad = rejected(grown)
    again = grown.attempt(answer="2", replaces=bad)
    state = folded(Mcts(rethink=1, statistics="edge"), grown.tree)
    assert state.node(bad) == state.node(again) == state.own_node(again)


def test_a_duplicate_of_a_replaced_attempt_is_merged_with_the_replacement(grown):
    again = grown.attempt(answer="2", replaces=rejected(grown))
    duplicate = grown.attempt(answer="1")
    state = folded(Mcts(rethink=1, statistics="edge"), grown.tree)
    assert state.node(duplicate) == state.own_node(again)


# -- what is asked for -----------------------------------------------------------------------------


def test_a_batch_is_bounded_by_room_and_by_n(grown):
    assert next_move(Mcts(batch=8, width=3), grown) == Move(samples=3)
    assert next_move(Mcts(batch=2, width=3), grown) == Move(samples=2)
    assert next_move(Mcts(batch=8, width=3, n=2), grown) == Move(samples=2)


def test_n_counts_every_attempt(grown):
    search = Mcts(n=2)
    grown.attempt(status="failed")
    assert next_move(search, grown) == Move()
    last = grown.ask()
    assert next_move(search, grown) == Wait()
    grown.settle(last, "1")
    assert next_move(search, grown) == Stop("exhausted", "2 attempts made")


def test_an_agent_makes_all_attempts_and_an_answerer_the_answers_of_thoughts(grown):
    search = Mcts(moves="thought", agent="thinker", answerer="coder", rethink=1)
    assert next_move(search, grown) == Move(kind="thought", agent="thinker")
    thought = grown.attempt(kind="thought", answer="sort")
    assert next_move(search, grown) == Move(parents=(thought,), agent="coder")
    program = grown.attempt(thought, answer="x")
    grown.verified(program, "fail")
    assert next_move(search, grown).agent == "thinker"


@pytest.mark.parametrize(("hindsight", "shown"), [(0, ()), (1, ("t.4",)), (2, ("t.2", "t.4"))])
def test_hindsight_shows_the_latest_siblings_that_were_judged(grown, hindsight, shown):
    draft = grown.attempt(answer="1")
    for answer, score in (("2", 0.5), ("3", None), ("4", 0.1)):
        grown.say(grown.attempt(draft, answer=answer), score=score)
    move = next_move(Mcts(roots=1, width=9, c=0.0, hindsight=hindsight), grown)
    assert move == Move(parents=(draft,), shows=shown)
