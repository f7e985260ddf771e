"""Measures the model on held-out puzzles: `python -m critic_loop.demo.evaluate > weights/rates.json`.

Knows the figures of the model card: the share of right drafts, the reliability of the critic, and how often
revisions fix or break an answer. Does not know training. The demo's loops are compared in `experiment`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from critic_loop.demo.chars import LINE_VERDICTS, PERCENTS, REACHABLE, confidence, line_verdicts
from critic_loop.demo.countdown import LEVELS, Level, Puzzle, sample_puzzles
from critic_loop.demo.model import DEFAULT_TEMPERATURE
from critic_loop.demo.rates import DEMO_PUZZLES, DEMO_SEED
from critic_loop.demo.reach import judge
from critic_loop.demo.rollouts import Play, Turn, play_all
from critic_loop.demo.runtime import Runtime
from critic_loop.demo.shares import after_one_revision
from critic_loop.metrics import auc, wilson


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A share with its 95 % Wilson interval."""

    hits: int
    total: int

    @classmethod
    def of(cls, truths: Iterable[bool]) -> Rate:
        """Returns the share of true values."""
        counted = list(truths)
        return cls(hits=sum(counted), total=len(counted))

    @property
    def share(self) -> float:
        """Hits divided by the total; 0 if the total is 0."""
        return self.hits / self.total if self.total else 0.0

    def row(self) -> dict[str, float | int | list[float]]:
        """Returns the rate as JSON."""
        low, high = wilson(self.hits, self.total) if self.total else (0.0, 1.0)
        return {
            "rate": round(self.share, 4),
            "ci95": [round(low, 4), round(high, 4)],
            "hits": self.hits,
            "of": self.total,
        }


def critic_facts(puzzles: Sequence[Puzzle], chains: Sequence[Sequence[Turn]]) -> dict[str, object]:
    """Returns the reliability of the critic on whole answers and on single lines, as JSON values.

    Args:
        puzzles: the puzzles.
        chains: the turns of each puzzle.
    """
    turns = [turn for chain in chains for turn in chain]
    lines = list(_judged_lines(puzzles, chains))
    calibration = {
        f"{percent}%": Rate.of(right for _, right, said in lines if said == percent).row()
        for percent in PERCENTS
    }
    alive = [
        (said if word == REACHABLE else 100 - said, truth == REACHABLE)
        for word, truth, said in _probed(puzzles, chains)
    ]
    return {
        "answers": len(turns),
        "false_accept": Rate.of(t.accepted for t in turns if not t.right).row(),
        "false_reject": Rate.of(not t.accepted for t in turns if t.right).row(),
        "accepted_is_right": Rate.of(t.right for t in turns if t.accepted).row(),
        "lines": len(lines),
        "line_accuracy": Rate.of(right for _, right, _ in lines).row(),
        "line_accuracy_by_left": {
            str(left): Rate.of(right for n, right, _ in lines if n == left).row()
            for left in sorted({n for n, _, _ in lines}, reverse=True)
        },
        "reachable_auc": round(auc([p for p, _ in alive], [truth for _, truth in alive]), 4),
        "calibration": calibration,
        "brier_of_answers": round(
            sum((confidence(t.critique) - t.right) ** 2 for t in turns) / max(len(turns), 1), 4
        ),
    }


def _probed(puzzles: Sequence[Puzzle], chains: Sequence[Sequence[Turn]]) -> Iterable[tuple[str, str, int]]:
    """Yields the critic's verdict, the true one and the percent of confidence, for lines with right results."""
    for puzzle, chain in zip(puzzles, chains, strict=True):
        for turn in chain:
            truths = judge(puzzle, turn.answer)
            for truth, (word, percent) in zip(truths, line_verdicts(turn.critique), strict=False):
                if truth is not None:
                    yield word, LINE_VERDICTS[0 if truth else 1], percent


def _judged_lines(
    puzzles: Sequence[Puzzle], chains: Sequence[Sequence[Turn]]
) -> Iterable[tuple[int, bool, int]]:
    """Yield for each judged line how many numbers it leaves, whether its verdict is right, and its percent."""
    for puzzle, chain in zip(puzzles, chains, strict=True):
        for turn in chain:
            for index, (truth, (word, percent)) in enumerate(
                zip(judge(puzzle, turn.answer), line_verdicts(turn.critique), strict=False)
            ):
                true_word = LINE_VERDICTS[2 if truth is None else 0 if truth else 1]
                yield len(puzzle.numbers) - 1 - index, word == true_word, percent


def revision_facts(chains: Sequence[Sequence[Turn]]) -> dict[str, object]:
    """Returns the rates of `acc1 = p(1 - b*g) + (1 - p)*a*f`, of the first round of each chain.

    `p`: drafts that are right; `a`: wrong ones that the critic rejects; `g`: right ones that it
    rejects; `f`: rejected wrong ones that the revision mends; `b`: rejected right ones that it breaks.
    """
    drafts = [chain[0] for chain in chains]
    revised = [(chain[0], chain[1]) for chain in chains if not chain[0].accepted and len(chain) > 1]
    rates = {
        "p": Rate.of(d.right for d in drafts),
        "a": Rate.of(not d.accepted for d in drafts if not d.right),
        "g": Rate.of(not d.accepted for d in drafts if d.right),
        "f": Rate.of(new.right for old, new in revised if not old.right),
        "b": Rate.of(not new.right for old, new in revised if old.right),
    }
    after = Rate.of((chain[0] if chain[0].accepted or len(chain) < 2 else chain[1]).right for chain in chains)
    law, law_ci95 = after_one_revision({name: (rate.hits, rate.total) for name, rate in rates.items()})
    later = [(old, new) for chain in chains for old, new in pairwise(chain[1:])]
    return {
        **{name: rate.row() for name, rate in rates.items()},
        "acc1": after.row(),
        "acc1_by_law": {"rate": round(law, 4), "ci95": [round(end, 4) for end in law_ci95]},
        "later_fix": Rate.of(new.right for old, new in later if not old.right and not old.accepted).row(),
    }


def measure(
    runtime: Runtime,
    level: Level,
    *,
    seed: int,
    count: int,
    rounds: int = 4,
    temperature: float = DEFAULT_TEMPERATURE,
) -> dict[str, object]:
    """Plays held-out puzzles of a level and returns what the model card says about it.

    None of them is among the demo's, whose rounds are predicted from these rates.
    """
    puzzles = sample_puzzles(seed, count, level, without=sample_puzzles(DEMO_SEED, DEMO_PUZZLES, level))
    chains = play_all(runtime, puzzles, Play(rounds=rounds, temperature=temperature, seed=seed))
    return {
        "puzzles": count,
        "draft": Rate.of(chain[0].right for chain in chains).row(),
        "critic": critic_facts(puzzles, chains),
        "revision": revision_facts(chains),
        "solved": {
            str(n): Rate.of(any(t.right for t in c[:n]) for c in chains).row() for n in range(1, rounds + 1)
        },
        "tokens_per_puzzle": round(sum(t.tokens for c in chains for t in c) / count, 1),
    }


def main() -> None:
    """Prints one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, help="an ONNX file; else the one of the package")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--puzzles", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--temperature", type=float, default=DEFAULT_TEMPERATURE)
    parser.add_argument("--level", choices=[*LEVELS, "all"], default="all")
    given = parser.parse_args()
    chosen = LEVELS if given.level == "all" else {given.level: LEVELS[given.level]}
    with Runtime(given.weights) as runtime:
        levels = {
            name: measure(
                runtime, level, seed=given.seed, count=given.puzzles, rounds=given.rounds,
                temperature=given.temperature,
            )
            for name, level in chosen.items()
        }  # fmt: skip
        found = {
            "weights_sha256": runtime.weights_sha256,
            "seed": given.seed,
            "temperature": given.temperature,
            "levels": levels,
        }
    print(json.dumps(found, indent=1))  # noqa: T201  # the command's output


if __name__ == "__main__":
    main()
