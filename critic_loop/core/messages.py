"""What actors, critics and tools say to each other: messages made of typed parts.

Knows the shape of content and how it is hashed. Does not know any provider's wire format
(`models/`), how prompts are rendered (`assets`), or where bytes are kept (`store/`).
"""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    JsonValue,
    SerializerFunctionWrapHandler,
    model_serializer,
)
from pydantic_core import CoreSchema

Role = Literal["system", "user", "assistant", "tool"]


class Frozen(BaseModel):
    """Base of everything that is recorded: frozen, keyword-only, no unknown fields."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        ser_json_bytes="base64",
        val_json_bytes="base64",
        ser_json_inf_nan="strings",  # a log-probability may be -inf; JSON's null would not come back
        # The first use builds the validator, and an import uses none. So that it stays so, default values of
        # fields are made with `model_construct()`, which needs no validator.
        defer_build=True,
    )


class _Part(Frozen):
    """A part of a message; always serialised with its `type`, which readers dispatch on."""

    @model_serializer(mode="wrap")
    def _with_type(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {"type": self.type, **handler(self)}  # type: ignore[attr-defined]  # each part declares it

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Describe the fields: what is written is what they say, and its `type` is always there."""
        described: Any = {key: value for key, value in schema.items() if key != "serialization"}
        return handler(described)


class Text(_Part):
    """Plain text."""

    type: Literal["text"] = "text"
    text: str


class _Blob(_Part):
    """Bytes known by their hash. The store keeps the bytes; `data` is filled where they are at hand."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    media_type: str
    data: bytes | None = Field(default=None, exclude=True, repr=False)
    """The bytes themselves: never serialised with the record, absent until they are loaded."""

    @classmethod
    def of(cls, data: bytes, media_type: str) -> Self:
        """Return the part for `data`, known from then on by its SHA-256."""
        return cls(sha256=hashlib.sha256(data).hexdigest(), media_type=media_type, data=data)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Return the part for the file at `path`; its media type is guessed from the name."""
        guess, _ = mimetypes.guess_type(str(path))
        return cls.of(Path(path).read_bytes(), guess or "application/octet-stream")


class Image(_Blob):
    """A picture."""

    type: Literal["image"] = "image"


class File(_Blob):
    """A document of any other kind."""

    type: Literal["file"] = "file"
    name: str = ""


ResultPart = Annotated[Text | Image | File, Field(discriminator="type")]
"""A content part of what a tool answers."""


class ToolCall(_Part):
    """A model's wish to call a tool."""

    type: Literal["tool_call"] = "tool_call"
    id: str
    name: str
    arguments: dict[str, JsonValue] | None = None
    """The arguments as an object; None when what the model wrote is not a JSON object."""
    arguments_text: str = ""
    """The arguments to the letter as the model emitted them (trainers need these)."""


class ToolResult(_Part):
    """What a tool answered."""

    type: Literal["tool_result"] = "tool_result"
    call_id: str
    name: str = ""
    parts: tuple[ResultPart, ...] = ()
    is_error: bool = False
    duration_s: float | None = None
    """How long the tool ran; None where it was not measured."""

    @classmethod
    def of(cls, *content: str | ResultPart, call_id: str, name: str = "", is_error: bool = False) -> Self:
        """Return the answer that these texts, images and files are."""
        return cls(call_id=call_id, name=name, parts=_parts(content), is_error=is_error)

    @property
    def text(self) -> str:
        """The text parts joined; images and files are left out."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def blobs(self) -> tuple[Image | File, ...]:
        """The parts that stand for bytes."""
        return tuple(part for part in self.parts if isinstance(part, Image | File))


class Reasoning(_Part):
    """Thinking that the model showed beside its answer."""

    type: Literal["reasoning"] = "reasoning"
    text: str


class Opaque(_Part):
    """A provider's own block, returned to that provider verbatim and sent to no other."""

    type: Literal["opaque"] = "opaque"
    provider: str
    data: JsonValue


ContentPart = Annotated[
    Text | Image | File | ToolCall | ToolResult | Reasoning | Opaque, Field(discriminator="type")
]
"""A part of a message."""


class Message(Frozen):
    """One turn of a conversation."""

    role: Role
    parts: tuple[ContentPart, ...]
    sampled: bool = False
    """True when a model really wrote it (the role alone cannot tell): only such text is trained on."""

    @property
    def text(self) -> str:
        """The text parts joined; reasoning, tools and images are left out."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls in the order in which the model emitted them."""
        return tuple(part for part in self.parts if isinstance(part, ToolCall))

    @property
    def blobs(self) -> tuple[Image | File, ...]:
        """The parts that stand for bytes, those within tool results included."""
        found: list[Image | File] = []
        for part in self.parts:
            if isinstance(part, Image | File):
                found.append(part)
            elif isinstance(part, ToolResult):
                found += part.blobs
        return tuple(found)


def system(text: str) -> Message:
    """Return a system message."""
    return Message(role="system", parts=(Text(text=text),))


def user(*content: str | ContentPart) -> Message:
    """Return a user message of text and other parts."""
    return Message(role="user", parts=_parts(content))


def assistant(*content: str | ContentPart, sampled: bool = False) -> Message:
    """Return an assistant message; `sampled` says that a model wrote it."""
    return Message(role="assistant", parts=_parts(content), sampled=sampled)


def _parts(content: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(Text(text=item) if isinstance(item, str) else item for item in content)
