"""Whole searches in worlds with known answers, attempt by attempt. UPDATE_GOLDEN=1 writes the files anew."""

import json
import os
from pathlib import Path

import pytest

from critic_loop.search import Mcts
from critic_loop.testing.search_contract import RandomDriver
from tests.unit.search.worlds import bandit, deceptive, two_steps

HERE = Path(__file__).parent
PLAYED = {
    "two-bandits": (bandit(0.2, 0.8), Mcts(n=24, roots=2, width=3)),
    "two-bandits-puct": (bandit(0.2, 0.8), Mcts(n=24, roots=2, rule="puct", q="max", discount=0.9)),
    "two-steps": (two_steps(), Mcts(n=8, moves="step", width=2)),
    "deceptive": (deceptive(), Mcts(n=32, roots=2, width=3, c=0.5)),
    "deceptive-sum-of-terms": (deceptive(), Mcts(n=32, roots=2, rule="additive")),
}


def outline(tree, state):
    rows = [
        [i.rpartition(".")[2], [p.rpartition(".")[2] for p in a.parents], a.messages[0].text, state.visits[n],
         state.returns[n], round(state.value[n], 6)]
        for i, a in tree.attempts.items()
        for n in (state.node(i),)
    ]  # fmt: skip
    return [["attempt", "parents", "text", "visits", "returns", "worth"], *rows]


def text_of(rows):
    return "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n"


@pytest.mark.parametrize("name", PLAYED)
def test_the_search_goes_as_it_went(name):
    world, search = PLAYED[name]
    written = text_of(outline(*world.play(search)))
    path = HERE / f"{name}.json"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(written, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == written


def test_contested_trees_go_as_they_went():
    """Several lanes, failures and duplicates: the same seed gives the same tree."""
    drive = RandomDriver(Mcts(n=30, width=2, rethink=1), seed=3, lanes=4).run()
    rows = [[a.id, list(a.parents), a.replaces, a.status, a.answer] for a in drive.tree]
    path = HERE / "contested.json"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text_of(rows), encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text_of(rows)
