import sys
from dataclasses import dataclass
from types import ModuleType

import pytest

from critic_loop.core.errors import ConfigError
from critic_loop.core.protocols import Move, Stop
from critic_loop.search import Nest, Refine, Sample, build, search


@dataclass(frozen=True)
class Mine:
    depth: int = 1


class Plain:
    def __init__(self, depth=1):
        self.depth = depth


class Whole:
    fold = None


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch):
    module = ModuleType("elsewhere_searches")
    module.Mine, module.Plain, module.whole, module.number = Mine, Plain, Whole(), 3
    module.function = lambda tree, *, width=2: Move(samples=width)
    module.decorated = search(module.function)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


def test_built_in_searches_with_settings():
    assert build([("refine", {})]) == Refine()
    assert build([("refine", {"rounds": 3, "base": "kept"})]) == Refine(rounds=3, base="kept")
    assert build([("sample", {"n": 4, "batch": 2})]) == Sample(n=4, batch=2)


def test_levels_nest_from_the_outermost_in():
    levels = [("sample", {"n": 4}), ("sample", {"n": 1}), ("refine", {})]
    assert build(levels) == Nest(Sample(n=4), Nest(Sample(n=1), Refine()))


@pytest.mark.parametrize("name", ["function", "decorated"])
def test_functions_elsewhere(grown, name):
    assert build([(f"elsewhere_searches:{name}", {"width": 5})]).ask(None, grown.tree) == Move(samples=5)
    with pytest.raises(ConfigError, match="no setting 'n'; it has width"):
        build([(f"elsewhere_searches:{name}", {"n": 5})])


def test_classes_and_objects_elsewhere(elsewhere):
    assert build([("elsewhere_searches:Mine", {"depth": 3})]) == Mine(3)
    assert build([("elsewhere_searches:Plain", {"depth": 3})]).depth == 3
    assert build([("elsewhere_searches:whole", {})]) is elsewhere.whole


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ([], "a recipe needs a search"),
        ([("refien", {})], r"there is no search 'refien'; there are .*refine, sample.*'package.module:name'"),
        ([("refine", {"round": 3})], r"search 'refine' has no setting 'round'; it has rounds, base, moves\."),
        ([("refine", {"base": "first"})], r"search 'refine', setting 'base': .*'last' or 'kept'"),
        ([("refine", {"rounds": 0})], "search 'refine', setting 'rounds': .*greater than or equal to 1"),
        ([("sample", {"n": "many"})], "search 'sample', setting 'n': .*valid integer"),
        ([("sample", {"batch": 0})], "search 'sample', setting 'batch': "),
        ([("prospect", {"succeeds": []})], "search 'prospect', setting 'succeeds': .*at least 1 item"),
        ([("prospect", {"state": "("})], r"search 'prospect': state '\(' is no regular expression: missing \)"),
        (
            [("pool", {"n": 5, "shares": {"drafts": 0.5}}), ("refine", {})],
            "search 'pool': no attempt is a 'drafts'; there are draft, revision",
        ),
        ([("elsewhere_searches:Mine", {"width": 1})], "has no setting 'width'; it has depth"),
        ([("elsewhere_searches:Plain", {"width": 1})], "search 'elsewhere_searches:Plain': TypeError.*'width'"),
        ([("elsewhere_searches:whole", {"n": 1})], "an object, not a class: it takes no settings"),
        ([("elsewhere_searches:number", {})], "'elsewhere_searches:number' is no search"),
        ([("elsewhere_searches:nothing", {})], "has no 'nothing'"),
        ([("no_such_module:x", {})], "cannot import 'no_such_module'"),
    ],
)
def test_what_is_wrong_is_said(levels, message):
    with pytest.raises(ConfigError, match=message):
        build(levels)


def test_a_built_function_search_may_stop(grown, elsewhere):
    elsewhere.stop = lambda tree: Stop("enough")
    assert build([("elsewhere_searches:stop", {})]).ask(None, grown.tree) == Stop("enough")
