"""Score rules against reference values, which were produced by executing the authors' public functions."""

import math

import pytest

from critic_loop.search.mcts.scores import Additive, Observed, random_share, score


@pytest.mark.parametrize(
    ("returns", "prior", "parent", "uct", "puct", "var_puct"),
    [
        ([], 0.5, 2, 3.330218, 1.665109, 1.774326),
        ([0.5, 0.75], 0.5, 5, 2.441515, 1.595757, 1.695135),
        ([1], 0.2, 5, 3.537272, 1.507454, 1.567081),
        ([], 0.3, 1, 0, 0, 0),
    ],
)
def test_rethink_mcts(returns, prior, parent, uct, puct, var_puct):
    """RethinkMCTS (2024), its three rules with c = 4, base = 10 and Q = the greatest return."""
    seen = {"q": max(returns, default=0.0), "n": len(returns), "parent": parent, "prior": prior}
    assert score("uct", **seen) == pytest.approx(uct, abs=5e-7)
    assert score("puct", **seen) == pytest.approx(puct, abs=5e-7)
    assert score("var_puct", **seen, base=10) == pytest.approx(var_puct, abs=5e-7)


@pytest.mark.parametrize(
    ("q", "n", "expected"), [(0.6, 0, 3.543525), (0.6, 1, 3.543525), ((0.6 + 0.9) / 2, 2, 2.831387)]
)
def test_prompt_agent(q, n, expected):
    """PromptAgent (2023): a parent with three backups, w = 2.5."""
    assert score("prompt_uct", q=q, n=n, parent=3, c=2.5) == pytest.approx(expected, abs=5e-7)


def test_unvisited_children_come_first_even_below_a_parent_with_one_visit():
    for rule in ("ucb1", "edge_ucb"):
        assert score(rule, q=0.0, n=0, parent=1) == math.inf
        assert score(rule, q=0.5, n=1, parent=1) == pytest.approx(0.5)


def test_the_two_ucbs_differ_by_their_constants():
    assert score("ucb1", q=0.25, n=4, parent=16, c=1.5) == pytest.approx(
        0.25 + 1.5 * math.sqrt(math.log(16) / 4)
    )
    assert score("edge_ucb", q=0.25, n=4, parent=16) == pytest.approx(
        0.25 + 1.5 * math.sqrt(2 * math.log(16) / 4)
    )


def test_a_random_choice_is_certain_at_the_root_and_rarer_below():
    """HAIChart (2024): exp(-0.8 (1 - k/7)) with k open slots of seven."""
    assert random_share(0.8, 0, 7) == 1.0
    assert random_share(0.8, 3, 7) == pytest.approx(math.exp(-0.8 * (1 - 4 / 7)))
    assert random_share(0.8, 7, 7) == pytest.approx(math.exp(-0.8))


def seen(**given):
    return Observed(
        **{"q": 0.6, "n": 1, "parent_n": 1, "depth": 1, "parent_q": 0.6, "children": (0.6,), **given}
    )


@pytest.mark.parametrize(
    ("given", "term"),
    [
        ({"parent_n": 10}, 0.7 * math.sqrt(math.log(10))),
        ({"depth": 9}, -0.004 * 2),
        ({"duplicates": 2}, -0.125 * 4),
        ({"children": (0.9,)}, -0.025),
        ({"children": (1.0,)}, -0.025 - 0.25),
        ({"children": (None,)}, 0.0),
        ({"q": 0.4, "parent_q": 0.9, "children": ()}, 0.35),
        ({"q": 0.4, "parent_q": 0.6, "children": ()}, 0.0),
    ],
)
def test_each_term_of_the_sum(given, term):
    """SWE-Search (2024): what each observation adds, on rewards in [0, 1]."""
    plain = seen(q=given.get("q", 0.6))
    assert Additive().score(seen(**given)) - Additive().score(plain) == pytest.approx(term)


def test_each_term_has_a_weight():
    assert Additive(exploit=0.5).score(seen()) - Additive().score(seen()) == pytest.approx(-0.5 * 0.6)
    assert Additive(explore=0.0).score(seen(parent_n=10)) == Additive(explore=0.0).score(seen())
    assert Additive(depth=0.1).score(seen(depth=9)) - Additive(depth=0.0).score(seen()) == pytest.approx(-0.3)


def test_good_attempts_without_children_or_with_one_bad_child_are_built_on():
    rule = Additive()
    plain = rule.score(seen(q=0.9))
    assert rule.score(seen(q=0.9, children=())) - plain == pytest.approx(0.25)
    assert rule.score(seen(q=0.9, children=(0.88,))) - plain == pytest.approx(-0.025)
    assert rule.score(seen(q=0.9, children=(0.1,))) - plain == pytest.approx(0.25), "5 * 0.8 is bounded"
    assert rule.score(seen(q=0.9, children=(0.1, 0.2))) == plain, "only where one child is bad"
