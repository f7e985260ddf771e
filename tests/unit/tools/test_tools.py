import functools
import json
import threading
from dataclasses import dataclass
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field

from critic_loop.core.errors import ConfigError, SandboxUnavailable, ToolError
from critic_loop.tools import FunctionTool, tool

pytestmark = pytest.mark.anyio


class Point(BaseModel):
    x: int
    y: int = 0


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
    spec = tool(search).spec
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
    assert json.loads(await tool(search).run({"pattern": "x", "limit": "2"})) == ["code: x", "code: x"]

    def move(to: Point) -> str:
        return f"{to.x}/{to.y}"

    assert await tool(move).run({"to": {"x": 1}}) == "1/0"


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
        await tool(search).run(arguments)
    assert str(caught.value) == message


async def test_a_wrong_part_of_an_argument_is_named():
    def move(to: list[Point]) -> None:
        """Move."""

    with pytest.raises(ToolError, match=r"argument 'to\.1\.x': Field required"):
        await tool(move).run({"to": [{"x": 1}, {}]})


async def test_sync_functions_run_in_a_thread_and_async_ones_do_not():
    def sync() -> str:
        return threading.current_thread().name

    async def on_the_loop() -> str:
        return threading.current_thread().name

    here = threading.current_thread().name
    assert await tool(sync).run({}) != here
    assert await tool(on_the_loop).run({}) == here


async def test_what_the_function_raises_is_a_tool_error():
    def broken(n: int) -> float:
        return 1 / n

    with pytest.raises(ToolError, match="tool 'broken': ZeroDivisionError: division by zero"):
        await tool(broken).run({"n": 0})

    async def unsafe() -> None:
        raise SandboxUnavailable("no box here")

    with pytest.raises(SandboxUnavailable):
        await tool(unsafe).run({})


class Loud:
    def __str__(self) -> str:
        return "LOUD"


@dataclass
class Match:
    line: int


@pytest.mark.parametrize(
    ("result", "text"),
    [
        ("as it is\n", "as it is\n"),
        (None, "null"),
        ({"a": [1, 2.5, True]}, '{"a":[1,2.5,true]}'),
        (Point(x=1), '{"x":1,"y":0}'),
        (Match(3), '{"line":3}'),
        (Loud(), '"LOUD"'),
        ("答案", "答案"),
    ],
)
async def test_results_become_text(result, text):
    def give():
        return result

    assert await tool(give).run({}) == text


async def test_a_result_that_cannot_be_text_is_a_tool_error():
    def give() -> bytes:
        return b"\xff\xfe"

    with pytest.raises(ToolError, match="tool 'give': "):
        await tool(give).run({})


async def test_parameters_may_be_called_anything():
    def awkward(json: str, _x: int, schema: str = "s", model_config: str = "c", self: str = "me") -> str:
        return f"{json} {_x} {schema} {model_config} {self}"

    made = tool(awkward)
    assert set(made.spec.parameters["properties"]) == {"json", "_x", "schema", "model_config", "self"}
    assert await made.run({"json": "j", "_x": 1, "self": "you"}) == "j 1 s c you"


async def test_methods_partials_and_callable_objects():
    class Shop:
        def price(self, item: str) -> str:
            """Say the price."""
            return f"{item}: 3"

    class Asker:
        async def __call__(self, question: str) -> str:
            """Ask."""
            return f"{question}?"

    method = tool(Shop().price)
    assert (method.name, method.description) == ("price", "Say the price.")
    assert await method.run({"item": "tea"}) == "tea: 3"
    assert await tool(Asker()).run({"question": "who"}) == "who?"
    assert json.loads(await tool(functools.partial(search, limit=1)).run({"pattern": "p"})) == ["code: p"]


def unresolved(x: "NoSuchType") -> None:  # noqa: F821
    """Do nothing."""


def anything(x, y=None):
    return [x, y]


async def test_untyped_parameters_take_anything():
    assert json.loads(await tool(anything).run({"x": {"deep": [1]}})) == [{"deep": [1]}, None]


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
    with pytest.raises(ConfigError, match=r"tool 'odd': '\*{0,2}\w+' cannot be given by name"):
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
