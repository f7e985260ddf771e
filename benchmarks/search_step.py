"""The cost of a step of a search without a model: `ask`, and `fold` of the result.

    python benchmarks/search_step.py [--searches ab-mcts mcts] [--sizes 1000 10000 100000] [--repeat 3]
                                     [--treequest PYTHON] [--no-collect] [--json]

A generator without cost answers at once; each node has up to four children, and rewards are random in [0, 1].
Our searches run through their protocol on a tree with asks, attempts and feedback; only `ask` and `fold` are
timed, not the creation of records. The lower bound is UCT written by hand with slotted objects, in the same
run. Microseconds of CPU per step are the mean over the last tenth of the attempts before each size, minus the
cost of reading the clock. Each repeat has its own seed for random trees; printed are medians, and each
repeat's ratio to its own lower bound. Garbage collection is on, as in any program, but not counted while
records are created; `--no-collect` turns it off. `--treequest` names a Python with TreeQuest (StandardMCTS,
in place), measured at the sizes that it reaches.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import random
import subprocess
import sys
import time
import tracemalloc
from statistics import median

from critic_loop.core.records import Ask, Attempt
from critic_loop.core.tree import Tree
from critic_loop.search import build, drive

BRANCHING = 4
SETTINGS = {"ab-mcts": {}, "mcts": {"width": BRANCHING}}
"""The settings of each search besides `n` for this task."""


def clock_s() -> float:
    """Return the cost of reading the clock once, in seconds."""
    return min(-(time.thread_time() - time.thread_time()) for _ in range(1000))


CLOCK_S = clock_s()


class Timed:
    """Sums the time of the last tenth of the attempts before each size."""

    def __init__(self, sizes: list[int]) -> None:
        self.sizes = sizes
        self.spent_s = dict.fromkeys(sizes, 0.0)

    def add(self, made: int, seconds: float, clocks: int = 1) -> None:
        """Add the time of attempt number `made`, measured with this many pairs of clock readings."""
        for size in self.sizes:
            if size * 0.9 < made <= size:
                self.spent_s[size] += seconds - clocks * CLOCK_S

    def microseconds(self) -> dict[int, float]:
        return {size: 1e6 * spent / (size * 0.1) for size, spent in self.spent_s.items() if spent}


# -- through the protocol ----------------------------------------------------------------------------


class Measured:
    """A search, with the time that `ask` and `fold` take."""

    def __init__(self, search, timed: Timed) -> None:
        self.search, self.timed, self.spent_s, self.made = search, timed, 0.0, 0

    def start(self, task):
        return self.search.start(task)

    def ask(self, state, tree):
        began = time.thread_time()
        move = self.search.ask(state, tree)
        self.spent_s = time.thread_time() - began
        return move

    def fold(self, state, tree, record):
        began = time.thread_time()
        state = self.search.fold(state, tree, record)
        self.spent_s += time.thread_time() - began
        if isinstance(record, Attempt):
            self.made += 1
            self.timed.add(self.made, self.spent_s, clocks=3)
        return state


def grow(search, sizes: list[int], seed: int) -> tuple[Tree, dict[int, float]]:
    """Run a search up to the largest size, one attempt after the other."""
    timed, rng = Timed(sizes), random.Random(7)
    tree = drive(
        Measured(search, timed),
        "x",
        attempt=lambda _, ask: Attempt(id=ask.attempt, parents=ask.parents, kind=ask.kind, answer=ask.attempt),
        evaluate=lambda *_: rng.random(),
        seed=seed,
    )
    return tree, timed.microseconds()


def bytes_each(search, tree: Tree) -> float:
    """Return the memory of the search's state, in bytes per attempt."""
    tracemalloc.start()
    state = search.start(tree.task)
    for record in tree.log:
        if isinstance(record, Ask | Attempt):
            state = search.fold(state, tree, record)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return used / len(tree) if state is not None else 0.0


# -- by hand -----------------------------------------------------------------------------------------


class Node:
    """A node with the fields that UCT needs."""

    __slots__ = ("children", "parent", "total", "visits")

    def __init__(self, parent: Node | None) -> None:
        self.parent, self.children, self.visits, self.total = parent, [], 0, 0.0


def uct_step(root: Node, c: float, reward) -> None:
    """Select, expand, back up."""
    node = root
    while len(node.children) == BRANCHING:
        log_n = math.log(node.visits)
        node = max(node.children, key=lambda k: k.total / k.visits + c * math.sqrt(log_n / k.visits))
    child = Node(node)
    node.children.append(child)
    gained, node = reward(), child
    while node is not None:
        node.visits += 1
        node.total += gained
        node = node.parent


def by_hand(sizes: list[int]) -> tuple[Node, dict[int, float]]:
    root, timed, clock, rng = Node(None), Timed(sizes), time.thread_time, random.Random(7)
    for made in range(1, max(sizes) + 1):
        began = clock()
        uct_step(root, math.sqrt(2), rng.random)
        timed.add(made, clock() - began)
    return root, timed.microseconds()


def bytes_by_hand(size: int) -> float:
    tracemalloc.start()
    root, _ = by_hand([size])
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return used / root.visits


# -- TreeQuest ---------------------------------------------------------------------------------------

TREEQUEST = """
import gc, json, random, sys, time
from treequest import StandardMCTS
sizes, limit_s, rng = json.loads(sys.argv[1]), float(sys.argv[2]), random.Random(7)
gc.disable()
algo = StandardMCTS(samples_per_action=BRANCHING)
tree, spent, began = algo.init_tree(), dict.fromkeys(sizes, 0.0), time.thread_time()
make = {"a": lambda parent: ("x", rng.random())}
for made in range(1, max(sizes) + 1):
    at = time.thread_time()
    tree = algo.step(tree, make, inplace=True)
    took = time.thread_time() - at
    for size in sizes:
        if size * 0.9 < made <= size:
            spent[size] += took
    if at - began > limit_s:
        break
done = {size: 1e6 * s / (size * 0.1) for size, s in spent.items() if s and made >= size}
print(json.dumps(done))
""".replace("BRANCHING", str(BRANCHING))


def treequest(python: str, sizes: list[int], limit_s: float) -> dict[int, float]:
    command = [python, "-c", TREEQUEST, json.dumps(sizes), str(limit_s)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {int(size): each for size, each in json.loads(done.stdout.splitlines()[-1]).items()}


# -- the table ---------------------------------------------------------------------------------------


def medians(runs: list[dict[int, float]]) -> dict[int, float]:
    return {size: median(run[size] for run in runs) for size in runs[0]}


def measure(names: list[str], sizes: list[int], repeat: int) -> dict[str, dict[str, object]]:
    """Return microseconds by size and bytes for each search and for UCT by hand, measured alternately."""
    times: dict[str, list[dict[int, float]]] = {name: [] for name in ("by hand", *names)}
    memory: dict[str, float] = {}
    for turn in range(repeat):
        times["by hand"].append(by_hand(sizes)[1])
        for name in names:
            search = build([(name, {"n": max(sizes), **SETTINGS.get(name, {})})])
            tree, each = grow(search, sizes, turn)
            times[name].append(each)
            if turn == 0:
                memory[name] = bytes_each(search, tree)
            del tree
            gc.collect()
    memory["by hand"] = bytes_by_hand(max(sizes))
    return {
        name: {"us": medians(runs), "bytes": memory[name], "over": shares(runs, times["by hand"])}
        for name, runs in times.items()
    }


def shares(runs: list[dict[int, float]], floors: list[dict[int, float]]) -> list[float]:
    """Return each repeat's ratio to its lower bound at the largest size, in ascending order."""
    last = max(floors[0])
    return sorted(run[last] / floor[last] for run, floor in zip(runs, floors, strict=True))


def show(rows: dict[str, dict[str, object]], sizes: list[int]) -> None:
    print(f"{'us a step':<14}" + "".join(f"{size:>10}" for size in sizes) + "    growth  bytes  of the floor")
    for name, row in rows.items():
        us = row["us"]
        cells = "".join(f"{us[size]:>10.1f}" if size in us else f"{'-':>10}" for size in sizes)
        first, last = min(us, default=0), max(us, default=0)
        grown = us[last] / us[first] if us else math.nan
        over = row.get("over", [])
        spread = f"{median(over):.2f} ({over[0]:.2f} to {over[-1]:.2f})" if over else "-"
        used = f"{row['bytes']:>7.0f}" if row.get("bytes") else f"{'-':>7}"
        print(f"{name:<14}{cells}{grown:>10.2f}{used}  {spread}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--searches", nargs="+", default=sorted(SETTINGS))
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--treequest", help="a Python that has TreeQuest")
    parser.add_argument("--limit-s", type=float, default=60.0, help="for TreeQuest")
    parser.add_argument("--no-collect", action="store_true", help="garbage collection off")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    sys.setrecursionlimit(10_000)
    if given.no_collect:
        gc.disable()
    rows = measure(given.searches, given.sizes, given.repeat)
    if given.treequest:
        rows["TreeQuest"] = {"us": treequest(given.treequest, given.sizes, given.limit_s)}
    if given.json:
        print(json.dumps(rows))
    else:
        show(rows, given.sizes)


if __name__ == "__main__":
    main()
