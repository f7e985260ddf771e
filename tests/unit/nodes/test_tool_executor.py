"""The stage that runs tools: results, errors, time limits, cancellation, what a tool is given."""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from critic_loop.core.errors import AuthFailed, ToolError
from critic_loop.core.messages import File, Image, Text, ToolCall, ToolResult
from critic_loop.core.records import Task
from critic_loop.core.tools import ToolContext, ToolOutput, tool_digest
from critic_loop.nodes import stages
from critic_loop.testing import ScriptedModel
from critic_loop.tools import tool
from tests.conftest import Grown
from tests.unit.nodes.conftest import calling, prompted_actor, run_of

pytestmark = pytest.mark.anyio


@dataclass
class Own:
    """A tool of somebody's own, which does what it is told and remembers what it was given."""

    name: str
    does: Any = "done"
    timeout_s: float | None = None
    given: list[Any] = field(default_factory=list)
    description: str = ""
    parameters: dict[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})
    read_only: bool = False
    irreversible: bool = False
    scope: Any = "loop"

    def digest(self):
        return tool_digest(self)

    async def run(self, arguments, context):
        self.given.append((arguments, context))
        if isinstance(self.does, BaseException):
            raise self.does
        if callable(self.does):
            return await self.does()
        return ToolOutput.of(self.does) if isinstance(self.does, str) else self.does


async def ready(grown, *calls, **tools):
    """Return a run whose actor has just called tools, the ask, and the model."""
    model = ScriptedModel([calling(*calls), "42"])
    run = await run_of(grown, model, actor=prompted_actor(), tools=tools)
    group = (grown.tree.asks[grown.ask()],)
    await stages.actor(run, group)
    return run, group, model


def results(grown, attempt="t.1"):
    return [p for m in grown.tree[attempt].messages for p in m.parts if isinstance(p, ToolResult)]


async def run(grown, *tools):
    """Run each of `tools` once, and return what the model is shown."""
    run, group, _ = await ready(grown, *((one.name, {}) for one in tools), **{one.name: one for one in tools})
    await stages.tool_executor(run, group)
    return results(grown)


async def test_tools_run_between_turns_and_results_go_back(grown):
    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    run, group, model = await ready(grown, ("add", {"a": 40, "b": 2}), add=tool(add))
    assert grown.tree["t.1"].status == "partial"
    assert stages.mid_turn(run, group)
    await stages.tool_executor(run, group)
    (result,) = results(grown)
    assert (result.text, result.call_id, result.name, result.is_error) == ("42", "call-0", "add", False)
    assert result.duration_s >= 0
    await stages.tool_executor(run, group)
    assert len(results(grown)) == 1
    assert stages.mid_turn(run, group)
    await stages.actor(run, group)
    assert not stages.mid_turn(run, group)
    attempt = grown.tree["t.1"]
    assert [m.role for m in attempt.messages] == ["assistant", "tool", "assistant"]
    assert (attempt.status, attempt.answer, len(attempt.calls)) == ("complete", "42", 2)
    assert model.requests[1].messages[-2:] == attempt.messages[:2]
    assert [spec.name for spec in model.requests[0].tools] == ["add"]


async def test_how_long_a_tool_ran_is_on_record(grown):
    async def slow():
        await asyncio.sleep(0.05)
        return ToolOutput.of("done")

    quick, long = await run(grown, Own("quick"), Own("long", slow))
    assert long.duration_s >= 0.05
    assert quick.duration_s < long.duration_s


async def test_how_long_a_tool_ran_makes_no_other_request(grown):
    """A replay measures anew, and must find the stored call."""
    from critic_loop.core.protocols import Request
    from critic_loop.nodes.caller import request_digest

    def asked(duration_s, text="x"):
        part = ToolResult.of(text, call_id="c").model_copy(update={"duration_s": duration_s})
        message = calling().model_copy(update={"role": "tool", "parts": (part,)})
        return request_digest(Request(messages=(message,)))

    assert asked(None) == asked(0.1) == asked(7.0) != asked(0.1, "y")


async def test_images_and_files_are_shown(grown):
    picture, paper = Image.of(b"png", "image/png"), File.of(b"pdf", "application/pdf")
    (result,) = await run(grown, Own("look", ToolOutput.of("seen", picture, paper)))
    assert result.parts == (Text(text="seen"), picture, paper)
    assert [blob.data for blob in result.blobs] == [b"png", b"pdf"]


async def test_errors_go_back_to_the_actor(grown):
    def typed(n: int) -> int:
        """Take a number."""
        return n

    wishes = (
        ("typed", {"n": "x"}),
        ("plain", {}),
        ("own", {}),
        ("missing", {}),
        ToolCall(id="c", name="typed", arguments_text="{broken"),
        ("said", {}),
        ("text", {}),
        ("typed", {"n": 3}),
    )
    run, group, _ = await ready(
        grown,
        *wishes,
        typed=tool(typed),
        plain=Own("plain", ValueError("odd")),
        own=Own("own", ToolError("my word")),
        said=Own("said", ToolOutput.of("no such file", is_error=True)),
        text=Own("text", 42),
    )
    await stages.tool_executor(run, group)
    assert [(r.text, r.is_error) for r in results(grown)] == [
        ("argument 'n': Input should be a valid integer, unable to parse string as an integer.", True),
        ("tool 'plain': ValueError: odd", True),
        ("my word", True),
        ("there is no tool 'missing'; there are own, plain, said, text, typed.", True),
        ("the arguments are not a JSON object: {broken", True),
        ("no such file", True),
        ("tool 'text' answered with int, not a ToolOutput.", True),
        ("3", False),
    ]
    assert [r.call_id for r in results(grown)] == [
        "call-0", "call-1", "call-2", "call-3", "c", "call-5", "call-6", "call-7",
    ]  # fmt: skip
    assert [r.duration_s is None for r in results(grown)] == [False] * 3 + [True] * 2 + [False] * 3


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(
    ("error", "text"),
    [
        (SystemExit(3), "tool 'odd': SystemExit: 3"),
        (KeyboardInterrupt(), "tool 'odd': KeyboardInterrupt"),
        (asyncio.CancelledError("?"), "tool 'odd': CancelledError: ?"),
        (TimeoutError(), "tool 'odd': TimeoutError"),
        (ExceptionGroup("one", [ExceptionGroup("one", [OSError("gone")])]), "tool 'odd': OSError: gone"),
        (
            ExceptionGroup("two", [OSError("a"), OSError("b")]),
            "tool 'odd': ExceptionGroup: two (2 sub-exceptions)",
        ),
    ],
)
async def test_whatever_a_tool_raises_is_an_observation(grown, error, text, together):
    (odd, *_) = await run(grown, Own("odd", error), *([Own("other")] if together else []))
    assert (odd.text, odd.is_error) == (text, True)


async def test_what_a_tool_raised_is_logged_once_with_its_traceback(grown, caplog):
    caplog.set_level(logging.DEBUG, "critic_loop")
    await run(grown, Own("plain", ValueError("odd")), Own("own", ToolError("my word")))
    (record,) = [record for record in caplog.records if record.exc_info]
    assert record.exc_info[1].args == ("odd",)
    assert "tool 'plain'" in record.getMessage()


async def test_an_error_of_the_job_passes_after_the_siblings(grown):
    slow = Own("slow")
    run, group, _ = await ready(grown, ("key", {}), ("slow", {}), key=Own("key", AuthFailed("x")), slow=slow)
    with pytest.raises(AuthFailed):
        await stages.tool_executor(run, group)
    assert [arguments for arguments, _ in slow.given] == [{}]


# -- time and cancellation -------------------------------------------------------------------------


async def forever():
    await asyncio.sleep(60)


async def stubborn():
    """Answer only when cancelled."""
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        return ToolOutput.of("too late")


async def test_a_tool_has_so_much_time(grown):
    def blocks() -> None:
        """Block a thread."""
        import time

        time.sleep(0.5)

    tools = (
        Own("never", forever, timeout_s=0.05),
        Own("stubborn", stubborn, timeout_s=0.05),
        tool(blocks, timeout_s=0.05),
        Own("quick", timeout_s=0.05),
    )
    async with asyncio.timeout(5):
        shown = await run(grown, *tools)
    assert [(r.text, r.is_error) for r in shown] == [
        ("tool 'never' took longer than 0.05 s", True),
        ("tool 'stubborn' took longer than 0.05 s", True),
        ("tool 'blocks' took longer than 0.05 s", True),
        ("done", False),
    ]
    assert all(r.duration_s > 0.04 for r in shown[:3])


async def test_a_timeout_of_the_tools_own_is_its_own(grown):
    async def inner():
        async with asyncio.timeout(0.01):
            await forever()

    (result,) = await run(grown, Own("inner", inner, timeout_s=5))
    assert result.text == "tool 'inner': TimeoutError"


async def test_cancel_scopes_within_a_tool_are_no_cancellation_of_the_run(grown):
    async def scoped():
        with anyio.move_on_after(0.01):
            await forever()
        async with anyio.create_task_group() as group:
            group.start_soon(forever)
            group.cancel_scope.cancel()
        return ToolOutput.of("moved on")

    async def failing():
        with anyio.fail_after(0.01):
            await forever()

    moved, failed = await run(grown, Own("scoped", scoped, timeout_s=5), Own("failing", failing, timeout_s=5))
    assert (moved.text, failed.text) == ("moved on", "tool 'failing': TimeoutError")


@pytest.mark.parametrize("does", [forever, stubborn])
@pytest.mark.parametrize("calls", [1, 2])
async def test_a_cancelled_run_records_nothing_even_if_the_tool_swallows_it(grown, does, calls):
    wishes = [("slow", {})] * calls
    run, group, _ = await ready(grown, *wishes, slow=Own("slow", does, timeout_s=30))
    before = grown.tree["t.1"]
    running = asyncio.create_task(stages.tool_executor(run, group))
    await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert grown.tree["t.1"] == before


# -- what a tool is given --------------------------------------------------------------------------


async def test_a_tool_sees_the_task_as_actors_do_and_its_own_place():
    task = Task.of("What?", reference="42", checks={"tests": "secret"}, held_out={"tests": "more"})
    grown = Grown(task)
    look = Own("look")
    run, group, _ = await ready(grown, ("look", {"a": [1]}), ("look", {}), look=look)
    await stages.tool_executor(run, group)
    (arguments, first), (_, second) = look.given
    assert arguments == {"a": [1]}
    assert (first.tree_id, first.attempt_id, first.call_id) == ("t", "t.1", "call-0")
    assert first.task.id == task.id
    assert first.task.text == "What?"
    assert (first.task.reference, first.task.checks, first.task.held_out) == (None, {}, {})
    assert first.seed != second.seed


async def test_a_seed_follows_from_the_place_of_the_call():
    seeds = []
    for _ in range(2):
        grown, look = Grown(), Own("look")
        run, group, _ = await ready(grown, ("look", {}), look=look)
        await stages.tool_executor(run, group)
        seeds.append(look.given[0][1].seed)
    assert seeds[0] == seeds[1]
    assert 0 <= seeds[0] < 2**31


@pytest.mark.parametrize(
    ("scope", "folders"), [("loop", 1), ("tree", 1), ("attempt", 2)], ids=["loop", "tree", "attempt"]
)
async def test_a_scratch_folder_belongs_to_a_tool_and_its_scope(grown, scope, folders):
    seen = []

    def note(context: ToolContext) -> str:
        """Note."""
        seen.append(context.scratch)
        (context.scratch / "notes").write_text("x")
        return (context.scratch / "notes").read_text()

    model = ScriptedModel(lambda request: calling(("note", {}), ("again", {})))
    tools = {"note": tool(note, scope=scope), "again": tool(note, name="again", scope=scope)}
    run = await run_of(grown, model, actor=prompted_actor(), tools=tools)
    group = tuple(grown.tree.asks[grown.ask()] for _ in range(2))
    await stages.actor(run, group)
    await stages.tool_executor(run, group)
    assert len(set(seen)) == 2 * folders
    assert all(folder.is_dir() for folder in seen)
    await run.open_parts.aclose()
    assert not any(folder.exists() for folder in seen)


async def test_nothing_is_made_where_no_tool_asks_for_it(grown):
    run, group, _ = await ready(grown, ("look", {}), look=Own("look"))
    await stages.tool_executor(run, group)
    assert not run.open_parts._scopes
