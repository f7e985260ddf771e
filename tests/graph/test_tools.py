"""Tools in loops: accepted as given, part of a loop's identity, opened and closed by the run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from langchain_core.tools import StructuredTool

import critic_loop as cl
from critic_loop.core.errors import AuthFailed, ConfigError, ModelError
from critic_loop.core.messages import ToolResult
from critic_loop.testing import ScriptedModel
from critic_loop.tools import tool_digest
from tests.graph.conftest import is_42, never

pytestmark = pytest.mark.anyio


def calling(*names: str) -> cl.Message:
    parts = [
        {"type": "tool_call", "id": f"c{n}", "name": name, "arguments": {}} for n, name in enumerate(names)
    ]
    return cl.Message.model_validate({"role": "assistant", "sampled": True, "parts": parts})


def results(tree: cl.Tree) -> list[ToolResult]:
    return [p for a in tree for m in a.messages for p in m.parts if isinstance(p, ToolResult)]


def look() -> str:
    """Look."""
    return "nothing"


class Shell:
    """A tool that counts what is open."""

    name, description = "shell", "Runs a command."
    parameters: dict[str, Any] = {"type": "object", "properties": {}}
    read_only, irreversible, timeout_s = False, True, None

    def __init__(self, scope: str, *, runs: Callable[[], Any] | None = None, on_open: Any = None) -> None:
        self.scope, self.runs, self.on_open = scope, runs, on_open
        self.log: list[str] = []
        self.scratch: list[Path] = []

    def digest(self) -> str:
        return tool_digest(self)  # type: ignore[arg-type]

    @asynccontextmanager
    async def open(self, context: cl.ToolContext) -> AsyncGenerator[Shell]:
        if self.on_open:
            raise self.on_open
        self.log.append("open")
        self.scratch.append(context.scratch)
        yield self
        self.log.append("close")

    async def run(self, arguments: Mapping[str, Any], context: cl.ToolContext) -> cl.ToolOutput:
        self.log.append("run")
        if self.runs is not None:
            await self.runs()
        return cl.ToolOutput.of("done")


# -- accepted as given -----------------------------------------------------------------------------


async def test_functions_objects_and_langchain_tools_run_side_by_side() -> None:
    given = StructuredTool.from_function(look, name="peek", description="Peeks.")
    shell = Shell("loop")
    actor = ScriptedModel([calling("look", "peek", "shell"), "42"])
    async with cl.Loop("try-again", actor=actor, verifiers=[is_42], tools=[look, given, shell]) as loop:
        result = await loop.run("x")
    assert [(r.name, r.text, r.is_error) for r in results(result.tree)] == [
        ("look", "nothing", False), ("peek", "nothing", False), ("shell", "done", False),
    ]  # fmt: skip
    assert [spec.name for spec in actor.requests[0].tools] == ["look", "peek", "shell"]


@pytest.mark.parametrize(
    ("tools", "message"),
    [
        ([look, cl.tool(look)], "two tools have the name 'look'"),
        ([lambda: 1], "a tool cannot be called '<lambda>'"),
        ([StructuredTool.from_function(look, name="look here")], "a tool cannot be called 'look here'"),
        ([object()], "is not a tool"),
    ],
)
def test_what_cannot_be_a_tool_is_refused_when_the_loop_is_made(tools: list[Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        cl.Loop("try-again", actor=ScriptedModel([]), tools=tools)


async def test_pictures_are_shown_to_the_actor_and_come_back_from_the_store(tmp_path: Path) -> None:
    def show() -> list[Any]:
        """Show."""
        return ["seen", cl.Image.of(b"png", "image/png"), cl.File.of(b"pdf", "application/pdf")]

    actor = ScriptedModel([calling("show"), "42"])
    store = f"sqlite:///{tmp_path}/trees.db"
    async with cl.Loop("try-again", actor=actor, verifiers=[is_42], tools=[show], store=store) as loop:
        tree_id = (await loop.run("x")).tree.id
    shown = actor.requests[1].messages[-1].parts[0]
    assert isinstance(shown, ToolResult)
    assert [blob.data for blob in shown.blobs] == [b"png", b"pdf"]
    opened = cl.open_store(store)
    (stored,) = results(await opened.load(tree_id))
    assert [blob.data for blob in stored.blobs] == [b"png", b"pdf"]
    assert stored.text == "seen"
    await opened.aclose()


async def test_a_run_with_tools_can_be_replayed(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path}/trees.db"

    async def slow() -> str:
        """Take more or less time."""
        await asyncio.sleep(next(times))
        return "done"

    times = iter([0.03, 0.0])
    actor = ScriptedModel([calling("slow"), "42"])
    async with cl.Loop("try-again", actor=actor, verifiers=[is_42], tools=[slow], store=store) as loop:
        first = await loop.run("x")
    async with cl.Loop("try-again", verifiers=[is_42], tools=[slow], replay=store) as loop:
        again = await loop.run("x")
    assert (again.answer, again.stop) == (first.answer, first.stop)


# -- identity --------------------------------------------------------------------------------------


def variants() -> dict[str, list[Any]]:
    """Return tools that differ from `[look]` in one thing each."""

    def seek(where: str = "here") -> str:
        """Look."""
        return "nothing"

    return {
        "removed": [],
        "added": [look, cl.tool(look, name="look_again")],
        "another description": [cl.tool(look, description="Looks closely.")],
        "another schema": [cl.tool(seek, name="look")],
        "another flag": [cl.tool(look, read_only=True)],
        "another time limit": [cl.tool(look, timeout_s=5)],
        "another function": [cl.tool(variants, name="look", description="Look.")],
    }


@pytest.mark.parametrize("changed", variants())
async def test_map_with_other_tools_over_the_same_store_asks_anew(changed: str) -> None:
    store = cl.open_store(None)
    calls = []
    for tools in ([look], [look], variants()[changed], variants()[changed]):
        actor = ScriptedModel(lambda request: "42")
        loop = cl.Loop("try-again", actor=actor, verifiers=[is_42], tools=tools, store=store)
        assert [r.answer async for r in loop.map(["x"])] == ["42"]
        calls.append(len(actor.requests))
    assert calls == [1, 0, 1, 0]


async def test_the_refusal_to_resume_names_the_tool() -> None:
    store = cl.open_store(None)
    result = await cl.Loop(
        "try-again", actor=ScriptedModel(["1"]), verifiers=[never], tools=[look], max_calls=1, store=store
    ).run("x")
    other = cl.Loop(
        "try-again", actor=ScriptedModel([]), verifiers=[never], tools=[cl.tool(look, name="peek")], store=store
    )
    with pytest.raises(ConfigError, match="these differ: tool look, tool peek"):
        await other.run("x", tree_id=result.tree.id)


# -- lifetimes -------------------------------------------------------------------------------------

TWICE: list[Any] = [calling("shell"), calling("shell"), "1"] * 2


@pytest.mark.parametrize(
    ("scope", "log"),
    [
        ("loop", ["open", *["run"] * 8, "close"]),
        ("tree", ["open", *["run"] * 4, "close"] * 2),
        ("attempt", ["open", "run", "run", "close"] * 4),
    ],
)
async def test_a_tool_is_opened_once_for_each_scope_and_closed_at_its_end(scope: str, log: list[str]) -> None:
    shell = Shell(scope)
    async with cl.Loop(
        "try-again", actor=ScriptedModel(TWICE * 2), verifiers=[never], tools=[shell], stop=cl.MaxAttempts(2)
    ) as loop:
        for _ in range(2):
            await loop.run("x")
            assert shell.log[-1] == ("run" if scope == "loop" else "close")
    assert shell.log == log
    assert not any(folder.exists() for folder in shell.scratch)


@pytest.mark.parametrize("scope", ["tree", "attempt"])
async def test_a_cancelled_run_closes_its_tools(scope: str) -> None:
    running = asyncio.Event()

    async def hang() -> None:
        running.set()
        await asyncio.sleep(60)

    shell = Shell(scope, runs=hang)
    loop = cl.Loop("try-again", actor=ScriptedModel([calling("shell")]), verifiers=[never], tools=[shell])
    work = asyncio.create_task(loop.run("x"))
    await running.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert shell.log == ["open", "run", "close"]


@pytest.mark.parametrize("scope", ["tree", "attempt"])
async def test_a_run_that_ends_with_an_error_closes_its_tools(scope: str) -> None:
    shell = Shell(scope)
    actor = ScriptedModel([calling("shell"), AuthFailed("x")])
    loop = cl.Loop("try-again", actor=actor, verifiers=[never], tools=[shell])
    with pytest.raises(cl.CriticLoopError, match="x"):
        await loop.run("x")
    assert shell.log == ["open", "run", "close"]


async def test_an_attempt_that_fails_closes_its_tools_before_the_next_opens_them() -> None:
    shell = Shell("attempt")
    actor = ScriptedModel([calling("shell"), ModelError("down"), calling("shell"), "42"])
    await cl.Loop("try-again", actor=actor, verifiers=[is_42], tools=[shell]).run("x")
    assert sorted(shell.log) == ["close", "close", "open", "open", "run", "run"]
    assert shell.log[-1] == "close"


async def test_a_tool_that_cannot_be_opened_is_an_error_that_the_model_is_shown() -> None:
    shell = Shell("tree", on_open=OSError("no docker"))
    actor = ScriptedModel([calling("shell"), "42"])
    result = await cl.Loop("try-again", actor=actor, verifiers=[is_42], tools=[shell]).run("x")
    (shown,) = results(result.tree)
    assert (shown.text, shown.is_error) == ("tool 'shell' cannot be opened: OSError: no docker", True)
    assert result.answer == "42"


async def test_a_host_that_runs_the_graph_has_tools_closed() -> None:
    shell = Shell("tree")
    loop = cl.Loop("try-again", actor=ScriptedModel([calling("shell"), "42"]), verifiers=[is_42], tools=[shell])
    await loop.graph.ainvoke({"task": "x"})
    await loop.aclose()
    assert shell.log == ["open", "run", "close"]


async def test_64_trees_at_once_share_what_belongs_to_the_loop() -> None:
    shells = [Shell(scope) for scope in ("loop", "attempt")]
    shells[1].name = "other"
    actor = ScriptedModel(
        lambda request: "42" if request.messages[-1].role == "tool" else calling("shell", "other")
    )
    async with cl.Loop("try-again", actor=actor, verifiers=[is_42], tools=shells) as loop:
        answers = [r.answer async for r in loop.map([f"task {n}" for n in range(64)])]
        assert shells[1].log.count("close") == 64
    assert answers == ["42"] * 64
    assert [shell.log.count("open") for shell in shells] == [1, 64]
    assert [shell.log.count("close") for shell in shells] == [1, 64]


def test_run_sync_and_aclose_from_another_event_loop() -> None:
    shell = Shell("loop")
    loop = cl.Loop("try-again", actor=ScriptedModel([calling("shell"), "42"]), verifiers=[is_42], tools=[shell])
    assert loop.run_sync("x").answer == "42"
    assert shell.log == ["open", "run"]
    asyncio.run(loop.aclose())
    assert shell.log == ["open", "run", "close"]
