"""Ways to spend the same tokens on Countdown puzzles, compared on held-out ones of two levels.

Every arm is an ordinary loop. No arm has a verifier: the network's own critic says when to stop and
which answer to give, in every arm alike, and an arm may generate so many tokens a puzzle, critiques
included. What is right is found out afterwards; that evidence is added to the trees.

    draft           one answer
    resample        answers drawn anew until the critic accepts one
    refine          the answer is revised by the critique of its lines until the critic accepts it
    best-of-n       answers drawn anew to the end of the tokens; the one that the critic is surest of
    vote            the same; the most frequent of those that it accepts

and controls, in which the reviser works as in `refine` but not with the critique of its answer:

    no-critique     it is shown its rejected answers and not what was said of their lines
    wrong-critique  it is shown what was said of another answer to another puzzle
    reviser-drafts  it is shown nothing, so it draws anew as in `resample`

Knows the comparison and its statistics. Does not know how it is printed (`cli/`) nor the network.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeAlias

from pydantic import JsonValue

from critic_loop.assets import Library, SearchUse
from critic_loop.core.errors import ModelError
from critic_loop.core.functions import FunctionCritic, critic
from critic_loop.core.protocols import Model, Store
from critic_loop.core.records import Feedback, Outcome, Task, Verdict
from critic_loop.core.roles import View
from critic_loop.core.stop import Accepted, Spent
from critic_loop.core.tree import Tree
from critic_loop.demo.countdown import LEVELS, check, puzzle_of, sample_puzzles
from critic_loop.demo.rates import DEMO_SEED, revision_rates
from critic_loop.demo.seeds import seed_of
from critic_loop.demo.shares import Counts, after_one_revision
from critic_loop.demo.verifier import countdown, task_of
from critic_loop.graph.loop import Loop
from critic_loop.graph.result import Result
from critic_loop.metrics import mcnemar, wilson

ARMS = ("draft", "resample", "refine")
"""The arms of the short demo."""

CONTROLS = ("no-critique", "wrong-critique", "reviser-drafts")
ALL_ARMS = (*ARMS, "best-of-n", "vote", *CONTROLS)

TOKENS = {"easy": 400, "hard": 600}
"""Tokens that may be generated for a puzzle of a level; the round that reaches them is finished."""

_MOST_SAMPLES = 64
_N = 32
"""More than the tokens allow. Another number than above: a loop that differs in its stop rule alone would
go on with the other's trees."""
_IN_FLIGHT = 256

_MOST_CALLS = 200
_TO_THE_END = ("draft", "best-of-n", "vote")

Others: TypeAlias = Sequence[tuple[str, str]]
"""Tasks and critiques of answers to them."""


class Progress(Protocol):
    """Is told how many puzzles of an arm are finished."""

    def __call__(self, name: str, done: int, total: int) -> None:
        """Take note."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """What came of one arm."""

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
    """Two arms on the same puzzles."""

    ours: str
    theirs: str
    only_ours: int
    """Puzzles that ours solved and theirs did not."""
    only_theirs: int
    p_value: float
    """Two-sided, McNemar's exact test."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Revised:
    """What one critique and one revision came to in `refine`, beside what the model card's rates predict."""

    drafted: int
    """Puzzles whose draft is right."""
    right: int
    """Puzzles right after the draft was accepted, or else revised once."""
    puzzles: int
    ci95: tuple[float, float]
    """Of the share that is right."""
    predicted: float
    """`acc1 = p(1 - b*g) + (1 - p)*a*f` with rates measured on other puzzles."""
    predicted_ci95: tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The arms on the puzzles of one level."""

    level: str
    tokens: int
    """Tokens that could be generated for a puzzle."""
    arms: tuple[Arm, ...]
    paired: tuple[Paired, ...]
    """`refine` against every other arm that could generate as many tokens."""
    revised: Revised | None
    """None where another model plays than the one whose rates are known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the demo found."""

    model: str
    puzzles: int
    """Of each level."""
    levels: tuple[Comparison, ...]
    store: str
    reused: int
    """Trees that were in the store before: their calls were not made again."""
    mended: Tree | None
    """A tree in which a wrong answer was criticised and revised into a right one."""


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
        model: plays actor and critic; stays the caller's to close.
        store: takes the trees; stays the caller's to close.
        puzzles: how many held-out puzzles of each level.
        arms: which of `ALL_ARMS`.
        tokens: generated for a puzzle at most; else `TOKENS` of the level.
        seed: of the puzzles and of every draw.
        progress: told how it goes.

    Raises:
        ModelError: the model answers nothing at all.
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
            tell = partial(progress or _silent, f"{level} {name}", total=len(tasks))
            arm, results = await _run(loop, name, tasks, seed, tell)
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
        mended=shortest_mended(refined),
    )


def arm_loop(name: str, model: Model, store: Store, *, tokens: int, others: Others = ()) -> Loop[str]:
    """Return the loop of an arm; all are the recipe `countdown` with one thing changed.

    Args:
        name: one of `ALL_ARMS`.
        model: plays actor and critic.
        store: takes the trees.
        tokens: generated for a puzzle at most.
        others: critiques of other answers, with the task of each; `wrong-critique` shows those.

    Raises:
        ValueError: there is no such arm.
    """
    refine = Library().recipe("countdown")
    spent = Spent(output_tokens=tokens)
    critics: list[Any] = [model]
    match name:
        case "refine":
            changed = {}
        case "no-critique":
            changed = {"show": ("verdict",)}
        case "wrong-critique":
            changed = {"show": ("verdict", "suggestion")}
            critics.append(_another(others))
        case "draft":
            changed = _sampling(1) | {"critics": ()}
        case "resample":
            changed = _sampling(_MOST_SAMPLES)
        case "reviser-drafts":
            changed = _sampling(_MOST_SAMPLES) | {"actor": "actor/countdown-reviser"}
        case "best-of-n":
            changed = _sampling(_N)
        case "vote":
            changed = _sampling(_N) | {"select": "filtered-majority"}
        case _:
            raise ValueError(f"there is no arm {name!r}; there are {', '.join(ALL_ARMS)}")
    rule = spent if name in _TO_THE_END else Accepted() | spent
    recipe = refine.model_copy(update={"name": f"countdown/{name}", **changed})
    return Loop(recipe, actor=model, critic=critics, stop=rule, store=store, lanes=1, max_calls=_MOST_CALLS)


def _sampling(n: int) -> dict[str, Any]:
    return {"search": (SearchUse(kind="sample", settings={"n": n}),), "show": ()}


def _another(others: Others) -> FunctionCritic:
    """Returns a critic that repeats what was said of another answer to another puzzle, and judges nothing."""

    @critic(name="another", sees=())
    def another(view: View[str]) -> Feedback:
        foreign = [text for task, text in others if task != view.task.id]
        if not foreign:
            return Feedback.abstain("there is no other critique")
        return Feedback(
            suggestion=foreign[seed_of(view.task.id, view.attempt.id if view.attempt else "") % len(foreign)]
        )

    return another


def rejections(results: Sequence[Result[str]]) -> list[tuple[str, str]]:
    """Return every critique that rejects an answer, with the task that it belongs to."""
    return [
        (result.task.id, feedback.text)
        for result in results
        for attempt in result.tree
        for feedback in result.tree.judgements(attempt.id)
        if feedback.source == "critic" and feedback.verdict is Verdict.FAIL
    ]


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
    """Return the answer that was chosen before the verifier had spoken: a stored tree may choose anew."""
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
    """Write what the exact verifier says of every answer into its tree, once."""
    for result in results:
        for attempt in result.tree:
            known = any(f.source == "verifier" for f in result.tree.judgements(attempt.id))
            if attempt.status == "complete" and not known:
                view = View(task=result.task, answer=attempt.answer, attempt=attempt)
                await store.add_feedback(attempt.id, await countdown(view))


def _require_answers(results: Sequence[Result[str]]) -> None:
    """Refuse to compare what never answered: that would look like puzzles too hard.

    Raises:
        ModelError: not one attempt came to an answer.
    """
    attempts = [attempt for result in results for attempt in result.tree]
    if attempts and all(attempt.status == "failed" for attempt in attempts):
        raise ModelError(f"no call was answered; the first failed with: {attempts[0].error}")


def shortest_mended(results: Sequence[Result[str]]) -> Tree | None:
    """Return the tree with the fewest attempts whose first answer was wrong and whose last is right."""
    mended = [result.tree for result in results if len(result.tree) > 1 and _is_right(result)]
    return min(mended, key=len, default=None)


def after_first_round(results: Sequence[Result[str]], known: Mapping[str, Counts]) -> Revised:
    """Return how many puzzles of `refine` were right after at most one revision, and how many were to be.

    Args:
        results: of the arm.
        known: the rates that predict it.
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
    """Compare two arms puzzle by puzzle."""
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


def _silent(name: str, done: int, total: int) -> None:
    """Tell nobody."""
