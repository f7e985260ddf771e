"""A verifier package of somebody else: it needs `critic_loop.core` alone, and loops find it by name."""

import asyncio
import json
import re
from pathlib import Path

import pytest

import critic_loop as cl
from critic_loop import errors
from critic_loop.core.messages import ToolCall
from critic_loop.testing import ScriptedModel, TestServer
from critic_loop.testing.tool_contract import ToolContract
from tests.outside.installed import importable, imports, install, run

pytestmark = pytest.mark.anyio
HERE = Path(__file__).parent
TASK = cl.Task.of("How long is the way?", checks={"quantity": "1.5 km"}, held_out={"measured": "1500 m"})
FURLONG = {"quantity": "3 furlong", "to": "m", "define": {"furlong": "201 m"}}


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    return install(HERE, tmp_path_factory.mktemp("site"))


@pytest.fixture
def installed(target, monkeypatch):
    yield from importable(target, monkeypatch)


def test_it_imports_core_alone():
    assert imports(*(HERE / "critic_loop_units").rglob("*.py")) == {"critic_loop.core"}


def test_importing_it_loads_nothing_heavy(target, tmp_path):
    ended = run(target, tmp_path, "-c", "import sys, critic_loop_units; print(*sys.modules)")
    loaded = set(ended.stdout.split())
    ours = {name.split(".")[1] for name in loaded if name.startswith("critic_loop.")}
    assert ours == {"core"}
    assert not {"langgraph", "langchain_core", "httpx", "aiohttp", "sqlite3"} & loaded


async def test_a_recipe_names_its_verifiers_by_their_entry_points(installed):
    actor = ScriptedModel(["far", "1 h", "2 km", "1500 m"])
    result = await cl.Loop("measured", actor=actor, assets=[HERE]).run(TASK)
    assert (result.answer, result.stop, result.decided_by) == ("1500 m", "verified", "verifier")
    said = list(result.tree.feedback.values())
    assert {(f.source, f.author) for f in said} == {("verifier", "quantity"), ("verifier", "unit")}
    assert {f.produced_by for f in said if f.author == "quantity"} == {"critic-loop-units 2.1"}
    texts = [f.text for f in said if f.author == "quantity"]
    assert texts == ["name a length with its unit", "name a length with its unit", "that is too much", ""]
    assert "that is too much" in actor.requests[-1].messages[-1].text


async def test_without_a_quantity_to_compare_with_it_abstains(installed):
    actor = ScriptedModel(["2 km"])
    loop = cl.Loop("measured", actor=actor, assets=[HERE], stop=cl.MaxRounds(1))
    result = await loop.run("How long is the way?")
    [said] = [f for f in result.tree.feedback.values() if f.author == "quantity"]
    assert (said.verdict, said.lacks) == (cl.Verdict.ABSTAIN, "checks.quantity")


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"critic": "quantity"}, "verifier 'quantity' cannot stand in as critic: what it says is evidence"),
        ({"critic": "has_unit"}, "verifier 'unit' cannot stand in as critic: what it says is evidence"),
        ({"verifiers": "measured"}, "grader 'measured' cannot stand in as verifier: what it says is truth"),
        ({"tools": "quantity"}, "verifier 'quantity' cannot stand in as tool: what it says is evidence"),
    ],
)
def test_in_another_roles_place_it_is_refused(installed, parts, message):
    import critic_loop_units

    given = {key: getattr(critic_loop_units, name) for key, name in parts.items()}
    given = {key: part if key == "critic" else [part] for key, part in given.items()}
    with pytest.raises(errors.ConfigError, match=re.escape(message)):
        cl.Loop("refine", actor=ScriptedModel([]), **{"critic": ScriptedModel([]), **given})


def test_a_grader_that_a_recipe_names_as_verifier_is_refused(installed):
    with pytest.raises(errors.ConfigError, match="grader 'measured' cannot stand in as verifier"):
        cl.Loop("try-again", actor=ScriptedModel([]), verifiers=["critic_loop_units:measured"])


def test_a_name_that_no_package_registers_is_refused_with_those_there_are(installed):
    with pytest.raises(
        errors.ConfigError, match=r"unknown verifier 'quantitty'. Write one of answer, .*quantity, unit"
    ):
        cl.Loop("try-again", actor=ScriptedModel([]), verifiers=["quantitty"])


def test_its_settings_are_part_of_the_loop(installed):
    from critic_loop_units import Quantity, quantity

    def digest(verifier):
        return cl.Loop("try-again", actor=ScriptedModel([]), verifiers=[verifier]).parts.digest

    assert digest(quantity) == digest("quantity") == digest(Quantity()) != digest(Quantity(tolerance=0.1))


async def test_its_grader_measures_and_steers_nothing(installed):
    from critic_loop_units import measured

    async with cl.Loop("measured", actor=ScriptedModel(["1.5 km"]), assets=[HERE]) as loop:
        result = await loop.run(TASK)
        attempt = result.tree[result.attempt_id]
        view = cl.View(task=TASK, answer=result.answer, attempt=attempt)
        grade = await loop.store.add_feedback(attempt.id, await measured(view))
        tree = await loop.store.load(result.tree.id)
    assert (grade.source, grade.author, grade.verdict) == ("grader", "measured", cl.Verdict.PASS)
    assert [f.id for f in tree.grades.values()] == [grade.id]


# -- its tool --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("installed")
class TestConverter(ToolContract):
    @pytest.fixture
    def tool(self, installed):
        from critic_loop_units import Converter

        return Converter()

    @pytest.fixture
    def arguments(self):
        return {"quantity": "3 mile", "to": "km"}

    @pytest.fixture
    def wrong(self):
        return {"quantity": "3 furlong", "to": "h"}


def wish(number, arguments):
    return cl.assistant(ToolCall(id=str(number), name="convert", arguments=arguments))


async def test_its_tool_lives_as_long_as_a_tree(installed):
    from critic_loop_units import Converter

    known = {"quantity": "2 furlong", "to": "m"}
    script = [wish(1, FURLONG), "far", wish(2, known), "1500 m", wish(3, known), "1500 m"]
    actor = ScriptedModel(script)
    async with cl.Loop("measured", actor=actor, assets=[HERE], tools=[Converter()]) as loop:
        first = await loop.run(TASK)
        other = await loop.run(TASK, seed=1)
    answered = [part for tree in (first.tree, other.tree) for a in tree for m in a.messages for part in m.parts]
    results = [(part.text, part.is_error) for part in answered if part.type == "tool_result"]
    assert results[:2] == [("603 m", False), ("402 m", False)], "the second attempt knows the first one's unit"
    assert results[2][1], "another tree does not"
    assert (first.answer, first.decided_by) == ("1500 m", "verifier")
    assert "tool convert" in first.tree.head.components


# -- as a stranger types it ------------------------------------------------------------------------


async def test_the_command_line_finds_it_by_name(target, tmp_path):
    async with TestServer(["far", "2 km"]) as server:
        command = ["run", "How far?", "--recipe", "try-again", "--verifier", "unit", "--json"]
        command += ["--actor", f"chat:test@{server.url}"]
        ended = await asyncio.to_thread(run, target, tmp_path, "-m", "critic_loop", *command)
    [result] = json.loads(ended.stdout)["results"]
    assert (result["answer"], result["decided_by"]) == ("2 km", "verifier")
