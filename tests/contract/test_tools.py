"""The contract of tools, over each kind of thing that is accepted as one."""

from contextlib import asynccontextmanager

import pytest
from langchain_core.tools import StructuredTool
from pydantic import BaseModel

import critic_loop as cl
from critic_loop.testing.tool_contract import ToolContract
from critic_loop.tools import tool_digest


def add(a: int, b: int = 0) -> int:
    """Add two numbers."""
    return a + b


class Numbers(BaseModel):
    a: int
    b: int = 0


class _Adding(ToolContract):
    @pytest.fixture
    def arguments(self):
        return {"a": 40, "b": 2}

    @pytest.fixture
    def wrong(self):
        return {"a": "many"}


class TestFunction(_Adding):
    @pytest.fixture
    def tool(self):
        return add


class TestAsyncFunctionWithContext(_Adding):
    @pytest.fixture
    def tool(self):
        @cl.tool(timeout_s=5, scope="tree")
        async def note(a: int, b: int, context: cl.ToolContext) -> list[object]:
            """Note a sum, and show it."""
            (context.scratch / "sum").write_text(str(a + b))
            return ["noted", cl.File.read(context.scratch / "sum")]

        return note


class TestCallableObjectThatIsEntered(_Adding):
    @pytest.fixture
    def tool(self):
        class Adder:
            inside = 0

            def __enter__(self):
                self.inside += 1

            def __exit__(self, *error):
                self.inside -= 1

            def __call__(self, a: int, b: int) -> int:
                """Add two numbers."""
                assert self.inside
                return a + b

        return Adder()


class TestObject(_Adding):
    @pytest.fixture
    def tool(self):
        class Adder:
            name, description = "add", "Add two numbers."
            parameters = {
                "type": "object",
                "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
                "required": ["a", "b"],
            }
            read_only, irreversible, timeout_s, scope = True, False, 5.0, "attempt"

            @asynccontextmanager
            async def open(self, context):
                yield Opened()

            def digest(self):
                return tool_digest(self)

            async def run(self, arguments, context):
                raise RuntimeError("not opened")

        class Opened(Adder):
            async def run(self, arguments, context):
                return cl.ToolOutput.of(str(int(arguments["a"]) + arguments["b"]))

        return Adder()


class TestLangChainTool(_Adding):
    @pytest.fixture
    def tool(self):
        return StructuredTool.from_function(add, args_schema=Numbers)


class TestLangChainCoroutine(_Adding):
    @pytest.fixture
    def tool(self):
        async def later(a: int, b: int = 0) -> int:
            """Add two numbers."""
            return a + b

        return StructuredTool.from_function(coroutine=later, name="add", description="Add two numbers.")
