"""Two drivers, one table: LangGraph's and the direct one write the same trees.

Every recipe runs in virtual time with models whose answers and latencies follow from what they are asked. So
what a search sees, and in which order, does not depend on how long orchestration takes.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from structlog.contextvars import get_contextvars

import critic_loop as cl
from critic_loop.assets import Library
from critic_loop.assets.library import bundled
from critic_loop.core.budget import Budget, LocalLedger
from critic_loop.core.errors import AuthFailed, ModelError, SearchError, StopRuleError
from critic_loop.core.messages import Message
from critic_loop.core.protocols import Request
from critic_loop.core.rules import Rule
from critic_loop.demo.countdown import EASY, sample_puzzles
from critic_loop.demo.verifier import task_of
from critic_loop.graph.job import run_job
from critic_loop.graph.lane import STAGES
from critic_loop.graph.options import Driver, RunOptions
from critic_loop.store import MemoryStore
from critic_loop.testing import ScriptedModel, run_virtual
from tests.graph.conftest import by_seed, counting, disagree, is_42, never

DRIVERS: tuple[Driver, ...] = ("graph", "direct")
RECIPES = sorted(path.stem for path in (bundled() / "agents" / "recipes").glob("*.toml"))
TIMES = {"at", "created_at", "sent_at", "ended_at", "elapsed_s", "duration_s", "busy_s"}
CALLS = 16


# -- what is compared ------------------------------------------------------------------------------


def without_times(thing: Any) -> Any:
    if isinstance(thing, dict):
        return {key: without_times(value) for key, value in thing.items() if key not in TIMES}
    return [without_times(value) for value in thing] if isinstance(thing, list) else thing


def log_of(tree: cl.Tree) -> list[Any]:
    """All records in their order, times left out."""
    return [without_times(record.model_dump(mode="json")) for record in tree.log]


def unordered(tree: cl.Tree) -> Counter[str]:
    """All records, calls and feedback named by where they stand instead of by when they came."""
    names: dict[str, str] = {}
    for call in tree.calls.values():
        names[call.id] = f"call {call.place.model_dump_json()} {call.digest} {call.binding}"
    for feedback in tree.feedback.values():
        at = "" if feedback.subject is None else feedback.subject.model_dump_json()
        names[feedback.id] = f"feedback {at} {feedback.source} {feedback.author} {feedback.text}"
    return Counter(json.dumps(_renamed(record, names), sort_keys=True) for record in log_of(tree))


def _renamed(thing: Any, names: dict[str, str]) -> Any:
    if isinstance(thing, dict):
        return {key: _renamed(value, names) for key, value in thing.items() if key != "lane"}
    if isinstance(thing, list):
        return [_renamed(value, names) for value in thing]
    return names.get(thing, thing) if isinstance(thing, str) else thing


# -- a world that follows from what is asked -------------------------------------------------------


def drawn(request: Request, salt: str = "") -> int:
    said = "".join(message.text for message in request.messages)
    given = f"{salt} {said} {request.sampling.seed} {request.sampling.temperature}"
    return int.from_bytes(hashlib.blake2b(given.encode(), digest_size=4).digest())


def latency(request: Request) -> float:
    """Seconds that no two calls share."""
    return 1.0 + drawn(request, "latency") % 1_000_003 / 1e6


def model(answer: Callable[[Request, int], str]) -> ScriptedModel:
    def several(request: Request) -> list[str]:
        return [answer(request, drawn(request, str(k))) for k in range(request.choices)]

    return ScriptedModel(several, latency_s=latency)


def acts(request: Request, n: int) -> str:
    """An answer; a step that ends it one time in three."""
    return f"Answer: worth {n % 97}" if n % 3 == 0 else f"worth {n % 97}"


def criticises(output: str) -> Callable[[Request, int], str]:
    def critic(request: Request, n: int) -> str:
        share = n % 90 / 100
        if output == "rubric":
            names = ("quality", "playful", "ornate")
            criteria = [{"name": name, "score": (k + 1) * share % 1} for k, name in enumerate(names)]
            return json.dumps({"criteria": criteria, "verdict": "fail", "suggestion": "More."})
        if output == "critique":
            return json.dumps({"score": share, "text": "so it is", "suggestion": "another way"})
        return "Line 1: right, reachable\nVerdict: correct" if n % 7 == 3 else "Line 1: wrong\nVerdict: wrong"

    return critic


def loop_of(name: str, **parts: Any) -> cl.Loop[Any]:
    """A bundled recipe with models for all of its roles."""
    recipe, library = Library().recipe(name), Library()
    use = next(iter(recipe.critics), None)
    output = "" if use is None else library.agent(use.agent).output
    slots = {"debater": model(lambda request, n: f"point {n}")} if recipe.debate else {}
    slots |= {name: model(acts) for name in recipe.actors}
    return cl.Loop(
        recipe, actor=model(acts), critic=model(criticises(str(output))) if use else None,
        judge=model(lambda request, n: f"Better: {'AB'[n % 2]}") if recipe.judge else None,
        slots=slots, max_calls=CALLS, **parts,
    )  # fmt: skip


TASK = cl.Task(prompt=(cl.user("Say a number."),), reference="worth 13")
PUZZLE = task_of(sample_puzzles(21, 1, EASY)[0])


@cl.verifier(pairs=True, name="agrees")
def agrees(view: cl.View[str]) -> bool:
    return len(str(view.answer)) == len(str(view.also_shown[0].answer))


def parts_of(name: str) -> dict[str, Any]:
    return {"verifiers": [agrees]} if name == "code-t" else {}


def ran(
    make: Callable[[], cl.Loop[Any]], task: Any = TASK
) -> dict[Driver, tuple[cl.Tree, BaseException | None]]:
    """Run a loop under each driver; return the trees, and the error that ended the run."""

    async def one(driver: Driver) -> tuple[cl.Tree, BaseException | None]:
        async with make() as loop:
            try:
                result = await loop.run(task, tree_id="t", driver=driver)
            except cl.CriticLoopError as error:
                return await loop.store.load("t"), error
            return result.tree, None

    return {driver: run_virtual(one(driver)) for driver in DRIVERS}


def same(make: Callable[[], cl.Loop[Any]], task: Any = TASK) -> cl.Tree:
    """Both drivers write the same records in the same order."""
    found = ran(make, task)
    assert log_of(found["graph"][0]) == log_of(found["direct"][0])
    assert repr(found["graph"][1]) == repr(found["direct"][1])
    return found["direct"][0]


# -- all recipes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_writes_the_same_records_in_one_lane(name: str) -> None:
    task = PUZZLE if name.startswith("countdown") else TASK
    tree = same(lambda: loop_of(name, lanes=1, **parts_of(name)), task)
    assert len(tree.attempts) > 1
    assert tree.outcome is not None


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_writes_the_same_tree_in_four_lanes(name: str) -> None:
    """Ids of calls and feedback follow the order of arrival; what they say, and where, does not."""
    task = PUZZLE if name.startswith("countdown") else TASK
    found = ran(lambda: loop_of(name, lanes=4, **parts_of(name)), task)
    trees = [found[driver][0] for driver in DRIVERS]
    assert unordered(trees[0]) == unordered(trees[1])
    assert len(trees[0].attempts) > 1


@pytest.mark.parametrize("lanes", [1, 3])
def test_several_attempts_of_one_move(lanes: int) -> None:
    """One request for three attempts: a lane works on all of them."""

    def threes(tree: cl.Tree) -> cl.Move | cl.Wait | cl.Stop:
        if len(tree.asks) < 9:
            return cl.Move(samples=3)
        return cl.Wait() if tree.open else cl.Stop()

    def make() -> cl.Loop[Any]:
        critic = model(criticises("verdict"))
        return cl.Loop(
            "refine", actor=model(acts), critic=critic, search=threes, lanes=lanes, stop=cl.MaxAttempts(9)
        )

    found = ran(make)
    graph, direct = (found[driver][0] for driver in DRIVERS)
    assert unordered(graph) == unordered(direct)
    assert len(direct.attempts) == 9
    assert all(len(direct.judgements(attempt_id)) == 2 for attempt_id in direct.attempts)
    assert {ask.group for ask in direct.asks.values()} == {"t.1", "t.4", "t.7"}


# -- tools, people, failures, budgets --------------------------------------------------------------


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def calls_a_tool() -> ScriptedModel:
    """An actor that asks for a sum first, and answers with it."""

    def answer(request: Request) -> Any:
        last = request.messages[-1]
        if last.role == "tool":
            return f"answer {drawn(request) % 9}"
        arguments = {"a": drawn(request) % 50, "b": 2}
        part = {"type": "tool_call", "id": "c1", "name": "add", "arguments": arguments}
        return Message.model_validate({"role": "assistant", "parts": [part]})

    return ScriptedModel(answer, latency_s=latency)


@pytest.mark.parametrize("calls", range(1, 8))
def test_budgets_end_a_tree_with_tools_at_the_same_place(calls: int) -> None:
    def make() -> cl.Loop[Any]:
        critic = model(criticises("verdict"))
        return cl.Loop(
            "refine", actor=calls_a_tool(), critic=critic, tools=[add], verifiers=[never], max_calls=calls
        )

    tree = same(make)
    assert len(tree.calls) == calls or tree.outcome is not None
    assert any(m.role == "tool" for a in tree for m in a.messages) == (calls > 0)


@pytest.mark.parametrize("lanes", [2, 8])
def test_tools_in_several_lanes(lanes: int) -> None:
    found = ran(lambda: cl.Loop("best-of-n", actor=calls_a_tool(), tools=[add], verifiers=[never], lanes=lanes))
    graph, direct = (found[driver][0] for driver in DRIVERS)
    assert unordered(graph) == unordered(direct)
    assert sum(m.role == "tool" for a in direct for m in a.messages) == 8


@pytest.mark.parametrize(("recipe", "lanes"), [("refine", 1), ("best-of-n", 1), ("best-of-n", 3)])
def test_people_park_attempts_and_their_words_let_them_go_on(recipe: str, lanes: int) -> None:
    async def one(driver: Driver) -> list[Any]:
        parts: dict[str, Any] = {"critic": cl.Human("ann"), "verifiers": [], "lanes": lanes}
        async with cl.Loop(recipe, actor=model(acts), store=MemoryStore(), **parts) as loop:
            seen: list[Any] = []
            for word in ({"verdict": "fail", "text": "No."}, True):
                result = await loop.run("x", tree_id="t", driver=driver)
                seen.append((result.stop, sorted(result.parked)))
                if result.parked:
                    await loop.respond("t", word)
            result = await loop.run("x", tree_id="t", driver=driver)
            return [*seen, (result.stop, result.answer), unordered(result.tree)]

    graph, direct = (run_virtual(one(driver)) for driver in DRIVERS)
    assert graph == direct
    assert direct[0][0] == "parked"


def failing(error: Callable[[], Exception], every: int) -> ScriptedModel:
    def answer(request: Request) -> Any:
        return error() if drawn(request, "fails") % every == 0 else f"answer {drawn(request) % 50}"

    return ScriptedModel(answer, latency_s=latency)


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("every", [1, 2, 3])
@pytest.mark.parametrize("error", [ModelError, AuthFailed])
def test_a_model_that_fails(lanes: int, every: int, error: type[ModelError]) -> None:
    """What ends an attempt is a record, what ends the job is raised when the other lanes have settled."""

    def make() -> cl.Loop[Any]:
        actor = failing(lambda: error("no"), every)
        return cl.Loop("best-of-n", actor=actor, verifiers=[never], lanes=lanes, max_calls=9)

    found = ran(make)
    (graph, first), (direct, second) = (found[driver] for driver in DRIVERS)
    assert unordered(graph) == unordered(direct)
    assert repr(first) == repr(second)
    assert isinstance(second, AuthFailed) == (
        error is AuthFailed and bool(direct.replies) and second is not None
    )
    assert all(call.id in direct.replies for call in direct.calls.values()), "all have settled"


def broken_search(tree: cl.Tree) -> cl.Move | cl.Stop:
    if len(tree.asks) > 2:
        raise RuntimeError("a search of the user's")
    return cl.Move()


class BrokenRule(Rule):
    def __call__(self, progress: Any) -> None:
        raise RuntimeError("a rule of the user's")


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("broken", ["search", "stop"])
def test_what_a_search_or_a_rule_raises_ends_the_run(broken: str, lanes: int) -> None:
    part: Any = {"search": broken_search} if broken == "search" else {"stop": BrokenRule()}

    async def one(driver: Driver) -> Any:
        async with cl.Loop("best-of-n", actor=model(acts), verifiers=[never], lanes=lanes, **part) as loop:
            with pytest.raises((SearchError, StopRuleError), match="of the user's"):
                await loop.run("x", tree_id="t", driver=driver)
            return unordered(await loop.store.load("t"))

    graph, direct = (run_virtual(one(driver)) for driver in DRIVERS)
    assert graph == direct


# -- interrupted, cancelled, continued -------------------------------------------------------------


@pytest.mark.parametrize("first", DRIVERS)
@pytest.mark.parametrize("second", DRIVERS)
@pytest.mark.parametrize("after", [1, 2, 5])
def test_what_one_driver_began_the_other_continues(first: Driver, second: Driver, after: int) -> None:
    def made(store: Any = None) -> cl.Loop[Any]:
        parts: dict[str, Any] = {"critic": model(criticises("verdict")), "tools": [add], "store": store}
        return cl.Loop("refine", actor=calls_a_tool(), verifiers=[never], **parts)

    async def interrupted(store: Any) -> cl.Tree:
        loop, calls = made(store), 0
        async for record in loop.stream("x", tree_id="t", driver=first):
            calls += getattr(record, "type", "") == "call"
            if calls == after:
                loop.interrupt()
        return (await made(store).run("x", tree_id="t", driver=second)).tree

    async def undisturbed() -> cl.Tree:
        return (await made().run("x", tree_id="t", driver=first)).tree

    tree, whole = run_virtual(interrupted(MemoryStore())), run_virtual(undisturbed())
    assert [(a.id, a.answer, a.status) for a in tree] == [(a.id, a.answer, a.status) for a in whole]
    assert len(tree.calls) == len(whole.calls), "no call was paid for twice"
    assert tree.outcome is not None
    assert whole.outcome is not None
    assert tree.outcome.stop == whole.outcome.stop


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("at_s", [0.5, 1.7, 2.9])
def test_a_cancelled_run_leaves_the_same_tree_and_goes_on(lanes: int, at_s: float) -> None:
    async def one(driver: Driver) -> Any:
        parts: dict[str, Any] = {"critic": model(criticises("verdict")), "lanes": lanes, "store": MemoryStore()}
        async with cl.Loop("parallel-refine", actor=model(acts), verifiers=[never], **parts) as loop:
            running = asyncio.create_task(loop.run("x", tree_id="t", driver=driver))
            await asyncio.sleep(at_s)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            left = await loop.store.load("t")
            assert all(call.id in left.replies for call in left.calls.values()), "calls in flight are cancelled"
            again = await loop.run("x", tree_id="t", driver=driver)
            return unordered(left), unordered(again.tree)

    graph, direct = (run_virtual(one(driver)) for driver in DRIVERS)
    assert graph == direct


@pytest.mark.parametrize("ended", ["well", "cancelled"])
@pytest.mark.parametrize("scope", ["tree", "attempt"])
def test_tools_are_opened_and_closed_alike(scope: Any, ended: str) -> None:
    async def one(driver: Driver) -> list[str]:
        seen: list[str] = []

        class Adds:
            """Adds two numbers, and says when it is opened and closed."""

            async def __aenter__(self) -> None:
                seen.append("opened")

            async def __aexit__(self, *exc: object) -> None:
                seen.append("closed")

            async def __call__(self, a: int, b: int) -> int:
                """Add two numbers."""
                seen.append("called")
                await asyncio.sleep(100 if ended == "cancelled" else 1)
                return a + b

        made = cl.tool(Adds(), name="add", scope=scope)
        parts: dict[str, Any] = {"tools": [made], "lanes": 3, "verifiers": [never], "store": MemoryStore()}
        async with cl.Loop("best-of-n", actor=calls_a_tool(), **parts) as loop:
            running = asyncio.create_task(loop.run("x", tree_id="t", driver=driver))
            await asyncio.wait([running], timeout=50)
            running.cancel()
            await asyncio.wait([running])
            assert running.cancelled() == (ended == "cancelled")
            return list(seen)

    graph, direct = (run_virtual(one(driver)) for driver in DRIVERS)
    assert graph == direct
    assert direct.count("opened") == direct.count("closed") >= 1


# -- what else both promise ------------------------------------------------------------------------


def test_both_stream_the_same_records() -> None:
    async def one(driver: Driver) -> list[Any]:
        async with loop_of("refine", lanes=1) as loop:
            streamed = loop.stream(TASK, tree_id="t", deltas=True, driver=driver)
            return [type(r).__name__ if isinstance(r, cl.Result) else str(r) async for r in streamed]

    graph, direct = ([len(seen), seen[-1]] for seen in (run_virtual(one(driver)) for driver in DRIVERS))
    assert graph == direct
    assert direct[-1] == "Result"


def test_both_map_to_the_same_trees() -> None:
    async def one(driver: Driver) -> dict[str, Any]:
        async with loop_of("parallel-refine") as loop:
            found = [r async for r in loop.map(["a", "b", "a", "c"], in_flight=2, driver=driver)]
            return {str(n): unordered(r.tree) for n, r in enumerate(sorted(found, key=lambda r: r.tree.id))}

    graph, direct = (run_virtual(one(driver)) for driver in DRIVERS)
    assert graph == direct
    assert len(direct) == 4


@pytest.mark.parametrize("driver", DRIVERS)
def test_logs_are_bound_to_tree_and_attempt_while_a_stage_runs(driver: Driver) -> None:
    seen: list[dict[str, Any]] = []

    @cl.verifier
    def watches(view: cl.View[str]) -> bool:
        seen.append(dict(get_contextvars()))
        return False

    async def one() -> None:
        loop = cl.Loop("try-again", actor=counting(), verifiers=[watches], max_calls=2)
        await loop.run("x", tree_id="t", driver=driver)
        assert get_contextvars() == {}

    asyncio.run(one())
    assert seen == [{"tree": "t", "attempt": "t.1"}, {"tree": "t", "attempt": "t.2"}]


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_run_gives_way_to_others_between_stages(driver: Driver) -> None:
    """Models and functions that never wait keep neither an interrupt nor a reader of the stream waiting."""

    async def one() -> cl.Result[Any]:
        loop = cl.Loop("best-of-n", actor=by_seed(), verifiers=[never], lanes=1)
        running = asyncio.create_task(loop.run("x", driver=driver))
        while not running.done() and not any(s.tree.attempts for s in loop.runner.sessions.all()):
            await asyncio.sleep(0)
        loop.interrupt()
        return await running

    result = asyncio.run(one())
    assert result.stop == "interrupted"
    assert len(result.tree.attempts) < 8


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_run_within_a_host_sees_nothing_of_the_host(driver: Driver) -> None:
    from langchain_core.runnables import RunnableLambda
    from langgraph.config import get_config

    @cl.verifier
    def apart(view: cl.View[str]) -> bool:
        config: Any = {}
        try:
            config = get_config()
        except RuntimeError:
            return True
        return "host" not in config.get("tags", [])

    async def node(task: str) -> str:
        loop = cl.Loop("try-again", actor=ScriptedModel(["42"]), verifiers=[apart])
        return (await loop.run(task, driver=driver)).stop

    assert asyncio.run(RunnableLambda(node).ainvoke("x", {"tags": ["host"]})) == "verified"


def test_the_graph_has_a_node_for_each_stage_of_the_table() -> None:
    loop = cl.Loop(
        "refine-rubric", actor=by_seed(), critic=disagree(), judge=disagree(), tools=[add], verifiers=[is_42]
    )
    nodes = set(loop.lane.get_graph().nodes) - {"__start__", "__end__"}
    assert nodes == {stage.name for stage in STAGES} == set(loop.runner.stages.stages)
    edges = {(edge.source, edge.target) for edge in loop.lane.get_graph().edges}
    assert {(a, b) for a in nodes for b in loop.runner.stages.may_follow(a)} <= edges


# -- graphs are made when they are asked for -------------------------------------------------------


def test_jobs_import_no_langgraph() -> None:
    code = """
import asyncio, sys
import critic_loop as cl
from critic_loop.testing import ScriptedModel

async def go():
    loop = cl.Loop("try-again", actor=ScriptedModel(lambda request: "42"), verifiers=[cl.verifier(is_42)])
    assert [r.stop async for r in loop.map(["x", "y"])] == ["verified"] * 2
    assert (await loop.run("z", driver="direct")).stop == "verified"
    assert "langgraph" not in sys.modules
    assert loop.graph.name == "critic_loop"
    assert "langgraph" in sys.modules

def is_42(view):
    return view.answer == "42"

asyncio.run(go())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_graph_is_compiled_once_whichever_thread_asks_first() -> None:
    loop = loop_of("refine")
    with ThreadPoolExecutor(8) as pool:
        graphs = list(pool.map(lambda _: loop.graph, range(16)))
        lanes = list(pool.map(lambda _: loop.lane, range(16)))
    assert len({id(graph) for graph in graphs}) == len({id(lane) for lane in lanes}) == 1


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_budget_may_be_shared_by_the_trees_of_a_job(driver: Driver) -> None:
    async def one() -> tuple[int, Counter[str]]:
        async with loop_of("best-of-n", verifiers=[never]) as loop:
            options = RunOptions(driver=driver, ledger=LocalLedger(Budget(calls=11)))
            found = [r async for r in run_job(loop.runner, "abc", in_flight=2, seed=0, options=options)]
            return sum(r.spend.calls for r in found), Counter(r.stop for r in found)

    calls, stops = run_virtual(one())
    assert calls == 11
    assert set(stops) <= {"budget", "exhausted"}
    assert stops["budget"] >= 1
