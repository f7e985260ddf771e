"""Typed answers: JSON found in text and validated by pydantic.

Knows all types that a pydantic `TypeAdapter` accepts. Does not know how JSON is found (`jsontext`).
"""

from __future__ import annotations

import json
from typing import Any, Generic, TypeVar, cast

from pydantic import JsonValue, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from critic_loop.core.errors import ConfigError, OutputError, boundary
from critic_loop.core.messages import Message
from critic_loop.core.protocols import OutputSchema, Parsed
from critic_loop.outputs.base import clipped, visible
from critic_loop.outputs.jsontext import Found, find

T = TypeVar("T")

_SHOWN_ERRORS = 3


class JsonOutput(Generic[T]):
    """JSON of a type. Trees store it as plain JSON; `load` returns the typed value."""

    def __init__(self, type_: type[T] | Any = JsonValue, *, name: str = "", documented: bool = True) -> None:
        """Build validator and JSON Schema of the type.

        Args:
            type_: a pydantic model, dataclass, TypedDict or any other typing construct.
            name: the name in records; the type's name unless given.
            documented: keep docstrings in the JSON Schema, as descriptions.

        Raises:
            ConfigError: pydantic cannot build a validator or a JSON Schema of the type.
        """
        self._name = name or getattr(type_, "__name__", "json")
        try:
            self._adapter = TypeAdapter[T](type_)
            schema = self._adapter.json_schema(mode="validation")
        except PydanticUserError as error:
            raise ConfigError(f"type {self._name!r} cannot be an output: {error.message}.") from error
        self._json_schema = cast("dict[str, JsonValue]", _plain(schema, documented=documented))

    def __repr__(self) -> str:
        return f"JsonOutput({self._name})"

    @property
    def name(self) -> str:
        """The type's name."""
        return self._name

    @property
    def schema(self) -> OutputSchema | None:
        """The type's JSON Schema; None where any JSON is valid."""
        return OutputSchema(name=self._name, schema=self._json_schema) if self._json_schema else None

    def describe(self) -> str:
        """Return the JSON Schema as text."""
        return json.dumps(self._json_schema, ensure_ascii=False)

    def parse(self, message: Message) -> Parsed[T]:
        """Return the first JSON value in the text that fits the type; the last one in the text is tried first.

        Raises:
            OutputError: a validator of the type raised something else than a validation error.
        """
        return self.fit(find(visible(message.text)))

    def fit(self, found: Found) -> Parsed[T]:
        """Return the first of the candidates that fits the type, or what is wrong with the first of them."""
        misfit = ""
        for candidate in found.candidates:
            try:
                value = self._validated(candidate.value)
            except ValidationError as error:
                misfit = misfit or _reasons(error)
            else:
                return Parsed(value, "repaired" if candidate.repaired else "ok")
        missing = "the JSON is cut off" if found.cut_off else "no JSON found"
        return Parsed.unparsed(misfit or f"{missing}: expected {self._wanted()}")

    def dump(self, value: T) -> JsonValue:
        """Return `value` as JSON."""
        return self._adapter.dump_python(value, mode="json", by_alias=True)

    def load(self, answer: JsonValue) -> T:
        """Return the typed value of which `dump` returned `answer`.

        Raises:
            OutputError: `answer` does not fit the type.
        """
        try:
            return self._validated(answer)
        except ValidationError as error:
            raise OutputError(f"the stored answer is not a valid {self._name}: {_reasons(error)}.") from error

    def _validated(self, value: JsonValue) -> T:
        with boundary(OutputError, f"validating {self._name}"):
            try:
                return self._adapter.validate_json(json.dumps(value))
            except ValidationError as error:
                failed = error
        raise failed

    def _wanted(self) -> str:
        fields = self._json_schema.get("required")
        kind = self._json_schema.get("type", "a value")
        if not isinstance(fields, list) or not fields:
            return f"JSON ({kind})"
        return f"a JSON object with {clipped(', '.join(map(str, fields)), 200)}"


def _plain(schema: Any, *, documented: bool) -> Any:
    """Return a JSON Schema without generated titles, and without descriptions unless `documented`.

    Keys under `properties` and `$defs` are names, not keywords, and stay.
    """
    if isinstance(schema, list):
        return [_plain(item, documented=documented) for item in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    dropped = {"title"} if documented else {"title", "description"}
    kept: dict[str, Any] = {}
    for key, value in cast("dict[str, Any]", schema).items():
        if key in ("properties", "$defs"):
            kept[key] = {name: _plain(inner, documented=documented) for name, inner in value.items()}
        elif key in ("default", "const", "enum", "examples"):
            kept[key] = value
        elif key not in dropped:
            kept[key] = _plain(value, documented=documented)
    return kept


def _reasons(error: ValidationError) -> str:
    """Return the first few validation errors, each with the path of its field."""
    errors = error.errors(include_url=False, include_input=False, include_context=False)
    shown = [_reason(e["loc"], e["msg"]) for e in errors[:_SHOWN_ERRORS]]
    more = len(errors) - len(shown)
    return "; ".join([*shown, f"and {more} more"] if more else shown)


def _reason(loc: tuple[int | str, ...], message: str) -> str:
    path = clipped(".".join(map(str, loc)), 60)
    message = clipped(message.removeprefix("Value error, "), 160)
    message = message.replace("Input should be", "expected").replace("Field required", "required, but missing")
    return f"{path}: {message}" if path else message
