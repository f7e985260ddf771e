"""Contract tests of tools, to run over your own tool.

    class TestMyTool(ToolContract):
        @pytest.fixture
        def tool(self):
            return MyTool()

        @pytest.fixture
        def arguments(self):
            return {"path": "README.md"}

Knows the `Tool` protocol. Does not know any tool. Needs pytest with anyio's plugin.
"""

from __future__ import annotations

import asyncio
import copy
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic_core import to_json

from critic_loop.core.lifetimes import opened
from critic_loop.core.messages import File, Image, Text
from critic_loop.core.tools import SCOPES, Tool, ToolContext, ToolOutput, spec_of
from critic_loop.tools import tool as as_tool


@pytest.mark.anyio
class ToolContract:
    """Override `tool` and `arguments`; also `wrong`, where some arguments are invalid."""

    @pytest.fixture
    def anyio_backend(self) -> str:
        """Run under asyncio."""
        return "asyncio"

    @pytest.fixture
    def tool(self) -> Any:
        """Return the tool: anything that `Loop(tools=[...])` accepts."""
        raise NotImplementedError("override the fixture `tool`")

    @pytest.fixture
    def arguments(self) -> dict[str, Any]:
        """Return arguments with which every call succeeds."""
        raise NotImplementedError("override the fixture `arguments`")

    @pytest.fixture
    def wrong(self) -> dict[str, Any] | None:
        """Return invalid arguments; None skips the test."""
        return None

    @pytest.fixture
    def context(self, tmp_path: Path) -> ToolContext:
        """Return the context of the calls."""
        return ToolContext(tree_id="t", attempt_id="t.1", call_id="c", folder=lambda: tmp_path)

    @pytest.fixture
    def made(self, tool: Any) -> Tool:
        """Return the tool as a loop converts it."""
        return as_tool(tool)

    def test_it_is_a_tool(self, made: Tool) -> None:
        """It has the protocol's attributes, with valid values."""
        assert isinstance(made, Tool)
        assert isinstance(made.read_only, bool)
        assert isinstance(made.irreversible, bool)
        assert made.scope in SCOPES
        assert made.timeout_s is None or made.timeout_s > 0

    def test_providers_take_what_a_model_is_told(self, made: Tool) -> None:
        """Name and schema are valid for endpoints; the description is not empty."""
        spec = spec_of(made)
        assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", spec.name)
        assert spec.description.strip()
        assert spec.parameters["type"] == "object"
        assert to_json(spec.parameters) == to_json(spec_of(made).parameters)

    def test_arguments_of_the_tests_are_told_to_the_model(
        self, made: Tool, arguments: Mapping[str, Any]
    ) -> None:
        """All arguments are in the schema, and all required ones are given."""
        schema: dict[str, Any] = made.parameters
        if not schema.get("additionalProperties", "properties" not in schema):
            assert set(arguments) <= set(schema.get("properties", ()))
        assert set(schema.get("required", ())) <= set(arguments)

    def test_the_digest_is_stable(self, made: Tool, tool: Any) -> None:
        """The digest is the same at each call, and for the tool converted again."""
        assert made.digest()
        assert made.digest() == made.digest() == as_tool(tool).digest()

    async def test_a_call_answers_with_content_parts(
        self, made: Tool, arguments: dict[str, Any], context: ToolContext
    ) -> None:
        """A call returns texts, images and files with their bytes, and no error."""
        async with opened(made, context) as used:
            output = await used.run(arguments, context)
        assert isinstance(output, ToolOutput)
        assert not output.is_error, output.text
        assert all(isinstance(part, Text | Image | File) for part in output.parts)
        assert all(part.data is not None for part in output.parts if isinstance(part, Image | File))

    async def test_arguments_are_left_as_they_are(
        self, made: Tool, arguments: dict[str, Any], context: ToolContext
    ) -> None:
        """A call does not change its arguments, which are recorded."""
        before = copy.deepcopy(arguments)
        async with opened(made, context) as used:
            await used.run(arguments, context)
        assert arguments == before

    async def test_wrong_arguments_are_an_error(
        self, made: Tool, arguments: dict[str, Any], wrong: dict[str, Any] | None, context: ToolContext
    ) -> None:
        """Invalid arguments raise an exception or return an error output; the next call succeeds."""
        if wrong is None:
            pytest.skip("no `wrong` fixture")
        async with opened(made, context) as used:
            try:
                failed = (await used.run(wrong, context)).is_error
            except Exception as error:  # noqa: BLE001  # of any kind: the model is shown it
                failed = bool(str(error))
            assert failed
            assert not (await used.run(arguments, context)).is_error

    async def test_many_calls_at_once_are_independent(
        self, made: Tool, arguments: dict[str, Any], context: ToolContext
    ) -> None:
        """A model may call it several times in one message."""
        async with opened(made, context) as used:
            outputs = await asyncio.gather(*(used.run(dict(arguments), context) for _ in range(8)))
        assert not any(output.is_error for output in outputs)

    async def test_cancelling_a_call_leaves_the_tool_usable(
        self, made: Tool, arguments: dict[str, Any], context: ToolContext
    ) -> None:
        """After a cancelled call, as by a time limit, the next call succeeds."""
        async with opened(made, context) as used:
            task = asyncio.ensure_future(used.run(arguments, context))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            assert not (await used.run(arguments, context)).is_error

    async def test_it_can_be_opened_again(
        self, made: Tool, arguments: dict[str, Any], context: ToolContext
    ) -> None:
        """It can be opened and closed again: each scope does so."""
        for _ in range(2):
            async with opened(made, context) as used:
                assert not (await used.run(arguments, context)).is_error
