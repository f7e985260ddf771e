"""MAP-Elites and epochs of exploiting and exploring."""

import pytest

from critic_loop.core.errors import ConfigError
from critic_loop.core.protocols import Stop
from critic_loop.search import Axis, Evolve, MapElites, build, coverage, qd_score
from critic_loop.search.map_elites import cell_of
from tests.worlds import Played, draw

SIZE = Axis(name="size", edges=(0.2, 0.4, 0.6, 0.8))
COLOUR = Axis(name="colour", values=("red", "green"))


def coloured(tree, ask):
    """Variations stay near their parent; quality is highest in the middle sizes."""
    chance = draw(tree, ask)
    before = tree.judgements(ask.parents[0])[0].data["size"] if ask.parents else 0.5
    size = min(1.0, max(0.0, before + chance.uniform(-0.3, 0.3)))
    colour = "red" if chance.random() < 0.5 else "green"
    return {"score": round(chance.random(), 2), "data": {"size": size, "colour": colour}}


@pytest.mark.parametrize(
    ("trait", "place"), [(0, 0), (0.2, 1), (0.59, 2), (0.95, 4), ("red", None), (True, None), (None, None)]
)
def test_numbers_fall_into_bins_with_the_edge_above(trait, place):
    assert SIZE.bin(trait) == place


def test_values_are_bins_by_name():
    assert [COLOUR.bin(trait) for trait in ("red", "green", "blue", 1)] == [0, 1, None, None]
    assert (COLOUR.bins, SIZE.bins) == (2, 5)


def test_the_latest_word_on_a_trait_counts_and_a_missing_one_places_nowhere(grown):
    attempt = grown.attempt(answer="x")
    grown.say(attempt, score=0.5, data={"size": 0.1})
    assert cell_of(grown.tree, attempt, (SIZE, COLOUR)) is None
    grown.say(attempt, score=0.5, data={"colour": "green", "size": 0.9})
    assert cell_of(grown.tree, attempt, (SIZE, COLOUR)) == (4, 1)


def test_a_criterion_of_a_rubric_is_a_trait_too(grown):
    attempt = grown.attempt(answer="x")
    grown.say(attempt, score=0.5, rubric=[{"name": "size", "score": 0.5}, {"name": "depth"}])
    assert cell_of(grown.tree, attempt, (SIZE,)) == (2,)
    assert cell_of(grown.tree, attempt, (Axis(name="depth", edges=(0.5,)),)) is None


def test_each_cell_holds_the_best_that_ever_fell_into_it():
    played = Played(MapElites(axes=(SIZE, COLOUR), n=200, seeds=5), coloured, lanes=4).run()
    best = {}
    for name in played.tree.attempts:
        cell, score = cell_of(played.tree, name, (SIZE, COLOUR)), played.scores()[name]
        best[cell] = max(score, best.get(cell, 0.0))
    assert played.state.scores == best
    assert coverage(best, (SIZE, COLOUR)) == len(best) / 10 == 1.0
    assert qd_score(best) == pytest.approx(sum(best.values()))


def test_variations_are_of_elites_and_of_many_of_them():
    played = Played(MapElites(axes=(SIZE, COLOUR), n=200, seeds=5, shots=2), coloured).run()
    varied = [move for move in played.moves if move.parents]
    assert len(played.tree.roots) == 5
    assert len({move.parents for move in varied}) > 10
    assert all(len({*move.parents, *move.shows}) == 1 + len(move.shows) for move in varied)
    assert max(len(move.shows) for move in varied) == 2


def test_the_grid_asks_for_drafts_until_something_lies_in_it():
    played = Played(MapElites(axes=(SIZE,), n=6, seeds=1), lambda tree, ask: {"score": 0.5}).run()
    assert len(played.tree.roots) == 6
    assert played.state.elites == {}


def test_a_tie_is_the_elders():
    world = {"toy.1": 0.5, "toy.2": 0.7, "toy.3": 0.7}
    played = Played(
        MapElites(axes=(COLOUR,), seeds=3),
        lambda tree, ask: {"score": world[ask.attempt], "data": {"colour": "red"}},
    ).run(3)
    assert played.state.elites == {(0,): (0.7, -1, "toy.2")}


@pytest.mark.parametrize(
    ("axis", "message"),
    [
        ({"name": "a"}, "axis 'a' needs either edges or values"),
        ({"name": "a", "edges": [0.1], "values": ["x"]}, "axis 'a' needs either edges or values"),
        ({"name": "a", "edges": [0.5, 0.5]}, "the edges of axis 'a' do not ascend"),
        ({"name": "a", "edge": [0.5]}, "setting 'axes.0.edge'"),
    ],
)
def test_axes_that_make_no_grid_are_refused(axis, message):
    with pytest.raises(ConfigError, match=message):
        build([("map-elites", {"axes": [axis]})])


# -- epochs ------------------------------------------------------------------------------------


def ranked(tree, ask):
    """The seventh attempt of each ten is good; one in ten is too good to be true."""
    number = int(ask.attempt.rpartition(".")[2])
    return {"score": {7: 0.8, 9: 0.99}.get(number % 10, 0.3)}


def test_epochs_exploit_their_share_once_something_beat_the_baseline():
    search = Evolve(epochs=10, size=20, baseline=0.5, believable=0.9, inspiring=3, explorer="dreamer")
    played = Played(search, ranked).run()
    shares = [
        sum(bool(move.parents) for move in played.moves[20 * epoch : 20 * epoch + 20]) / 20
        for epoch in range(10)
    ]
    assert shares[1:] == [0.5, 0.6, 0.6, 0.7, 0.7, 0.8, 0.8, 0.8, 0.8]
    assert 0 < shares[0] < 0.5, "at first there is nothing to exploit"
    assert {move.agent for move in played.moves if not move.parents} == {"dreamer"}


def test_only_what_beat_the_baseline_and_may_be_believed_is_varied():
    played = Played(Evolve(epochs=5, size=20, baseline=0.5, believable=0.9, inspiring=3), ranked, lanes=4).run()
    varied = {name for move in played.moves if move.parents for name in (*move.parents, *move.shows)}
    assert varied
    assert {played.scores()[name] for name in varied} == {0.8}
    assert all(len(move.shows) <= 2 for move in played.moves if move.parents)


def test_exploring_sees_what_was_tried_but_nothing_incredible_or_failed():
    def world(tree, ask):
        return {"status": "failed", "answer": None} if ask.attempt.endswith("5") else ranked(tree, ask)

    played = Played(Evolve(epochs=3, size=20, baseline=0.95, believable=0.9, avoided=6), world).run()
    shown = {name for move in played.moves for name in move.shows}
    assert shown
    assert all(played.tree[name].status == "complete" and played.scores()[name] < 0.9 for name in shown)
    assert max(len(move.shows) for move in played.moves) == 6


@pytest.mark.parametrize("search", [Evolve(epochs=None, size=10), MapElites(axes=(SIZE, COLOUR))])
def test_no_lane_idles_at_an_epochs_end_or_a_seeds(search):
    assert Played(search, coloured, lanes=8).run(120).idle == 0


def test_evolution_ends_after_its_epochs():
    played = Played(Evolve(epochs=2, size=3), ranked, lanes=4).run(20)
    assert len(played.tree) == 6
    assert played.ask() == Stop("exhausted", "2 epochs made")


@pytest.mark.parametrize(("score", "good"), [(0.5, 0), (0.51, 1)])
def test_only_a_score_above_the_baseline_beats_it(score, good):
    played = Played(Evolve(baseline=0.5), lambda tree, ask: {"score": score}).run(1)
    assert len(played.state.good) == good


def test_the_exploiter_varies_and_the_explorer_tries_what_is_new():
    search = Evolve(size=4, exploiter="breeder", explorer="dreamer")
    played = Played(search, lambda tree, ask: {"score": 0.5}).run(8)
    assert {(bool(move.parents), move.agent) for move in played.moves} == {
        (True, "breeder"),
        (False, "dreamer"),
    }


def test_with_its_roots_made_and_nothing_good_evolution_ends():
    played = Played(Evolve(roots=2, baseline=0.9), lambda tree, ask: {"score": 0.5}).run(9)
    assert len(played.tree) == 2
    assert played.ask() == Stop("exhausted", "nothing beat the baseline")


def test_the_grid_keeps_to_n():
    assert len(Played(MapElites(axes=(SIZE, COLOUR), n=7, seeds=2), coloured, lanes=3).run(20).tree) == 7


@pytest.mark.parametrize(
    ("outcome", "cells"),
    [
        ({"score": 0.5}, 1),
        ({"score": None}, 0),
        ({"score": 0.5, "status": "failed"}, 0),
        ({"score": 0.5, "answer": "a last step"}, 0),
    ],
)
def test_unscored_and_failed_attempts_and_last_steps_take_no_cell(outcome, cells):
    def world(tree, ask):
        return {"answer": None, "data": {"colour": "red"}, **outcome}

    played = Played(MapElites(axes=(COLOUR,), moves="step"), world).run(1)
    assert len(played.state.elites) == cells


def test_drafts_and_variations_are_of_the_kind_that_is_set():
    def world(tree, ask):
        return {"answer": None, "score": 0.5, "data": {"colour": "red"}}

    played = Played(MapElites(axes=(COLOUR,), moves="step", seeds=1), world).run(2)
    assert [(move.kind, move.parents) for move in played.moves] == [("step", ()), ("step", ("toy.1",))]
