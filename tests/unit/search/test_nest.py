import pytest

from critic_loop.core.errors import SearchError
from critic_loop.core.protocols import Move, Stop, Wait
from critic_loop.core.records import Ask, Attempt
from critic_loop.search import Nest, Refine, Sample


class Recording(Refine):
    """Remembers what it was told, by its state."""

    def start(self, task):
        return []

    def fold(self, state, tree, record):
        return [*state, (record.type, record.attempt if isinstance(record, Ask) else record.id)]

    def ask(self, state, tree):
        return Stop("told", str(len(state)))


def folded(search, grown):
    state = search.start(grown.tree.task)
    for record in grown.tree.log[1:]:
        if isinstance(record, Ask | Attempt):
            state = search.fold(state, grown.tree, record)
    return state


def next_move(search, grown):
    return search.ask(folded(search, grown), grown.tree)


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
    state = folded(search, grown)
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
