import pytest

from critic_loop.core.errors import ConfigError
from critic_loop.core.messages import assistant
from critic_loop.core.protocols import Move, Stop, Wait
from critic_loop.core.records import Sampling
from critic_loop.search import ExtraSamples, Modified, Nest, ProposeVerifyReflect, Refine, Sample, build
from critic_loop.search.modifiers import AntiRepeat, Pool, Temperature, answer_key
from tests.worlds import Played


def saying(*answers, score=0.0):
    """The k-th attempt gives the k-th answer."""

    def world(tree, ask):
        return {"answer": answers[int(ask.attempt.rpartition(".")[2]) - 1], "score": score}

    return world


# -- in recipes --------------------------------------------------------------------------------


def test_a_modifier_changes_what_follows_it():
    made = build([("temperature", {}), ("sample", {"n": 2}), ("anti-repeat", {"tries": 1}), ("refine", {})])
    assert made == Modified(Temperature(), Nest(Sample(n=2), Modified(AntiRepeat(tries=1), Refine())))


def test_a_modifier_with_nothing_behind_it_is_refused():
    with pytest.raises(ConfigError, match="'temperature' modifies a search, but none follows it"):
        build([("sample", {}), ("temperature", {})])


@pytest.mark.parametrize(
    ("kind", "setting"),
    [
        ("temperature", {"step": -0.1}),
        ("anti-repeat", {"tries": -1}),
        ("pool", {"n": 0}),
        ("pool", {"by": "day"}),
    ],
)
def test_settings_are_checked(kind, setting):
    with pytest.raises(ConfigError, match=f"search '{kind}', setting '(n|{next(iter(setting))})'"):
        build([(kind, setting), ("refine", {})])


# -- temperature -------------------------------------------------------------------------------


def test_each_revision_is_drawn_hotter_than_the_one_before():
    played = Played(Modified(Temperature(step=0.5, top=1.2), Refine(rounds=5)), saying(*"abcde")).run()
    assert [move.sampling.temperature for move in played.moves] == [0.0, 0.5, 1.0, 1.2, 1.2]


def test_samples_get_hotter_by_the_order_of_asking():
    by_asked = Played(Modified(Temperature(by="asked"), Sample(n=3)), saying(*"abc")).run()
    by_depth = Played(Modified(Temperature(), Sample(n=3)), saying(*"abc")).run()
    assert [move.sampling.temperature for move in by_asked.moves] == [0.0, 0.15, 0.3]
    assert [move.sampling.temperature for move in by_depth.moves] == [0.0] * 3


def test_what_a_move_sets_itself_is_left():
    modifier, tree = Temperature(), Played(Sample(), saying()).tree
    own = Move(sampling=Sampling(temperature=0.9, max_tokens=5))
    assert modifier.change([7], tree, own) == own
    other = modifier.change([7], tree, Move(sampling=Sampling(max_tokens=5)))
    assert other.sampling == Sampling(temperature=0.0, max_tokens=5)
    assert modifier.change([7], tree, Wait()) == Wait()


# -- no answer twice ---------------------------------------------------------------------------


def test_what_was_rejected_is_shown_and_a_repetition_is_never_built_on():
    world = saying("41", " 41.0 ", "40", "Answer: 41", "42")
    played = Played(Modified(AntiRepeat(tries=0), Refine(rounds=5)), world).run()
    assert [move.parents for move in played.moves] == [(), ("toy.1",), ("toy.1",), ("toy.3",), ("toy.3",)]
    assert [move.shows for move in played.moves] == [
        (), ("toy.1",), ("toy.1",), ("toy.1", "toy.3"), ("toy.1", "toy.3"),
    ]  # fmt: skip


def test_a_step_that_was_rejected_is_not_built_on_when_it_comes_again():
    steps = {"toy.1": "a", "toy.2": "b", "toy.3": "b", "toy.4": "a b"}

    def world(tree, ask):
        text = steps.get(ask.attempt, ask.attempt)
        score = 1.0 if text == "a" or ask.attempt == "toy.3" else 0.0  # a judge who changed his mind
        return {"answer": None, "messages": (assistant(text),), "score": score}

    search = ProposeVerifyReflect(rounds=5)
    played = Played(Modified(AntiRepeat(tries=0), search), world).run()
    assert [move.parents for move in played.moves] == [(), ("toy.1",), ("toy.1",), ("toy.1",), ("toy.1",)]
    assert Played(search, world).run().moves[3].parents == ("toy.3",)


def test_samples_that_repeated_are_asked_for_again_in_their_place():
    world = saying("41", "41", "40", "41", "40", "39")
    played = Played(Modified(AntiRepeat(tries=2), Sample(n=3)), world).run()
    assert [(ask.attempt, ask.replaces) for ask in played.tree.asks.values()] == [
        ("toy.1", None), ("toy.2", None), ("toy.3", None), ("toy.4", "toy.2"), ("toy.5", "toy.4"),
    ]  # fmt: skip
    said = played.search.ask(played.state, played.tree)
    assert said == Stop("exhausted", "3 samples made"), "two tries, then it is left"


def test_a_lane_waits_while_the_last_is_asked_for_again():
    played = Played(Modified(AntiRepeat(), Sample(n=2)), saying("41", "41", "40")).run(2)
    again = played.search.ask(played.state, played.tree)
    assert again == Move(replaces="toy.2", shows=("toy.1",), sampling=Sampling())
    played.begin(again)
    assert played.search.ask(played.state, played.tree) == Wait()
    played.settle("toy.3")
    assert isinstance(played.search.ask(played.state, played.tree), Stop)


def test_lanes_that_could_not_know_of_each_other_may_agree():
    played = Played(Modified(AntiRepeat(), Sample(n=2)), saying("41", "41"), lanes=2).run()
    assert len(played.tree) == 2


def test_good_and_unjudged_answers_are_not_on_the_list_and_it_keeps_the_latest():
    good = Played(Modified(AntiRepeat(), Refine(rounds=3)), saying(*"abc", score=1.0)).run()
    unjudged = Played(Modified(AntiRepeat(), Refine(rounds=3)), saying(*"abc", score=None)).run()
    assert {move.shows for move in (*good.moves, *unjudged.moves)} == {()}
    short = Played(Modified(AntiRepeat(shown=1), Refine(rounds=4)), saying(*"abcd")).run()
    assert [move.shows for move in short.moves] == [(), ("toy.1",), ("toy.2",), ("toy.3",)]


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("42", "The answer:\nAnswer: 42.0", True),
        ("42", "43", False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        (["x"], ["y"], False),
    ],
)
def test_which_answers_are_the_same(grown, one, other, same):
    keys = [answer_key(grown.tree[grown.attempt(answer=answer)]) for answer in (one, other)]
    assert (keys[0] == keys[1]) == same
    assert answer_key(grown.tree[grown.attempt(answer=None)]) is None


# -- pools -------------------------------------------------------------------------------------


def test_a_stage_gets_no_more_than_its_share():
    search = build([("pool", {"n": 10, "shares": {"draft": 0.3}}), ("best-first", {"roots": 9})])
    played = Played(search, saying(*"abcdefghij")).run()
    assert len(played.tree) == 3
    assert played.search.ask(played.state, played.tree) == Stop("exhausted", "the pool for draft is used up")


def test_a_batch_is_cut_to_what_is_left_and_lanes_wait_for_it():
    played = Played(Modified(Pool(n=5), Sample(n=9, batch=4)), saying(*"abcde"))
    for samples in (4, 1):
        said = played.search.ask(played.state, played.tree)
        assert said == Move(samples=samples)
        played.begin(said)
    assert played.search.ask(played.state, played.tree) == Wait()


def test_agents_have_pools_of_their_own():
    shares = {"dear": 0.2}
    search = build(
        [("pool", {"n": 20, "by": "agent", "shares": shares}), ("ab-mcts", {"agents": ["dear", "cheap"]})]
    )
    played = Played(search, saying(*map(str, range(20)), score=0.5)).run()
    assert sum(ask.agent == "dear" for ask in played.tree.asks.values()) <= 4


def test_each_inner_search_has_a_pool_of_its_own():
    search = build([("sample", {"n": 3}), ("pool", {"n": 2}), ("refine", {})])
    tree = Played(search, saying(*"abcdef"), lanes=2).run().tree
    assert sorted(map(tree.depth, tree.attempts)) == [0, 0, 0, 1, 1, 1]


def test_kinds_have_pools_of_their_own():
    pool = Pool(n=10, by="kind", shares={"tests": 0.2})
    sample = Sample(n=2, extra_samples=(ExtraSamples(n=5, moves="tests"),))
    tree = Played(Modified(pool, sample), saying(*"abcdefg")).run().tree
    assert [attempt.kind for attempt in tree] == ["answer"] * 2 + ["tests"] * 2


def test_a_share_is_rounded_to_whole_attempts():
    pool = Pool(n=10, shares={"draft": 0.27})
    assert len(Played(Modified(pool, Sample(n=9)), saying(*"abcdefghi")).run().tree) == 3


@pytest.mark.parametrize(("holds", "shown"), [(0.5, ()), (0.7, ("toy.1",))])
def test_an_answer_is_rejected_below_the_score_that_holds(holds, shown):
    played = Played(Modified(AntiRepeat(holds=holds), Refine(rounds=2)), saying("a", "b", score=0.6)).run()
    assert played.moves[1].shows == shown
