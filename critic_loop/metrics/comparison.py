"""Two loops on the same tasks: what each solved, what it spent, and what it would have solved for less.

A `Run` is all that a comparison needs of a tree, so that trees can be read one at a time. Knows what is right
(`evidence.right`) and statistics. Does not know where trees are kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from critic_loop.core.progress import ENDED_BY_HAND
from critic_loop.core.records import NOT_SENT, Attempt, Reply
from critic_loop.core.tree import Tree
from critic_loop.evidence import oracle_choice, value_of
from critic_loop.metrics.facts import Facts
from critic_loop.metrics.statistics import ByTask

Unit = Literal["tokens", "calls", "usd"]
"""What is spent: generated tokens, model calls with retries, US dollars."""
Measure = Literal["solved", "score"]
"""What is compared: whether the chosen answer is right, or what it is worth to its loop (`value_of`)."""
_GOES_ON = ENDED_BY_HAND | {"parked"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What had been spent on a tree at some time."""

    calls: int
    tokens: int
    """Generated, reasoning included."""
    usd: float | None
    """None = unknown; never 0."""

    def of(self, unit: Unit) -> float | None:
        """Return it in one unit."""
        return {"calls": self.calls, "tokens": self.tokens, "usd": self.usd}[unit]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A tree that has ended, as comparisons look at it."""

    task: str
    solved: bool | None
    """Whether the chosen answer is right, as far as is known; a tree that chose none did not solve its task."""
    score: float | None
    """What the chosen answer is worth; None where nobody judged it."""
    spent: Cost
    """When the loop ended: what came later, such as another critic's opinion, is not its cost."""
    found: Cost | None
    """When an oracle (`evidence.oracle_choice`) first had a right attempt to choose; None where none is known.
    Its price is unknown."""

    def value(self, measure: Measure) -> float | None:
        """Return what is compared; None where it is not known."""
        known = self.solved if measure == "solved" else self.score
        return None if known is None else float(known)


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """The share of tasks that each side solves within a budget for each task."""

    budget: float
    ours: float
    theirs: float


def run_of(tree: Tree) -> Run | None:
    """Return a tree as a run; None if it has not ended. O(its records)."""
    facts = Facts(tree)
    outcome = facts.outcome
    if outcome is None or facts.stops & _GOES_ON:
        return None
    chosen, usage = facts.chosen, outcome.spend.usage
    return Run(
        task=tree.task.id,
        solved=False if chosen is None else facts.right(chosen),
        score=None if chosen is None else value_of(tree, chosen.id).score,
        spent=Cost(calls=outcome.spend.calls, tokens=usage.output_tokens, usd=outcome.spend.cost_usd),
        found=_found(facts),
    )


def _found(facts: Facts) -> Cost | None:
    if oracle_choice(facts.tree) is None:
        return None
    calls = tokens = 0
    for record in facts.tree.log:
        if isinstance(record, Reply):
            calls += 0 if record.error_code == NOT_SENT else record.sends
            tokens += record.usage.output_tokens
        elif isinstance(record, Attempt) and record.settled and facts.right(record):
            return Cost(calls=calls, tokens=tokens, usd=None)
    return None


def by_task(runs: Iterable[Run], measure: Measure = "solved") -> ByTask:
    """Return what is known of each task's runs; tasks of which nothing is known are left out."""
    found: dict[str, list[float]] = {}
    for run in runs:
        if (value := run.value(measure)) is not None:
            found.setdefault(run.task, []).append(value)
    return found


# -- equal cost ------------------------------------------------------------------------------------


def equal_cost(runs: Iterable[Run], budgets: Sequence[float], *, unit: Unit = "tokens") -> tuple[float, ...]:
    """Return, for each budget, the share of tasks whose loop had ended with a right answer within it.

    A budget is what may be spent on each task. Several runs of a task count as their share. A loop that would
    have ended earlier had it had less is not guessed at: give it less, and compare again. Runs of which nobody
    knows whether they solved their task are left out.

    Raises:
        ValueError: no run is known to have solved its task or not, or a run's cost in this unit is unknown.
    """
    return _shares([(run.task, _solved_at(run, unit)) for run in runs if run.solved is not None], budgets)


def found_within(runs: Iterable[Run], budgets: Sequence[float], *, unit: Unit = "tokens") -> tuple[float, ...]:
    """Return, for each budget, the share of tasks for which a right attempt had been made within it.

    What an oracle would have solved (`evidence.oracle_choice`): what lies between this and `equal_cost` is lost
    in selecting and stopping.

    Raises:
        ValueError: as in `equal_cost`; in US dollars it is not known.
    """
    if unit == "usd":
        raise ValueError("what an attempt cost by then is not known in US dollars, only what its tree cost")
    known = [(run.task, math.inf if run.found is None else run.found.of(unit)) for run in runs]
    return _shares([(task, cost) for task, cost in known if cost is not None], budgets)


def curve(
    ours: Sequence[Run], theirs: Sequence[Run], *, unit: Unit = "tokens", points: int = 8
) -> tuple[CurvePoint, ...]:
    """Return the equal-cost curves of two loops over the tasks that both have.

    Budgets lie at equal ratios between the cheapest and the dearest run: whole numbers but for US dollars.

    Raises:
        ValueError: as in `equal_cost`.
    """
    tasks = by_task(ours).keys() & by_task(theirs).keys()
    sides = [[run for run in side if run.task in tasks and run.solved is not None] for side in (ours, theirs)]
    budgets = _grid([_spent(run, unit) for side in sides for run in side], points, whole=unit != "usd")
    shares = (equal_cost(side, budgets, unit=unit) for side in sides)
    return tuple(
        CurvePoint(budget=budget, ours=mine, theirs=yours)
        for budget, mine, yours in zip(budgets, *shares, strict=True)
    )


def _spent(run: Run, unit: Unit) -> float:
    cost = run.spent.of(unit)
    if cost is None:
        raise ValueError(f"the cost of a run of task {run.task!r} in {unit} is unknown")
    return cost


def _solved_at(run: Run, unit: Unit) -> float:
    return _spent(run, unit) if run.solved else math.inf


def _shares(costs: Sequence[tuple[str, float]], budgets: Sequence[float]) -> tuple[float, ...]:
    if not costs:
        raise ValueError("there is no run to look at")
    samples: dict[str, list[float]] = {}
    for task, cost in costs:
        samples.setdefault(task, []).append(cost)
    each = [(cost, 1 / len(costs_) / len(samples)) for costs_ in samples.values() for cost in costs_]
    return tuple(math.fsum(share for cost, share in each if cost <= budget) for budget in budgets)


def _grid(costs: Sequence[float], points: int, *, whole: bool) -> tuple[float, ...]:
    if not costs:
        raise ValueError("there is no run to look at")
    high = max(costs)
    low = min((cost for cost in costs if cost > 0), default=high)
    steps = max(1, points - 1)
    between = (low * (high / low) ** (k / steps) for k in range(steps)) if low > 0 else ()
    rounded = {float(math.ceil(cost)) if whole else cost for cost in between}
    return tuple(sorted({*(cost for cost in rounded if cost < high), high}))
