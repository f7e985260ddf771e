"""Wire formats as data: where a request is sent, how it is written, how an answer is read.

The formats themselves are pure functions (`wire.chat_completions`, `wire.anthropic_messages`). A profile names
its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from critic_loop.core.protocols import Completion
from critic_loop.models.wire import anthropic_messages, chat_completions
from critic_loop.models.wire.common import Json
from critic_loop.models.wire.stream import Assembly


class Assembled(Protocol):
    """Puts the events of a stream together."""

    @property
    def error(self) -> bytes | None:
        """An error that came in place of an event, as sent."""
        ...

    @property
    def complete(self) -> bool:
        """Whether the stream ended as it should."""
        ...

    def add(self, data: bytes) -> str:
        """Add one event's data; return the new text of the first choice."""
        ...

    def body(self) -> Json:
        """Return what the answer would have been without streaming."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One wire format."""

    path: str
    """Where requests go, behind the base address."""
    models: str
    """Where the list of models is."""
    request: Callable[..., Json]
    """`(request, name=, profile=)` to a body."""
    answer: Callable[..., Completion]
    """`(body, profile=, request_id=)` to a completion; raises ValueError, TypeError or KeyError for others."""
    assembly: Callable[[], Assembled]
    headers: Callable[[str], dict[str, str]]
    """The key, which may be empty, to the headers that the format wants."""
    request_id: str
    """The header with the answer's id."""
    output_field: str
    """The body field with the schema that an answer must follow."""
    wanted: Json = field(default_factory=dict[str, Any])
    """Required body fields with their defaults."""
    optional: tuple[str, ...]
    """Body fields without which a request still makes sense when an endpoint does not know them."""


CHAT = Dialect(
    path="/chat/completions",
    models="/models",
    request=chat_completions.to_wire,
    answer=chat_completions.from_wire,
    assembly=Assembly,
    headers=lambda key: {"Authorization": f"Bearer {key}"} if key else {},
    request_id="x-request-id",
    output_field="response_format",
    optional=(
        "temperature", "top_p", "seed", "stop", "logprobs", "return_token_ids", "stream", "stream_options",
        "max_tokens", "max_completion_tokens", "response_format",
    ),
)  # fmt: skip
MESSAGES = Dialect(
    path="/messages",
    models="/models?limit=1000",
    request=anthropic_messages.to_wire,
    answer=anthropic_messages.from_wire,
    assembly=anthropic_messages.Assembly,
    headers=anthropic_messages.headers,
    request_id="request-id",
    output_field="output_config",
    wanted={"max_tokens": anthropic_messages.MAX_TOKENS},
    optional=("temperature", "top_p", "stop_sequences", "stream", "output_config"),
)

DIALECTS = {"chat": CHAT, "messages": MESSAGES}
"""By the name in a profile."""
