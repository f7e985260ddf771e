"""Selection in `Mcts`: which node of a small tree is expanded next, one rule a test."""

import random

import pytest

from critic_loop.search import Additive, Driver, Mcts, Sample
from critic_loop.search.mcts.scores import RULES
from critic_loop.search.mcts.selection import select
from critic_loop.search.mcts.state import ROOT, MctsState

A, B = 1, 2
EXPLORE = Additive(explore=0.35)
WEIGHED = [{"rule": "ucb1", "c": 0.35}, {"rule": "uct", "c": 0.5}, {"rule": "additive", "additive": EXPLORE}]
"""Three ways through the code: descent by the mean, rules with a weight, sums of terms. Of a node with three
visits and Q 0.6 and one with one visit and Q 0.4, each selects the first at four visits of the parent, the
other at 100."""
GREEDY = [
    {"rule": "ucb1", "c": 0.0},
    {"rule": "uct", "c": 0.0},
    {"rule": "additive", "additive": Additive(explore=0)},
]


class Nodes(MctsState):
    """Statistics that a test sets: the root and inner nodes are full, leaves have room."""

    def __init__(self, visits=4):
        super().__init__()
        self.visits[ROOT], self.has_room[ROOT], self.selectable[ROOT] = visits, 0, 1

    def child(self, parent=ROOT, *, n=1, q=0.5, pending=0, returns=None):
        """Add a node of `n` visits whose returns have mean q."""
        node = self.add(f"drive-0.{len(self.ids)}", parent, counted=True)
        above = node
        while above >= ROOT:
            self.pending[above] += pending - 1
            above = self.parent[above]
        self.visits[node] = n
        self.returns[node] = n if returns is None else returns
        self.value[node] = q * self.returns[node]
        self.has_room[parent], self.has_room[node], self.selectable[node] = 0, 1, 1
        return node


def selected(nodes, seed=0, **settings):
    return select(Mcts(depth=9, **settings), nodes, Driver(Sample(), "x", seed).tree)


def well_known_and_new(visits=4, **new):
    state = Nodes(visits)
    state.child(n=3, q=0.6)
    state.child(**{"n": 1, "q": 0.4, **new})
    return state


@pytest.mark.parametrize("rule", WEIGHED)
def test_exploration_grows_with_the_visits_of_the_parent(rule):
    assert selected(well_known_and_new(4), **rule) == A
    assert selected(well_known_and_new(100), **rule) == B


@pytest.mark.parametrize("rule", WEIGHED)
def test_visits_from_is_added_to_the_visits_of_the_parent(rule):
    assert selected(well_known_and_new(), visits_from=96, **rule) == B


def test_c_is_how_much_is_explored():
    assert selected(well_known_and_new(), c=0.0) == A
    assert selected(well_known_and_new(), c=4.0) == B


def test_base_is_when_var_puct_explores_more():
    settings = {"rule": "var_puct", "c": 0.0}
    assert selected(well_known_and_new(), base=10.0, **settings) == A
    assert selected(well_known_and_new(), base=0.1, **settings) == B


@pytest.mark.parametrize(
    ("rule", "c"),
    [("ucb1", 2**0.5), ("uct", 4.0), ("puct", 4.0), ("var_puct", 4.0), ("prompt_uct", 2.5), ("edge_ucb", 1.5)],
)
def test_each_rule_has_the_exploration_constant_of_its_source(rule, c):
    assert RULES[rule].c == Mcts(rule=rule).exploration == c


def test_log_of_the_parents_visits_and_one_more():
    settings = {"c": 0.385, "rule": "ucb1"}
    assert selected(well_known_and_new(), log="parent", **settings) == A
    assert selected(well_known_and_new(), log="parent+1", **settings) == B


def test_log_of_the_trees_visits():
    state = Nodes(100)
    inner = state.child(n=4)
    well_known, new = state.child(inner, n=3, q=0.6), state.child(inner, n=1, q=0.4)
    assert selected(state, log="parent", c=0.35) == well_known
    assert selected(state, log="tree", c=0.35) == new


@pytest.mark.parametrize("rule", GREEDY)
def test_of_equals_the_one_asked_for_first_is_selected(rule):
    state = Nodes()
    first, _ = state.child(), state.child()
    assert selected(state, **rule) == first


@pytest.mark.parametrize("rule", GREEDY)
def test_only_nodes_with_room_at_or_below_them_are_selected(rule):
    state = Nodes()
    full, other = state.child(q=0.9), state.child(q=0.1)
    state.child(full)
    state.selectable[full] = 0
    assert selected(state, **rule) == other


def test_the_fast_descent_selects_what_the_rule_selects():
    """Without attempts in flight, the means are compared in a loop of their own."""
    rng = random.Random(5)
    for _ in range(50):
        state = Nodes(rng.randrange(1, 40))
        for parent in (ROOT, ROOT, ROOT, 1, 1, 2, 2):
            state.child(
                parent, n=rng.randrange(1, 9), q=rng.random(), returns=rng.choice([None, None, None, 0])
            )
        fast, slow = Mcts(), Mcts()
        slow.__dict__["mean_over_root"] = False
        assert fast.mean_over_root
        tree = Driver(Sample(), "x").tree
        assert select(fast, state, tree) == select(slow, state, tree)


# -- attempts in flight ----------------------------------------------------------------------------


def test_virtual_loss_is_a_return_of_0_in_the_mean():
    state = Nodes()
    busy, idle = state.child(q=0.6, pending=1), state.child(q=0.5)
    assert selected(state, c=0.0) == idle
    assert selected(state, c=0.0, virtual_loss=0.1) == busy
    assert selected(state, c=0.0, virtual_loss=0.0) == busy


@pytest.mark.parametrize(
    "rule", [{"rule": "uct", "c": 1.0, "q": "max"}, {"rule": "additive", "additive": EXPLORE, "q": "max"}]
)
def test_virtual_loss_is_a_visit_of_the_node(rule):
    state = Nodes()
    busy, idle = state.child(q=0.5, pending=1), state.child(q=0.45)
    assert selected(state, **rule) == idle
    assert selected(state, virtual_loss=0.0, **rule) == busy


@pytest.mark.parametrize("rule", WEIGHED)
def test_virtual_loss_is_a_visit_of_the_parent(rule):
    state = well_known_and_new()
    state.pending[ROOT] = 96
    assert selected(state, **rule) == B
    assert selected(state, virtual_loss=0.0, **rule) == A


# -- nodes of which little is known ----------------------------------------------------------------


@pytest.mark.parametrize("rule", GREEDY)
def test_nodes_below_their_least_visits_come_first_the_fewest_before_all(rule):
    state = Nodes(20)
    often, less, least = state.child(n=9, q=0.9), state.child(n=3, q=0.3), state.child(n=2, q=0.1)
    assert selected(state, min_visits=4, **rule) == least
    state.visits[least] = 4
    assert selected(state, min_visits=4, **rule) == less
    assert selected(state, min_visits=3, **rule) == often


def test_an_unjudged_node_has_the_q_of_its_parent():
    state = Nodes()
    parent = state.child(q=0.9)
    unjudged, judged = state.child(parent, returns=0), state.child(parent, q=0.7)
    assert selected(state, c=0.0) == unjudged
    assert selected(state, c=0.0, unjudged=0.6) == judged


@pytest.mark.parametrize(("q", "expected"), [(0.4, A), (0.6, B)])
def test_an_unjudged_node_below_the_root_has_q_one_half(q, expected):
    state = Nodes()
    state.child(returns=0)
    state.child(q=q)
    assert selected(state, c=0.0) == expected


def test_a_node_without_returns_has_its_own_reward():
    state = Nodes()
    rewarded, other = state.child(returns=0), state.child(q=0.7)
    state.reward[rewarded] = 0.8
    assert selected(state, c=0.0, unjudged=0.0) == rewarded != other


def test_a_node_of_a_shared_state_has_the_mean_of_that_state():
    state = Nodes()
    lucky, other = state.child(q=0.9), state.child(q=0.5)
    state.state[lucky], state.shared["here"] = "here", (4, 0.4)
    assert selected(state, c=0.0, moves="step", state="x") == other


def test_a_higher_prior_is_selected_by_rules_that_have_one():
    state = Nodes()
    first, likely = state.child(), state.child()
    state.prior = {first: 0.2, likely: 0.8}
    assert selected(state, rule="puct") == likely
    assert selected(state, rule="uct") == first


# -- random selection ------------------------------------------------------------------------------


def test_randomness_is_certain_at_the_root_and_rare_below():
    state = Nodes()
    inner = state.child()
    bad, good = state.child(inner, q=0.1), state.child(inner, q=0.9)
    assert {selected(state, seed, c=0.0, randomness=1e6) for seed in range(20)} == {good}
    flat = Nodes()
    assert {bad - 1, good - 1} == {flat.child(q=0.1), flat.child(q=0.9)}
    assert {selected(flat, seed, c=0.0, randomness=1e6) for seed in range(20)} == {A, B}


def test_random_selection_leaves_out_nodes_without_room():
    state = Nodes()
    full, other = state.child(), state.child()
    state.selectable[full] = state.has_room[full] = 0
    assert {selected(state, seed, randomness=0.0) for seed in range(20)} == {other}


# -- the sum of terms ------------------------------------------------------------------------------

SUM = {"rule": "additive", "additive": Additive(explore=0)}


def test_the_sum_knows_how_good_the_parent_is():
    """A bad node without children below a good one gets a second chance."""
    state = Nodes()
    parent = state.child(q=0.9)
    bad, fair = state.child(parent, q=0.3), state.child(parent, q=0.6)
    assert selected(state, **SUM) == bad
    state.value[parent] = 0.7
    assert selected(state, **SUM) == fair


def test_the_sum_knows_the_duplicates_of_a_node():
    state = Nodes()
    repeated, other = state.child(q=0.7), state.child(q=0.5)
    assert selected(state, **SUM) == repeated
    state.merged[repeated] = [7, 8]
    assert selected(state, **SUM) == other


def test_the_sum_knows_the_rewards_of_complete_children():
    state = Nodes()
    solved, other = state.child(q=0.7), state.child(q=0.6)
    below = state.child(solved)
    state.has_room[solved] = 1
    assert selected(state, **SUM) == solved
    state.complete[below], state.reward[below] = 1, 1.0
    assert selected(state, **SUM) == other
