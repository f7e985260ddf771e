"""Laws of the built-in searches under random outcomes, orders and numbers of lanes."""

import copy
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from critic_loop.core.protocols import Move
from critic_loop.core.records import Ask, Attempt
from critic_loop.evidence import beats
from critic_loop.search import Mcts, Nest, Refine, Sample
from critic_loop.testing.search_contract import RandomDriver

small = st.integers(1, 6)
refines = st.builds(Refine, rounds=small, base=st.sampled_from(["last", "kept"]))
samples = st.builds(Sample, n=small, batch=st.integers(1, 3))
trees = st.builds(
    Mcts,
    n=st.integers(1, 24),
    moves=st.sampled_from(["answer", "step", "thought"]),
    rule=st.sampled_from(["ucb1", "var_puct", "prompt_uct", "additive"]),
    q=st.sampled_from(["mean", "max", "sum", "last"]),
    backup=st.sampled_from(["discounted", "cumulative"]),
    returns=st.sampled_from(["judged", "ended"]),
    discount=st.sampled_from([1.0, 0.9]),
    statistics=st.sampled_from(["node", "edge"]),
    duplicates=st.sampled_from(["merge", "keep"]),
    rethink=st.integers(0, 2),
    width=st.integers(1, 3),
    widening=st.sampled_from([None, 0.5]),
    depth=st.sampled_from([None, 2, 4]),
    roots=st.sampled_from([None, 1]),
    batch=st.integers(1, 2),
    hindsight=st.integers(0, 2),
    prune_from=st.sampled_from([None, 1]),
)
searches = refines | samples | st.builds(Nest, samples, refines) | trees


def drives_of(searches, lanes):
    seeds = st.integers(0, 10**6)
    return st.builds(RandomDriver, searches, seed=seeds, lanes=st.integers(1, lanes), late=st.booleans())


drives = drives_of(searches, lanes=5)
tree_drives = drives_of(trees, lanes=8)


@given(drives)
def test_replaying_rebuilds_the_state_and_what_is_asked_next(drive):
    for said in drive.steps():
        state = drive.search.start(drive.tree.task)
        for record in drive.folded:
            state = drive.search.fold(state, drive.tree, record)
        assert state == drive.state
        assert drive.search.ask(state, drive.tree) == said


@given(drives, st.randoms(use_true_random=False))
def test_the_order_in_which_siblings_end_does_not_matter(drive, shuffle):
    for _ in drive.steps():
        twin = drive.copy()
        parents = {twin.tree.asks[i].parents for i in twin.in_flight}
        if len(twin.in_flight) < 2 or len(parents) > 1:
            continue
        ids = list(twin.in_flight)
        for attempt_id in ids:
            twin.attempt(attempt_id)
            twin.evaluate(attempt_id)
        one, other = copy.deepcopy(twin.state), copy.deepcopy(twin.state)
        for attempt_id in ids:
            one = twin.search.fold(one, twin.tree, twin.tree[attempt_id])
        for attempt_id in shuffle.sample(ids, len(ids)):
            other = twin.search.fold(other, twin.tree, twin.tree[attempt_id])
        assert one == other
        assert twin.search.ask(one, twin.tree) == twin.search.ask(other, twin.tree)


@given(small, st.integers(1, 4), st.integers(0, 10**6), st.integers(1, 5))
def test_sampling_makes_exactly_n_roots(n, batch, seed, lanes):
    drive = RandomDriver(Sample(n=n, batch=batch), seed=seed, lanes=lanes).run()
    assert len(drive.tree.roots) == len(drive.tree) == n


@given(small, st.integers(0, 10**6), st.integers(1, 5))
def test_refinement_is_a_chain_whatever_the_lanes(rounds, seed, lanes):
    drive = RandomDriver(Refine(rounds=rounds), seed=seed, lanes=lanes)
    for _ in drive.steps():
        assert len(drive.in_flight) <= 1
    assert len(drive.tree) == rounds
    good = [a.id for a in drive.tree if a.status == "complete"]
    for attempt in drive.tree:
        before = [i for i in good if list(drive.tree.asks).index(i) < list(drive.tree.asks).index(attempt.id)]
        assert attempt.parents == tuple(before[-1:])


@given(small, st.integers(0, 10**6))
def test_kept_refinement_builds_on_the_best_so_far(rounds, seed):
    drive = RandomDriver(Refine(rounds=rounds, base="kept"), seed=seed, lanes=1).run()
    base = None
    for attempt in drive.tree:
        assert attempt.parents == (() if base is None else (base,))
        if attempt.status == "complete" and (base is None or beats(drive.tree, attempt.id, base)):
            base = attempt.id


@given(small, small, st.integers(0, 10**6), st.integers(1, 5))
def test_a_nest_refines_every_root_that_came_to_something(n, rounds, seed, lanes):
    drive = RandomDriver(Nest(Sample(n=n), Refine(rounds=rounds)), seed=seed, lanes=lanes).run()
    tree = drive.tree
    assert len(tree.roots) == n
    for root in tree.roots:
        below = [i for i in tree.asks if tree.path(i)[0] == root]
        assert len(below) == (1 if tree[root].status == "failed" else rounds)


@given(drives)
def test_with_one_lane_the_tree_does_not_depend_on_how_often_it_is_asked(drive):
    again = RandomDriver(drive.search, seed=drive.seed, lanes=1)
    for said in again.steps():
        for _ in range(3):
            assert again.search.ask(again.state, again.tree) == said
    once = RandomDriver(drive.search, seed=drive.seed, lanes=1).run()
    assert once.tree.log[1:] == again.tree.log[1:]
    assert any(isinstance(said, Move) for said in RandomDriver(drive.search, seed=drive.seed).steps())


@settings(max_examples=300)
@given(tree_drives)
def test_a_log_replayed_is_the_state_whenever_attempts_were_judged(drive):
    drive.run()
    state = drive.search.start(drive.tree.task)
    for record in drive.tree.log:
        if isinstance(record, Ask | Attempt):
            state = drive.search.fold(state, drive.tree, record)
    assert state == drive.state


@given(tree_drives)
def test_a_tree_search_keeps_to_its_budget_and_never_builds_on_a_failed_attempt(drive):
    tree = drive.run().tree
    assert len(tree.asks) <= drive.search.n
    assert all(tree[p].status == "complete" for ask in tree.asks.values() for p in ask.parents)


@given(tree_drives)
def test_visits_are_the_simulations_that_ended_here_and_those_of_the_children(drive):
    for _ in drive.steps():
        state, tree = drive.state, drive.tree
        below, flying = [0] * len(state.ids), [0] * len(state.ids)
        for node, parent in enumerate(state.parent):
            if node:
                below[parent] += state.visits[node]
        ended = Counter(state.node(r.id) for r in drive.folded if isinstance(r, Attempt))
        went_on = [n for n, runs in enumerate(state.continued) if runs]
        for node in range(1, len(state.ids)):
            own = state.visits[node] - below[node]
            assert own == ended[node] if node not in went_on else 0 <= own < max(1, ended[node])
        assert state.visits[0] == below[0]
        flying = len(tree.asks) - sum(isinstance(r, Attempt) for r in drive.folded)
        assert state.pending[0] == flying


@given(st.integers(1, 24), st.integers(1, 3), st.integers(0, 10**6), st.integers(1, 8))
def test_with_distinct_answers_a_node_has_one_visit_more_than_its_children(n, width, seed, lanes):
    drive = RandomDriver(Mcts(n=n, width=width, duplicates="keep"), seed=seed, lanes=lanes).run()
    visits = drive.state.visits
    for node, children in enumerate(drive.state.children):
        assert visits[node] == (node > 0) + sum(visits[c] for c in children)
