"""The contract of searches, over the built-in ones and a plain function."""

import pytest

from critic_loop.core.errors import SearchError
from critic_loop.core.protocols import Move, Stop, Wait
from critic_loop.core.records import Attempt
from critic_loop.evidence import value_of
from critic_loop.search import Mcts, Nest, Refine, Sample, build, search
from critic_loop.search.prospect import Prospect
from critic_loop.testing.search_contract import RandomDriver, SearchContract


class TestRefine(SearchContract):
    @pytest.fixture
    def search(self):
        return Refine(rounds=5)


class TestRefineKept(SearchContract):
    @pytest.fixture
    def search(self):
        return Refine(rounds=8, base="kept")


class TestRefineBySteps(SearchContract):
    @pytest.fixture
    def search(self):
        return build([("refine", {"rounds": 8, "moves": "step"})])


class TestSample(SearchContract):
    budget = 9

    @pytest.fixture
    def search(self):
        return Sample(n=9)


class TestSampleInBatches(SearchContract):
    @pytest.fixture
    def search(self):
        return Sample(n=7, batch=3)


class TestSampleOfTwoKinds(SearchContract):
    budget = 5 + 4 + 1

    @pytest.fixture
    def search(self):
        extra_samples = [{"n": 4, "moves": "tests", "agent": "tester"}, {"n": 1, "agent": "other"}]
        return build([("sample", {"n": 5, "batch": 2, "extra_samples": extra_samples})])


class TestProspect(SearchContract):
    @pytest.fixture
    def search(self):
        return Prospect(n=40, succeeds=(0.3, 0.4, 0.8), temperatures=(1.0, 0.5))


MCTS = {
    "revisions": {},
    "duplicates kept": {"duplicates": "keep", "rule": "edge_ucb", "depth": 3, "randomness": 0.8},
    "steps": {"moves": "step", "depth": 4, "rethink": 1, "statistics": "edge", "q": "last"},
    "rethink-mcts": {
        "moves": "thought", "rule": "var_puct", "q": "max", "rethink": 2, "statistics": "edge",
        "discount": 0.9, "visits_from": 1, "opinion": 0.2,
    },
    "prompt-agent": {
        "rule": "prompt_uct", "backup": "cumulative", "rollout": "depth", "depth": 4, "returns": "ended",
        "prune_from": 1,
    },
    "swe-search": {"rule": "additive", "roots": 1, "hindsight": 1, "virtual_loss": 0.5},
    "widening": {"widening": 0.5, "batch": 2, "min_visits": 2, "log": "tree", "rethink": 1},
    "shared states": {"moves": "step", "depth": 4, "width": 3, "state": ">(.)$"},
}  # fmt: skip


class TestMcts(SearchContract):
    budget = 24

    @pytest.fixture(params=MCTS.values(), ids=MCTS.keys())
    def search(self, request):
        return Mcts(n=self.budget, **request.param)


class TestNestOfMcts(SearchContract):
    budget = 2 + 2 * 6

    @pytest.fixture
    def search(self):
        return Nest(Sample(n=2), Mcts(n=7, roots=1, width=2))


class TestNest(SearchContract):
    @pytest.fixture
    def search(self):
        return build([("sample", {"n": 4, "batch": 2}), ("refine", {"rounds": 4, "base": "kept"})])


NESTS = {
    "beam": {"width": 2, "samples": 3, "depth": 3, "batch": 2, "moves": "answer"},
    "evolve": {"epochs": 2, "size": 5, "baseline": 0.3, "inspiring": 2},
    "best-first": {"n": 10},
}


class TestNestOfDrafters(SearchContract):
    budget = 3 * (1 + 3 + 2 * 3)

    @pytest.fixture(params=NESTS.items(), ids=NESTS)
    def search(self, request):
        return build([("sample", {"n": 3}), request.param])


class TestPoolOfANest(SearchContract):
    budget = 14

    @pytest.fixture
    def search(self):
        shares = {"revision": 0.5}
        return build([("pool", {"n": 14, "shares": shares}), ("sample", {"n": 9}), ("refine", {})])


class TestNestOfThree(SearchContract):
    @pytest.fixture
    def search(self):
        return Nest(Sample(n=3), Nest(Sample(n=1), Refine(rounds=3)))


class TestAbMcts(SearchContract):
    budget = 30

    @pytest.fixture(params=["gaussian", "beta"])
    def search(self, request):
        return build([("ab-mcts", {"n": 30, "posterior": request.param, "agents": ["actor", "other"]})])


class TestAbMctsBySteps(SearchContract):
    budget = 30

    @pytest.fixture
    def search(self):
        return build([("ab-mcts", {"n": 30, "moves": "step", "depth": 4, "virtual_loss": False})])


class TestBestFirst(SearchContract):
    budget = 25

    @pytest.fixture(params=[{}, {"epsilon": 0.3, "depth_penalty": 0.1}, {"by": "curriculum"}])
    def search(self, request):
        return build([("best-first", {"n": 25, "depth": 5, **request.param})])


class TestBestFirstToTheEnd(SearchContract):
    @pytest.fixture
    def search(self):
        return build([("best-first", {"roots": 2, "width": 2, "depth": 4, "moves": "step"})])


class TestBeam(SearchContract):
    budget = 4 + 3 * 2 * 4

    @pytest.fixture(params=["step", "prompt"])
    def search(self, request):
        settings = {"width": 2, "samples": 4, "depth": 4, "batch": 3, "moves": request.param}
        return build([("beam", settings)])


class TestMapElites(SearchContract):
    budget = 30

    @pytest.fixture
    def search(self):
        axes = [{"name": "size", "edges": [0.25, 0.75]}, {"name": "colour", "values": ["red", "blue"]}]
        return build([("map-elites", {"axes": axes, "n": 30, "seeds": 5, "shots": 2})])


class TestEvolve(SearchContract):
    budget = 4 * 7

    @pytest.fixture
    def search(self):
        return build([("evolve", {"epochs": 4, "size": 7, "baseline": 0.4, "inspiring": 3, "avoided": 4})])


class TestProposeVerifyReflect(SearchContract):
    budget = 20

    @pytest.fixture(params=["step", "answer"])
    def search(self, request):
        return build([("propose-verify-reflect", {"rounds": 20, "holds": 0.5, "moves": request.param})])


class TestTemperature(SearchContract):
    budget = 12

    @pytest.fixture(params=["depth", "asked"])
    def search(self, request):
        return build([("temperature", {"by": request.param}), ("best-first", {"n": 12})])


class TestAntiRepeat(SearchContract):
    @pytest.fixture(params=[("sample", {"n": 9}), ("refine", {"rounds": 6}), ("best-first", {"n": 12})])
    def search(self, request):
        return build([("anti-repeat", {"tries": 2}), request.param])


class TestPool(SearchContract):
    budget = 12

    @pytest.fixture
    def search(self):
        return build([("pool", {"n": 12, "shares": {"draft": 0.5}}), ("ab-mcts", {})])


class TestModifiersInANest(SearchContract):
    budget = 3 * 4

    @pytest.fixture
    def search(self):
        kinds = ["temperature", "sample", "pool", "anti-repeat", "refine"]
        settings = {"sample": {"n": 3}, "pool": {"n": 4}}
        return build([(kind, settings.get(kind, {})) for kind in kinds])


@search
def widen(tree, *, width=3):
    """Two levels: roots, then one child below the best of them."""
    if len(tree.roots) < width:
        return Move()
    if tree.open:
        return Wait()
    complete = [i for i in tree.roots if tree[i].status == "complete"]
    if len(tree.asks) > width or not complete:
        return Stop()
    return Move(parents=(max(complete, key=lambda i: value_of(tree, i).key),))


class TestFunction(SearchContract):
    @pytest.fixture
    def search(self):
        return widen(width=4)


class _Broken:
    """A search with one fault, to see that the contract finds it."""

    def __init__(self, fault):
        self.fault, self.inner = fault, Sample(n=3)

    def start(self, task):
        return self.inner.start(task)

    def fold(self, state, tree, record):
        if self.fault == "unknown" and getattr(record, "id", "").startswith("elsewhere"):
            return state
        if self.fault == "order" and getattr(record, "id", "") != "":
            state.ended += 1 if state.ended == 0 or record.answer != 0 else 0
            state.asked = int(record.id.rpartition(".")[2])
            return state
        state = self.inner.fold(state, tree, record)
        if self.fault == "forgets" and len(tree.attempts) == 2:
            state.asked += 1
        if self.fault == "in order of arrival" and isinstance(record, Attempt):
            state.ended = (state.ended * 31 + int(record.id.rpartition(".")[2])) % 1000 + 3
        return state

    def ask(self, state, tree):
        said = self.inner.ask(state, tree)
        match self.fault:
            case "impure":
                state.ended += isinstance(said, Wait)
            case "endless" if isinstance(said, Stop):
                return Move()
            case "idle" if isinstance(said, Stop):
                return Wait()
            case "stranger" if isinstance(said, Move) and state.asked:
                return Move(parents=("drive-0.99",))
            case "hasty" if isinstance(said, Move) and state.asked:
                return Move(parents=(next(iter(tree.asks)),))
            case "spendthrift" if isinstance(said, Stop) and state.asked == 3:
                return Move()
            case "regardless" if isinstance(said, Stop) and state.asked == 3 and len(tree.attempts) == 3:
                failed = [a.id for a in tree if a.status == "failed"]
                return Move(parents=(failed[0],)) if failed else said
            case "empty" if isinstance(said, Stop) and state.asked == 3:
                return Move(samples=0) if tree.attempts else said
            case _:
                pass
        return said


@pytest.mark.parametrize(
    ("fault", "test"),
    [
        ("impure", "test_asking_changes_nothing"),
        ("endless", "test_it_ends"),
        ("idle", "test_it_does_not_wait_for_nothing"),
        ("stranger", "test_moves_build_on_attempts_that_have_ended"),
        ("hasty", "test_moves_build_on_attempts_that_have_ended"),
        ("regardless", "test_only_what_came_to_something_is_built_on"),
        ("empty", "test_moves_build_on_attempts_that_have_ended"),
        ("forgets", "test_replaying_the_log_rebuilds_the_state"),
        ("in order of arrival", "test_the_log_alone_rebuilds_the_state"),
        ("spendthrift", "test_it_keeps_to_its_budget"),
        ("order", "test_siblings_may_end_in_any_order"),
        ("unknown", "test_an_unknown_attempt_is_refused"),
    ],
)
def test_the_contract_finds_a_broken_search(fault, test):
    contract = SearchContract()
    contract.budget = 3
    getattr(contract, test)(Sample(n=3))
    with pytest.raises((AssertionError, pytest.fail.Exception, SearchError)):
        getattr(contract, test)(_Broken(fault))


def test_drives_differ_by_seed_and_agree_for_the_same_one():
    outlines = [[r.type for r in RandomDriver(Sample(n=6), seed=seed).run().tree.log] for seed in (1, 1, 2, 3)]
    assert outlines[0] == outlines[1]
    assert len({tuple(o) for o in outlines}) > 1
