"""From what a user brings to the parts of a loop, and a loop as a model."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import subprocess
import sys
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda

import critic_loop as cl
from critic_loop.assets import Library
from critic_loop.core.errors import (
    ConfigError,
    DeadlineExceeded,
    ModelError,
    OtherLoop,
    RateLimited,
    SearchError,
    StoreError,
)
from critic_loop.core.messages import user
from critic_loop.core.protocols import Move, Request, Stop
from critic_loop.graph.identity import identity
from critic_loop.models import Priced, Retrying, RetryPolicy, Tariff, resolve
from critic_loop.search import Mcts, Modified, Nest, Pool, Refine, Sample, Temperature
from critic_loop.select import Duel, WinRate, best_value, tournament
from critic_loop.store import open_store
from critic_loop.store.memory import MemoryStore
from critic_loop.testing import ScriptedModel, TestServer
from tests.graph.conftest import counting, is_42, never

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]


def a_loop(**parts: Any) -> cl.Loop[Any]:
    return cl.Loop("try-again", **{"actor": counting(), "verifiers": [never], **parts})


def priced(model: ScriptedModel) -> Priced:
    return Priced(model, Tariff(input_usd_per_mtok=1, output_usd_per_mtok=1))


# -- money ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rule",
    [
        cl.Spent(usd=0.5),
        cl.Verified() | cl.Spent(usd=1, calls=3),
        (cl.Verified() & cl.Spent(usd=1)) | cl.Failing(2),
    ],
)
def test_a_limit_on_money_wants_to_know_every_price(rule: Any) -> None:
    with pytest.raises(ConfigError, match=r"the price of 'scripted' is unknown\. Set gpu_usd_per_hour, or"):
        a_loop(stop=rule)
    loop = a_loop(stop=rule, actor=priced(counting()))
    with pytest.raises(ConfigError, match="the price of 'other' is unknown"):
        asyncio.run(loop.swap("actor", ScriptedModel([], spec="other")))
    with pytest.raises(ConfigError, match="the cost of actor 'RunnableLambda' cannot be known"):
        a_loop(stop=rule, actor=RunnableLambda(lambda messages: "42"))


async def test_money_is_counted_for_every_call_and_over_a_resume(store: str) -> None:
    """One USD a call: an actor of one output token at a million USD for a million."""

    def make(calls: int) -> cl.Loop[Any]:
        actor = Priced(ScriptedModel(lambda r: "x"), Tariff(input_usd_per_mtok=0, output_usd_per_mtok=1e6))
        return a_loop(actor=actor, store=store, max_calls=calls, stop=cl.Spent(usd=4))

    async with make(3) as loop:
        first = await loop.run("x", tree_id="t")
        assert (first.stop, first.spend.cost_usd) == ("budget", 3.0)
    async with make(99) as loop:
        again = await loop.run("x", tree_id="t")
    assert (again.stop, again.spend.cost_usd, again.spend.calls) == ("spent", 4.0, 4)


async def test_retries_count_after_a_resume_too(store: str) -> None:
    def make(replies: list[Any], calls: int) -> cl.Loop[Any]:
        model = Retrying(ScriptedModel(replies), RetryPolicy(first_wait_s=0.001))
        return a_loop(actor=model, store=store, max_calls=calls)

    async with make([RateLimited("busy"), RateLimited("busy"), "41", "41"], 4) as loop:
        assert (await loop.run("x", tree_id="t")).spend.calls == 4
    async with make(["41"] * 9, 5) as loop:
        result = await loop.run("x", tree_id="t")
    assert (result.stop, result.spend.calls, len(result.tree)) == ("budget", 5, 3)


async def test_what_was_spent_ends_a_resumed_tree_before_another_call(store: str) -> None:
    def make(calls: int) -> cl.Loop[Any]:
        return a_loop(store=store, stop=cl.Spent(calls=calls))

    async with make(3) as loop:
        first = await loop.run("x", tree_id="t")
    async with make(3) as loop:
        again = await loop.run("x", tree_id="t")
    assert (first.stop, again.stop) == ("spent", "spent")
    assert again.spend.calls == first.spend.calls
    async with make(5) as loop:
        more = await loop.run("x", tree_id="t")
    assert more.spend.calls == first.spend.calls + 2


async def test_a_price_that_nobody_knows_is_none() -> None:
    critic = ScriptedModel(lambda r: "Verdict: wrong", spec="c")
    loop = cl.Loop("refine", actor=priced(counting()), critic=critic, verifiers=[never], stop=cl.MaxRounds(1))
    assert (await loop.run("x")).spend.cost_usd is None


async def test_calls_and_tokens_can_be_counted() -> None:
    assert (await a_loop(stop=cl.Spent(calls=2, tokens=10**9)).run("x")).stop == "spent"


# -- what tells two loops apart ------------------------------------------------------------------


class Once:
    """A search with a default repr."""

    def __init__(self, n: int = 1, inner: Any = None) -> None:
        self.n = n
        self.inner = inner
        self.helper = object()

    def start(self, task: cl.Task) -> int:
        return 0

    def fold(self, state: int, tree: cl.Tree, record: Any) -> int:
        return state + 1

    def ask(self, state: int, tree: cl.Tree) -> Move | Stop:
        return Move() if state < 2 * self.n else Stop()


def last(tree: cl.Tree, *, k: int = 1) -> Any:
    return best_value(tree)


def drafts(tree: cl.Tree, *, width: int = 1) -> Any:
    return Stop() if len(tree.asks) >= width else Move()


class Chooser:
    def __init__(self, k: int) -> None:
        self.k = k

    def __call__(self, tree: cl.Tree) -> Any:
        return best_value(tree)

    def pick(self, tree: cl.Tree) -> Any:
        return best_value(tree)


def digests(**parts: Any) -> str:
    return a_loop(**parts).parts.digest


async def test_a_tree_is_resumed_by_a_search_whose_repr_holds_an_address() -> None:
    store = open_store(None)
    first = await a_loop(search=Once(), store=store).run("x", tree_id="t")
    again = await a_loop(search=Once(), store=store).run("x", tree_id="t")
    assert (first.stop, len(again.tree)) == ("exhausted", 1)
    with pytest.raises(OtherLoop, match=r"these differ: search\. "):
        await a_loop(search=Once(2), store=store).run("x", tree_id="t")


@pytest.mark.parametrize(
    "make",
    [
        lambda k: {"search": Once(k)},
        lambda k: {"search": Once(1, inner=Once(k))},
        lambda k: {"search": Nest(Sample(n=2), Refine(rounds=k))},
        lambda k: {"search": Nest(Sample(n=2), Once(k))},
        lambda k: {"search": cl.search(drafts)(width=k)},
        lambda k: {"search": functools.partial(drafts, width=k)},
        lambda k: {"select": functools.partial(last, k=k)},
        lambda k: {"select": Chooser(k)},
        lambda k: {"select": Chooser(k).pick},
    ],
)
def test_settings_count_and_addresses_do_not(make: Any) -> None:
    assert digests(**make(1)) == digests(**make(1))
    assert digests(**make(1)) != digests(**make(2))


@pytest.mark.parametrize(
    ("search", "said"),
    [
        (Mcts(n=0), "search 'mcts', setting 'n': .*greater than or equal to 1"),
        (Mcts(rule="ucb"), "search 'mcts', setting 'rule': "),  # type: ignore[arg-type]
        (Nest(Sample(n=2), Refine(rounds=0)), "search 'refine', setting 'rounds': "),
        (Modified(Pool(n=0), Refine()), "search 'pool', setting 'n': "),
        (Refine, r"Refine is a class, not a search\. Pass an instance: Refine\(\)\."),
        (
            Temperature(),
            r"Temperature\(.*\) changes another search, but none is given\. Name the search: Modified\(",
        ),
        (3, "3 is not a search"),
    ],
)
def test_a_search_made_in_python_is_looked_at_before_anything_runs(search: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        _ = a_loop(search=search).parts


@pytest.mark.parametrize(
    ("select", "said"),
    [
        (Duel(rounds=0), "selection 'duel', setting 'rounds': "),
        (Duel, r"Duel is a class, not a selection\. Pass an instance: Duel\(\)\."),
        (WinRate(), "selection 'win-rate' compares, but the recipe has no judge"),
        (tournament, "selection 'tournament' compares, but the recipe has no judge"),
        (3, "3 is not a selection"),
    ],
)
def test_a_selection_made_in_python_is_looked_at_before_anything_runs(select: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        _ = a_loop(select=select).parts


def test_the_same_names_of_two_kinds_differ() -> None:
    assert digests(select=last) != digests(select=best_value)
    assert digests(search=Refine()) != digests(search=Sample())
    assert digests(select=Chooser(1)) != digests(select=Chooser(1).pick)


class Colour(Enum):
    RED = 1


@dataclasses.dataclass
class Noted:
    n: int
    cache: dict[str, int] = dataclasses.field(default_factory=dict, compare=False)


def test_identity_is_data_whatever_a_part_holds() -> None:
    loop: Any = Once()
    loop.inner = loop
    here = f"{__name__}."
    assert identity(Noted(1, {"a": 1})) == identity(Noted(1))
    assert identity(loop) == [
        f"{here}Once",
        [["helper", "builtins.object"], ["inner", f"{here}Once"], ["n", 1]],
    ]
    assert identity([Colour.RED, b"\xff", {2, 1}, {"b": (None, 1.5), "a": True}, Noted, len]) == [
        [f"{here}Colour", "RED"],
        ["builtins.bytes", "ff"],
        [1, 2],
        [["a", True], ["b", [None, 1.5]]],
        f"{here}Noted",
        "builtins.len",
    ]


def test_the_digest_is_the_same_in_another_process() -> None:
    code = (
        "from functools import partial; from critic_loop.core.records import digest_of; "
        "from critic_loop.graph.identity import identity; from critic_loop.search import *; "
        "print(digest_of(identity([Nest(Sample(n=2), Refine()), partial(build, {'b', 'a', 'c'})])))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT,
            env={"PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(outputs) == 1


@pytest.mark.parametrize("parts", [{"search": functools.partial(drafts, width=2)}, {"select": Chooser(1)}])
async def test_callables_without_a_name_work(parts: dict[str, Any]) -> None:
    result = await a_loop(stop=cl.MaxAttempts(2), **parts).run("x")
    assert (len(result.tree), result.stop) == (2, "max_attempts")


@pytest.mark.parametrize(("parts", "what"), [({"search": 5}, "search"), ({"select": 5}, "selection")])
def test_what_is_no_function_is_refused(parts: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=f"5 is not a {what}"):
        a_loop(**parts)


# -- who is judged -------------------------------------------------------------------------------


def kept(tree: cl.Tree, *, base: str = "last") -> Any:
    return Stop()


@pytest.mark.parametrize(
    ("search", "judges"),
    [
        (None, True),
        (Refine(base="kept"), True),
        (Nest(Sample(n=2), Refine(base="kept")), True),
        (Once(inner=Nest(Sample(n=2), Refine(base="kept"))), True),
        (cl.search(kept)(base="kept"), True),
        (Refine(), False),
        (Nest(Sample(n=2), Refine()), False),
        (Sample(n=2), False),
        (cl.search(kept), False),
    ],
)
def test_revisions_are_judged_where_the_search_in_use_keeps_the_better(search: Any, judges: bool) -> None:
    recipe = Library().recipe("refine-rubric")
    recipe = recipe.model_copy(
        update={"search": tuple(u.model_copy(update={"settings": {"base": "kept"}}) for u in recipe.search)}
    )
    loop = cl.Loop(recipe, actor=counting(), critic=ScriptedModel([]), judge=ScriptedModel([]), search=search)
    assert loop.parts.judges_revisions is judges


def test_searches_that_hold_each_other_are_looked_at_once() -> None:
    one = Once()
    one.inner = Once(inner=one)
    loop = cl.Loop(
        "refine-rubric", actor=counting(), critic=ScriptedModel([]), judge=ScriptedModel([]), search=one
    )
    assert not loop.parts.judges_revisions


async def test_a_brought_search_that_keeps_the_better_has_its_revisions_judged() -> None:
    recipe = Library().recipe("refine-rubric").model_copy(
        update={"search": Library().recipe("refine").search, "critics": (), "stop": ()}
    )  # fmt: skip
    judge = ScriptedModel(lambda request: "Better: A")
    loop = cl.Loop(
        recipe, actor=counting(), judge=judge, search=Refine(rounds=3, base="kept"), select="majority"
    )
    result = await loop.run("x")
    assert [a.parents for a in result.tree] == [(), *[(f"{result.tree.id}.1",)] * 2]
    assert len(judge.requests) == 4, "each revision in both orders"


# -- a loop as a model ---------------------------------------------------------------------------

ASKED = Request(messages=(user("x"),))


async def test_null_is_an_answer() -> None:
    made = a_loop(actor=ScriptedModel(["null"]), output=int | None, verifiers=[], stop=cl.MaxRounds(1))
    assert (await made.as_model().complete(ASKED)).text == "null"


async def test_what_cannot_be_read_is_no_answer() -> None:
    made = a_loop(actor=ScriptedModel(["none?"]), output=int | None, verifiers=[], stop=cl.MaxRounds(1))
    with pytest.raises(ModelError, match=r"stopped \(max_rounds\) without an answer; tree"):
        await made.as_model().complete(ASKED)


async def test_the_requests_timeout_holds_for_all_its_choices() -> None:
    slow = ScriptedModel(lambda request: "42", latency_s=0.2)
    model = a_loop(actor=slow, verifiers=[is_42]).as_model()
    request = dataclasses.replace(ASKED, choices=9, timeout_s=0.3)
    with pytest.raises(DeadlineExceeded, match=r"loop:try-again: no answer within 0\.3 s\."):
        await asyncio.wait_for(model.complete(request), 1.5)
    assert len(slow.requests) == 2
    assert (await model.complete(dataclasses.replace(ASKED, timeout_s=5))).text == "42"


async def test_the_outer_loops_deadline_reaches_the_inner_one() -> None:
    inner = a_loop(actor=ScriptedModel(lambda request: "41", latency_s=5), stop=cl.MaxRounds(1))
    result = await asyncio.wait_for(a_loop(actor=inner.as_model(), stop=cl.Elapsed(0.2)).run("x"), 3)
    assert result.stop == "elapsed"


class Full(MemoryStore):
    async def append(self, tree_id: str, *records: Any, durable: bool = True) -> None:
        raise StoreError("the disk is full.")


async def test_what_ends_the_inner_job_ends_the_outer_one() -> None:
    inner = a_loop(store=Full())
    with pytest.raises(StoreError, match=r"the disk is full"):
        await inner.as_model().complete(ASKED)
    with pytest.raises(StoreError, match=r"the disk is full"):
        await a_loop(actor=inner.as_model()).run("x")


async def test_what_ends_the_inner_tree_is_a_failed_call() -> None:
    def broken(tree: cl.Tree) -> Any:
        raise SearchError("no such attempt.")

    inner = a_loop(search=broken)
    with pytest.raises(ModelError, match=r"loop:try-again: no such attempt\.") as caught:
        await inner.as_model().complete(ASKED)
    assert caught.value.scope == "attempt"


async def test_a_recipe_is_named_where_a_model_is_wanted() -> None:
    async with TestServer(lambda received: "42" if "x" in received.text else "Verdict: correct") as server:
        spec = f"loop:refine@chat:m@{server.url}"
        model = resolve(spec)
        completion = await model.complete(dataclasses.replace(ASKED, choices=2))
        assert [choice.message.text for choice in completion.choices] == ["42", "42"]
        assert (model.spec, completion.model) == (spec, spec)
        outer = await cl.Loop("try-again", actor=spec, verifiers=[is_42]).run("x")
        assert outer.answer == "42"
        assert [call.binding for call in outer.tree.calls.values()] == [spec]
        with pytest.raises(ModelError, match="no log-probabilities"):
            await model.complete(dataclasses.replace(ASKED, score=("a",)))
        await model.aclose()


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("loop:refine", "does not say which model plays its roles"),
        ("loop:refine@gpt", "loop:RECIPE@BACKEND:NAME"),
        ("loop:refine@foo:bar", "no backend 'foo'"),
        ("loop:refinee@embedded:countdown", "refinee"),
    ],
)
def test_a_recipe_that_cannot_play_says_why(spec: str, says: str) -> None:
    with pytest.raises(cl.CriticLoopError, match=says):
        resolve(spec)
