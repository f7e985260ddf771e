"""What `Loop.stream` yields, as one type that serialises: for server-sent events, say."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from critic_loop.core.protocols import Delta
from critic_loop.core.records import Record
from critic_loop.graph.result import Result

StreamEvent = Annotated[Record | Delta | Result[Any], Field(discriminator="type")]
"""What `Loop.stream` yields: a record, a delta of text, and the result last. Each has a `type`."""


def event_json(event: Record | Delta | Result[Any]) -> str:
    """Return what a stream yields as one line of JSON, for server-sent events, say."""
    return _events().dump_json(event).decode()


def event_object(event: Record | Delta | Result[Any]) -> dict[str, Any]:
    """Return the object that `event_json` writes, for a host's stream."""
    return _events().dump_python(event, mode="json")


@cache
def _events() -> TypeAdapter[Any]:
    return TypeAdapter(StreamEvent)
