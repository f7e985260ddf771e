"""A method from outside: one module, one recipe, one prompt, and Critic Loop untouched."""

import sys
from pathlib import Path

import pytest

import critic_loop as cl
from critic_loop.testing import ScriptedModel

pytestmark = pytest.mark.anyio
HERE = Path(__file__).parent

APART = "The hills are high,\nthe sea is wide."
CLOSE = "We watched the day,\nthe rain was grey."
GOOD = "Along the bay\nwe lost our way."


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    yield
    sys.modules.pop("couplets", None)


def test_it_is_small():
    assert len((HERE / "couplets.py").read_text().splitlines()) <= 60
    assert [p.name for p in HERE.rglob("*.py") if "test_" not in p.name] == ["couplets.py"]


def test_it_knows_public_names_only():
    source = (HERE / "couplets.py").read_text()
    assert "import critic_loop as cl" in source
    assert "from critic_loop" not in source


async def test_its_recipe_runs():
    actor = ScriptedModel([APART, CLOSE, APART, "Along the bay\nwe lost our way,\nwe went astray"])
    critic = ScriptedModel(lambda request: "It limps.\nVerdict: wrong")
    loop = cl.Loop("couplet", actor=actor, critic=critic, assets=[HERE])
    result = await loop.run("A couplet, please.")
    tree = result.tree
    assert (result.stop, result.decided_by, result.answer) == ("widened", "verifier", CLOSE)
    assert len(tree) == 4
    assert len(tree.roots) == 3
    revision = list(tree.asks.values())[-1]
    best = max(tree.roots, key=lambda i: cl.value_of(tree, i))
    assert revision.parents == (best,)
    assert tree[best].answer == CLOSE
    shown = actor.requests[-1].messages
    assert shown[-2].text == CLOSE
    assert "1 of the last 2 letters agree" in shown[-1].text
    asked = critic.requests[0].messages[-1].text
    assert asked.startswith("Does this couplet scan? <data ")
    assert "rhymes: <data " in asked
    assert {f.author for f in tree.feedback.values()} == {"rhymes", "critic/metre"}


async def test_it_stops_at_the_first_couplet_that_rhymes():
    actor = ScriptedModel([APART, GOOD])
    loop = cl.Loop(
        "couplet", actor=actor, critic=ScriptedModel(["Verdict: correct"] * 9), assets=[HERE], lanes=1
    )
    result = await loop.run("A couplet, please.")
    assert (result.stop, result.answer) == ("verified", GOOD)
    assert result.verdict is cl.Verdict.PASS
    assert len(result.tree) == 2


async def test_its_parts_may_be_handed_over_as_objects():
    from couplets import rhymes, short, widen

    long = "There is a good deal more to say than this,\nbut nobody will listen, which is bliss."
    actor, critic = ScriptedModel([long, APART]), ScriptedModel(["Everything after the first comma."])
    loop = cl.Loop(
        "refine",
        search=widen(width=1),
        actor=actor,
        critic=short,
        slots={"critic": critic},
        verifiers=[rhymes],
        select="best-value",
        stop=cl.MaxAttempts(9),
    )
    result = await loop.run("A couplet, please.")
    said = {f.author: f.text for f in result.tree.judgements(result.tree.roots[0])}
    assert said["short"] == "Everything after the first comma."
    assert result.stop == "widened"
    assert len(critic.requests) == 1
