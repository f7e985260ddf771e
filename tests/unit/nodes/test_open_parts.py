"""Opening and closing of tools: once for each scope, in one task, whatever happens meanwhile."""

import asyncio
import logging
import threading
from contextlib import asynccontextmanager, contextmanager

import anyio
import pytest

from critic_loop.core.errors import AuthFailed, ToolError
from critic_loop.core.lifetimes import opened
from critic_loop.core.records import Task
from critic_loop.core.tools import ToolContext, ToolOutput, tool_digest
from critic_loop.nodes import open_parts
from critic_loop.nodes.open_parts import OpenParts, PartName
from critic_loop.tools import tool

pytestmark = pytest.mark.anyio


class Shell:
    """A tool that yields another for each scope, within an AnyIO task group."""

    name, description, parameters = "shell", "Runs.", {"type": "object", "properties": {}}
    read_only, irreversible, timeout_s = False, False, None

    def __init__(self, scope="attempt", *, delay_s=0.0, on_open=None, on_close=None):
        self.scope, self.delay_s, self.on_open, self.on_close = scope, delay_s, on_open, on_close
        self.contexts, self.tasks, self.closed = [], [], 0
        self.open = self._open

    @asynccontextmanager
    async def _open(self, context):
        self.contexts.append(context)
        entered_in = asyncio.current_task()
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            await asyncio.sleep(self.delay_s)
            if self.on_open:
                raise self.on_open
            try:
                yield Running(self, len(self.contexts))
            finally:
                self.tasks.append((entered_in, asyncio.current_task()))
                self.closed += 1
                if self.on_close:
                    raise self.on_close
                group.cancel_scope.cancel()

    def digest(self):
        return tool_digest(self)

    async def run(self, arguments, context):
        raise AssertionError("not opened")


class Running(Shell):
    def __init__(self, shell, number):
        self.shell, self.number = shell, number

    async def run(self, arguments, context):
        return ToolOutput.of(f"shell {self.number}")


def at(tree="t", attempt="t.1", **fields):
    return ToolContext(tree_id=tree, attempt_id=attempt, **fields)


@pytest.mark.parametrize(("scope", "opened_times"), [("loop", 1), ("tree", 2), ("attempt", 64)])
async def test_64_concurrent_attempts_open_once_for_each_scope(scope, opened_times):
    shell, tools = Shell(scope, delay_s=0.01), OpenParts()
    places = [at(f"t{n % 2}", f"t{n % 2}.{n}") for n in range(64)]
    used = await asyncio.gather(*(tools.use(shell, place) for place in places for _ in range(3)))
    assert len(shell.contexts) == opened_times
    assert len({id(one) for one in used}) == opened_times
    assert shell.closed == 0
    await tools.aclose()
    assert shell.closed == opened_times
    assert all(entered is left for entered, left in shell.tasks)
    assert len({id(entered) for entered, _ in shell.tasks}) == opened_times


async def test_a_scope_closes_what_is_within_it_and_nothing_else():
    tools = OpenParts()
    shells = {scope: Shell(scope) for scope in ("loop", "tree", "attempt")}
    for place in (at(), at(attempt="t.2"), at("u", "u.1")):
        for shell in shells.values():
            await tools.use(shell, place)

    def closed():
        return {scope: shell.closed for scope, shell in shells.items()}

    tools.leave("t", "t.1")
    await tools.aclose("t")
    assert closed() == {"loop": 0, "tree": 1, "attempt": 2}
    await tools.aclose("t")
    await tools.aclose()
    assert closed() == {"loop": 1, "tree": 2, "attempt": 3}


async def test_a_closed_scope_can_be_opened_again():
    shell, tools = Shell("loop"), OpenParts()
    first = await tools.use(shell, at())
    assert await tools.use(shell, at()) is first
    await tools.aclose()
    assert await tools.use(shell, at()) is not first
    await tools.aclose()
    assert (len(shell.contexts), shell.closed) == (2, 2)


@pytest.mark.parametrize(
    ("scope", "ids", "prompt"),
    [("loop", ("", ""), ""), ("tree", ("t", ""), "What?"), ("attempt", ("t", "t.1"), "What?")],
)
async def test_a_tool_is_opened_with_what_belongs_to_its_scope(scope, ids, prompt):
    shell, tools = Shell(scope), OpenParts()
    await tools.use(shell, at(call_id="c", seed=7, task=Task.of("What?")))
    (context,) = shell.contexts
    assert (context.tree_id, context.attempt_id, context.call_id, context.seed) == (*ids, "", 0)
    assert context.task.text == prompt
    folder = context.scratch
    assert folder == tools.scratch(PartName("tool", shell.name), shell.scope, "t", "t.1")
    await tools.aclose()
    assert not folder.exists()


async def test_a_tool_that_closes_still_has_its_folder():
    left = []

    class Writes(Shell):
        @asynccontextmanager
        async def _open(self, context):
            context.scratch.joinpath("notes").write_text("x")
            yield Running(self, 1)
            left.append((context.scratch, context.scratch.joinpath("notes").read_text()))

    tools = OpenParts()
    await tools.use(Writes("attempt"), at())
    tools.leave("t", "t.1")
    await tools.aclose("t")
    ((folder, text),) = left
    assert text == "x"
    assert not folder.exists()


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError("no docker"), "OSError: no docker"),
        (SystemExit(2), "SystemExit: 2"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (asyncio.CancelledError(), "CancelledError"),
    ],
)
async def test_a_tool_that_cannot_be_opened_says_why_to_all_and_is_tried_again(error, reason):
    shell, tools = Shell("tree", delay_s=0.01, on_open=error), OpenParts()
    ends = await asyncio.gather(*(tools.use(shell, at()) for _ in range(5)), return_exceptions=True)
    assert [str(end) for end in ends] == [f"tool 'shell' cannot be opened: {reason}"] * 5
    assert all(isinstance(end, ToolError) for end in ends)
    assert len(shell.contexts) == 1
    shell.on_open = None
    assert await tools.use(shell, at())
    await tools.aclose()


async def test_an_error_of_ours_keeps_its_kind():
    with pytest.raises(AuthFailed):
        await OpenParts().use(Shell(on_open=AuthFailed("wrong key")), at())


@pytest.mark.parametrize(
    ("opens", "reason"),
    [
        (lambda context: None, "'NoneType' is not a context manager"),
        (asynccontextmanager(lambda context: iter_of(3)), "`open` yielded int, which has no `run`"),
    ],
)
async def test_an_open_that_opens_nothing_usable_is_named(opens, reason):
    shell = Shell()
    shell.open = opens
    with pytest.raises(ToolError, match=reason):
        await OpenParts().use(shell, at())


async def iter_of(value):
    yield value


async def test_a_tool_that_cannot_be_closed_is_logged_and_hinders_no_other(caplog):
    broken, well, tools = Shell("tree", on_close=OSError("stuck")), Shell("tree"), OpenParts()
    well.name = "well"
    await tools.use(broken, at())
    await tools.use(well, at())
    folder = tools.scratch(PartName("tool", broken.name), broken.scope, "t", "t.1")
    await tools.aclose("t")
    assert (broken.closed, well.closed) == (1, 1)
    assert not folder.exists()
    (record,) = [record for record in caplog.records if record.name == "critic_loop"]
    assert "tool 'shell' failed while it was open or being closed" in record.getMessage()
    assert record.levelno == logging.WARNING


async def test_a_tool_that_does_not_close_in_time_is_left(caplog, monkeypatch):
    monkeypatch.setattr(open_parts, "CLOSING_S", 0.05)

    class Slow(Shell):
        @asynccontextmanager
        async def _open(self, context):
            yield Running(self, 1)
            await asyncio.sleep(60)

    tools = OpenParts()
    await tools.use(Slow("tree"), at())
    async with asyncio.timeout(5):
        await tools.aclose("t")
    assert "did not close within 0.05 s" in caplog.text


async def test_a_tool_that_breaks_down_while_open_is_opened_again(caplog):
    class Fragile(Shell):
        @asynccontextmanager
        async def _open(self, context):
            self.contexts.append(context)
            async with anyio.create_task_group() as group:
                yield Running(self, len(self.contexts))
                group.cancel_scope.cancel()

    class Dies(Fragile):
        @asynccontextmanager
        async def _open(self, context):
            async with super()._open(context) as running, anyio.create_task_group() as group:
                group.start_soon(self.die)
                yield running

        async def die(self):
            await asyncio.sleep(0.01)
            if len(self.contexts) == 1:
                raise OSError("the server has gone")

    shell, other, tools = Dies("tree"), Shell("tree"), OpenParts()
    other.name = "other"
    first, well = await tools.use(shell, at()), await tools.use(other, at())
    await asyncio.sleep(0.05)
    assert await tools.use(shell, at()) is not first
    assert await tools.use(other, at()) is well
    assert "the server has gone" in caplog.text
    await tools.aclose()


# -- cancellation and event loops ------------------------------------------------------------------


async def test_who_is_cancelled_while_it_opens_leaves_the_tool_to_the_others():
    shell, tools = Shell("tree", delay_s=0.02), OpenParts()
    first, second = (asyncio.create_task(tools.use(shell, at())) for _ in range(2))
    await asyncio.sleep(0.005)
    first.cancel()
    assert await second
    assert len(shell.contexts) == 1
    await tools.aclose()
    assert shell.closed == 1


@pytest.mark.parametrize("after_s", [0.0, 0.01])
async def test_a_scope_that_ends_while_a_tool_opens_ends_that(after_s):
    shell, tools = Shell("attempt", delay_s=60), OpenParts()
    waiting = asyncio.create_task(tools.use(shell, at()))
    await asyncio.sleep(after_s)
    tools.leave("t", "t.1")
    async with asyncio.timeout(5):
        await tools.aclose("t")
        if after_s:
            with pytest.raises(ToolError):
                await waiting
    waiting.cancel()
    await asyncio.wait([waiting])
    await tools.aclose()


async def test_closing_goes_on_when_the_wait_for_it_is_cancelled():
    class Slow(Shell):
        @asynccontextmanager
        async def _open(self, context):
            yield Running(self, 1)
            await asyncio.sleep(0.05)
            self.closed += 1

    shell, tools = Slow("tree"), OpenParts()
    await tools.use(shell, at())
    closing = asyncio.create_task(tools.aclose("t"))
    await asyncio.sleep(0.01)
    closing.cancel()
    await asyncio.wait([closing])
    await tools.aclose("t")
    assert shell.closed == 1


def test_an_event_loop_that_ends_closes_its_tools():
    shell, tools = Shell("loop"), OpenParts()

    async def use():
        await tools.use(shell, at())

    asyncio.run(use())
    assert shell.closed == 1
    asyncio.run(use())
    assert (len(shell.contexts), shell.closed) == (2, 2)


async def test_each_event_loop_has_its_own_and_any_may_close_all():
    shell, tools = Shell("loop"), OpenParts()
    here = await tools.use(shell, at())
    other = asyncio.new_event_loop()
    thread = threading.Thread(target=other.run_forever, daemon=True)
    thread.start()
    there = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(tools.use(shell, at()), other))
    assert here is not there
    async with asyncio.timeout(5):
        await tools.aclose()
    assert shell.closed == 2
    assert all(entered is left for entered, left in shell.tasks)
    other.call_soon_threadsafe(other.stop)
    thread.join()
    other.close()


# -- context managers of both kinds ----------------------------------------------------------------


class Manager:
    """A callable object that is a context manager."""

    def __init__(self):
        self.seen = []

    def __call__(self, x: int) -> str:
        """Double."""
        assert self.seen
        return str(2 * x)


class Async(Manager):
    async def __aenter__(self):
        self.seen.append(threading.current_thread())

    async def __aexit__(self, *error):
        self.seen.append(threading.current_thread())


class Sync(Manager):
    def __enter__(self):
        self.seen.append(threading.current_thread())

    def __exit__(self, *error):
        self.seen.append(threading.current_thread())


@pytest.mark.parametrize("kind", [Async, Sync])
async def test_a_callable_object_that_is_a_context_manager_is_entered_and_left(kind):
    manager, tools = kind(), OpenParts()
    made = tool(manager, name="double")
    used = await tools.use(made, at())
    assert (await used.run({"x": 4}, at())).text == "8"
    assert len(manager.seen) == 1
    await tools.aclose()
    assert len(manager.seen) == 2
    here = threading.current_thread()
    assert all((thread is here) is (kind is Async) for thread in manager.seen)


async def test_a_tool_that_is_a_context_manager_is_entered_and_used_itself():
    class Own(Shell):
        def __init__(self):
            self.scope, self.log = "loop", []

        async def __aenter__(self):
            self.log.append("in")

        async def __aexit__(self, *error):
            self.log.append("out")

    own, tools = Own(), OpenParts()
    assert await tools.use(own, at()) is own
    await tools.aclose()
    assert own.log == ["in", "out"]


async def test_a_sync_manager_sees_the_error_and_may_swallow_it():
    seen = []

    @contextmanager
    def managed():
        try:
            yield
        except ValueError as error:
            seen.append(error)

    shell = Shell()
    shell.open = lambda context: managed()
    async with opened(shell, at()) as used:
        assert used is shell
        raise ValueError("odd")
    assert [str(error) for error in seen] == ["odd"]


async def test_what_a_thread_opens_after_a_cancellation_is_closed():
    began, go_on, log = threading.Event(), threading.Event(), []

    class Slow(Shell):
        def __init__(self):
            self.scope = "tree"

        def __enter__(self):
            began.set()
            go_on.wait(5)
            log.append("in")

        def __exit__(self, *error):
            log.append("out")

    tools = OpenParts()
    waiting = asyncio.create_task(tools.use(Slow(), at()))
    await asyncio.to_thread(began.wait, 5)
    tools.leave("t")
    await asyncio.sleep(0.01)
    go_on.set()
    await tools.aclose()
    with pytest.raises(ToolError, match="cannot be opened"):
        await waiting
    assert log == ["in", "out"]
