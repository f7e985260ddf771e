import pytest

from critic_loop.core.errors import SearchError
from critic_loop.core.protocols import Move, Stop, Wait
from critic_loop.core.records import Ask, Attempt
from critic_loop.search import (
    Beam,
    BestFirst,
    Evolve,
    ExtraSamples,
    Mcts,
    Modified,
    Nest,
    Pool,
    Refine,
    Sample,
    Temperature,
)
from tests.unit.search.worlds import folded, next_move
from tests.worlds import Played, draw, score_of


class Recording(Refine):
    """Remembers what it was told, by its state."""

    def start(self, task):
        return []

    def fold(self, state, tree, record):
        return [*state, (record.type, record.attempt if isinstance(record, Ask) else record.id)]

    def ask(self, state, tree):
        return Stop("told", str(len(state)))


def test_roots_are_refined_before_new_ones_are_asked_for(grown):
    search = Nest(Sample(n=2), Refine(rounds=2))
    assert next_move(search, grown) == Move()
    first = grown.attempt(answer="1")
    assert next_move(search, grown) == Move(parents=(first,))
    grown.ask(first)
    assert next_move(search, grown) == Move()
    second = grown.ask()
    assert next_move(search, grown) == Wait()
    grown.settle(second, "2")
    assert next_move(search, grown) == Move(parents=(second,))


def test_it_waits_for_the_outer_search_too(grown):
    grown.ask()
    assert next_move(Nest(Sample(n=1), Recording()), grown) == Wait()


def test_it_ends_with_an_inner_reason(grown):
    search = Nest(Sample(n=1), Refine(rounds=1))
    grown.attempt(answer="1")
    assert next_move(search, grown) == Stop("exhausted", "1 rounds made")


def test_a_root_that_failed_is_left_to_the_outer_search(grown):
    search = Nest(Sample(n=1), Refine(rounds=3))
    grown.attempt(status="failed")
    assert next_move(search, grown) == Stop("exhausted", "1 samples made")


def test_each_inner_search_hears_of_its_own_root_only(grown):
    search = Nest(Recording(), Recording())
    one, two = grown.attempt(answer="1"), grown.attempt(answer="2")
    below = grown.attempt(one, answer="3")
    state = folded(search, grown.tree)
    assert state.inner[two] == [("ask", two), ("attempt", two)]
    assert [name for _, name in state.inner[one]] == [one, one, below, below]
    assert [name for _, name in state.outer] == [one, one, two, two]


def test_an_outer_search_that_builds_on_its_roots_is_refused(grown):
    search = Nest(Refine(), Refine(rounds=1))
    grown.attempt(answer="1")
    with pytest.raises(SearchError, match="Refine stands around another search but builds on its own"):
        next_move(search, grown)


@pytest.mark.parametrize("record", [Attempt(id="x.1"), Ask(attempt="x.1")])
def test_unknown_attempts_are_refused(grown, record):
    search = Nest(Sample(), Refine())
    with pytest.raises(SearchError, match="unknown"):
        search.fold(search.start(grown.tree.task), grown.tree, record)


# -- searches that want several drafts ---------------------------------------------------------


def random_scores(tree, ask):
    return {"score": round(draw(tree, ask).random(), 2)}


def below(tree, root):
    return [name for name in tree.attempts if tree.path(name)[0] == root and name != root]


@pytest.mark.parametrize(
    ("inner", "made"),
    [
        (Beam(width=2, samples=3, depth=3, moves="answer"), 3 + 2 * 3),
        (BestFirst(n=6), 5),
        (Mcts(n=7, width=2), 6),
        (Modified(Temperature(), Beam(width=1, samples=2, depth=2, moves="answer")), 2),
        (Nest(Beam(samples=3, depth=1, moves="answer"), Refine(rounds=4)), 3),
    ],
)
def test_below_a_root_there_is_one_root_and_all_of_the_search(inner, made):
    played = Played(Nest(Sample(n=3), inner), random_scores, lanes=4).run()
    assert len(played.tree.roots) == 3
    assert [len(below(played.tree, root)) for root in played.tree.roots] == [made] * 3


def test_each_root_of_a_nest_evolves_by_itself_and_one_that_is_no_good_is_left():
    def world(tree, ask):
        return {
            "score": 0.2 if ask.attempt == "toy.1" else score_of(tree, ask.parents[0]) if ask.parents else 0.6
        }

    played = Played(Nest(Sample(n=3), Evolve(epochs=2, size=4, baseline=0.5)), world, lanes=3).run()
    assert [len(below(played.tree, root)) for root in played.tree.roots] == [0, 7, 7]
    assert {tuple(move.shows) for move in played.moves if not move.parents} == {()}
    for move in played.moves:
        assert len({played.tree.path(name)[0] for name in (*move.parents, *move.shows)}) <= 1


def test_evolving_without_a_nest_is_as_it_was_and_roots_bound_its_drafts():
    free = Played(Evolve(epochs=2, size=10, baseline=0.3), random_scores).run()
    bound = Played(Evolve(epochs=2, size=10, baseline=0.3, roots=4), random_scores).run()
    assert len(free.tree.roots) > 6
    assert (len(bound.tree.roots), len(bound.tree)) == (4, 20)


def test_a_search_that_must_have_drafts_says_why_it_ended():
    played = Played(Nest(Sample(n=1), Sample(n=2)), random_scores).run()
    said = played.search.ask(played.state, played.tree)
    assert said == Stop("exhausted", "below toy.1 another draft was wanted")


def test_where_no_revision_is_left_in_the_pool_the_next_draft_is_asked_for():
    pool = Pool(n=12, shares={"revision": 0.5})
    played = Played(Modified(pool, Nest(Sample(n=9), Refine())), random_scores, lanes=3).run()
    depths = [played.tree.depth(name) for name in played.tree.attempts]
    assert (sum(d > 0 for d in depths), depths.count(0)) == (6, 6)


def test_where_no_draft_is_left_in_the_pool_revisions_go_on():
    pool = Pool(n=12, shares={"draft": 0.25})
    played = Played(Modified(pool, Nest(Sample(n=9), Refine(rounds=4))), random_scores).run()
    assert sorted(map(played.tree.depth, played.tree.attempts)) == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3


def test_below_the_oldest_root_it_goes_on_first(grown):
    first, second = grown.attempt(answer="1"), grown.attempt(answer="2")
    search = Nest(Sample(n=2), Refine(rounds=2))
    assert next_move(search, grown) == Move(parents=(first,))
    grown.ask(first)
    assert next_move(search, grown) == Move(parents=(second,))


def test_below_tests_nothing_is_searched(grown):
    outer = Sample(n=1, extra_samples=(ExtraSamples(n=1, moves="tests"),))
    search = Nest(outer, Refine(rounds=1))
    answer = grown.attempt(answer="1")
    grown.attempt(answer="assert f(1)", kind="tests")
    assert list(folded(search, grown.tree).inner) == [answer]


def test_a_nest_inside_a_nest_has_one_root_too():
    assert Nest(Sample(n=2), Nest(Beam(), Refine())).inner == Nest(Beam(roots=1), Refine())
