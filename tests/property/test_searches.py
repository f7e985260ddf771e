"""Laws of the population and tree searches, and of modifiers, under random worlds, orders and lanes."""

import copy
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from critic_loop.core.protocols import Move
from critic_loop.core.records import Ask, Attempt
from critic_loop.search import (
    AbMcts,
    AntiRepeat,
    Axis,
    Beam,
    BestFirst,
    Evolve,
    MapElites,
    Modified,
    Nest,
    Pool,
    ProposeVerifyReflect,
    Refine,
    Sample,
    Temperature,
)
from critic_loop.search.map_elites import cell_of
from critic_loop.search.prospect import Prospect
from tests.worlds import Played, draw

small = st.integers(1, 4)
kinds = st.sampled_from(["answer", "step"])
AXES = (Axis(name="size", edges=(0.3, 0.6)), Axis(name="colour", values=("red", "green")))
trees = (
    st.builds(AbMcts, n=st.integers(1, 25), posterior=st.sampled_from(["gaussian", "beta"]), moves=kinds)
    | st.builds(BestFirst, n=st.integers(1, 25), roots=small, width=small, epsilon=st.sampled_from([0.0, 0.4]))
    | st.builds(Beam, width=small, samples=small, depth=small, batch=small, moves=kinds)
    | st.builds(MapElites, axes=st.just(AXES), n=st.integers(1, 25), seeds=small, shots=st.integers(0, 3))
    | st.builds(Evolve, epochs=small, size=st.integers(1, 7), baseline=st.sampled_from([0.0, 0.5]))
    | st.builds(Prospect, n=st.integers(1, 25), succeeds=st.sampled_from([(0.5,), (0.3, 0.9, 0.9)]))
    | st.builds(ProposeVerifyReflect, rounds=st.integers(1, 12), holds=st.sampled_from([0.5, 1.0]), moves=kinds)
)
plain = (
    trees | st.builds(Sample, n=st.integers(1, 9), batch=small) | st.builds(Refine, rounds=small, moves=kinds)
)
modifiers = (
    st.builds(Temperature, by=st.sampled_from(["depth", "asked"]))
    | st.builds(AntiRepeat, tries=st.integers(0, 2), shown=small)
    | st.builds(Pool, n=st.integers(1, 20), shares=st.sampled_from([{}, {"draft": 0.5}]))
)
nests = st.builds(Nest, st.builds(Sample, n=small, batch=small), plain)
modified = st.builds(Modified, modifiers, plain)
searches = plain | nests | modified | st.builds(Modified, modifiers, nests | modified)


def any_world(tree, ask):
    """Failures, steps without an answer, few different answers, unjudged ones, missing traits."""
    chance = draw(tree, ask)
    if chance.random() < 0.15:
        return {"status": "failed", "answer": None}
    answer = None if ask.kind == "step" and chance.random() < 0.7 else str(chance.randrange(4))
    data = {"size": chance.random()} | (
        {"colour": chance.choice(["red", "green"])} if chance.random() < 0.8 else {}
    )
    score = round(chance.random(), 2) if chance.random() < 0.8 else None
    return {"answer": answer, "score": score, "data": data}


plays = st.builds(
    Played, searches, st.just(any_world), lanes=st.integers(1, 5), seed=st.integers(0, 10**6)
)  # fmt: skip


@given(plays, st.integers(0, 10**6))
def test_replaying_the_log_rebuilds_the_state(played, order):
    played.run(60, random.Random(order))
    state = played.search.start(played.tree.task)
    for record in played.tree.log:
        if isinstance(record, Ask | Attempt):
            state = played.search.fold(state, played.tree, record)
    assert state == played.state
    assert played.search.ask(state, played.tree) == played.search.ask(played.state, played.tree)


@given(plays, st.integers(0, 10**6))
def test_what_is_in_flight_may_settle_in_any_order(played, order):
    """Not only siblings: any two attempts in flight."""
    chance = random.Random(order)
    played.run(chance.randrange(1, 30), chance)
    while len(played.in_flight) < played.lanes and isinstance(
        said := played.search.ask(played.state, played.tree), Move
    ):
        played.begin(said)
    ends = [copy.deepcopy(played) for _ in range(3)]
    outcomes = {}
    for one in ends:
        flying = list(one.in_flight)
        chance.shuffle(flying)
        for name in flying:
            one.settle(name)
        outcomes[tuple(flying)] = one
    first = ends[0]
    for one in ends[1:]:
        assert one.state == first.state


@given(plays, st.integers(0, 10**6))
def test_parents_came_to_something_and_a_last_step_is_never_built_on(played, order):
    tree = played.run(60, random.Random(order)).tree
    for ask in tree.asks.values():
        for parent in ask.parents:
            assert tree[parent].status == "complete"
            assert ask.kind != "step" or tree[parent].answer is None or ask.replaces


@given(st.builds(Pool, n=st.integers(1, 15)), plain | nests, st.integers(1, 5), st.integers(0, 10**6))
def test_a_pool_is_never_exceeded(pool, inner, lanes, seed):
    played = Played(Modified(pool, inner), any_world, lanes=lanes, seed=seed).run(60)
    assert len(played.tree.asks) <= pool.n


@given(plain, st.integers(1, 5), st.integers(0, 10**6))
def test_forbidden_answers_are_never_built_on(inner, lanes, seed):
    """An answer that was on the list shown is no parent, whatever search it is."""
    tree = Played(Modified(AntiRepeat(tries=1), inner), any_world, lanes=lanes, seed=seed).run(60).tree
    for ask in tree.asks.values():
        for parent in ask.parents if not ask.replaces else ():
            view = tree.asks[parent].context
            shown = [tree[i].answer for i in (*view.attempts, *view.also_shown)]
            assert tree[parent].answer is None or tree[parent].answer not in shown


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.integers(1, 6))
def test_the_grid_holds_the_best_of_every_cell(seed, lanes):
    played = Played(MapElites(axes=AXES, n=40), any_world, lanes=lanes, seed=seed).run(60)
    best = {}
    for name, score in played.scores().items():
        cell = cell_of(played.tree, name, AXES)
        if cell is not None and score is not None:
            best[cell] = max(score, best.get(cell, 0.0))
    assert played.state.scores == best
