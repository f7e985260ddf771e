import statistics

import pytest

from critic_loop.core.errors import ConfigError
from critic_loop.core.protocols import Move, Stop, Wait
from critic_loop.search import AbMcts, build
from tests.worlds import Played, deep, score_of, wide


def test_it_goes_wide_where_revisions_spoil_and_deep_where_they_help():
    """Ten runs of 60 attempts in each world; treequest 0.3.3 does the same (91 and 14 of 100 are drafts)."""
    drafts = {
        world: statistics.fmean(
            len(Played(AbMcts(n=60), world, seed=seed).run().tree.roots) / 60 for seed in range(10)
        )
        for world in (wide, deep)
    }
    assert drafts[wide] > 0.8
    assert drafts[deep] < 0.35


def test_the_deep_world_is_climbed():
    tree = Played(AbMcts(n=150), deep).run().tree
    assert max(score_of(tree, i) for i in tree.attempts) > 0.4, "drafts reach 0.2 at most"


def test_the_better_agent_is_asked_more_often():
    def skilled(tree, ask):
        return {"score": 0.8 if ask.agent == "strong" else 0.2}

    played = Played(AbMcts(n=60, agents=("weak", "strong")), skilled).run()
    strong = sum(ask.agent == "strong" for ask in played.tree.asks.values())
    assert strong > 45
    assert strong < 60, "the other was tried"


@pytest.mark.parametrize("posterior", ["gaussian", "beta"])
def test_children_that_may_be_built_on_stand_in_order(posterior):
    nodes = Played(AbMcts(n=80, posterior=posterior), deep, lanes=3).run().state.nodes
    for name, node in nodes.items():
        children = [child for child in nodes if child and nodes[child].parent == name]
        by_mean = sorted((nodes[c].own.shape[0], nodes[c].own.number) for c in children)
        assert [entry[:2] for entry in node.ranked] == (by_mean if posterior == "gaussian" else [])
        assert [belief.name for belief in node.loose] == ([] if posterior == "gaussian" else children)


@pytest.mark.parametrize("posterior", ["gaussian", "beta"])
def test_beliefs_count_every_attempt_once_on_each_level(posterior):
    played = Played(AbMcts(n=50, posterior=posterior), deep, lanes=3).run()
    nodes = played.state.nodes
    for name, node in nodes.items():
        below = [child for child in nodes if child and nodes[child].parent == name]
        assert node.wider.count == len(below)
        assert node.deeper.count == sum(nodes[child].own.count - 1 for child in below)
    assert nodes[""].wider.count + nodes[""].deeper.count == 50 == played.state.agents["actor"].count


def test_what_is_in_flight_counts_as_a_score_of_zero_and_what_nobody_judged_as_nothing():
    played = Played(AbMcts(n=9), lambda tree, ask: {})
    played.begin(Move())
    assert played.state.nodes[""].wider.count == 1
    assert played.state.nodes[""].wider.total == 0
    played.settle(played.flying[0])
    assert played.state.nodes[""].wider.count == 0
    assert [belief.name for belief in played.state.nodes[""].loose] == ["toy.1"], "it may be built on"


def test_lanes_never_idle_while_there_is_something_to_ask():
    assert Played(AbMcts(), deep, lanes=8).run(100).idle == 0


def test_a_failed_attempt_and_one_at_the_limit_are_never_built_on():
    def failing(tree, ask):
        number = int(ask.attempt.rpartition(".")[2])
        return {"status": "failed", "answer": None} if number % 3 == 0 else deep(tree, ask)

    tree = Played(AbMcts(n=90, depth=3), failing).run().tree
    assert all(tree[p].status == "complete" for ask in tree.asks.values() for p in ask.parents)
    assert max(map(tree.depth, tree.asks)) == 2


def test_seeds_change_the_way_and_a_tree_repeats_its_own():
    outlines = [
        [ask.parents for ask in Played(AbMcts(n=30), deep, seed=seed).run().tree.asks.values()]
        for seed in (1, 1, 2)
    ]
    assert outlines[0] == outlines[1] != outlines[2]


def test_it_ends_when_all_have_settled():
    played = Played(AbMcts(n=1), deep)
    played.begin(Move())
    assert played.search.ask(played.state, played.tree) == Wait()
    played.settle("toy.1")
    assert played.search.ask(played.state, played.tree) == Stop("exhausted", "1 attempts made")


@pytest.mark.parametrize(
    "settings",
    [{"n": 0}, {"agents": []}, {"posterior": "normal"}, {"weight": 0}, {"mean": 1.5}, {"variance": -1.0}],
)
def test_settings_are_checked(settings):
    with pytest.raises(ConfigError, match=f"search 'ab-mcts', setting '{next(iter(settings))}'"):
        build([("ab-mcts", settings)])
