import subprocess
import sys

import pytest

import critic_loop
from critic_loop.core.errors import ConfigError, SearchError
from critic_loop.core.protocols import Move, Stop, Wait
from critic_loop.core.records import Ask, Attempt
from critic_loop.search import FunctionSearch, search


def widen(tree, *, width=4, deep=False):
    return Move(kind="thought" if deep else "answer", samples=width)


def test_a_function_becomes_a_search(grown):
    made = search(widen)
    assert isinstance(made, FunctionSearch)
    assert made.start(grown.tree.task) is None
    assert made.ask(None, grown.tree) == Move(samples=4)


def test_the_package_itself_is_the_decorator():
    module = sys.modules["critic_loop.search"]
    assert module(widen) == search(widen)
    assert critic_loop.search(widen) == search(widen)


@pytest.mark.parametrize(
    "first", ["import critic_loop.search", "from critic_loop.search import Refine", "cl.Tree"]
)
def test_the_decorator_works_whatever_was_imported_before(first):
    code = f"import critic_loop as cl; {first}; s = cl.search(lambda tree: cl.Wait()); print(s.ask(None, None))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "Wait()"


def test_settings_are_laid_over_the_defaults_and_the_original_stays(grown):
    made = search(widen)
    wide = made(width=9)
    assert wide.ask(None, grown.tree) == Move(samples=9)
    assert wide(deep=True).ask(None, grown.tree) == Move(kind="thought", samples=9)
    assert made.ask(None, grown.tree) == Move(samples=4)


def test_an_unknown_setting_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match=r"search 'widen' has no setting 'wide'; it has width, deep\."):
        search(widen)(wide=3)
    with pytest.raises(ConfigError, match=r"has no setting 'n'; it has none\."):
        search(lambda tree: Wait())(n=3)


def test_its_text_is_the_same_in_every_process():
    assert repr(search(widen)(width=2, deep=True)) == "widen(deep=True, width=2)"


def test_what_the_function_raises_is_a_search_error(grown):
    def broken(tree):
        return tree.no_such_thing

    with pytest.raises(SearchError, match=r"search 'broken': AttributeError"):
        search(broken).ask(None, grown.tree)


@pytest.mark.parametrize("said", [None, True, "stop", ()])
def test_what_is_no_move_is_refused(grown, said):
    with pytest.raises(SearchError, match=r"search '<lambda>' returned .*Return a Move, a Wait or a Stop"):
        search(lambda tree: said).ask(None, grown.tree)


def test_a_callable_object_has_its_class_for_a_name(grown):
    class Once:
        def __call__(self, tree):
            return Stop("once")

    made = search(Once())
    assert made.name == "Once"
    assert made.ask(None, grown.tree) == Stop("once")


def test_records_of_another_tree_are_refused(grown):
    made = search(widen)
    known = grown.attempt(answer="1")
    made.fold(None, grown.tree, grown.tree.asks[known])
    with pytest.raises(SearchError, match=r"'x\.1' is unknown"):
        made.fold(None, grown.tree, Attempt(id="x.1"))
    with pytest.raises(SearchError, match=r"'x\.1' is unknown"):
        made.fold(None, grown.tree, Ask(attempt=known, parents=("x.1",)))
