"""Measures the model on held-out puzzles: `python -m critic_loop.demo.evaluate`.

Knows the two arms at equal calls, "retry" (nothing shown) and "try-again"
(rejected attempts shown), and 95 % Wilson intervals. Does not know training.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from critic_loop.demo.chars import compact
from critic_loop.demo.countdown import sample_puzzles
from critic_loop.demo.rollouts import Plan, Rollout, roll_all
from critic_loop.demo.runtime import Runtime
from critic_loop.demo.shares import mcnemar, wilson


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A share with its 95 % Wilson interval."""

    hits: int
    total: int

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper end."""
        return wilson(self.hits, self.total)

    def __str__(self) -> str:
        """Writes `41.2 % [37.5, 45.0] of 700`."""
        low, high = self.interval
        return f"{100 * self.hits / self.total:.1f} % [{100 * low:.1f}, {100 * high:.1f}] of {self.total}"


def solved_within(rollouts: Sequence[Rollout], calls: int) -> Rate:
    """Returns the share of puzzles solved by one of the first `calls` calls."""
    hits = sum(r.solved and len(r.rejected) < calls for r in rollouts)
    return Rate(hits=hits, total=len(rollouts))


def repeats(rollouts: Sequence[Rollout]) -> Rate | None:
    """Returns the share of rejected attempts after the first that repeat an earlier one."""
    later = [(compact(text), r.rejected[:i]) for r in rollouts for i, text in enumerate(r.rejected) if i]
    hits = sum(text in map(compact, earlier) for text, earlier in later)
    return Rate(hits=hits, total=len(later)) if later else None


def sign_test(ours: Sequence[Rollout], theirs: Sequence[Rollout]) -> tuple[int, int, float]:
    """Returns puzzles that only ours solved, only theirs, and the two-sided exact p."""
    pairs = Counter((a.solved, b.solved) for a, b in zip(ours, theirs, strict=True))
    wins, losses = pairs[True, False], pairs[False, True]
    return wins, losses, mcnemar(wins, losses)


def measure(
    runtime: Runtime, *, seed: int, count: int, size: int, calls: int, temperature: float
) -> dict[str, object]:
    """Runs both arms on the same held-out puzzles and returns what a report needs."""
    puzzles = sample_puzzles(seed, count, size=size)
    arms: dict[str, list[Rollout]] = {}
    for name, shown in (("retry", False), ("try_again", True)):
        plan = Plan(calls=calls, temperature=temperature, show_rejected=shown, seed=seed)
        arms[name] = asyncio.run(roll_all(runtime, puzzles, plan))
    wins, losses, p = sign_test(arms["try_again"], arms["retry"])
    errors = Counter(str(c.error_kind) for r in arms["retry"] for c in r.checks[:1])
    return {
        "size": size,
        "temperature": temperature,
        "draft": str(solved_within(arms["retry"], 1)),
        **{f"{name}@{k}": str(solved_within(r, k)) for name, r in arms.items() for k in range(2, calls + 1)},
        **{f"{name}_repeats": str(repeats(r)) for name, r in arms.items()},
        "only_try_again": wins,
        "only_retry": losses,
        "p": round(p, 6),
        "draft_errors": dict(errors.most_common()),
    }


def main() -> None:
    """Prints one JSON object for each temperature."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--puzzles", type=int, default=600)
    parser.add_argument("--size", type=int, default=4)
    parser.add_argument("--calls", type=int, default=6)
    parser.add_argument("--temperatures", type=float, nargs="+", default=[0.8])
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    with Runtime(given.weights, threads=given.threads) as runtime:
        for temperature in given.temperatures:
            found = measure(
                runtime,
                seed=given.seed,
                count=given.puzzles,
                size=given.size,
                calls=given.calls,
                temperature=temperature,
            )
            print(json.dumps(found, indent=1), flush=True)  # noqa: T201  # the command's output


if __name__ == "__main__":
    main()
