"""Searches at equal cost: the share of Countdown puzzles solved, by the number of generated tokens.

    python benchmarks/search.py [--level hard easy] [--puzzles 300] [--seed 1] [--arms NAME ...] [--json]

All arms use the embedded model and stop when the verifier passes an answer; tokens of critics count. Each arm
runs once with the largest budget; the results for smaller budgets follow from the same run. Puzzles are the
held-out ones of the demo's seed; settings were chosen on those of `--seed 77`. With TreeQuest installed (`pip
install treequest`), its StandardMCTS and AB-MCTS-A run with the same model on whole answers: a child of the
root is a draft, any other node a revision by the critique, and the critic's confidence is the score.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from typing import Any

import critic_loop as cl
from critic_loop.assets import Library, Word
from critic_loop.core.messages import Message, assistant, user
from critic_loop.core.protocols import Request
from critic_loop.core.records import Sampling, Verdict
from critic_loop.demo.countdown import LEVELS, Puzzle, check, sample_puzzles
from critic_loop.demo.critique import CountdownCritique
from critic_loop.demo.model import EmbeddedModel
from critic_loop.demo.verifier import task_of
from critic_loop.metrics import statistics
from critic_loop.metrics.comparison import run_of
from critic_loop.search.prospect import Prospect

BUDGETS = {"easy": (120, 240, 480), "hard": (480, 960, 1920)}
TEMPERATURE = 0.8
STATE = str(Library().recipe("countdown-steps").search[0].settings["state"])
"""The search state: of half a line, the step computed so far; of a whole line, the numbers left."""


def by_halves(*succeeds: float) -> Prospect:
    """Sample the first half of a line (the step); take the second half (result and numbers left) greedily."""
    halves = tuple(share for line in succeeds for share in (line, 0.99))
    return Prospect(succeeds=halves, temperatures=(0.8, 0.0) * len(succeeds), state=STATE)


PROSPECTS = {4: by_halves(0.42, 0.83, 0.97), 5: by_halves(0.2, 0.31, 0.76, 0.98)}
"""By the number of a puzzle's numbers."""
Found = dict[str, tuple[int, int] | None]
"""For each puzzle, the tokens and calls until the right answer; None where it was not solved."""


# -- ours ------------------------------------------------------------------------------------------


async def with_loop(recipe: str, search: Any, puzzles: list[Puzzle], budget: int) -> Found:
    stop = cl.Verified() | cl.Spent(output_tokens=budget)
    settings = {
        "actor": "embedded:countdown",
        "critic": "embedded:countdown",
        "stop": stop,
        "max_calls": 100_000,
    }
    found: Found = {}
    async with cl.Loop(recipe, verifiers=["countdown"], search=search, **settings) as loop:
        async for result in loop.map([task_of(p) for p in puzzles], in_flight=64):
            run = run_of(result.tree)
            cost = run.found if run else None
            found[result.tree.task.id] = (cost.tokens, cost.calls) if cost else None
    return found


# -- TreeQuest -------------------------------------------------------------------------------------


class Player:
    """One puzzle for TreeQuest's generator: states are answers with their critiques."""

    def __init__(self, model: EmbeddedModel, puzzle: Puzzle) -> None:
        self.model, self.puzzle, self.task = model, puzzle, task_of(puzzle)
        self.tokens = self.calls = 0
        self.actor, self.critic = (Library().prompt(f"{role}/countdown.md") for role in ("actor", "critic"))

    async def ask(self, messages: tuple[Message, ...], temperature: float) -> Message:
        self.calls += 1
        sampling = Sampling(temperature=temperature, seed=self.calls)
        completion = await self.model.complete(Request(messages=messages, sampling=sampling))
        self.tokens += completion.usage.output_tokens
        return completion.choices[0].message

    async def generate(self, parent: tuple[str, str] | None) -> tuple[tuple[str, str], float]:
        answer = (await self.ask(self._conversation(parent), TEMPERATURE)).text
        if check(self.puzzle, answer).passed:
            return (answer, ""), 1.0
        values = {
            "task": self.task.text,
            "answer": answer,
            "feedback": [],
            "rejected": [],
            "reference": "",
            "schema": "",
        }
        judged = await self.ask((user(self.critic.render("user", values, "key")),), 0.0)
        feedback = CountdownCritique().parse(judged)
        return (answer, judged.text), min(feedback.score or 0.0, 0.99)

    def _conversation(self, parent: tuple[str, str] | None) -> tuple[Message, ...]:
        if parent is None:
            return self.task.prompt
        item = {
            "source": Word("critic"),
            "author": Word("critic"),
            "verdict": Word(Verdict.FAIL),
            "text": parent[1],
        }
        said = self.actor.render("feedback", {"feedback": [item | {"suggestion": ""}]}, "key")
        return (*self.task.prompt, assistant(parent[0]), user(said))


async def with_treequest(make: Callable[[], Any], puzzles: list[Puzzle], budget: int) -> Found:
    model, found = EmbeddedModel(), Found()
    at_once = asyncio.Semaphore(64)

    async def play(puzzle: Puzzle) -> None:
        async with at_once:
            player, algorithm = Player(model, puzzle), make()
            state, right = algorithm.init_tree(), False
            while player.tokens < budget and not right:
                state, trials = algorithm.ask_batch(state, 1, ["answer"])
                node, score = await player.generate(trials[0].parent_state)
                state, right = algorithm.tell(state, trials[0].trial_id, (node, score)), score == 1.0
            found[player.task.id] = (player.tokens, player.calls) if right else None

    await asyncio.gather(*map(play, puzzles))
    await model.aclose()
    return found


Arm = Callable[[list[Puzzle], int], Awaitable[Found]]


def arms() -> dict[str, Arm]:
    """The arms by name, ours first."""
    known: dict[str, Arm] = {
        "prospect": lambda p, b: with_loop("countdown-steps", PROSPECTS[len(p[0].numbers)], p, b),
        "repeat": lambda p, b: with_loop("countdown-repeat", None, p, b),
    }
    if find_spec("treequest"):
        import treequest

        known["treequest-mcts"] = lambda p, b: with_treequest(treequest.StandardMCTS, p, b)
        known["treequest-ab-mcts-a"] = lambda p, b: with_treequest(treequest.ABMCTSA, p, b)
    return known


# -- figures ---------------------------------------------------------------------------------------


def solved(found: Found, budget: int) -> dict[str, list[float]]:
    return {task: [float(cost is not None and cost[0] <= budget)] for task, cost in found.items()}


def measured(found: dict[str, Found], level: str) -> list[dict[str, Any]]:
    ours, rows = next(iter(found)), []
    for name, costs in found.items():
        calls = [cost[1] for cost in costs.values() if cost]
        row: dict[str, Any] = {
            "level": level,
            "arm": name,
            "calls_where_solved": sum(calls) / max(1, len(calls)),
        }
        for budget in BUDGETS[level]:
            mine = solved(costs, budget)
            share = statistics.estimate(mine)
            row[f"at_{budget}"] = [share.mean, share.low, share.high]
            if name != ours:
                less = statistics.paired(solved(found[ours], budget), mine)
                row[f"{ours}_more_at_{budget}"] = [less.difference, less.low, less.high]
        rows.append(row)
    return rows


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--level", nargs="+", choices=sorted(LEVELS), default=["hard", "easy"])
    parser.add_argument("--puzzles", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--arms", nargs="+", choices=sorted(arms()))
    parser.add_argument("--json", action="store_true")
    wish = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for level in wish.level:
        puzzles, found = sample_puzzles(wish.seed, wish.puzzles, LEVELS[level]), dict[str, Found]()
        for name in wish.arms or arms():
            began = time.perf_counter()
            found[name] = await arms()[name](puzzles, max(BUDGETS[level]))
            print(f"{level} {name}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
        rows += measured(found, level)
    if wish.json:
        print(json.dumps(rows))
    else:
        shown(rows)


def shown(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        print(f"\n{row['level']} {row['arm']}: {row['calls_where_solved']:.0f} calls where solved")
        for key, value in row.items():
            if isinstance(value, list):
                mean, low, high = (100 * share for share in value)
                print(f"  {key.replace('_', ' '):<26} {mean:6.1f} %  [{low:.1f}, {high:.1f}]")


if __name__ == "__main__":
    asyncio.run(main())
