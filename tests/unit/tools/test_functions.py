import asyncio
import functools
import json
import threading
from dataclasses import dataclass
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from critic_loop.core.errors import ConfigError, SandboxUnavailable, ToolError
from critic_loop.core.messages import File, Image, Text
from critic_loop.core.tools import ToolContext, ToolOutput, spec_of
from critic_loop.tools import FunctionTool, tool

pytestmark = pytest.mark.anyio


class Point(BaseModel):
    x: int
    y: int = 0


async def answer(made, arguments, context=None):
    return await made.run(arguments, context or ToolContext())


async def text(made, arguments):
    return (await answer(made, arguments)).text


def search(
    pattern: str,
    limit: Annotated[int, Field(ge=1, description="at most so many")] = 10,
    *,
    where: Literal["code", "text"] = "code",
) -> list[str]:
    """Search for a pattern.

    Returns the lines that match.
    """
    return [f"{where}: {pattern}"] * limit


def test_signature_and_docstring_tell_the_model_what_it_is():
    spec = spec_of(tool(search))
    assert spec.name == "search"
    assert spec.description == "Search for a pattern.\n\nReturns the lines that match."
    properties = spec.parameters["properties"]
    assert spec.parameters["type"] == "object"
    assert spec.parameters["required"] == ["pattern"]
    assert spec.parameters["additionalProperties"] is False
    assert {name: p["type"] for name, p in properties.items()} == {
        "pattern": "string", "limit": "integer", "where": "string",
    }  # fmt: skip
    assert properties["limit"]["description"] == "at most so many"
    assert properties["where"]["enum"] == ["code", "text"]
    json.dumps(spec.parameters)


async def test_arguments_are_checked_and_converted():
    assert json.loads(await text(tool(search), {"pattern": "x", "limit": "2"})) == ["code: x", "code: x"]

    def move(to: Point) -> str:
        return f"{to.x}/{to.y}"

    assert await text(tool(move), {"to": {"x": 1}}) == "1/0"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "argument 'pattern': Field required."),
        ({"pattern": 3}, "argument 'pattern': Input should be a valid string."),
        ({"pattern": "x", "limit": 0}, "argument 'limit': Input should be greater than or equal to 1."),
        ({"pattern": "x", "where": "here"}, "argument 'where': Input should be 'code' or 'text'."),
        ({"pattern": "x", "path": "/"}, "argument 'path': Extra inputs are not permitted."),
    ],
)
async def test_a_wrong_argument_is_named(arguments, message):
    with pytest.raises(ToolError) as caught:
        await answer(tool(search), arguments)
    assert str(caught.value) == message


async def test_a_wrong_part_of_an_argument_is_named():
    def move(to: list[Point]) -> None:
        """Move."""

    with pytest.raises(ToolError, match=r"argument 'to\.1\.x': Field required"):
        await answer(tool(move), {"to": [{"x": 1}, {}]})


async def test_sync_functions_run_in_a_thread_and_async_ones_do_not():
    def sync() -> str:
        return threading.current_thread().name

    async def on_the_loop() -> str:
        return threading.current_thread().name

    here = threading.current_thread().name
    assert await text(tool(sync), {}) != here
    assert await text(tool(on_the_loop), {}) == here


async def test_what_the_function_raises_passes():
    def broken(n: int) -> float:
        return 1 / n

    with pytest.raises(ZeroDivisionError):
        await answer(tool(broken), {"n": 0})

    async def unsafe() -> None:
        raise SandboxUnavailable("no box here")

    with pytest.raises(SandboxUnavailable):
        await answer(tool(unsafe), {})


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])
async def test_what_is_raised_in_a_thread_is_raised_here(error):
    def leave() -> None:
        raise error

    with pytest.raises(error):
        await answer(tool(leave), {})


async def test_a_stop_iteration_in_a_thread_hangs_nothing():
    def first() -> int:
        return next(iter([]))

    async with asyncio.timeout(5):
        with pytest.raises(RuntimeError, match="StopIteration"):
            await answer(tool(first), {})


async def test_more_calls_hang_than_a_pool_has_threads():
    release = threading.Event()

    def hang() -> str:
        return str(release.wait(10))

    def quick() -> str:
        return "quick"

    hanging = [asyncio.create_task(answer(tool(hang), {})) for _ in range(64)]
    try:
        async with asyncio.timeout(5):
            assert await text(tool(quick), {}) == "quick"
    finally:
        release.set()
    assert {output.text for output in await asyncio.gather(*hanging)} == {"True"}


class Loud:
    def __str__(self) -> str:
        return "LOUD"


@dataclass
class Match:
    line: int


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ("as it is\n", "as it is\n"),
        (None, "null"),
        ({"a": [1, 2.5, True]}, '{"a":[1,2.5,true]}'),
        (Point(x=1), '{"x":1,"y":0}'),
        (Match(3), '{"line":3}'),
        (Loud(), '"LOUD"'),
        ("答案", "答案"),
        (["a", "b"], '["a","b"]'),
        ([], "[]"),
    ],
)
async def test_results_become_text(result, said):
    def give():
        return result

    assert await answer(tool(give), {}) == ToolOutput.of(said)


PICTURE, PAPER = Image.of(b"png", "image/png"), File.of(b"pdf", "application/pdf")


@pytest.mark.parametrize(
    ("result", "parts"),
    [
        (PICTURE, (PICTURE,)),
        (["seen:", PICTURE, Text(text="!"), PAPER], (Text(text="seen:"), PICTURE, Text(text="!"), PAPER)),
        ((PAPER,), (PAPER,)),
        (ToolOutput.of("no", is_error=True), (Text(text="no"),)),
    ],
)
async def test_content_parts_are_taken_as_they_are(result, parts):
    def give():
        return result

    output = await answer(tool(give), {})
    assert output.parts == parts
    assert output.is_error is getattr(result, "is_error", False)


@pytest.mark.parametrize("result", [b"\x89PNG", bytearray(b"x"), memoryview(b"x")])
async def test_bytes_are_refused_with_what_to_return(result):
    def give() -> bytes:
        return result

    with pytest.raises(ToolError, match=r"bytes were returned.*Image\.of"):
        await answer(tool(give), {})


async def test_parameters_may_be_called_anything():
    def awkward(json: str, _x: int, schema: str = "s", model_config: str = "c", self: str = "me") -> str:
        return f"{json} {_x} {schema} {model_config} {self}"

    made = tool(awkward)
    assert set(made.parameters["properties"]) == {"json", "_x", "schema", "model_config", "self"}
    assert await text(made, {"json": "j", "_x": 1, "self": "you"}) == "j 1 s c you"


class Shop:
    def price(self, item: str) -> str:
        """Say the price."""
        return f"{item}: 3"

    async def order(self, item: str) -> str:
        """Order."""
        return threading.current_thread().name


class Asker:
    """Asks."""

    async def __call__(self, question: str) -> str:
        """Ask one question."""
        return f"{question}? {threading.current_thread().name}"


class Undescribed:
    """Does something."""

    def __call__(self) -> str:
        return "done"


async def test_methods_and_callable_objects_are_tools():
    here = threading.current_thread().name
    method = tool(Shop().price)
    assert (method.name, method.description) == ("price", "Say the price.")
    assert await text(method, {"item": "tea"}) == "tea: 3"
    assert await text(tool(Shop().order), {"item": "tea"}) == here
    asker = tool(Asker())
    assert (asker.name, asker.description) == ("Asker", "Ask one question.")
    assert await text(asker, {"question": "who"}) == f"who? {here}"
    assert tool(Undescribed()).description == "Does something."


async def test_what_a_partial_has_set_the_model_neither_sees_nor_changes():
    made = tool(functools.partial(search, limit=1))
    assert (made.name, made.description) == ("search", tool(search).description)
    assert set(made.parameters["properties"]) == {"pattern", "where"}
    assert json.loads(await text(made, {"pattern": "p"})) == ["code: p"]
    with pytest.raises(ToolError, match="argument 'limit': Extra inputs"):
        await answer(made, {"pattern": "p", "limit": 9})

    async def ask(question: str, name: str) -> str:
        return f"{name}: {question} {threading.current_thread().name}"

    named = tool(functools.partial(functools.partial(ask, "who"), name="me"))
    assert await text(named, {}) == f"me: who {threading.current_thread().name}"


async def test_a_parameter_annotated_as_the_context_receives_it():
    def look(what: str, context: ToolContext) -> str:
        return f"{what} in {context.tree_id}"

    async def peek(*, where: Annotated[ToolContext | None, "the place"] = None) -> str:
        return where.attempt_id

    context = ToolContext(tree_id="t", attempt_id="t.1")
    made = tool(look)
    assert list(made.parameters["properties"]) == ["what"]
    assert (await answer(made, {"what": "eggs"}, context)).text == "eggs in t"
    with pytest.raises(ToolError, match="argument 'context': Extra inputs"):
        await answer(made, {"what": "eggs", "context": {}}, context)
    assert tool(peek).parameters["properties"] == {}
    assert (await answer(tool(peek), {}, context)).text == "t.1"


def unresolved(x: "NoSuchType") -> None:  # noqa: F821
    """Do nothing."""


def anything(x, y=None):
    return [x, y]


async def test_untyped_parameters_take_anything():
    assert json.loads(await text(tool(anything), {"x": {"deep": [1]}})) == [{"deep": [1]}, None]


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x, "a tool cannot be called '<lambda>'"),
        (unresolved, "tool 'unresolved': NameError: name 'NoSuchType'"),
    ],
)
def test_what_cannot_be_a_tool_is_refused_at_once(function, message):
    with pytest.raises(ConfigError, match=message):
        tool(function)


@pytest.mark.parametrize("definition", ["*files", "**options", "a, /"])
def test_parameters_without_a_name_are_refused(definition):
    scope = {}
    exec(f"def odd({definition}): ...", scope)
    with pytest.raises(ConfigError, match=r"tool 'odd': parameter '\*{0,2}\w+' cannot be passed by name"):
        tool(scope["odd"])


def test_a_type_that_has_no_schema_is_refused():
    def odd(x: threading.Lock) -> None: ...

    with pytest.raises(ConfigError, match="tool 'odd': "):
        tool(odd)


def test_a_tool_is_still_the_function():
    made = tool(search)
    assert isinstance(made, FunctionTool)
    assert tool(made) is made
    assert made("x", limit=1) == ["code: x"]


# -- settings and identity -------------------------------------------------------------------------

SETTINGS = {
    "name": "grep", "description": "Greps.", "read_only": True, "irreversible": True, "timeout_s": 5,
    "scope": "attempt",
}  # fmt: skip


def test_the_decorator_takes_settings_and_leaves_the_function_callable():
    @tool(**SETTINGS)
    def made(x: int) -> int:
        return x

    assert {key: getattr(made, key) for key in SETTINGS} == SETTINGS
    assert made(3) == 3
    plain = tool(search)
    assert (plain.read_only, plain.irreversible, plain.timeout_s, plain.scope) == (False, False, None, "loop")

    @tool
    def bare() -> None:
        """Do nothing."""

    assert (bare.name, bare.description) == ("bare", "Do nothing.")


def test_settings_can_be_laid_over_a_tool():
    changed = tool(tool(search, timeout_s=5), name="find", timeout_s=None)
    assert (changed.name, changed.timeout_s, changed.function) == ("find", None, search)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": ""}, "a tool cannot be called ''"),
        ({"name": "x" * 65}, "a tool cannot be called 'xxx"),
        ({"name": "grep files"}, "a tool cannot be called 'grep files'"),
        ({"name": "grep\n"}, "a tool cannot be called"),
        ({"scope": "forever"}, "tool 'search': scope 'forever' is unknown. Use loop, tree, attempt"),
        ({"timeout_s": 0}, "tool 'search': timeout_s is 0. Use seconds above 0"),
        ({"timeout_s": "5"}, "tool 'search': timeout_s is '5'"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_at_once(settings, message):
    with pytest.raises(ConfigError, match=message):
        tool(search, **settings)


def other(pattern: str) -> str:
    """Search for a pattern."""
    return "other"


def test_a_digest_follows_from_what_the_model_is_told_the_settings_and_the_name_of_the_function():
    digest = tool(search).digest()
    assert tool(search).digest() == digest
    assert len({digest, *(tool(search, **{k: v}).digest() for k, v in SETTINGS.items())}) == 7
    same = {"name": "one", "description": "One."}
    assert (
        tool(functools.partial(search, limit=1, where="code"), **same).digest() != tool(other, **same).digest()
    )
    assert tool(functools.partial(search, limit=1)).digest() != digest
    assert tool(Shop().price).digest() == tool(Shop().price).digest()
