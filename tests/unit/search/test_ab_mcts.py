import random
import statistics

import pytest

from critic_loop.core.errors import ConfigError
from critic_loop.core.protocols import Move, Stop, Wait
from critic_loop.core.records import Ask, Attempt
from critic_loop.search import AbMcts, build
from critic_loop.search.posteriors import Beta, Gaussian
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


def below(state, number):
    return [child for child in range(1, len(state.ids)) if state.parent[child] == number]


def rows_of(children):
    return sorted(row for rows in children.values() for row in rows) if isinstance(children, dict) else children


@pytest.mark.parametrize("posterior", ["gaussian", "beta"])
def test_children_that_may_be_built_on_stand_where_their_beliefs_say(posterior):
    search = AbMcts(n=90, posterior=posterior)
    state = Played(search, wide, lanes=3).run().state
    kinds = [type(state.children[number]) for number in state.children]
    assert (dict in kinds) == (posterior == "gaussian"), "there is a crowd"
    for number in range(len(state.ids)):
        children = state.children.get(number, [])
        assert rows_of(children) == below(state, number)
        assert [state.bins[row] for row in below(state, number)] == [
            search.prior.refresh(state.own, row) if isinstance(children, dict) else 0
            for row in below(state, number)
        ]


@pytest.mark.parametrize("posterior", ["gaussian", "beta"])
def test_beliefs_count_every_attempt_once_on_each_level(posterior):
    state = Played(AbMcts(n=50, posterior=posterior), deep, lanes=3).run().state
    own, wider, deeper = state.own.count, state.wider.count, state.deeper.count
    for number in range(len(state.ids)):
        assert wider[number] == len(below(state, number))
        assert deeper[number] == sum(own[child] - 1 for child in below(state, number))
    assert wider[0] + deeper[0] == 50 == state.agents.count[0]


def test_what_is_in_flight_counts_as_a_score_of_zero_and_what_nobody_judged_as_nothing():
    played = Played(AbMcts(n=9), lambda tree, ask: {})
    played.begin(Move())
    assert played.state.wider.count[0] == 1
    assert played.state.wider.total[0] == 0.0
    played.settle(played.in_flight[0])
    assert played.state.wider.count[0] == 0
    assert played.state.children == {0: [1]}, "it may be built on"


def test_the_place_in_a_crowd_does_not_depend_on_the_order_of_settling():
    """Eight lanes over 120 attempts; some are judged late, in another order."""
    played = Played(AbMcts(n=120), wide, lanes=8).run()
    state = played.search.start(played.tree.task)
    records = list(played.tree.log)
    asks = [record for record in records if isinstance(record, Ask)]
    ended = [record for record in records if isinstance(record, Attempt)]
    for record in (*asks, *random.Random(3).sample(ended, len(ended))):
        state = played.search.fold(state, played.tree, record)
    assert state == played.state
    assert any(isinstance(rows, dict) for rows in state.children.values())


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


# -- one rule a test ---------------------------------------------------------------------------


def settled(search, world):
    """Play one draft; return the state before and after it ends."""
    played = Played(search, world)
    played.begin(Move(kind=search.moves))
    before = played.state.wider.count[0]
    played.settle("toy.1")
    return before, played.state


@pytest.mark.parametrize("virtual_loss", [True, False])
def test_without_virtual_loss_an_attempt_in_flight_counts_for_nothing(virtual_loss):
    before, state = settled(AbMcts(virtual_loss=virtual_loss), lambda tree, ask: {"score": 0.5})
    assert before == virtual_loss
    assert (state.wider.count[0], state.wider.total[0]) == (1, 0.5)


def test_a_failed_attempt_counts_for_nothing_whatever_is_said_of_it():
    _, state = settled(AbMcts(), lambda tree, ask: {"status": "failed", "answer": None, "score": 0.9})
    assert (state.wider.count[0], state.wider.total[0], state.children) == (0, 0.0, {})


def test_a_step_that_ends_the_answer_is_not_built_on():
    _, ended = settled(AbMcts(moves="step"), lambda tree, ask: {"score": 0.5})
    _, unended = settled(AbMcts(moves="step"), lambda tree, ask: {"score": 0.5, "answer": None})
    assert (ended.children, unended.children) == ({}, {0: [1]})


def test_the_prior_is_the_settings_or_the_papers():
    assert AbMcts().prior == Gaussian(mean=0.0, weight=1.0, freedom=1.0, variance=0.1)
    assert AbMcts(posterior="beta").prior == Beta(mean=0.5, weight=1.0)
    given = AbMcts(mean=0.3, weight=2.0, freedom=3.0, variance=0.4).prior
    assert given == Gaussian(mean=0.3, weight=2.0, freedom=3.0, variance=0.4)
    assert AbMcts(posterior="beta", mean=0.3, weight=2.0).prior == Beta(mean=0.3, weight=2.0)


def test_the_recipes_actor_counts_under_any_name_of_its_spec():
    played = Played(AbMcts(agents=("actor", "other")), deep)
    for agent in ("actor/solver", "other"):
        played.begin(Move(agent=agent))
    assert list(played.state.agents.count) == [1, 1]


def test_n_bounds_the_attempts_asked_for():
    assert len(Played(AbMcts(n=7), deep, lanes=3).run(20).tree) == 7
