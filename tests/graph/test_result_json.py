"""Results and what a loop streams have one shape as JSON, which web frameworks write without being helped."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel, TypeAdapter

import critic_loop as cl
from critic_loop.cli import results
from critic_loop.cli.schemas import schemas
from critic_loop.testing import ScriptedModel

pytestmark = pytest.mark.anyio


class Patch(BaseModel):
    """A typed answer."""

    file: str


@cl.verifier
def is_a(view: cl.View[Any]) -> bool:
    return view.answer in ("a", Patch(file="a"))


def a_loop(*replies: str, **parts: Any) -> cl.Loop[Any]:
    parts = {"verifiers": [is_a], "stop": cl.Verified() | cl.MaxRounds(2), **parts}
    return cl.Loop("try-again", actor=ScriptedModel(replies), **parts)


def fits(name: str, data: Any) -> bool:
    return Draft202012Validator(schemas()[name]).is_valid(data)


async def test_a_result_is_written_with_ids_and_without_records() -> None:
    result = await a_loop("b", "a").run(cl.Task.of("x", id="q1"), tree_id="t")
    written = json.loads(result.model_dump_json())
    assert written.pop("elapsed_s") >= 0
    assert written == {
        "type": "result", "task": "q1", "tree": "t", "attempt": "t.2", "answer": "a", "verdict": "pass",
        "score": 1.0, "decided_by": "verifier", "stop": "verified",
        "stop_text": "attempt t.2 passed its verifiers", "parked": [], "waiting": [], "attempts": 2, "calls": 2,
        "input_tokens": result.spend.usage.input_tokens, "output_tokens": result.spend.usage.output_tokens,
        "cost_usd": None, "reused": False, "error": "",
    }  # fmt: skip
    assert fits("result", json.loads(result.model_dump_json()))


async def test_the_command_line_writes_the_same_shape() -> None:
    result = await a_loop("a").run("x")
    assert results.row(result) == json.loads(result.model_dump_json()) == result.model_dump(mode="json")


def as_fastapi(annotation: Any, returned: Any) -> tuple[dict[str, Any], Any]:
    """Do what FastAPI does with what an endpoint returns: its schema, and the body."""
    adapter: TypeAdapter[Any] = TypeAdapter(annotation)
    checked = adapter.validate_python(returned, from_attributes=True)
    return adapter.json_schema(mode="serialization"), adapter.dump_python(checked, mode="json")


@pytest.mark.parametrize("annotation", [cl.Result[Patch], cl.Result[Any], cl.Result])
async def test_an_endpoint_returns_a_result(annotation: Any) -> None:
    result = await a_loop('{"file": "a"}', output=Patch).run("x")
    schema, body = as_fastapi(annotation, result)
    Draft202012Validator.check_schema(schema)
    assert Draft202012Validator(schema).is_valid(body)
    assert (body["answer"], body["tree"]) == ({"file": "a"}, result.tree.id)


async def test_the_schema_of_an_endpoint_names_the_type_of_the_answer() -> None:
    schema, body = as_fastapi(list[cl.Result[Patch]], [await a_loop('{"file": "a"}', output=Patch).run("x")])
    assert "Patch" in schema["$defs"]
    assert TypeAdapter(list[cl.Result[Patch]]).dump_json([], by_alias=True) == b"[]"
    assert body[0]["verdict"] == "pass"


async def test_an_endpoint_that_names_no_type_returns_a_result() -> None:
    """FastAPI dumps whatever is a pydantic model; a dataclass it would copy, with its whole tree."""
    result = await a_loop("a").run("x")
    assert isinstance(result, BaseModel)
    assert json.dumps(result.model_dump(mode="json"))


async def test_keys_may_be_left_out() -> None:
    result = await a_loop("a").run("x")
    assert result.model_dump(include={"answer", "stop"}) == {"answer": "a", "stop": "verified"}
    assert result.model_dump(exclude={"elapsed_s"}).keys() == result.model_dump().keys() - {"elapsed_s"}
    assert json.loads(result.model_dump_json(include={"calls": True})) == {"calls": 1}


@pytest.mark.parametrize(
    ("output", "reply", "answer"), [(int, "42", 42), (list[int], "[1]", [1]), (int | None, "null", None)]
)
async def test_any_answer_is_written(output: Any, reply: str, answer: Any) -> None:
    loop = a_loop(reply, output=output, verifiers=[], stop=cl.MaxRounds(1))
    assert (await loop.run("x")).model_dump(mode="json")["answer"] == answer


async def test_why_there_is_no_answer_is_written() -> None:
    async def broken(view: cl.View[str]) -> str:
        raise ValueError("oops")

    loop = cl.Loop("try-again", actor=broken, verifiers=[is_a])
    written = (await loop.run("x")).model_dump(mode="json")
    assert (written["answer"], written["attempt"]) == (None, None)
    assert "oops" in written["error"]
    assert fits("result", written)


async def test_people_that_are_waited_for_are_named() -> None:
    loop = cl.Loop("best-of-n", actor=ScriptedModel(["a"] * 8), critic=cl.Human("ann"), verifiers=[])
    result = await loop.run("x", tree_id="t")
    assert result.model_dump()["parked"] == list(result.parked) != []


async def test_a_tree_that_had_ended_is_reused_and_one_that_goes_on_is_not(store: str) -> None:
    async with a_loop("b", "c", "d", store=store, max_calls=1, stop=cl.MaxRounds(2)) as loop:
        assert not (await loop.run("x", tree_id="t")).reused
        assert not (await loop.run("x", tree_id="t")).reused, "an empty budget is no end"
    async with a_loop("b", "c", "d", store=store, stop=cl.MaxRounds(2)) as loop:
        assert not (await loop.run("x", tree_id="t")).reused
        again = await loop.run("x", tree_id="t")
        assert again.reused
        assert again.model_dump()["reused"] is True


async def test_everything_that_is_streamed_has_a_type_and_one_adapter() -> None:
    loop = a_loop("b", "a")
    adapter: TypeAdapter[Any] = TypeAdapter(cl.StreamEvent)
    seen: list[str] = []
    async for event in loop.stream("x", deltas=True):
        line = cl.event_json(event)
        assert adapter.dump_json(event).decode() == line
        assert "\n" not in line
        assert fits("stream-event", json.loads(line))
        assert json.loads(line)["type"] == event.type
        seen.append(event.type)
    assert {"ask", "call", "reply", "attempt", "feedback", "outcome"} <= set(seen)
    assert (seen[-1], seen.count("result")) == ("result", 1)


def test_a_delta_is_an_event_of_its_own_type() -> None:
    delta = cl.Delta("t:c1", "He")
    assert json.loads(cl.event_json(delta)) == {"call": "t:c1", "text": "He", "type": "delta"}
    assert TypeAdapter(cl.StreamEvent).validate_json(cl.event_json(delta)) == delta
