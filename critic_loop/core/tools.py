"""What a tool is: what a model reads about it, what it receives, what it answers.

Knows content parts and JSON Schema. Does not know how callables become tools (`critic_loop.tools`), or when a
tool is opened and run (`nodes`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, Self, cast, runtime_checkable

from pydantic import JsonValue
from pydantic_core import to_json

from critic_loop.core.errors import ConfigError, CriticLoopError, ToolError
from critic_loop.core.messages import File, Frozen, Image, ResultPart, Text
from critic_loop.core.protocols import ToolSpec
from critic_loop.core.records import Task, digest_of

ToolScope = Literal["loop", "tree", "attempt"]
"""For how long an opened tool and its scratch folder live."""
SCOPES: tuple[ToolScope, ...] = ("loop", "tree", "attempt")

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def _no_folder() -> Path:
    raise ConfigError(
        "this context has no scratch folder.", hint="In a test: ToolContext(folder=lambda: tmp_path)."
    )


@dataclass(frozen=True, slots=True)
class ToolContext:
    """Where a tool is called, or opened: what is wider than its scope is known, what is narrower is empty.

    A tool of scope `loop` is opened with an empty context; each call of it has a full one.
    """

    _: KW_ONLY
    tree_id: str = ""
    attempt_id: str = ""
    call_id: str = ""
    """The id that the model gave to the call."""
    task: Task = field(default_factory=lambda: Task.of(""))
    """As actors see it: without reference, checks and held-out data."""
    seed: int = 0
    """In [0, 2^31), derived from the place of the call: use it for what is random, and a resumed run agrees."""
    folder: Callable[[], Path] = field(default=_no_folder, repr=False, compare=False)
    """Makes the scratch folder, or returns it."""

    @property
    def scratch(self) -> Path:
        """A folder of the tool's own: made when it is first asked for, deleted when the tool's scope ends."""
        return self.folder()


class ToolOutput(Frozen):
    """What a tool answers: content parts, or an error that the model is shown."""

    parts: tuple[ResultPart, ...] = ()
    is_error: bool = False

    @classmethod
    def of(cls, *content: str | ResultPart, is_error: bool = False) -> Self:
        """Return the answer that these texts, images and files are."""
        parts = tuple(Text(text=item) if isinstance(item, str) else item for item in content)
        return cls(parts=parts, is_error=is_error)

    @classmethod
    def from_value(cls, value: Any) -> ToolOutput:
        """Return what a callable returned as an answer.

        A text, a content part, or a list with content parts in it is taken as it is; all else becomes JSON.

        Raises:
            ToolError: it is bytes, whose type is not known.
            ValueError: it has no JSON form.
        """
        if isinstance(value, ToolOutput):
            return value
        if isinstance(value, bytes | bytearray | memoryview):
            raise ToolError(
                "bytes were returned, and what they are is not known.",
                hint="Return Image.of(data, media_type), File.of(data, media_type), or a text.",
            )
        if isinstance(value, str | Text | Image | File):
            return cls.of(value)
        if isinstance(value, list | tuple) and _hold_parts(value):
            return cls.of(*value)
        return cls.of(to_json(value, fallback=str).decode())

    @property
    def text(self) -> str:
        """The text parts joined; images and files are left out."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))


def _hold_parts(items: Sequence[Any]) -> bool:
    """Whether these are content parts, perhaps with texts between them; texts alone are a JSON list."""
    parts = [isinstance(item, Text | Image | File) for item in items if not isinstance(item, str)]
    return bool(parts) and all(parts)


@runtime_checkable
class Tool(Protocol):
    """Something that an actor may call.

    A tool that is a context manager (async or sync), or that has `open(context)`, which returns a context
    manager that yields the tool to use, is opened at its first call in each scope, and closed when that ends.
    """

    @property
    def name(self) -> str:
        """How models call it: 1 to 64 letters, digits, `_` or `-`; unique within a loop."""
        ...

    @property
    def description(self) -> str:
        """What it is for, in words to the model."""
        ...

    @property
    def parameters(self) -> dict[str, JsonValue]:
        """JSON Schema of the arguments object."""
        ...

    @property
    def read_only(self) -> bool:
        """Whether calls leave the world as it was."""
        ...

    @property
    def irreversible(self) -> bool:
        """Whether what a call does cannot be undone."""
        ...

    @property
    def timeout_s(self) -> float | None:
        """How long one call may take, opening not included; None for as long as it takes."""
        ...

    @property
    def scope(self) -> ToolScope:
        """For how long it stays open, and keeps its scratch folder: the loop, a tree, or an attempt."""
        ...

    def digest(self) -> str:
        """Return a stable hash of what makes it another tool; most often `tool_digest(self)`."""
        ...

    async def run(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolOutput:
        """Do what is asked; may be called many times at once. What it raises, the model is shown as an error.

        Args:
            arguments: as the model wrote them; not checked against `parameters`.
            context: where it is called.
        """
        ...


def spec_of(tool: Tool) -> ToolSpec:
    """Return what a model reads about a tool."""
    return ToolSpec(name=tool.name, description=tool.description, parameters=tool.parameters)


def tool_digest(tool: Tool, *more: JsonValue) -> str:
    """Return the hash of what a model reads about a tool, of its flags, and of `more`."""
    told = [tool.name, tool.description, tool.parameters]
    flags = [tool.read_only, tool.irreversible, tool.timeout_s, tool.scope]
    return digest_of([*told, *flags, *more])


def tool_error(what: str, error: BaseException) -> CriticLoopError:
    """Return what a tool's code raised as an error of ours; one that is ours already as it is.

    Args:
        what: what was being done, as in "tool 'grep'".
        error: of any kind; a group of one error counts as that error.
    """
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, CriticLoopError):
        return error
    return ToolError(f"{what}: {type(error).__name__}: {error}".removesuffix(": "))


def require_tool(tool: Any) -> None:
    """Refuse a tool that providers would refuse, or that has settings of the wrong kind.

    Raises:
        ConfigError: its name, its schema or one of its settings cannot be used.
    """
    where = f"tool {tool.name!r}"
    if not isinstance(tool.name, str) or not _NAME.fullmatch(tool.name):
        raise ConfigError(
            f"a tool cannot be called {tool.name!r}.",
            hint="Use 1 to 64 letters, digits, _ or -: give it a def of its own, or tool(name=...).",
        )
    if tool.scope not in SCOPES:
        raise ConfigError(f"{where}: scope {tool.scope!r} is unknown.", hint=f"Use {', '.join(SCOPES)}.")
    if tool.timeout_s is not None and not (isinstance(tool.timeout_s, int | float) and tool.timeout_s > 0):
        raise ConfigError(f"{where}: timeout_s is {tool.timeout_s!r}.", hint="Use seconds above 0, or None.")
    if not isinstance(tool.description, str):
        raise ConfigError(f"{where}: its description is not a text.")
    _require_schema(where, tool.parameters)


def _require_schema(where: str, schema: Any) -> None:
    if not isinstance(schema, dict) or cast("dict[str, Any]", schema).get("type") != "object":
        raise ConfigError(
            f"{where}: its parameters are not the JSON Schema of an object.",
            hint='Write {"type": "object", "properties": {...}}.',
        )
    try:
        to_json(schema)
    except ValueError as error:
        raise ConfigError(f"{where}: its parameters have no JSON form: {error}") from error
