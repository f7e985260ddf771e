"""What both formats share: JSON objects laid over each other, bytes in base64, schemas, answers merged.

Knows records and JSON. Does not know either format (`wire.chat_completions`, `wire.anthropic_messages`).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeAlias, cast

import orjson
from pydantic import JsonValue

from critic_loop.core.errors import ModelError
from critic_loop.core.messages import File, Image
from critic_loop.core.protocols import Completion, Request
from critic_loop.core.records import Sampling, Usage

Json: TypeAlias = dict[str, Any]

_RESERVED = frozenset({"messages", "model", "n", "stream", "stream_options"})
"""Body fields that `Sampling.extra` may not set: the client depends on them."""


def laid_over(under: Json, over: Json) -> Json:
    """Return the fields of both; where both hold an object, `over`'s fields are laid over `under`'s."""
    both = {
        key: under[key] | over[key] for key in under.keys() & over.keys() if _objects(under[key], over[key])
    }
    return under | over | both


def _objects(*values: Any) -> bool:
    return all(isinstance(value, dict) for value in values)


def checked_extra(sampling: Sampling) -> Json:
    """Return the fields that are passed on as they are.

    Raises:
        ModelError: one of them is the client's own.
    """
    if reserved := _RESERVED & sampling.extra.keys():
        raise ModelError(f"sampling.extra may not set {', '.join(sorted(reserved))}.")
    return dict(sampling.extra)


def is_strict(schema: JsonValue) -> bool:
    """Return whether every object in a JSON Schema is closed and requires all of its properties."""
    if isinstance(schema, list):
        return all(is_strict(item) for item in schema)
    if not isinstance(schema, dict):
        return True
    if schema.get("type") == "object" or "properties" in schema:
        properties = cast("Json", schema.get("properties") or {})
        required = cast("list[str]", schema.get("required") or [])
        if schema.get("additionalProperties") is not False or set(required) != properties.keys():
            return False
    return all(is_strict(value) for value in schema.values())


def encoded(part: Image | File) -> str:
    """Return the bytes of an image or file in base64.

    Raises:
        ModelError: they are not loaded.
    """
    if part.data is None:
        raise ModelError(
            f"The bytes of the {part.type} {part.sha256[:12]} are not loaded.",
            hint="Load the tree from its store, or make the part with Image.of or File.of.",
        )
    return _base64(part.data)


@lru_cache(maxsize=16)
def _base64(data: bytes) -> str:
    """Return bytes in base64; a loop sends the same picture many times."""
    return base64.b64encode(data).decode()


def object_or_none(text: str) -> dict[str, JsonValue] | None:
    """Return the JSON object that `text` holds, or None; no text is an empty object."""
    try:
        value = orjson.loads(text or "{}")
    except orjson.JSONDecodeError:
        return None
    return cast("dict[str, JsonValue]", value) if isinstance(value, dict) else None


def single_requests(request: Request, indices: range) -> list[Request]:
    """Return one request for each choice: only the first streams, and seeds differ."""
    return [
        replace(
            request,
            choices=1,
            on_text=request.on_text if index == 0 else None,
            sampling=_reseeded(request, index),
        )
        for index in indices
    ]


def _reseeded(request: Request, index: int) -> Sampling:
    seed = request.sampling.seed
    return request.sampling if seed is None else request.sampling.model_copy(update={"seed": seed + index})


def merge(completions: Sequence[Completion]) -> Completion:
    """Return several answers to the same prompt as one, choices in order and usage added up."""
    first = completions[0]
    return Completion(
        choices=tuple(choice for completion in completions for choice in completion.choices),
        usage=sum((completion.usage for completion in completions), Usage()),
        raw_usage=added([completion.raw_usage for completion in completions]),
        model=first.model,
        weight_version=first.weight_version,
        request_id=first.request_id,
        prompt_token_ids=first.prompt_token_ids,
        hold_s=max(completion.hold_s for completion in completions),
    )


def added(blocks: Sequence[Mapping[str, Any]]) -> Json:
    """Return usage blocks as one: numbers added up, of everything else the first."""
    total: Json = {}
    for block in blocks:
        for key, value in block.items():
            if isinstance(value, dict):
                total[key] = added([total.get(key) or {}, cast("Json", value)])
            elif isinstance(value, int | float) and not isinstance(value, bool):
                total[key] = (total.get(key) or 0) + value
            else:
                total.setdefault(key, value)
    return total
