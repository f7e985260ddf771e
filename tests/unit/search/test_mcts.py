"""Tree search: where it goes in worlds with known answers, and what each setting changes."""

import pytest

from critic_loop.core.errors import ConfigError, SearchError
from critic_loop.core.protocols import Move, Stop, Wait
from critic_loop.core.records import Attempt
from critic_loop.evidence import value_of
from critic_loop.search import Mcts, build
from critic_loop.search.mcts.scores import Additive
from tests.unit.search.worlds import World, bandit, deceptive, folded, next_move, two_steps


def below(tree, root):
    return sum(tree.path(i)[0] == root for i in tree.asks)


def best_score(tree):
    return max(value_of(tree, i).score or 0.0 for i in tree.attempts)


# -- where it goes ---------------------------------------------------------------------------------


def test_the_better_arm_gets_most_of_the_attempts():
    tree, state = bandit(0.2, 0.8).play(Mcts(n=60, roots=2, width=4))
    first, second = tree.roots
    assert below(tree, second) > 1.5 * below(tree, first)
    assert state.value[state.node(second)] / state.returns[state.node(second)] == pytest.approx(0.8)


@pytest.mark.parametrize("rule", ["ucb1", "uct", "puct", "var_puct", "prompt_uct", "edge_ucb", "additive"])
def test_every_rule_prefers_the_better_arm(rule):
    tree, _ = bandit(0.1, 0.9).play(Mcts(n=80, roots=2, width=4, rule=rule, c=0.5))
    first, second = tree.roots
    assert below(tree, second) > below(tree, first)


def test_greed_is_deceived_and_exploration_is_not():
    greedy, _ = deceptive().play(Mcts(n=32, roots=2, c=0.0, q="max"))
    assert below(greedy, greedy.roots[1]) == 1
    assert best_score(greedy) < 1
    searched, _ = deceptive().play(Mcts(n=32, roots=2, c=0.5))
    assert best_score(searched) == 1


def test_steps_go_on_until_an_answer_ends_and_stay_in_the_tree():
    tree, state = two_steps().play(Mcts(n=8, moves="step", width=2))
    texts = [World.path(tree, i) for i in tree.asks]
    assert texts[:2] == [("0",), ("0", "2")], "the first simulation goes on from its step"
    assert ("1", "3") in texts
    assert [a.kind for a in tree] == ["step"] * len(tree)
    assert state.visits[0] == 4, "a visit is a simulation: four lines of two steps"
    assert all(tree.children(i) == () for i, a in tree.attempts.items() if a.answer is not None)


def test_a_simulation_that_is_not_to_go_on_judges_steps_by_themselves():
    tree, state = two_steps().play(Mcts(n=5, moves="step", width=3, rollout="never"))
    assert tree.roots == ("drive-0.1", "drive-0.2", "drive-0.3")
    assert state.visits[0] == 5


def test_simulations_to_a_depth():
    tree, _ = bandit(0.5, 0.5).play(Mcts(n=6, rollout="depth", depth=3, width=2))
    assert [tree.depth(i) for i in tree.asks] == [0, 1, 2, 0, 1, 2]


# -- what a reward is ------------------------------------------------------------------------------


def test_the_cumulative_return_of_a_node_is_the_sum_from_there_down():
    search = Mcts(n=3, rollout="depth", depth=3, backup="cumulative", returns="ended")
    tree, state = bandit(0.5).play(search)
    assert [state.value[state.node(i)] for i in tree.asks] == [1.5, 1.0, 0.5]
    assert state.returns[0] == 1


def test_returns_are_discounted_level_by_level(grown):
    draft = grown.attempt(answer="1")
    grown.say(draft, score=0.5)
    child = grown.attempt(draft, answer="2")
    grown.say(child, score=1.0)
    state = folded(Mcts(discount=0.9), grown.tree)
    assert state.value[state.node(draft)] == pytest.approx(0.5 + 0.9, abs=1e-8)
    assert state.value[0] == pytest.approx(0.45 + 0.81, abs=1e-8)


@pytest.mark.parametrize(("q", "worth"), [("sum", 1.25), ("mean", 1.25), ("max", 0.75), ("last", 0.5)])
def test_what_the_returns_of_a_node_come_to(grown, q, worth):
    draft = grown.attempt(answer="1")
    grown.say(draft, score=0.0)
    later = [grown.ask(draft), grown.ask(draft)]
    for attempt, score in ((later[0], 0.75), (later[1], 0.5)):
        grown.settle(attempt, attempt)
        grown.say(attempt, score=score)
    assert folded(Mcts(q=q), grown.tree).value[1] == worth


def test_an_attempt_that_nobody_judged_is_a_visit_without_a_return(grown):
    judged, silent = grown.attempt(answer="1"), grown.attempt(answer="2")
    grown.say(judged, score=0.0)
    state = folded(Mcts(), grown.tree)
    assert (state.visits[0], state.returns[0]) == (2, 1)
    move = next_move(Mcts(roots=2, unjudged=0.5), grown)
    assert move.parents == (silent,), "not judged is not 0"
    assert next_move(Mcts(roots=2, unjudged=0.0), grown).parents == (judged,)


def test_opinion_never_lifts_an_attempt_over_one_that_passed(grown):
    passed, failed = grown.attempt(answer="1"), grown.attempt(answer="2")
    grown.verified(passed, "pass", score=1.0)
    grown.say(passed, score=0.0)
    grown.verified(failed, "fail", score=0.99)
    grown.say(failed, score=1.0)
    state = folded(Mcts(opinion=0.2), grown.tree)
    assert state.reward[1] == pytest.approx(0.8)
    assert state.reward[2] == pytest.approx(0.8 * 0.99)


def test_a_critics_score_is_the_prior(grown):
    for score in (0.1, 0.9):
        attempt = grown.attempt(answer=score)
        grown.verified(attempt, "fail", score=0.5)
        grown.say(attempt, score=score)
    assert next_move(Mcts(rule="puct", roots=2), grown).parents == ("t.2",)
    assert next_move(Mcts(rule="uct", roots=2), grown).parents == ("t.1",), "which knows no prior"


# -- width and depth -------------------------------------------------------------------------------


def test_what_is_in_flight_is_a_virtual_loss(grown):
    for answer in "12":
        grown.say(grown.attempt(answer=answer), score=0.5)
    grown.ask("t.1")
    assert next_move(Mcts(roots=2, c=0.0), grown).parents == ("t.2",)
    assert next_move(Mcts(roots=2, c=0.0, virtual_loss=0.0), grown).parents == ("t.1",)


def test_it_waits_where_all_places_are_taken_by_what_is_in_flight(grown):
    search = Mcts(roots=1)
    assert next_move(search, grown) == Move()
    draft = grown.ask()
    assert next_move(search, grown) == Wait()
    grown.settle(draft, "1")
    assert next_move(search, grown) == Move(parents=(draft,))


def test_it_stops_where_the_tree_may_not_grow_any_more(grown):
    grown.attempt(answer="1")
    assert next_move(Mcts(width=1, depth=1), grown) == Stop("exhausted", "1 attempts made")


def test_failed_attempts_are_never_parents_and_give_their_place_back(grown):
    search = Mcts(roots=1, width=1, failures=1, n=9)
    grown.attempt(status="failed")
    assert next_move(search, grown) == Move()
    draft = grown.attempt(answer="1")
    grown.attempt(draft, status="failed")
    assert next_move(search, grown) == Move(parents=(draft,))
    grown.attempt(draft, status="failed")
    assert next_move(search, grown) == Stop("exhausted", "4 attempts made"), "one failure, not two"


def test_progressive_widening_follows_the_visits():
    search = Mcts(n=50, widening=0.5, widening_k=2.0)
    tree, state = bandit(*[0.5] * 16).play(search)
    for attempt in tree.asks:
        children = len(tree.children(attempt))
        assert children <= max(1, int(2 * state.visits[state.node(attempt)] ** 0.5))
    assert len(tree.roots) == 14, "2 * sqrt(50)"


def test_a_child_has_its_least_visits_before_the_rule_decides():
    tree, state = bandit(0.0, 1.0).play(Mcts(n=12, roots=2, c=0.0, min_visits=4))
    first, second = tree.roots
    assert state.visits[state.node(first)] == 4
    assert state.visits[state.node(second)] == 8


def test_branches_that_get_worse_are_pruned():
    falling = World(lambda path, k: f"{len(path)}{k}", lambda path: 1.0 - 0.3 * (len(path) - 1))
    tree, _ = falling.play(Mcts(n=20, roots=1, width=1, prune_from=1))
    assert [tree.depth(i) for i in tree.asks] == [0, 1, 2], "1.0, 0.7, and 0.4 is below 0.85"


def test_a_batch_is_one_move_as_wide_as_there_is_room(grown):
    assert next_move(Mcts(batch=8, width=3), grown) == Move(samples=3)
    assert next_move(Mcts(batch=8, width=3, n=2), grown) == Move(samples=2)


# -- duplicates, rewriting, hindsight --------------------------------------------------------------


def test_a_duplicate_is_merged_into_the_sibling_that_was_asked_for_first(grown):
    first, second = grown.ask(), grown.ask()
    grown.settle(second, "same")
    grown.say(second, score=0.25)
    grown.attempt(second, answer="below")
    grown.settle(first, "same")
    grown.say(first, score=0.75)
    state = folded(Mcts(roots=2), grown.tree)
    assert state.node(first) == state.node(second) == 1
    assert (state.visits[1], state.returns[1], state.value[1]) == (3, 2, 1.0)
    assert next_move(Mcts(roots=2), grown).parents == (first,)
    apart = folded(Mcts(roots=2, duplicates="keep"), grown.tree)
    assert apart.node(second) == 2


def test_what_verifiers_reject_is_rewritten_once_in_its_place(grown):
    search = Mcts(rethink=1, width=1)
    bad = grown.attempt(answer="1")
    grown.verified(bad, "fail", score=0.5)
    assert next_move(search, grown) == Move(replaces=bad, shows=(bad,))
    again = grown.ask(replaces=bad)
    assert next_move(search, grown) == Wait(), "nothing is built on what is being rewritten"
    grown.settle(again, "2")
    grown.verified(again, "fail", score=0.75)
    assert next_move(search, grown) == Move(parents=(again,)), "once, not twice"


def test_a_rewrite_that_failed_leaves_the_first_attempt_in_place(grown):
    bad = grown.attempt(answer="1")
    grown.verified(bad, "fail", score=0.5)
    grown.attempt(replaces=bad, status="failed")
    assert next_move(Mcts(rethink=1, width=1), grown) == Move(parents=(bad,))


@pytest.mark.parametrize(("statistics", "visits", "worth"), [("node", 1, 0.75), ("edge", 2, 1.25)])
def test_on_edges_a_rewritten_attempt_takes_over_the_returns(grown, statistics, visits, worth):
    bad = grown.attempt(answer="1")
    grown.verified(bad, "fail", score=0.5)
    again = grown.attempt(answer="2", replaces=bad)
    grown.verified(again, "fail", score=0.75)
    state = folded(Mcts(rethink=1, statistics=statistics), grown.tree)
    node = state.node(again)
    assert (state.visits[node], state.value[node]) == (visits, worth)
    assert state.value[0] == 1.25, "rewards already collected are kept above"


def test_thoughts_are_evaluated_by_an_answer_each_and_rewritten_if_it_fails(grown):
    search = Mcts(moves="thought", rethink=1, width=1, answerer="coder")
    assert next_move(search, grown) == Move(kind="thought")
    thought = grown.attempt(kind="thought", answer="sort")
    assert next_move(search, grown) == Move(parents=(thought,), agent="coder")
    program = grown.attempt(thought, answer="sorted(x)")
    grown.verified(program, "fail", score=0.5)
    shown = (thought, program)
    assert next_move(search, grown) == Move(kind="thought", replaces=thought, shows=shown)
    better = grown.attempt(kind="thought", answer="sort a set", replaces=thought)
    last = grown.attempt(better, answer="sorted(set(x))")
    grown.verified(last, "pass", score=1.0)
    assert next_move(search, grown) == Move(kind="thought", parents=(better,), shows=(last,))
    state = folded(search, grown.tree)
    assert [state.reward_at(state.node(i)) for i in (thought, better)] == [0.5, 1.0]


def test_hindsight_is_shown_from_the_second_child_on(grown):
    search = Mcts(roots=1, hindsight=1)
    draft = grown.attempt(answer="1")
    assert next_move(search, grown) == Move(parents=(draft,))
    for answer, score in (("2", 0.5), ("3", None)):
        grown.say(grown.attempt(draft, answer=answer), score=score)
    assert next_move(search, grown) == Move(parents=(draft,), shows=("t.2",)), "the last that was judged"


def test_random_choices_follow_from_task_seed_and_state():
    settings = {"n": 40, "roots": 2, "depth": 6, "randomness": 0.0}
    one, _ = bandit(0.0, 1.0).play(Mcts(**settings))
    assert one.log == bandit(0.0, 1.0).play(Mcts(**settings))[0].log
    assert below(one, one.roots[0]) > 12, "with rate 0 every choice is random"


# -- errors ----------------------------------------------------------------------------------------


def test_unknown_attempts_are_refused(grown):
    search = Mcts()
    state = search.start(grown.tree.task)
    with pytest.raises(SearchError, match=r"'x\.1' is unknown to tree 't'"):
        search.fold(state, grown.tree, Attempt(id="x.1"))
    known = grown.attempt(answer="1")
    with pytest.raises(SearchError, match=r"'t\.1' is unknown to this search"):
        search.fold(state, grown.tree, grown.tree[known])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n": 0}, "setting 'n': .*greater than or equal to 1"),
        ({"rule": "ucb"}, "setting 'rule': "),
        ({"discount": 1.5}, "setting 'discount': .*less than or equal to 1"),
        ({"opinion": 1.0}, "setting 'opinion': .*less than 1"),
        ({"additive": {"explore": -1}}, r"setting 'additive\.explore': "),
        ({"additive": {"explor": 1}}, r"setting 'additive\.explor': "),
        ({"rollout": "depth"}, "search 'mcts': rollout to the depth and randomness need a limit of depth"),
        ({"gamma": 0.9}, "has no setting 'gamma'; it has n, moves"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        build([("mcts", settings)])


def test_settings_come_from_a_recipe():
    search = build([("mcts", {"n": 8, "rule": "additive", "additive": {"explore": 0.005}})])
    assert search == Mcts(n=8, rule="additive", additive=Additive(explore=0.005))
