"""Beam, best-first, and propose-verify-reflect in worlds where one way is right."""

import pytest

from critic_loop.core.protocols import Move, Stop, Wait
from critic_loop.search import Beam, BestFirst, ProposeVerifyReflect
from tests.worlds import Played, deep, path

RIGHT = (2, 0, 1, 2)
ENDED = [1.0]


def best(played):
    return [score for name, score in played.scores().items() if played.tree[name].answer and score == 1.0]


@pytest.mark.parametrize("lanes", [1, 5])
@pytest.mark.parametrize("width", [1, 2])
def test_a_beam_finds_the_one_way_among_81_with_its_share_of_attempts(lanes, width):
    played = Played(Beam(width=width, samples=3, depth=4), path(RIGHT), lanes=lanes).run()
    assert best(played) == ENDED
    assert len(played.tree) == 3 + 3 * 3 * width


def test_a_beam_builds_on_the_best_of_a_level_alone():
    tree = Played(Beam(width=2, samples=4, depth=3, moves="answer"), deep, lanes=3).run().tree
    for depth in (0, 1):
        level = [name for name in tree.attempts if tree.depth(name) == depth]
        ranked = sorted(level, key=lambda name: -tree.judgements(name)[0].score)
        assert {p for a in tree for p in a.parents if tree.depth(p) == depth} == set(ranked[:2])


def test_a_beam_waits_for_its_level_and_batches_ask_for_the_rest_at_once():
    played = Played(Beam(samples=5, batch=3), path(RIGHT))
    for samples in (3, 2):
        said = played.search.ask(played.state, played.tree)
        assert said == Move(kind="step", samples=samples)
        played.begin(said)
    assert played.search.ask(played.state, played.tree) == Wait()


def test_ended_answers_leave_the_beam_and_low_steps_are_not_built_on():
    short = Played(Beam(width=2, samples=3, depth=9), path((1, 1))).run()
    said = short.search.ask(short.state, short.tree)
    assert said == Stop("exhausted", "nothing to build on after level 2")
    strict = Played(Beam(width=3, samples=3, depth=2, least=0.2), path(RIGHT)).run()
    assert len(strict.tree) == 3 + 3, "one of the first steps is right"


def test_what_nobody_judged_stands_in_the_middle():
    scores = {"toy.1": 0.4, "toy.2": None, "toy.3": 0.6}
    played = Played(
        Beam(width=2, samples=3, moves="answer"), lambda tree, ask: {"score": scores.get(ask.attempt, 0.0)}
    ).run(3)
    assert played.state.beam == ("toy.3", "toy.2")


# -- best first --------------------------------------------------------------------------------


@pytest.mark.parametrize("lanes", [1, 4])
def test_best_first_finds_the_one_way(lanes):
    played = Played(BestFirst(roots=3, width=3, moves="step", depth=4), path(RIGHT), lanes=lanes).run(40)
    assert best(played) == ENDED
    found = next(name for name, score in played.scores().items() if score == 1.0)
    assert int(found.rpartition(".")[2]) <= 3 * 4 * lanes, "a lane goes straight for it"


def test_it_builds_on_the_best_that_has_room():
    scores = {"toy.1": 0.3, "toy.2": 0.9, "toy.3": 0.8, "toy.4": 0.1, "toy.5": 0.85}
    world = lambda tree, ask: {"score": scores.get(ask.attempt, 0.0)}  # noqa: E731
    tree = Played(BestFirst(roots=2, width=2), world).run(8).tree
    parents = [ask.parents for ask in tree.asks.values()]
    assert parents[2:] == [("toy.2",), ("toy.2",), ("toy.3",), ("toy.5",), ("toy.5",), ("toy.3",)]


def test_a_failure_gives_its_room_back():
    def world(tree, ask):
        return {"status": "failed", "answer": None} if ask.attempt in ("toy.1", "toy.3") else {"score": 0.5}

    tree = Played(BestFirst(roots=1, width=1, depth=2), world).run().tree
    assert [ask.parents for ask in tree.asks.values()] == [(), (), ("toy.2",), ("toy.2",)]


def test_a_penalty_on_depth_prefers_the_shallow_and_a_curriculum_what_is_half_known():
    flat = lambda tree, ask: {"score": 0.5}  # noqa: E731
    deepest = [max(map(t.depth, t.asks)) for t in (Played(s, flat).run(12).tree for s in (
        BestFirst(roots=2, width=3, depth_penalty=0.1), BestFirst(roots=2, width=1)))]  # fmt: skip
    assert deepest[0] < deepest[1]
    scores = {"toy.1": 1.0, "toy.2": 0.5, "toy.3": 0.0}
    half = Played(
        BestFirst(roots=3, by="curriculum"), lambda tree, ask: {"score": scores.get(ask.attempt, 0.0)}
    )
    assert half.run(4).tree.asks["toy.4"].parents == ("toy.2",)


def test_epsilon_builds_on_others_too():
    played = Played(
        BestFirst(roots=3, width=50, epsilon=0.5), lambda t, a: {"score": 0.9 if not a.parents else 0.1}
    )
    played.run(60)
    assert len({ask.parents for ask in played.tree.asks.values()}) > 10
    greedy = Played(BestFirst(roots=3, width=50), played.world).run(60)
    assert {ask.parents for ask in greedy.tree.asks.values()} == {(), ("toy.1",), ("toy.2",)}


# -- propose, verify, reflect ------------------------------------------------------------------


def scripted(*outcomes):
    """The k-th attempt comes to the k-th outcome."""
    return lambda tree, ask: outcomes[int(ask.attempt.rpartition(".")[2]) - 1]


HOLDS, FALLS = {"score": 1.0, "answer": None}, {"score": 0.0, "answer": None}


def test_only_what_holds_is_built_on_and_the_rest_is_shown():
    world = scripted(HOLDS, FALLS, FALLS, HOLDS, FALLS, HOLDS)
    played = Played(ProposeVerifyReflect(rounds=6, remember=2), world).run()
    assert [move.parents for move in played.moves] == [
        (), ("toy.1",), ("toy.1",), ("toy.1",), ("toy.4",), ("toy.4",),
    ]  # fmt: skip
    assert played.moves[3].shows == ("toy.2", "toy.3")
    assert played.moves[5].shows == ("toy.3", "toy.5"), "the latest two"


def test_a_suggestion_earns_one_follow_up():
    mended = {**FALLS, "suggestion": "use a circle"}
    played = Played(ProposeVerifyReflect(rounds=5), scripted(HOLDS, mended, mended, FALLS, FALLS)).run()
    assert [move.parents for move in played.moves] == [(), ("toy.1",), ("toy.2",), ("toy.1",), ("toy.1",)]
    assert "toy.2" not in played.moves[2].shows, "it stands on the path"


def test_a_step_that_ends_the_answer_and_holds_is_the_end():
    proved = {"score": 1.0, "answer": "QED"}
    wrong = {"score": 0.0, "answer": "QED"}
    played = Played(ProposeVerifyReflect(rounds=9), scripted(HOLDS, wrong, proved)).run()
    assert played.search.ask(played.state, played.tree) == Stop("exhausted", "step toy.3 ended the answer")
    assert len(played.tree) == 3


def test_what_nobody_judged_holds_and_a_failure_is_forgotten():
    unjudged, failed = {"answer": None}, {"status": "failed", "answer": None}
    played = Played(ProposeVerifyReflect(rounds=3), scripted(unjudged, failed, HOLDS)).run()
    assert [(move.parents, move.shows) for move in played.moves] == [
        ((), ()),
        (("toy.1",), ()),
        (("toy.1",), ()),
    ]


# -- one rule a test ---------------------------------------------------------------------------


def scoring(**scores):
    """Attempt `toy.k` has the score of `tk`, and None if there is none."""
    return lambda tree, ask: {"score": scores.get(f"t{ask.attempt.rpartition('.')[2]}")}


def parents(played):
    return [ask.parents for ask in played.tree.asks.values()]


def test_a_beam_has_as_many_roots_as_samples_unless_it_is_said():
    assert len(Played(Beam(samples=3, depth=1), deep).run().tree) == 3
    assert len(Played(Beam(samples=3, depth=1, roots=2), deep).run().tree) == 2


def test_of_equal_steps_the_one_asked_for_first_stays_in_the_beam():
    played = Played(Beam(samples=3, width=1, moves="answer"), scoring(t1=0.5, t2=0.5, t3=0.5), lanes=3)
    for _ in range(3):
        played.begin(played.ask())
    for attempt in ("toy.3", "toy.1", "toy.2"):
        played.settle(attempt)
    assert played.state.beam == ("toy.1",)


def test_the_children_of_the_best_are_asked_for_first():
    played = Played(Beam(samples=2, width=2, moves="answer"), scoring(t1=0.2, t2=0.7)).run(6)
    assert parents(played)[2:] == [("toy.2",), ("toy.2",), ("toy.1",), ("toy.1",)]


def test_a_failed_sample_is_neither_built_on_nor_asked_for_again():
    def world(tree, ask):
        failed = {"status": "failed", "answer": None}
        return failed if ask.attempt == "toy.1" else {"score": 0.1}

    played = Played(Beam(samples=2, width=2, depth=2, moves="answer"), world).run()
    assert parents(played) == [(), (), ("toy.2",), ("toy.2",)]


def test_best_first_keeps_to_n():
    assert len(Played(BestFirst(n=7), deep, lanes=3).run(20).tree) == 7


@pytest.mark.parametrize(("unknown", "parent"), [(0.5, "toy.1"), (0.1, "toy.2")])
def test_an_unjudged_attempt_stands_among_the_scores_where_it_is_said(unknown, parent):
    search = BestFirst(roots=2, unknown=unknown)
    assert parents(Played(search, scoring(t2=0.4)).run(3))[-1] == (parent,)


def test_of_equal_attempts_the_one_asked_for_first_is_built_on():
    assert parents(Played(BestFirst(roots=3), scoring(t1=0.5, t2=0.5, t3=0.5)).run(4))[-1] == ("toy.1",)


@pytest.mark.parametrize(("penalty", "parent"), [(0.0, "toy.3"), (0.2, "toy.2")])
def test_each_attempt_above_costs_the_penalty(penalty, parent):
    """The child of the better draft has 0.7, or 0.5 with the penalty; the other draft has 0.6."""
    search = BestFirst(roots=2, width=1, depth_penalty=penalty)
    assert parents(Played(search, scoring(t1=0.8, t2=0.6, t3=0.7)).run(4))[-1] == (parent,)


def test_best_first_never_builds_on_a_step_that_ends_the_answer():
    world = lambda tree, ask: {"score": 0.9, "answer": "42"}  # noqa: E731
    played = Played(BestFirst(roots=2, moves="step"), world).run()
    assert parents(played) == [(), ()]
    assert played.ask() == Stop("exhausted", "nothing left to build on")


def test_an_attempt_in_flight_takes_up_room():
    played = Played(BestFirst(roots=1, width=1), scoring(t1=0.5)).run(1)
    played.begin(played.ask())
    assert played.ask() == Wait()


@pytest.mark.parametrize(("holds", "parent"), [(0.5, ("toy.1",)), (0.7, ())])
def test_an_attempt_holds_from_a_score_on(holds, parent):
    search = ProposeVerifyReflect(holds=holds)
    assert parents(Played(search, scripted({"score": 0.6, "answer": None}, FALLS)).run(2))[-1] == parent


def test_nothing_is_shown_where_nothing_is_to_be_remembered():
    played = Played(ProposeVerifyReflect(remember=0), scripted(FALLS, FALLS)).run(2)
    assert [move.shows for move in played.moves] == [(), ()]


def test_follow_ups_are_counted_anew_after_one_without_a_suggestion():
    mended = {**FALLS, "suggestion": "use a circle"}
    played = Played(ProposeVerifyReflect(), scripted(HOLDS, mended, FALLS, mended, FALLS)).run(5)
    assert parents(played) == [(), ("toy.1",), ("toy.2",), ("toy.1",), ("toy.4",)]


def test_a_follow_up_that_holds_is_built_on():
    mended = {**FALLS, "suggestion": "use a circle"}
    played = Played(ProposeVerifyReflect(), scripted(HOLDS, mended, HOLDS, FALLS)).run(4)
    assert parents(played) == [(), ("toy.1",), ("toy.2",), ("toy.3",)]


def test_it_waits_for_the_attempt_in_flight():
    played = Played(ProposeVerifyReflect(), scripted())
    played.begin(Move(kind="step"))
    assert played.ask() == Wait()
