"""Runs the arms of the demo on held-out Countdown puzzles of two levels, and compares them.

Whether an answer is right is checked after the loops have ended; the verifier's feedback is added to the trees.

Knows the comparison and its statistics. Does not know the arms (`demo.arms`), how the report is printed
(`cli/`) or the network.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from pydantic import JsonValue

from critic_loop.core.errors import ModelError
from critic_loop.core.protocols import Model, Store
from critic_loop.core.records import Feedback, Outcome, Task, Verdict
from critic_loop.core.tree import Tree
from critic_loop.core.view import View
from critic_loop.demo.arms import ALL_ARMS, ARMS, TOKENS, arm_loop, rejections
from critic_loop.demo.countdown import LEVELS, check, puzzle_of, sample_puzzles
from critic_loop.demo.rates import DEMO_SEED, revision_rates
from critic_loop.demo.shares import Counts, after_one_revision
from critic_loop.demo.verifier import countdown, task_of
from critic_loop.graph.loop import Loop
from critic_loop.graph.result import Result
from critic_loop.metrics import mcnemar, wilson

_IN_FLIGHT = 256


class Progress(Protocol):
    """Receives the number of finished puzzles of an arm."""

    def __call__(self, name: str, done: int, total: int) -> None:
        """Report that `done` of `total` puzzles of the arm `name` are finished."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """The results of one arm on the puzzles of a level."""

    name: str
    solved_B: tuple[bool, ...]  # noqa: N815  # a batch axis
    """Shape `[B]`: whether each puzzle was solved, in the order of the puzzles."""
    calls: int
    input_tokens: int
    output_tokens: int
    seconds: float
    """Wall time of all puzzles together."""

    @property
    def solved(self) -> int:
        """The number of solved puzzles."""
        return sum(self.solved_B)

    @property
    def rate(self) -> float:
        """The share of solved puzzles, in [0, 1]."""
        return self.solved / len(self.solved_B)

    @property
    def ci95(self) -> tuple[float, float]:
        """The 95 % Wilson interval of the rate."""
        return wilson(self.solved, len(self.solved_B))


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """A paired comparison of two arms on the same puzzles."""

    ours: str
    theirs: str
    only_ours: int
    """The number of puzzles that only `ours` solved."""
    only_theirs: int
    """The number of puzzles that only `theirs` solved."""
    p_value: float
    """Of McNemar's exact test, two-sided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revised:
    """The results of `refine` after one critique and one revision, beside their prediction."""

    drafted: int
    """The number of puzzles whose draft is right."""
    right: int
    """The number of puzzles that are right after at most one revision: accepted drafts are not revised."""
    puzzles: int
    ci95: tuple[float, float]
    """The 95 % Wilson interval of the share that is right."""
    predicted: float
    """The share in [0, 1] that rates measured on other puzzles predict: `p(1 - b*g) + (1 - p)*a*f`, see
    `demo.shares`."""
    predicted_ci95: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The arms on the puzzles of one level."""

    level: str
    tokens: int
    """The limit of generated tokens per puzzle."""
    arms: tuple[Arm, ...]
    paired: tuple[Paired, ...]
    """`refine` against every other arm with the same limit of tokens."""
    revised: Revised | None
    """None where the model is not the one whose rates are known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The results of the demo."""

    model: str
    puzzles: int
    """The number of puzzles of each level."""
    levels: tuple[Comparison, ...]
    store: str
    reused: int
    """The number of trees that were in the store before; their calls are not made again."""
    revised: Tree | None
    """A tree in which a wrong answer was criticised and revised to a right one; None without any."""


async def experiment(
    model: Model,
    store: Store,
    *,
    puzzles: int,
    arms: Sequence[str] = ARMS,
    tokens: int | None = None,
    seed: int = DEMO_SEED,
    progress: Progress | None = None,
) -> Report:
    """Run the arms on both levels and compare them.

    Args:
        model: the model of actor and critic; not closed.
        store: the store for the trees; not closed.
        puzzles: the number of held-out puzzles of each level.
        arms: some of `ALL_ARMS`.
        tokens: the limit of generated tokens per puzzle; None = `TOKENS` of the level.
        seed: the seed of the puzzles and of all samples.
        progress: called when a puzzle is finished.

    Raises:
        ModelError: no call of an arm succeeded.
    """
    reused = len([tree async for tree in store.trees()])
    compared, refined = list[Comparison](), list[Result[str]]()
    for level, setting in LEVELS.items():
        source = f"countdown held-out, {level}, seed {seed}"
        tasks = [task_of(puzzle, source=source) for puzzle in sample_puzzles(seed, puzzles, setting)]
        limit, found, others = tokens or TOKENS[level], list[Arm](), list[tuple[str, str]]()
        own = list[Result[str]]()
        for name in sorted(arms, key=ALL_ARMS.index):
            loop = arm_loop(name, model, store, tokens=limit, others=others)
            report = partial(progress or _ignore, f"{level} {name}", total=len(tasks))
            arm, results = await _run(loop, name, tasks, seed, report)
            _require_answers(results)
            await _add_evidence(store, results)
            found.append(arm)
            if name == "refine":
                own, refined = results, refined + results
                others = rejections(results)
        known = revision_rates(level) if model.spec == "embedded:countdown" and own else None
        compared.append(
            Comparison(
                level=level,
                tokens=limit,
                arms=tuple(found),
                paired=_pairs(found),
                revised=after_first_round(own, known) if known else None,
            )
        )
    return Report(
        model=model.spec,
        puzzles=puzzles,
        levels=tuple(compared),
        store=store.where,
        reused=reused,
        revised=shortest_revised(refined),
    )


async def _run(
    loop: Loop[str], name: str, tasks: Sequence[Task], seed: int, progress: Callable[[int], None]
) -> tuple[Arm, list[Result[str]]]:
    began_s, results = time.perf_counter(), dict[str, Result[str]]()
    progress(0)
    async for result in loop.map(tasks, in_flight=_IN_FLIGHT, seed=seed):
        results[result.task.id] = result
        progress(len(results))
    ordered = [results[task.id] for task in tasks]
    arm = Arm(
        name=name,
        solved_B=tuple(map(_is_right, ordered)),
        calls=sum(result.spend.calls for result in ordered),
        input_tokens=sum(result.spend.usage.input_tokens for result in ordered),
        output_tokens=sum(result.spend.usage.output_tokens for result in ordered),
        seconds=time.perf_counter() - began_s,
    )
    return arm, ordered


def _is_right(result: Result[str]) -> bool:
    answer = _chosen_unaided(result.tree)
    return _passes(result.task, answer if isinstance(answer, str) else None)


def _chosen_unaided(tree: Tree) -> JsonValue:
    """Return the answer chosen before the verifier's feedback was added; resuming a tree may choose again."""
    chosen: str | None = None
    for record in tree.log:
        if isinstance(record, Outcome):
            chosen = record.chosen
        elif isinstance(record, Feedback) and record.author == "countdown":
            break
    return None if chosen is None else tree[chosen].answer


def _passes(task: Task, answer: str | None) -> bool:
    puzzle = puzzle_of(task.text)
    return puzzle is not None and answer is not None and check(puzzle, answer).passed


async def _add_evidence(store: Store, results: Sequence[Result[str]]) -> None:
    """Add the feedback of the exact verifier on every answer to its tree, once."""
    for result in results:
        for attempt in result.tree:
            known = any(f.source == "verifier" for f in result.tree.judgements(attempt.id))
            if attempt.status == "complete" and not known:
                view = View(task=result.task, answer=attempt.answer, attempt=attempt)
                await store.add_feedback(attempt.id, await countdown(view))


def _require_answers(results: Sequence[Result[str]]) -> None:
    """Check that some call of an arm succeeded; otherwise its puzzles would only seem too hard.

    Raises:
        ModelError: all attempts failed.
    """
    attempts = [attempt for result in results for attempt in result.tree]
    if attempts and all(attempt.status == "failed" for attempt in attempts):
        raise ModelError(f"all attempts failed; the error of the first: {attempts[0].error}")


def shortest_revised(results: Sequence[Result[str]]) -> Tree | None:
    """Return the tree with the fewest attempts whose first answer was wrong and whose last is right."""
    revised = [result.tree for result in results if len(result.tree) > 1 and _is_right(result)]
    return min(revised, key=len, default=None)


def after_first_round(results: Sequence[Result[str]], known: Mapping[str, Counts]) -> Revised:
    """Return how many puzzles of `refine` were right after at most one revision, and the predicted share.

    Args:
        results: the results of the arm.
        known: the counts of the rates that predict it.
    """
    drafted, right = 0, 0
    for result in results:
        rights = [_passes(result.task, str(attempt.answer)) for attempt in list(result.tree)[:2]]
        said = result.tree.judgements(next(iter(result.tree)).id)
        accepted = any(f.source == "critic" and f.verdict is Verdict.PASS for f in said)
        drafted += rights[0]
        right += rights[0] if accepted else rights[-1]
    predicted, predicted_ci95 = after_one_revision(known)
    return Revised(
        drafted=drafted,
        right=right,
        puzzles=len(results),
        ci95=wilson(right, len(results)),
        predicted=predicted,
        predicted_ci95=predicted_ci95,
    )


# -- statistics --------------------------------------------------------------------------------


def paired(ours: Arm, theirs: Arm) -> Paired:
    """Return the paired comparison of two arms."""
    pairs = list(zip(ours.solved_B, theirs.solved_B, strict=True))
    only_ours, only_theirs = pairs.count((True, False)), pairs.count((False, True))
    return Paired(
        ours=ours.name,
        theirs=theirs.name,
        only_ours=only_ours,
        only_theirs=only_theirs,
        p_value=mcnemar(only_ours, only_theirs),
    )


def _pairs(arms: Sequence[Arm]) -> tuple[Paired, ...]:
    refine = next((arm for arm in arms if arm.name == "refine"), None)
    if refine is None:
        return ()
    return tuple(paired(refine, arm) for arm in arms if arm.name not in ("refine", "draft"))


def _ignore(name: str, done: int, total: int) -> None:
    """Ignore the progress."""
