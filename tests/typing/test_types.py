"""Types are behaviour: what pyright must infer. Checked, and run as far as that costs nothing."""

from __future__ import annotations

from typing import assert_type

from pydantic import BaseModel

import critic_loop as cl
from critic_loop.tools import FunctionTool


class Patch(BaseModel):
    """An answer with a schema."""

    file: str
    diff: str


async def typed_output() -> None:
    """A pydantic class as output types the result."""
    loop = cl.Loop("refine", output=Patch, actor="embedded:countdown")
    assert_type(loop, cl.Loop[Patch])
    r = await loop.run("Fix #41")
    assert_type(r, cl.Result[Patch])
    assert_type(r.answer, Patch | None)
    async for result in loop.map(["a", "b"]):
        assert_type(result.answer, Patch | None)


async def no_output() -> None:
    """Without an output, answers are text."""
    loop = cl.Loop("refine", actor="embedded:countdown")
    r = await loop.run("Fix #41")
    assert_type(r.answer, str | None)
    assert_type(loop.run_sync("Fix #41").answer, str | None)


async def builtin_output() -> None:
    """Any type will do."""
    r = await cl.Loop("refine", output=int, actor="embedded:countdown").run("What is 6 * 7?")
    assert_type(r.answer, int | None)


@cl.verifier
def applies(view: cl.View[Patch]) -> cl.Feedback | bool | float:
    """A view's answer is typed, too."""
    assert_type(view.answer, Patch | None)
    return view.answer is not None


@cl.tool(read_only=True, timeout_s=5)
def grep(pattern: str) -> list[str]:
    """Return the lines that match."""
    return [pattern]


def test_tools_are_typed() -> None:
    """A decorated function is a tool; settings laid over one keep its kind."""
    given: cl.Tool = grep
    assert_type(grep, FunctionTool)
    assert_type(cl.tool(grep, name="find"), FunctionTool)
    assert given.name == "grep"


def tired(progress: cl.Progress) -> bool:
    """A stop rule that is a plain function."""
    return progress.judged > 3


def test_rules_combine() -> None:
    """Rules are values with an algebra, in which functions take part."""
    assert str(cl.Verified() | cl.MaxRounds(3))
    assert str(tired | cl.MaxRounds(3))
    assert str(cl.MaxRounds(3) & tired)
    assert cl.Loop("try-again", actor="embedded:countdown", stop=tired).parts.rule
