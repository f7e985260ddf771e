"""LangChain's tools as tools."""

import asyncio
import base64
import json
import threading
from typing import Annotated, Any

import pytest
from langchain_core.tools import BaseTool, InjectedToolArg, InjectedToolCallId, StructuredTool, ToolException
from langchain_core.tools import Tool as TextTool
from langchain_core.tools import tool as langchain_decorator
from pydantic import BaseModel, Field

from critic_loop.core.errors import ConfigError, ToolError
from critic_loop.core.messages import File, Image, Text
from critic_loop.core.tools import Tool, ToolContext, spec_of
from critic_loop.tools import LangChainTool, tool

pytestmark = pytest.mark.anyio

PNG = base64.b64encode(b"png").decode()


async def answer(given: Any, arguments: dict[str, Any], call_id: str = "c1") -> Any:
    return await tool(given).run(arguments, ToolContext(call_id=call_id))


class Wanted(BaseModel):
    """How to look."""

    where: str = Field(description="the place")
    limit: int = 3


def look(where: str, limit: int = 3) -> str:
    """Look somewhere."""
    return f"{where} {limit} {threading.current_thread().name}"


async def look_async(where: str, limit: int = 3) -> str:
    """Look somewhere."""
    return f"{where} {limit} {threading.current_thread().name}"


SCHEMA = {
    "title": "Wanted",
    "description": "How to look.",
    "type": "object",
    "properties": {"where": {"type": "string"}, "limit": {"type": "integer"}},
    "required": ["where"],
}


@pytest.mark.parametrize("schema", [None, Wanted, SCHEMA], ids=["inferred", "model", "json schema"])
@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_structured_tools_are_told_and_run(schema, kind):
    how = {"func": look} if kind == "sync" else {"coroutine": look_async}
    given = StructuredTool.from_function(**how, name="look", description="Looks.", args_schema=schema)
    made = tool(given)
    assert isinstance(made, Tool)
    spec = spec_of(made)
    assert (spec.name, spec.description) == ("look", "Looks.")
    assert spec.parameters["type"] == "object"
    assert "title" not in spec.parameters
    assert {n: p["type"] for n, p in spec.parameters["properties"].items()} == {
        "where": "string", "limit": "integer",
    }  # fmt: skip
    assert spec.parameters["required"] == ["where"]
    said = (await answer(given, {"where": "box", "limit": 4})).text
    assert said.startswith("box 4 ")
    assert said.endswith(threading.current_thread().name) is (kind == "async")


async def test_a_wrong_argument_is_named():
    given = StructuredTool.from_function(look, args_schema=Wanted)
    with pytest.raises(ToolError, match=r"^argument 'limit': Input should be a valid integer"):
        await answer(given, {"where": "box", "limit": "many"})


async def test_what_goes_wrong_inside_is_no_wrong_argument():
    @langchain_decorator
    def inner(x: int) -> str:
        """Fail."""
        Wanted.model_validate({})
        return ""

    with pytest.raises(ValueError, match="1 validation error for Wanted"):
        await answer(inner, {"x": 1})


async def test_the_decorator_the_base_class_and_the_tool_of_one_text():
    @langchain_decorator
    def double(x: int) -> int:
        """Double."""
        return 2 * x

    assert (await answer(double, {"x": 4})).text == "8"

    class Own(BaseTool):
        name: str = "own"
        description: str = "Own."

        def _run(self, x: int) -> dict[str, int]:
            return {"x": x}

    assert list(tool(Own()).parameters["properties"]) == ["x"]
    assert json.loads((await answer(Own(), {"x": 4})).text) == {"x": 4}
    text = TextTool(name="shout", func=str.upper, description="Shouts.")
    assert tool(text).parameters == {
        "type": "object", "properties": {"tool_input": {"type": "string"}}, "required": ["tool_input"],
    }  # fmt: skip
    assert (await answer(text, {"tool_input": "hey"})).text == "HEY"


async def test_injected_arguments_are_not_shown_and_cannot_be_given():
    @langchain_decorator
    def pay(
        amount: int,
        call: Annotated[str, InjectedToolCallId],
        user: Annotated[str, InjectedToolArg] = "nobody",
    ) -> str:
        """Pay."""
        return f"{user} pays {amount} ({call})"

    assert list(tool(pay).parameters["properties"]) == ["amount"]
    assert (await answer(pay, {"amount": 3}, "c7")).text == "nobody pays 3 (c7)"
    for forged in ({"user": "admin"}, {"call": "c8"}):
        with pytest.raises(ToolError, match="Extra inputs are not permitted"):
            await answer(pay, {"amount": 3, **forged})


async def test_an_artifact_stays_behind():
    @langchain_decorator(response_format="content_and_artifact")
    def table() -> tuple[str, list[int]]:
        """Make a table."""
        return "3 rows", [1, 2, 3]

    output = await answer(table, {})
    assert output.parts == (Text(text="3 rows"),)


@pytest.mark.parametrize(
    ("block", "part"),
    [
        ("words", Text(text="words")),
        ({"type": "text", "text": "words"}, Text(text="words")),
        ({"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{PNG}"}}, ("image/jpeg", "")),
        ({"type": "image_url", "image_url": f"data:image/png;base64,{PNG}"}, ("image/png", "")),
        ({"type": "image", "base64": PNG, "mime_type": "image/gif"}, ("image/gif", "")),
        ({"type": "image", "base64": PNG}, ("image/png", "")),
        ({"type": "image", "source_type": "base64", "data": PNG, "mime_type": "image/png"}, ("image/png", "")),
        (
            {"type": "image", "source": {"type": "base64", "media_type": "image/webp", "data": PNG}},
            ("image/webp", ""),
        ),
        ({"type": "file", "base64": PNG, "mime_type": "application/pdf"}, ("application/pdf", "")),
        (
            {"type": "file", "file": {"file_data": f"data:text/csv;base64,{PNG}", "filename": "a.csv"}},
            ("text/csv", "a.csv"),
        ),
    ],
)
async def test_content_blocks_become_content_parts(block, part):
    @langchain_decorator
    def show() -> list[Any]:
        """Show."""
        return [block]

    (got,) = (await answer(show, {})).parts
    if isinstance(part, tuple):
        media_type, name = part
        kind = Image if media_type.startswith("image/") else File
        part = kind.of(b"png", media_type)
        part = part.model_copy(update={"name": name}) if kind is File else part
    assert got == part


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        {"type": "image", "url": "https://example.org/a.png"},
        {"type": "json", "json": {"a": 1}},
    ],
)
async def test_a_block_without_bytes_is_shown_as_json(block):
    @langchain_decorator
    def show() -> list[Any]:
        """Show."""
        return [block]

    (got,) = (await answer(show, {})).parts
    assert json.loads(got.text) == block


async def test_an_error_that_langchain_handles_is_an_error():
    def broken() -> str:
        """Break."""
        raise ToolException("out of order")

    handled = StructuredTool.from_function(broken, handle_tool_error=True)
    output = await answer(handled, {})
    assert (output.text, output.is_error) == ("out of order", True)
    with pytest.raises(ToolException, match="out of order"):
        await answer(StructuredTool.from_function(broken), {})


async def test_a_command_is_refused():
    from langgraph.types import Command

    @langchain_decorator
    def move() -> Any:
        """Move."""
        return Command(goto="there")

    with pytest.raises(ToolError, match="the tool returned Command, which only LangGraph can execute"):
        await answer(move, {})


async def test_sync_tools_that_hang_stop_no_other():
    release = threading.Event()

    @langchain_decorator
    def hang() -> str:
        """Hang."""
        return str(release.wait(10))

    hanging = [asyncio.create_task(answer(hang, {})) for _ in range(40)]
    try:
        async with asyncio.timeout(5):
            await answer(StructuredTool.from_function(look), {"where": "box"})
    finally:
        release.set()
    assert {output.text for output in await asyncio.gather(*hanging)} == {"True"}


def test_settings_and_identity():
    given = StructuredTool.from_function(look, name="look", description="Looks.")
    made = tool(given, timeout_s=5, read_only=True, name="peek")
    assert isinstance(made, LangChainTool)
    assert (made.name, made.timeout_s, made.read_only) == ("peek", 5, True)
    assert tool(given).digest() == tool(given).digest()
    other = StructuredTool.from_function(look, name="look", description="Looks twice.")
    renamed = StructuredTool.from_function(coroutine=look_async, name="look", description="Looks.")
    assert len({tool(one).digest() for one in (given, other, renamed)} | {made.digest()}) == 4


def test_a_name_that_providers_refuse_is_refused():
    with pytest.raises(ConfigError, match="a tool cannot be called 'look here'"):
        tool(StructuredTool.from_function(look, name="look here"))
    assert tool(StructuredTool.from_function(look, name="look here"), name="look_here").name == "look_here"
