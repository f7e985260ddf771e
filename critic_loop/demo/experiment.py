"""Three ways to spend calls on Countdown puzzles, compared on the same held-out ones.

`draft` makes one call a puzzle. `retry` samples blindly, `try-again` shows the model its rejected
attempts; both may make the same number of calls and stop at the first verified answer. All run as
ordinary loops into one store. A puzzle's first draft is the same in all three, since seeds follow
from the task: what differs is what the later calls are shown.

Knows the comparison and its statistics. Does not know how it is printed (`cli/`) nor the network.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from critic_loop.assets import Library, Recipe, SearchUse
from critic_loop.core.errors import ModelError
from critic_loop.core.protocols import Model, Store
from critic_loop.core.records import Task, Verdict
from critic_loop.core.stop import MaxRounds, Verified
from critic_loop.core.tree import Tree
from critic_loop.core.value import value_of
from critic_loop.demo.countdown import sample_puzzles
from critic_loop.demo.shares import mcnemar, wilson
from critic_loop.demo.verifier import countdown, task_of
from critic_loop.graph.loop import Loop
from critic_loop.graph.result import Result

STRATEGIES = ("draft", "retry", "try-again")
_IN_FLIGHT = 256

Progress = Callable[[str, int, int], None]
"""Told of a strategy's name, its finished puzzles, and how many there are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """What came of one strategy."""

    name: str
    solved_B: tuple[bool, ...]  # noqa: N815  # a batch axis
    """`[B]` whether each puzzle was solved, in the order of the puzzles."""
    calls: int
    input_tokens: int
    output_tokens: int
    seconds: float
    """Wall time of all puzzles together."""

    @property
    def solved(self) -> int:
        """Puzzles solved."""
        return sum(self.solved_B)

    @property
    def rate(self) -> float:
        """Share of puzzles solved."""
        return self.solved / len(self.solved_B)

    @property
    def ci95(self) -> tuple[float, float]:
        """The rate's 95 % Wilson interval."""
        return wilson(self.solved, len(self.solved_B))


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """Two strategies on the same puzzles."""

    ours: str
    theirs: str
    only_ours: int
    """Puzzles that ours solved and theirs did not."""
    only_theirs: int
    p_value: float
    """Two-sided, McNemar's exact test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the demo found."""

    model: str
    puzzles: int
    calls: int
    """Calls a puzzle at most, for the strategies that may make several."""
    strategies: tuple[Strategy, ...]
    paired: Paired
    store: str
    reused: int
    """Trees that were in the store before: their calls were not made again."""
    mended: Tree | None
    """A tree in which a rejected attempt was followed by a right one."""


async def experiment(
    model: Model, store: Store, *, puzzles: int, calls: int, seed: int = 1, progress: Progress | None = None
) -> Report:
    """Run the three strategies and compare them.

    Args:
        model: plays the actor; stays the caller's to close.
        store: takes the trees; stays the caller's to close.
        puzzles: how many held-out puzzles.
        calls: calls a puzzle at most.
        seed: of the puzzles and of every draw.
        progress: told how it goes.

    Raises:
        ModelError: the model answers nothing at all.
    """
    tasks = [task_of(p, source=f"countdown held-out, seed {seed}") for p in sample_puzzles(seed, puzzles)]
    reused = len([tree async for tree in store.trees()])
    found: list[Strategy] = []
    trees: list[Tree] = []
    for name in STRATEGIES:
        loop = strategy_loop(name, model, store, calls=calls)
        strategy, results = await _run(loop, name, tasks, seed, progress or _silent)
        _require_answers(results)
        found.append(strategy)
        trees = [result.tree for result in results]
    return Report(
        model=model.spec,
        puzzles=len(tasks),
        calls=calls,
        strategies=tuple(found),
        paired=paired(found[2], found[1]),
        store=store.where,
        reused=reused,
        mended=shortest_mended(trees),
    )


def strategy_loop(name: str, model: Model, store: Store, *, calls: int) -> Loop[str]:
    """Return the loop of a strategy; all have the actor of the recipe `try-again`."""
    again = Library().recipe("try-again")
    if name == "try-again":
        recipe, rule = again, Verified() | MaxRounds(calls)
    else:
        recipe, rule = _sampling(name, again.actor, 1 if name == "draft" else calls), Verified()
    return Loop(recipe, actor=model, verifiers=[countdown], stop=rule, store=store, lanes=1, max_calls=calls)


def _sampling(name: str, actor: str, samples: int) -> Recipe:
    search = (SearchUse(kind="sample", settings={"n": samples}),)
    return Recipe(name=name, search=search, actor=actor, show=())


async def _run(
    loop: Loop[str], name: str, tasks: Sequence[Task], seed: int, progress: Progress
) -> tuple[Strategy, list[Result[str]]]:
    began_s = time.perf_counter()
    results: dict[str, Result[str]] = {}
    progress(name, 0, len(tasks))
    async for result in loop.map(tasks, in_flight=_IN_FLIGHT, seed=seed):
        results[result.task.id] = result
        progress(name, len(results), len(tasks))
    ordered = [results[task.id] for task in tasks]
    strategy = Strategy(
        name=name,
        solved_B=tuple(result.verdict is Verdict.PASS for result in ordered),
        calls=sum(result.spend.calls for result in ordered),
        input_tokens=sum(result.spend.usage.input_tokens for result in ordered),
        output_tokens=sum(result.spend.usage.output_tokens for result in ordered),
        seconds=time.perf_counter() - began_s,
    )
    return strategy, ordered


def _require_answers(results: Sequence[Result[str]]) -> None:
    """Refuse to compare what never answered: that would look like puzzles too hard.

    Raises:
        ModelError: not one attempt came to an answer.
    """
    attempts = [attempt for result in results for attempt in result.tree]
    if attempts and all(attempt.status == "failed" for attempt in attempts):
        raise ModelError(f"no call was answered; the first failed with: {attempts[0].error}")


def shortest_mended(trees: Sequence[Tree]) -> Tree | None:
    """Return the tree with the fewest attempts that begins with a rejected one and ends with a verified one."""
    mended = [tree for tree in trees if len(tree) > 1 and value_of(tree, list(tree)[-1].id).verified is True]
    return min(mended, key=len, default=None)


# -- statistics --------------------------------------------------------------------------------


def paired(ours: Strategy, theirs: Strategy) -> Paired:
    """Compare two strategies puzzle by puzzle."""
    pairs = list(zip(ours.solved_B, theirs.solved_B, strict=True))
    only_ours, only_theirs = pairs.count((True, False)), pairs.count((False, True))
    return Paired(
        ours=ours.name,
        theirs=theirs.name,
        only_ours=only_ours,
        only_theirs=only_theirs,
        p_value=mcnemar(only_ours, only_theirs),
    )


def _silent(name: str, done: int, total: int) -> None:
    """Tell nobody."""
