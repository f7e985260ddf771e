"""Trees that searches grow in toy worlds, step by step: what each move was, and what came of it.

`UPDATE_GOLDEN=1 pytest tests/golden/search` writes the files anew; read the diff before you keep it.
"""

import json
import os
from pathlib import Path

import pytest

from critic_loop.search import build
from tests.worlds import Played, deep, draw, path, wide

HERE = Path(__file__).parent
STEPS = path((2, 0, 1))


def coloured(tree, ask):
    chance = draw(tree, ask)
    data = {"size": round(chance.random(), 2), "colour": chance.choice(["red", "green"])}
    return {"score": round(chance.random(), 2), "data": data}


def repeating(tree, ask):
    number = int(ask.attempt.rpartition(".")[2])
    return {"score": 0.0, "answer": ["41", "41", "40", "41", "42"][number - 1 if number < 6 else 4]}


AXES = [{"name": "size", "edges": [0.5]}, {"name": "colour", "values": ["red", "green"]}]
GROWN = {
    "ab-mcts-deep": ([("ab-mcts", {"n": 16})], deep),
    "ab-mcts-wide": ([("ab-mcts", {"n": 16, "agents": ["one", "two"], "posterior": "beta"})], wide),
    "anti-repeat": ([("temperature", {}), ("anti-repeat", {}), ("refine", {"rounds": 5})], repeating),
    "beam": ([("beam", {"width": 1, "samples": 3, "depth": 3})], STEPS),
    "best-first": ([("best-first", {"roots": 3, "n": 9, "moves": "step"})], STEPS),
    "evolve": ([("evolve", {"epochs": 3, "size": 6, "baseline": 0.6, "inspiring": 2, "avoided": 2})], coloured),
    "map-elites": ([("map-elites", {"axes": AXES, "n": 12, "seeds": 3, "shots": 1})], coloured),
    "propose-verify-reflect": ([("propose-verify-reflect", {"rounds": 9, "holds": 0.3})], STEPS),
}
"""Levels and world; two lanes where the search has no order of its own."""


def grown(name):
    levels, world = GROWN[name]
    played = Played(build(levels), world, lanes=2 if name in ("ab-mcts-wide", "evolve") else 1).run(40)
    rows = []
    for move, ask in zip(played.moves, played.tree.asks.values(), strict=True):
        row = {"attempt": ask.attempt, "parents": list(move.parents), "shows": list(move.shows)}
        row |= {"agent": move.agent, "temperature": move.sampling.temperature if move.sampling else None}
        row |= {"score": played.scores()[ask.attempt], "answer": played.tree[ask.attempt].answer}
        unsaid = ([], None, "actor", ask.attempt)
        rows.append({k: v for k, v in row.items() if k == "attempt" or v not in unsaid})
    return "[\n" + ",\n".join(f"  {json.dumps(row)}" for row in rows) + "\n]\n"


@pytest.mark.parametrize("name", GROWN)
def test_the_tree_is_as_it_was_read(name):
    file = HERE / f"{name}.json"
    now = grown(name)
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(now, encoding="utf-8")
    assert now == file.read_text(encoding="utf-8")


def test_no_golden_file_is_left_over():
    assert {p.stem for p in HERE.glob("*.json")} == set(GROWN)
