"""The contract of searches, over the built-in ones and a plain function."""

import pytest

from critic_loop.core.protocols import Move, Stop, Wait
from critic_loop.core.value import value_of
from critic_loop.search import Nest, Refine, Sample, build, search
from critic_loop.testing.search_contract import Drive, SearchContract


class TestRefine(SearchContract):
    @pytest.fixture
    def search(self):
        return Refine(rounds=5)


class TestRefineKept(SearchContract):
    @pytest.fixture
    def search(self):
        return Refine(rounds=8, base="kept")


class TestSample(SearchContract):
    @pytest.fixture
    def search(self):
        return Sample(n=9)


class TestSampleInBatches(SearchContract):
    @pytest.fixture
    def search(self):
        return Sample(n=7, batch=3)


class TestNest(SearchContract):
    @pytest.fixture
    def search(self):
        return build([("sample", {"n": 4, "batch": 2}), ("refine", {"rounds": 4, "base": "kept"})])


class TestNestOfThree(SearchContract):
    @pytest.fixture
    def search(self):
        return Nest(Sample(n=3), Nest(Sample(n=1), Refine(rounds=3)))


class TestAbMcts(SearchContract):
    @pytest.fixture(params=["gaussian", "beta"])
    def search(self, request):
        return build([("ab-mcts", {"n": 30, "posterior": request.param, "agents": ["actor", "other"]})])


class TestAbMctsBySteps(SearchContract):
    @pytest.fixture
    def search(self):
        return build([("ab-mcts", {"n": 30, "kind": "step", "depth": 4, "virtual_loss": False})])


class TestBestFirst(SearchContract):
    @pytest.fixture(params=[{}, {"epsilon": 0.3, "depth_penalty": 0.1}, {"by": "curriculum"}])
    def search(self, request):
        return build([("best-first", {"n": 25, "depth": 5, **request.param})])


class TestBestFirstToTheEnd(SearchContract):
    @pytest.fixture
    def search(self):
        return build([("best-first", {"roots": 2, "width": 2, "depth": 4, "kind": "step"})])


class TestBeam(SearchContract):
    @pytest.fixture(params=["step", "prompt"])
    def search(self, request):
        settings = {"width": 2, "samples": 4, "depth": 4, "batch": 3, "kind": request.param}
        return build([("beam", settings)])


class TestMapElites(SearchContract):
    @pytest.fixture
    def search(self):
        axes = [{"name": "size", "edges": [0.25, 0.75]}, {"name": "colour", "values": ["red", "blue"]}]
        return build([("map-elites", {"axes": axes, "n": 30, "seeds": 5, "shots": 2})])


class TestEvolve(SearchContract):
    @pytest.fixture
    def search(self):
        return build([("evolve", {"epochs": 4, "size": 7, "baseline": 0.4, "inspiring": 3, "avoided": 4})])


class TestProposeVerifyReflect(SearchContract):
    @pytest.fixture(params=["step", "answer"])
    def search(self, request):
        return build([("propose-verify-reflect", {"rounds": 20, "holds": 0.5, "kind": request.param})])


class TestTemperature(SearchContract):
    @pytest.fixture(params=["depth", "asked"])
    def search(self, request):
        return build([("temperature", {"by": request.param}), ("best-first", {"n": 12})])


class TestAntiRepeat(SearchContract):
    @pytest.fixture(params=[("sample", {"n": 9}), ("refine", {"rounds": 6}), ("best-first", {"n": 12})])
    def search(self, request):
        return build([("anti-repeat", {"tries": 2}), request.param])


class TestPool(SearchContract):
    @pytest.fixture
    def search(self):
        return build([("pool", {"n": 12, "shares": {"draft": 0.5}}), ("ab-mcts", {})])


class TestModifiersInANest(SearchContract):
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

    def __deepcopy__(self, memo):
        return self

    def start(self, task):
        return self.inner.start(task)

    def fold(self, state, tree, record):
        if self.fault == "unknown" and getattr(record, "id", "").startswith("elsewhere"):
            return state
        if self.fault == "order" and getattr(record, "id", "") != "":
            state.judged += 1 if state.judged == 0 or record.answer != 0 else 0
            state.asked = int(record.id.rpartition(".")[2])
            return state
        state = self.inner.fold(state, tree, record)
        if self.fault == "forgets" and len(tree.attempts) == 2:
            state.asked += 1
        return state

    def ask(self, state, tree):
        said = self.inner.ask(state, tree)
        match self.fault:
            case "impure":
                state.judged += isinstance(said, Wait)
            case "endless" if isinstance(said, Stop):
                return Move()
            case "idle" if isinstance(said, Stop):
                return Wait()
            case "stranger" if isinstance(said, Move) and state.asked:
                return Move(parents=("drive-0.99",))
            case "hasty" if isinstance(said, Move) and state.asked:
                return Move(parents=(next(iter(tree.asks)),))
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
        ("empty", "test_moves_build_on_attempts_that_have_ended"),
        ("forgets", "test_replaying_the_log_rebuilds_the_state"),
        ("order", "test_siblings_may_end_in_any_order"),
        ("unknown", "test_an_unknown_attempt_is_refused"),
    ],
)
def test_the_contract_finds_a_broken_search(fault, test):
    contract = SearchContract()
    getattr(contract, test)(Sample(n=3))
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        getattr(contract, test)(_Broken(fault))


def test_drives_differ_by_seed_and_agree_for_the_same_one():
    outlines = [[r.type for r in Drive(Sample(n=6), seed).run().tree.log] for seed in (1, 1, 2, 3)]
    assert outlines[0] == outlines[1]
    assert len({tuple(o) for o in outlines}) > 1
